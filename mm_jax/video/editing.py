"""The offsets that an edit of a video adds to the latent of each frame.

Shapes: T frames, E subspaces, L rows of W+, D latent width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mm_jax.errors import UsageError
from mm_jax.video.smoothing import local_lines

__all__ = ["fade_in_and_out", "over_time", "own_motion"]


def over_time(strengths: Sequence[Sequence[float]], frames: int) -> np.ndarray:
    """Strengths as keyframes: [E][S] evenly over a video, in between on a line, to [E, T] float32.

    Raises:
        UsageError: a subspace without a strength.
    """
    if not all(len(row) for row in strengths):
        raise UsageError("an edit of a video needs at least one strength for each subspace")
    place = np.linspace(0.0, 1.0, frames)
    rows = [np.interp(place, np.linspace(0.0, 1.0, len(row)), row) for row in strengths]
    return np.asarray(rows, np.float32).reshape(len(rows), frames)


def own_motion(ws: np.ndarray, mean: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The part of a video's displacements that lies in a subspace.

    Args:
        ws: [T, L, D] latents of frames.
        mean: [L, D] the video's mean latent.
        basis: [K, L, D] orthonormal.

    Returns:
        [T, L, D] float32; a video amplified by a is `ws + (a - 1) * own_motion`.
    """
    moves = (ws - mean[None]).reshape(len(ws), -1)
    flat = basis.reshape(len(basis), -1)
    return ((moves @ flat.T) @ flat).reshape(ws.shape).astype(np.float32)


def fade_in_and_out(found: np.ndarray, times: np.ndarray, *, width: float) -> np.ndarray:
    """[T] in [0, 1]: 1 where a face is seen, 0 where none is; soft over `width` seconds."""
    near = local_lines(found.astype(np.float64)[:, None], times, width)[:, 0]
    weight = np.clip(2.0 * near - 1.0, 0.0, 1.0)
    return (weight * found).astype(np.float32)
