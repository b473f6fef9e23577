"""A store of rendered faces with their z, made once and read by several trainings."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.io import write_atomic
from mm_jax.synthface.factors import Z_DIM, factors_from_z
from mm_jax.synthface.renderer import Style, render

CHUNK = 2000


class Renders(NamedTuple):
    """``images [N, R, R, 3]`` uint8, ``factors [N, F]`` float32."""

    images: np.ndarray
    factors: np.ndarray

    def batch(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Random pictures as float32 in [-1, 1], and their factors."""
        rows = rng.integers(0, len(self.images), count)
        return self.images[rows].astype(np.float32) / 127.5 - 1, self.factors[rows]


def make_renders(
    folder: Path, count: int, *, seed: int, resolution: int = 128, style: Style = "face"
) -> Renders:
    """Renders ``count`` faces in chunks of 2,000, taking up the chunks that ``folder`` holds."""
    folder.mkdir(parents=True, exist_ok=True)
    images, factors = [], []
    kind = "renders" if style == "face" else style
    for chunk in range(-(-count // CHUNK)):
        path = folder / f"{kind}-{seed}-{resolution}-{chunk:03d}.npy"
        z = jax.random.normal(jax.random.fold_in(jax.random.key(seed), chunk), (CHUNK, Z_DIM))
        truth = np.asarray(factors_from_z(z))
        if not path.exists():
            parts = [
                np.asarray(render(jnp.asarray(part), resolution=resolution, style=style))
                for part in np.split(truth, CHUNK // 20)
            ]
            pixels = np.round((np.concatenate(parts) + 1) * 127.5).astype(np.uint8)
            write_atomic(path, functools.partial(np.save, arr=pixels))
            print(f"renders: {path.name}", flush=True)
        images.append(np.load(path))
        factors.append(truth)
    return Renders(np.concatenate(images)[:count], np.concatenate(factors)[:count])
