"""Heads, renderers and small random networks of the world of people."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from mm_jax.nn.trunk import TrunkConfig
from mm_jax.people.factors import FACTORS, NUM_FACTORS, Z_DIM, index
from mm_jax.people.heads import Heads, Part, load_heads
from mm_jax.people.looks import person_of
from mm_jax.people.renderer import Person, Renderer
from mm_jax.people.renders import Renders
from mm_jax.perceptual.probe import Probe, ProbeConfig
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import make_generator
from mm_jax.stylegan2.networks import init_params

TRUNK = TrunkConfig(resolution=16, fold=2, channels=(8, 8), activation="gelu", hidden=16)


@pytest.fixture(scope="session")
def tiny_people():
    """A random generator of 16 px: L = 6 rows, D = 64, room for the frame of W."""
    config = GeneratorConfig(
        resolution=16, z_dim=Z_DIM, w_dim=64, mapping_layers=1, channels=(8, 8, 8)
    )
    params = init_params(jax.random.key(0), config)
    params["mapping"]["w_avg"] = 0.1 * jax.random.normal(jax.random.key(1), (64,))
    return make_generator(config, params, meta={"name": "people"})


@pytest.fixture(scope="session")
def tiny_probe():
    """A random probe."""
    config = ProbeConfig(trunk=TRUNK, factors=FACTORS)
    return Probe(config, Probe.init(config, jax.random.key(2)))


@pytest.fixture(scope="session")
def tiny_trunk():
    """The architecture of small trunks for 16 px."""
    return TRUNK


def random_renders(count: int, seed: int = 0) -> Renders:
    """Renders that show nothing but how their smile is: the red channel is its degree."""
    rng = np.random.default_rng(seed)
    factors = rng.uniform(-1, 1, (count, NUM_FACTORS)).astype(np.float32)
    images = rng.integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    images[..., 0] = np.round(127.5 * (1 + factors[:, :1, None]))
    return Renders(
        images=images,
        focus=rng.integers(0, 256, (count, 64, 64)).astype(np.uint8),
        z=rng.standard_normal((count, Z_DIM)).astype(np.float32),
        psi=rng.uniform(0.5, 1, count).astype(np.float32),
        factors=factors,
    )


@pytest.fixture(scope="session")
def make_random_renders():
    """`random_renders`, where conftest cannot be imported."""
    return random_renders


def encode_factors(factors: np.ndarray) -> np.ndarray:
    """Images ``[N, 16, 16, 3]`` uint8 whose first bytes are the factors ``[N, F]``."""
    images = np.zeros((len(factors), 16 * 16 * 3), np.uint8)
    images[:, :NUM_FACTORS] = np.round((factors + 1) * 127.5)
    return images.reshape(-1, 16, 16, 3)


def decode_factors(images: np.ndarray) -> np.ndarray:
    """The inverse of `encode_factors`, up to rounding."""
    flat = images.reshape(len(images), -1)[:, :NUM_FACTORS]
    return flat.astype(np.float32) / 127.5 - 1


@pytest.fixture(scope="session")
def coded():
    """A renderer and a probe that are perfect: (draw, read)."""
    return encode_factors, decode_factors


PACK = Path(__file__).with_name("heads.npz")
HAIRS = ("hair-long01", "hair-ponytail01", "hair-afro01", "hair-short01", "hair-short02")
AT_REST = {
    "smile": -0.4,
    "eye_close": -0.7,
    **dict.fromkeys(("anger", "mouth_open", "brow_raise", "pout", "sneer"), -1.0),
}


def factors_of(**changes: float) -> np.ndarray:
    """Factors ``[F]`` of a plain face at rest, but for ``changes``."""
    values = np.zeros(NUM_FACTORS, np.float32)
    for name, value in (AT_REST | changes).items():
        values[index(name)] = value
    return values


def bare(person: Person) -> Person:
    """The person without hair and clothes."""
    return dataclasses.replace(
        person,
        hair=dataclasses.replace(person.hair, style=""),
        clothes=dataclasses.replace(person.clothes, part=""),
    )


def face(**changes: float) -> Person:
    """A plain bare person."""
    return bare(person_of(factors_of(**changes)))


def shell(heads: Heads, chosen: np.ndarray, distance: float) -> Part:
    """A part that covers skin vertices ``chosen [n] bool`` at a distance in decimetres."""
    skin = heads.parts["skin"]
    rest = skin.place(heads.base)
    faces = skin.faces[chosen[skin.faces].all(axis=1)]
    kept, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3).astype(np.int32)
    outward = rest[kept] - np.array([0, 7.2, 0.4], np.float32)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    border = np.full(len(kept), 0.4, np.float32)
    border[edges[uses == 1]] = 0
    ends = heads.base.argmin(axis=0), heads.base.argmax(axis=0)
    return Part(
        basis=skin.basis[kept],
        faces=faces,
        offset=(distance * outward).astype(np.float32),
        scales=np.stack([*ends, np.ptp(heads.base, axis=0)], axis=1),
        border=border,
    )


@pytest.fixture(scope="session")
def heads() -> Heads:
    return load_heads(PACK)


@pytest.fixture(scope="session")
def renderer(heads: Heads) -> Renderer:
    """Skin, eyes and tongue."""
    return Renderer(heads)


@pytest.fixture(scope="session")
def dressed_heads(heads: Heads) -> Heads:
    """With shells of the skin in place of hair, lashes, teeth and clothes."""
    x, y, z = heads.parts["skin"].place(heads.base).T
    scalp = (y > 7.95) | ((z < 0.3) & (y > 6.9))
    lids = (np.hypot((np.abs(x) - 0.32) / 0.15, (y - 7.33) / 0.04) < 1) & (z > 1.2)
    parts = {name: shell(heads, scalp, 0.1 + 0.02 * k) for k, name in enumerate(HAIRS)}
    parts["clothes-male_casualsuit02"] = shell(heads, y < 6.1, 0.08)
    parts["lashes"] = shell(heads, lids, 0.02)
    parts["teeth"] = shell(heads, (np.abs(x) < 0.15) & (np.abs(y - 6.6) < 0.1) & (z > 1.4), -0.1)
    return dataclasses.replace(heads, parts={**heads.parts, **parts})


@pytest.fixture(scope="session")
def dressed(dressed_heads: Heads) -> Renderer:
    return Renderer(dressed_heads)
