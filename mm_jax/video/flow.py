"""Optical flow: where the points of one image are in another.

Shapes: N pairs of images, S side. Points are (x, y) in pixels, x to the right and y down, the
centre of the first pixel at 0.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from mm_jax.descent import full_batches
from mm_jax.errors import UsageError
from mm_jax.nn.resize import area_resize
from mm_jax.video.quality import grey

__all__ = ["at", "carried_from", "optical_flow"]

# Side of the coarsest image of the pyramid, where a turn of the head is a pixel or two.
COARSEST = 16
# Steps of Lucas and Kanade's method at each size, and the width of its window in pixels.
STEPS, WINDOW = 4, 2.0
# What keeps the flow at rest where a window shows nothing that could be followed, against squared
# gradients of images in [0, 1].
STILL = 5e-4
# Of faces: the side at which they are matched, the side of the coarsest image, windows and what
# keeps them at rest; how far local light is evened out, and the flow.
_FACE_SIDE, _FACE_COARSEST, _FACE_WINDOW, _FACE_STILL = 128, 32, 4.0, 3e-3
_LOCAL, _EVEN = 8.0, 2.5
_AT_ONCE = 8  # faces


def _smooth(image: jax.Array, sigma: float) -> jax.Array:
    """Gaussian mean over [H, W], the border repeated."""
    down, right = (jnp.asarray(_gaussian(side, sigma)) for side in image.shape)
    exact = jax.lax.Precision.HIGHEST
    return jnp.matmul(jnp.matmul(down, image, precision=exact), right.T, precision=exact)


def _gaussian(side: int, sigma: float) -> np.ndarray:
    """The map [side, side] that smoothes one axis, its last values repeated beyond it."""
    reach = int(np.ceil(3.0 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    rows = np.zeros((side, side))
    for shift, weight in zip(range(-reach, reach + 1), kernel / kernel.sum(), strict=True):
        np.add.at(rows, (np.arange(side), np.clip(np.arange(side) + shift, 0, side - 1)), weight)
    return rows.astype(np.float32)


def at(image: jax.Array, points: jax.Array) -> jax.Array:
    """Values of [H, W] at points [..., 2], linearly between pixels, the border repeated."""
    x, y = points[..., 0], points[..., 1]
    return map_coordinates(image, [y, x], order=1, mode="nearest")


def _pixels(height: int, width: int) -> jax.Array:
    x, y = jnp.meshgrid(jnp.arange(width, dtype=jnp.float32), jnp.arange(height, dtype=jnp.float32))
    return jnp.stack([x, y], axis=-1)


def _improve(
    flow: jax.Array, first: jax.Array, second: jax.Array, window: float, still: float
) -> jax.Array:
    """A few Gauss-Newton steps towards the flow [H, W, 2] that matches windows of two images."""
    down, right = jnp.gradient(first)
    xx, xy, yy = (_smooth(p, window) for p in (right * right, right * down, down * down))
    xx, yy = xx + still, yy + still
    size = xx * yy - xy * xy
    pixels = _pixels(*first.shape)

    def step(_: int, flow: jax.Array) -> jax.Array:
        error = first - at(second, pixels + flow)
        x, y = _smooth(right * error, window), _smooth(down * error, window)
        change = jnp.stack([yy * x - xy * y, xx * y - xy * x], axis=-1) / size[..., None]
        return flow + jnp.clip(change, -1.0, 1.0)

    return jax.lax.fori_loop(0, STEPS, step, flow)


def _one_flow(
    first: jax.Array, second: jax.Array, window: float, still: float, coarsest: int
) -> jax.Array:
    sizes = [first.shape[0]]
    while sizes[-1] >= 2 * coarsest:
        sizes.append(sizes[-1] // 2)
    flow = jnp.zeros((sizes[-1], sizes[-1], 2), jnp.float32)
    for size in reversed(sizes):
        grown = jax.image.resize(flow, (size, size, 2), "linear")
        flow = grown * (size / flow.shape[0])
        pair = area_resize(jnp.stack([first, second])[..., None], size)[..., 0]
        one, two = (_smooth(image, 0.8) for image in pair)
        flow = _improve(flow, one, two, window, still)
    return flow


@functools.partial(jax.jit, static_argnames=("window", "still", "coarsest"))
def optical_flow(
    first: jax.Array,
    second: jax.Array,
    *,
    window: float = WINDOW,
    still: float = STILL,
    coarsest: int = COARSEST,
) -> jax.Array:
    """Where the points of one image are in another.

    Lucas and Kanade's method, "An iterative image registration technique" (IJCAI 1981), for every
    pixel and from coarse to fine after Bouguet, "Pyramidal implementation" (2000).

    Args:
        first: [N, S, S] float32 in [0, 1].
        second: as many.
        window: standard deviation in pixels of the Gaussian windows that are matched.
        still: what keeps the flow at rest where a window shows nothing that could be followed,
            against squared gradients.
        coarsest: side at least of the image that is matched first.

    Returns:
        [N, S, S, 2] float32 (x, y): what pixel p of the first shows is at p + flow in the second.

    Raises:
        UsageError: images of other shapes.
    """
    if first.ndim != 3 or first.shape != second.shape or first.shape[1] != first.shape[2]:
        raise UsageError(
            f"optical flow needs two [N, S, S], got {list(first.shape)} and {list(second.shape)}"
        )
    return jax.vmap(lambda one, two: _one_flow(one, two, window, still, coarsest))(first, second)


def carried_from(edited: Any, rebuilt: Any) -> np.ndarray:
    """Where what edited faces show was before the edit.

    The flow is a smooth one: colours may change, and what appears or goes, such as teeth, must not
    tear the face.

    Args:
        edited: [N, R, R, 3] float in [-1, 1].
        rebuilt: [R, R, 3] the face without an edit.

    Returns:
        [N, F, F, 2] float32 (x, y) in sides of the face, F at most 128: what an edited face shows
        at a place was, without the edit, at that place + flow.
    """
    edited, rebuilt = np.asarray(edited, np.float32), jnp.asarray(rebuilt, jnp.float32)[None]
    size = min(len(edited), _AT_ONCE)
    flows = [
        np.asarray(_carried(jnp.asarray(edited[places]), rebuilt))[:count]
        for places, count in full_batches(len(edited), size)
    ]
    return np.concatenate(flows)


@jax.jit
def _carried(edited: jax.Array, rebuilt: jax.Array) -> jax.Array:
    side = min(edited.shape[1], _FACE_SIDE)

    def shapes(images: jax.Array) -> jax.Array:
        """Light [N, side, side] with its local mean and contrast taken out."""
        light = area_resize(grey(images)[..., None], side)[..., 0]
        off = light - soft(light, _LOCAL)
        contrast = jnp.sqrt(soft(off**2, _LOCAL)) + 0.05
        return jnp.clip(0.5 + 0.2 * off / contrast, 0.0, 1.0)

    def soft(images: jax.Array, sigma: float) -> jax.Array:
        return jax.vmap(lambda image: _smooth(image, sigma * side / _FACE_SIDE))(images)

    first, second = shapes(edited), shapes(rebuilt)
    flow = optical_flow(
        first, jnp.broadcast_to(second, first.shape), window=_FACE_WINDOW * side / _FACE_SIDE,
        still=_FACE_STILL, coarsest=min(_FACE_COARSEST, side),
    )  # fmt: skip
    return jnp.stack([soft(flow[..., i], _EVEN) for i in (0, 1)], axis=-1) / side
