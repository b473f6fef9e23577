"""A store of pictures from the trained generator, on and off its manifold, for the trainings.

A CLIP trained on renders only has blind spots that an optimiser of W+ finds.  So half of these
pictures are ordinary samples, a quarter mixes the rows of two codes, and a quarter has moved along
the difference of two others in some rows, as an edit does.  A probe says what they show.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.io import save_npz
from mm_jax.latents import synthesize
from mm_jax.perceptual.probe import Probe, read_factors
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import map_latents

CHUNK = 1000


class Generated(NamedTuple):
    """``images [N, R, R, 3]`` uint8, their codes ``ws [N, L, D]``, ``factors [N, F]`` as read."""

    images: np.ndarray
    ws: np.ndarray
    factors: np.ndarray


def make_generated(
    folder: Path, gen: Generator, probe: Probe, count: int, *, seed: int
) -> Generated:
    """Synthesizes ``count`` pictures in chunks of 1,000, taking up those that ``folder`` holds."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for chunk in range(-(-count // CHUNK)):
        path = folder / f"generated-{gen.fingerprint[:12]}-{seed}-{chunk:03d}.npz"
        if not path.exists():
            ws = random_codes(gen, jax.random.fold_in(jax.random.key(seed), chunk), CHUNK)
            images = [np.asarray(synthesize(gen, part)) for part in jnp.split(ws, CHUNK // 20)]
            read = np.concatenate([np.asarray(read_factors(probe, part)) for part in images])
            pixels = np.clip(np.round((np.concatenate(images) + 1) * 127.5), 0, 255)
            save_npz(path, images=pixels.astype(np.uint8), ws=ws, factors=read)
            print(f"generated: {path.name}", flush=True)
        with np.load(path) as stored:
            parts.append(tuple(stored[name] for name in Generated._fields))
    return Generated(*(np.concatenate(column)[:count] for column in zip(*parts, strict=True)))


def random_codes(gen: Generator, key: jax.Array, count: int) -> jax.Array:
    """W+ codes ``[count, L, D]``: half plain, a quarter of mixed rows, a quarter moved."""
    kz, kr, km, ka = jax.random.split(key, 4)
    rows, quarter = gen.config.num_ws, count // 4
    z = jax.random.normal(kz, (2 * count, gen.config.z_dim))
    w, other = jnp.split(map_latents(gen.config, gen.params, z)[:, None, :], 2)
    ws = jnp.broadcast_to(w, (count, rows, w.shape[-1]))
    ends = jnp.sort(jax.random.randint(kr, (count, 2), 0, rows + 1), axis=1)
    level = jnp.arange(rows)[None, :]
    inside = ((level >= ends[:, :1]) & (level < ends[:, 1:]))[..., None]
    mixed = jnp.where(inside, other, ws)
    amount = 0.9 * jax.random.uniform(ka, (count, 1, 1))
    everywhere = jax.random.bernoulli(km, 0.5, (count, 1, 1))
    moved = ws + amount * (other - jnp.roll(other, 1, axis=0)) * (inside | everywhere)
    kind = (jnp.arange(count) // quarter)[:, None, None]
    return jnp.where(kind < 2, ws, jnp.where(kind == 2, mixed, moved))
