"""Small random networks of the world of people, 16 pixels wide."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mm_jax.nn.trunk import TrunkConfig, init_trunk
from mm_jax.people.factors import NUM_FACTORS, Z_DIM
from mm_jax.people.probe import Probe
from mm_jax.people.renders import Renders
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
    return Probe(TRUNK, init_trunk(TRUNK, NUM_FACTORS, jax.random.key(2)))


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
