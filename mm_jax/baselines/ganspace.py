"""GANSpace: principal components of W, applied to a range of layers.

Härkönen, Hertzmann, Lehtinen, Paris 2020, "GANSpace: Discovering Interpretable GAN Controls"
(arXiv:2004.02546). There 10^6 latents are decomposed and a person names components and their
layers; here the sampled faces are decomposed and `mm_jax.baselines.oracle` picks.
"""

from __future__ import annotations

import numpy as np

from mm_jax.anchors.prompts import Motion
from mm_jax.baselines.oracle import picked
from mm_jax.baselines.world import Direction, World

__all__ = ["find", "principal_components"]


def principal_components(w: np.ndarray, count: int) -> np.ndarray:
    """The first components [K, D] of latents [n, D], orthonormal, the largest variance first."""
    centred = w.astype(np.float64) - w.mean(axis=0, dtype=np.float64)[None]
    return np.linalg.svd(centred, full_matrices=False)[2][:count]


def find(world: World, motion: Motion) -> Direction:
    """The oracle's pick among the components of W and all ranges of layers."""
    components = world.once(
        "components of W",
        lambda: principal_components(world.faces.w, world.options.components),
    )
    return picked(
        world,
        motion,
        lambda first, last: components,
    )
