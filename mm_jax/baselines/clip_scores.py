"""Directions of W from what CLIP says of sampled faces: of its scores, and of their gradients.

The score of a face is how much more its image matches the last prompt than the first.

- Means: the mean latent of the faces of the highest scores less that of the lowest, the usual way
  from labels to a direction (Upchurch et al. 2017, "Deep Feature Interpolation", arXiv:1611.05507;
  White 2016, "Sampling Generative Networks", arXiv:1609.04468).
- Regression of W on the score: the least-squares line of each number of w on the score, which is
  their covariance over the score's variance. In normally distributed W it points along the
  covariance of W times the mean gradient of the score (Stein 1981).
- Covariance of W times the mean gradient itself, here of the degree that CLIP reads at faces of
  their own; the same as our own way (`mm_jax.anchors.gradient`) but for the metric.
"""

from __future__ import annotations

import numpy as np

from mm_jax.anchors.prompts import Motion
from mm_jax.baselines.world import Direction, World
from mm_jax.checks import layer_mask
from mm_jax.errors import DataError

__all__ = [
    "difference_of_means",
    "find_gradient",
    "find_means",
    "find_regression",
    "slopes",
]


def difference_of_means(w: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """Mean of the latents [n, D] of the `count` highest scores [n] less that of the lowest."""
    order = np.argsort(scores, kind="stable")
    count = min(count, len(order) // 2)
    return w[order[-count:]].mean(axis=0) - w[order[:count]].mean(axis=0)


def slopes(w: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Slope [D] of each number of latents [n, D] over the scores [n], by least squares.

    Raises:
        DataError: all scores are equal.
    """
    centred = scores.astype(np.float64) - scores.mean(dtype=np.float64)
    variance = (centred**2).mean()
    if not variance > 0:
        raise DataError("CLIP scores all sampled faces alike")
    return centred @ (w.astype(np.float64) - w.mean(axis=0)[None]) / len(w) / variance


def find_means(world: World, motion: Motion) -> Direction:
    """From the faces of the lowest scores to those of the highest."""
    count = world.options.count(world.options.extremes)
    move = difference_of_means(world.faces.w, world.score(motion), count)
    return Direction.of_w(move, world.gen.config.num_ws)


def find_regression(world: World, motion: Motion) -> Direction:
    """How w changes with the score."""
    return Direction.of_w(slopes(world.faces.w, world.score(motion)), world.gen.config.num_ws)


def find_gradient(world: World, motion: Motion) -> Direction:
    """The covariance of W times the mean gradient of the degree that CLIP reads."""
    field, _ = world.fields[motion.name]
    moving = layer_mask(motion.layers, world.gen.config.num_ws)
    move = world.covariance @ field.sum(axis=0)
    return Direction((move[None] * moving[:, None]).astype(np.float32))
