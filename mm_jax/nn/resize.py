"""Resizing of images by area: each output pixel is the mean over the square that it covers.

An image is taken as piecewise constant over its pixels, so that the same rule enlarges and
reduces, by any ratio. On each axis the resize is one fixed linear map; the image is multiplied
by it from both sides. For a side R that divides or is divided by the output this is average
pooling or nearest-neighbour enlargement, and for R -> 224 it equals what StyleCLIP does
(`criteria/clip_loss.py`): enlarge 7 times by nearest neighbour, then average-pool by R / 32.

Networks that were trained on PyTorch's adaptive average pooling see slightly other images: there
windows are whole pixels, of uneven size, and may overlap. `adaptive_resize` is that rule; where one
side divides the other, both agree.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.errors import UsageError

__all__ = ["adaptive_resize", "adaptive_weights", "area_resize", "area_weights"]


def area_weights(
    source: int, target: int, *, start: jax.Array | float = 0.0, extent: jax.Array | float = 1.0
) -> jax.Array:
    """The linear map that resizes one axis of an image, or a window of it, by area.

    Args:
        source: number of input pixels R.
        target: number of output pixels S.
        start: where the window begins, as a fraction of the axis; may be traced.
        extent: how much of the axis the window covers; may be traced. `start` and
            `start + extent` lie in [0, 1].

    Returns:
        [S, R] float32; each row is non-negative and sums to one.
    """
    # A window that is known beforehand is measured in float64: at 1024 pixels float32 positions are
    # off by enough to show in the fifth digit of an image.
    known = isinstance(start, int | float) and isinstance(extent, int | float)
    xp, dtype = (np, np.float64) if known else (jnp, jnp.float32)
    step = xp.asarray(extent, dtype) * (source / target)
    low = xp.asarray(start, dtype) * source + step * xp.arange(target, dtype=dtype)
    low, high = low[:, None], (low + step)[:, None]
    pixel = xp.arange(source, dtype=dtype)[None, :]
    overlap = xp.maximum(xp.minimum(high, pixel + 1.0) - xp.maximum(low, pixel), 0.0)
    # Dividing by the sum rather than by the step makes rows sum to one despite rounding.
    return jnp.asarray(overlap / xp.sum(overlap, axis=1, keepdims=True), jnp.float32)


def adaptive_weights(source: int, target: int) -> np.ndarray:
    """The linear map that pools one axis as PyTorch's AdaptiveAvgPool2d does.

    Output i is the mean over pixels floor(i R / S) up to, without it, ceil((i + 1) R / S).

    Returns:
        [S, R] float64, so that maps can be multiplied before they are rounded.
    """
    pixel, i = np.arange(source)[None, :], np.arange(target)[:, None]
    inside = (pixel >= i * source // target) & (pixel < -(-(i + 1) * source // target))
    return inside / inside.sum(axis=1, keepdims=True)


def apply_weights(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Multiply images [N, H, W, C] by maps [S, H] and [S, W]: [N, S, S, C]."""
    # Full precision: accelerators otherwise round the pixels to 8 or 11 bits in such a product.
    exact = jax.lax.Precision.HIGHEST
    images = jnp.einsum("sh,nhwc->nswc", rows, images, precision=exact)
    return jnp.einsum("tw,nswc->nstc", columns, images, precision=exact)


def area_resize(images: jax.Array, size: int) -> jax.Array:
    """Resize images [N, H, W, C] by area to [N, size, size, C] (float32).

    Raises:
        UsageError: the input is not of rank 4, or `size` is below one.
    """
    return _resize(images, size, area_weights)


def adaptive_resize(images: jax.Array, size: int) -> jax.Array:
    """Pool images [N, H, W, C] to [N, size, size, C] (float32) as AdaptiveAvgPool2d does.

    Raises:
        UsageError: the input is not of rank 4, or `size` is below one.
    """
    return _resize(images, size, adaptive_weights)


def _resize(
    images: jax.Array, size: int, weights: Callable[[int, int], jax.Array | np.ndarray]
) -> jax.Array:
    if images.ndim != 4:
        raise UsageError(f"images must be [N, H, W, C], got shape {list(images.shape)}")
    if size < 1:
        raise UsageError(f"the size to resize to must be at least 1, got {size}")
    images = images.astype(jnp.float32)
    height, width = images.shape[1:3]
    if (height, width) == (size, size):
        return images
    rows, columns = (jnp.asarray(weights(side, size), jnp.float32) for side in (height, width))
    return apply_weights(images, rows, columns)
