"""The progress of a video's motion in each of its frames.

Points of the face are followed through the video, either landmarks that a detector found or a grid
of points carried along by optical flow. What most of their movement has in common, the first
principal component of their positions, is the progress of the motion: one number a frame, which
turns back where the motion does.

Shapes: T frames, H W size, P points. Points are (x, y) in pixels, x to the right and y down, the
centre of the first pixel at 0.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.errors import DataError, UsageError
from mm_jax.nn.resize import area_resize
from mm_jax.video.flow import at, optical_flow
from mm_jax.video.quality import grey

__all__ = ["Progression", "follow", "measure_motion"]

# A grid of so many points a side is followed, over so much of the image.
GRID, INSIDE = 16, 0.8
# Frames are compared at this side at most: the motion of a face shows at 64 pixels.
SIDE = 64


@dataclasses.dataclass(frozen=True)
class Progression:
    """The result of `measure_motion`.

    Attributes:
        progress: [T] float32 in [0, 1], how far the motion has come; the first frame is in the
            lower half.
        size: [T] float32, how far points moved since the frame before, root mean square in
            pixels.
        fraction: of all movement, the part along `progress`, in [0, 1].
    """

    progress: np.ndarray
    size: np.ndarray
    fraction: float


@functools.partial(jax.jit, static_argnames=("side",))
def _follow(frames: jax.Array, side: int) -> jax.Array:
    light = area_resize(grey(frames)[..., None], side)[..., 0]
    flows = optical_flow(light[:-1], light[1:])
    edge = 0.5 * (1.0 - INSIDE) * side
    axis = jnp.linspace(edge, side - 1 - edge, GRID)
    start = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)

    def carry(points: jax.Array, flow: jax.Array) -> tuple[jax.Array, jax.Array]:
        moved = points + jnp.stack([at(flow[..., i], points) for i in (0, 1)], axis=-1)
        return moved, moved

    _, later = jax.lax.scan(carry, start, flows)
    return jnp.concatenate([start[None], later])


def follow(frames: Any) -> np.ndarray:
    """A grid of points, carried through a video by the optical flow from each frame to the next.

    Args:
        frames: [T, S, S, 3], uint8 or float in [-1, 1], T >= 2.

    Returns:
        [T, P, 2] float32, in pixels of the given frames.

    Raises:
        UsageError: frames of another shape, or fewer than two.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[1] != frames.shape[2] or frames.shape[3] != 3:
        raise UsageError(f"frames must be [T, S, S, 3], got {list(frames.shape)}")
    if len(frames) < 2:
        raise UsageError(f"points are followed through two frames or more, got {len(frames)}")
    side = min(frames.shape[1], SIDE)
    scale = frames.shape[1] / side
    return ((np.asarray(_follow(frames, side)) + 0.5) * scale - 0.5).astype(np.float32)


def measure_motion(points: Any) -> Progression:
    """The progress of a motion from the points that it moves.

    Args:
        points: [T, P, 2] float, T >= 2: landmarks, or what `follow` gives.

    Raises:
        UsageError: another shape. DataError: points that are not finite, or that stand still.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 3 or points.shape[2] != 2 or len(points) < 2 or points.shape[1] < 1:
        raise UsageError(f"points must be [T, P, 2] with T >= 2, got {list(points.shape)}")
    if not np.isfinite(points).all():
        raise DataError("the points of a motion hold NaN or infinity")
    steps = np.diff(points, axis=0, prepend=points[:1])
    size = np.sqrt(np.square(steps).sum(axis=2).mean(axis=1))
    moves = (points - points.mean(axis=0)).reshape(len(points), -1)
    left, values, _ = np.linalg.svd(moves, full_matrices=False)
    if not values[0] > 1e-6 * max(1.0, np.abs(points).max()):
        raise DataError("nothing moves in this video: its points stand still")
    along = left[:, 0]
    along = (along - along.min()) / (along.max() - along.min())
    along = 1.0 - along if along[0] > 0.5 else along
    return Progression(
        progress=along.astype(np.float32),
        size=size.astype(np.float32),
        fraction=float(values[0] ** 2 / np.square(values).sum()),
    )
