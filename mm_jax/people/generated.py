"""A store of images from the trained generator, on and off its manifold, for the trainings.

A CLIP trained on renders alone has blind spots that an optimiser of W+ finds. So besides ordinary
samples, half of which are truncated, there are latents whose rows are mixed from two, latents that
have moved along the difference of two others, and latents in which one factor has been edited, the
last two in all rows or in some. A probe says what the images show.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.anchors.prompts import MOTIONS
from mm_jax.io import save_npz
from mm_jax.latents import synthesize
from mm_jax.people.attributes import MOTION_FACTOR
from mm_jax.people.factors import FACTORS
from mm_jax.people.mapping import frame
from mm_jax.perceptual.probe import Probe, read_factors
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import map_latents

__all__ = ["Generated", "make_generated", "random_latents"]

CHUNK, BATCH = 1000, 20
# Largest edit of a factor in standard deviations, and how much more often than others the factors
# of the micromotions are edited.
_LARGEST_EDIT, _MOTION_WEIGHT = 2.5, 6.0
# Of each chunk: plain, rows of two latents, moved along a difference, one factor edited.
_SHARES = (0.4, 0.2, 0.2, 0.2)


class Generated(NamedTuple):
    """N images.

    Attributes:
        images: ``[N, R, R, 3]`` uint8.
        ws: ``[N, L, D]`` float32, their latents.
        factors: ``[N, F]`` float32, as the probe reads them.
    """

    images: np.ndarray
    ws: np.ndarray
    factors: np.ndarray


def make_generated(
    folder: Path, gen: Generator, probe: Probe, count: int, *, seed: int
) -> Generated:
    """Synthesize ``count`` images in chunks of 1,000, taking up those that ``folder`` holds."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for chunk in range(-(-count // CHUNK)):
        path = folder / f"generated-{gen.fingerprint[:12]}-{seed}-{chunk:03d}.npz"
        if not path.exists():
            ws = random_latents(gen, jax.random.fold_in(jax.random.key(seed), chunk), CHUNK)
            images = [np.asarray(synthesize(gen, part)) for part in jnp.split(ws, CHUNK // BATCH)]
            read = np.concatenate([np.asarray(read_factors(probe, part)) for part in images])
            pixels = np.clip(np.round((np.concatenate(images) + 1) * 127.5), 0, 255)
            save_npz(path, images=pixels.astype(np.uint8), ws=ws, factors=read)
            print(f"generated: {path.name}", flush=True)
        with np.load(path) as stored:
            parts.append(tuple(stored[name] for name in Generated._fields))
    return Generated(*(np.concatenate(column)[:count] for column in zip(*parts, strict=True)))


@functools.partial(jax.jit, static_argnames="count")
def random_latents(gen: Generator, key: jax.Array, count: int) -> jax.Array:
    """W+ latents ``[count, L, D]`` of the four kinds, one kind after the other."""
    kz, kp, kt, kr, ke, ka, kf, ks = jax.random.split(key, 8)
    rows, width = gen.config.num_ws, gen.config.w_dim
    z = jax.random.normal(kz, (2 * count, gen.config.z_dim))
    w = map_latents(gen.config, gen.params, z)
    psi = jnp.where(
        jax.random.bernoulli(kt, 0.5, (2 * count,)),
        jax.random.uniform(kp, (2 * count,), minval=0.3),
        1.0,
    )
    mean = gen.params["mapping"]["w_avg"][None]
    w, other = jnp.split((mean + psi[:, None] * (w - mean))[:, None, :], 2)
    plain = jnp.broadcast_to(w, (count, rows, width))

    # An interval of rows, or all of them.
    ends = jnp.sort(jax.random.randint(kr, (count, 2), 0, rows + 1), axis=1)
    level = jnp.arange(rows)[None, :]
    inside = ((level >= ends[:, :1]) & (level < ends[:, 1:]))[..., None]
    some = inside | jax.random.bernoulli(ke, 0.5, (count, 1, 1))

    mixed = jnp.where(inside, other, plain)
    amount = jax.random.uniform(ka, (count, 1, 1))
    moved = plain + 0.9 * amount * (other - jnp.roll(other, 1, axis=0)) * some
    edit = _LARGEST_EDIT * (2 * jax.random.uniform(ks, (count, 1, 1)) - 1)
    edited = plain + edit * _directions(kf, count, width)[:, None, :] * some

    kind = np.searchsorted(np.cumsum(_SHARES), (np.arange(count) + 0.5) / count)[:, None, None]
    return jnp.select([kind == 0, kind == 1, kind == 2], [plain, mixed, moved], edited)


def _directions(key: jax.Array, count: int, width: int) -> jax.Array:
    """Directions of W ``[count, D]``, each of which changes one factor by a standard deviation."""
    names = [name for name in FACTORS if name != "hair_style"]
    motions = {MOTION_FACTOR[name] for name in MOTIONS}
    weight = np.array([_MOTION_WEIGHT if name in motions else 1.0 for name in names])
    chosen = jax.random.choice(key, len(names), (count,), p=jnp.asarray(weight / weight.sum()))
    return frame(width)[chosen]
