"""Pencil drawings of images: the other domain.

Lines are where the image is darker than its surroundings (a difference of Gaussians, Winnemoeller
et al. 2012, divided by the level about it so that dark and light skin are drawn alike); the rest is
shaded lightly. Nothing depends on where a pixel lies, so a drawing moves with what it shows.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["pencil"]

# Standard deviations of the two blurs that lines are between, and of the shading, as fractions of
# the image's side.
_FINE, _COARSE, _SHADING = 0.8 / 128, 1.36 / 128, 1.5 / 128
_LUMINANCE = (0.35, 0.5, 0.15)
_PAPER = (1.0, 0.985, 0.95)


def pencil(images: jax.Array) -> jax.Array:
    """Drawings of images, both ``[N, R, R, 3]`` in [-1, 1]."""
    tone = (images * 0.5 + 0.5) @ jnp.asarray(_LUMINANCE)  # [N, R, R]
    side = tone.shape[1]
    fine, coarse = _blur(tone, _FINE * side), _blur(tone, _COARSE * side)
    lines = jax.nn.sigmoid(60.0 * ((coarse - fine) / (coarse + 0.12) - 0.036))
    light = jnp.clip(_blur(tone, _SHADING * side), 0.0, 1.0)
    shaded = 1.0 - 0.55 * jnp.power(1.0 - light, 1.3)
    level = shaded * (1.0 - 0.85 * lines)
    return 2.0 * level[..., None] * jnp.asarray(_PAPER)[None, None, None] - 1.0


def _blur(tone: jax.Array, deviation: float) -> jax.Array:
    """``[N, R, R]`` blurred by a Gaussian; beyond its edges an image goes on as it ends."""
    reach = max(1, int(np.ceil(3 * deviation)))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    padded = jnp.pad(tone, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    side = tone.shape[1]
    down = jnp.zeros_like(padded[:, :side, :])
    for k, weight in enumerate(weights):
        down = down + weight * padded[:, k : k + side, :]
    blurred = jnp.zeros_like(tone)
    for k, weight in enumerate(weights):
        blurred = blurred + weight * down[:, :, k : k + side]
    return blurred
