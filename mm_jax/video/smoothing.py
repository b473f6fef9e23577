"""Crops that follow a face through a video without trembling.

A detector's landmarks tremble by a pixel or two from frame to frame, and a crop that trembles with
them makes a face tremble in latent space. Shapes: T frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mm_jax.errors import DataError, UsageError

__all__ = ["local_lines", "points_in_crop", "smooth_quads"]


def smooth_quads(quads: Any, found: Any, times: Any, *, width: float) -> np.ndarray:
    """Crops over time: smoothed, and filled in where no face was found.

    Each is the value at its time of a line that is fitted to the crops about it by least squares,
    with Gaussian weights of standard deviation `width` (locally linear regression; Cleveland 1979,
    "Robust locally weighted regression"). An even movement is left as it is, up to the ends of the
    video.

    Args:
        quads: [T, 4, 2]; those that were not found may hold anything.
        found: [T] bool.
        times: [T] float, growing.
        width: in units of `times`; 0 only fills in, linearly.

    Returns:
        [T, 4, 2] float32.

    Raises:
        DataError: no face was found in any frame. UsageError: other shapes, or a negative width.
    """
    found, times = np.asarray(found, bool), np.asarray(times, np.float64)
    quads = np.where(found[:, None, None], np.asarray(quads, np.float64), 0.0)
    if quads.ndim != 3 or quads.shape[1:] != (4, 2) or not len(quads) == len(found) == len(times):
        raise UsageError(f"quads must be [T, 4, 2] with T values, got {list(quads.shape)}")
    if not width >= 0:
        raise UsageError(f"width must be at least 0, got {width}")
    if not found.any():
        raise DataError("no face was found in any frame")
    flat = quads.reshape(len(quads), 8)
    filled = np.stack([np.interp(times, times[found], column[found]) for column in flat.T], axis=1)
    filled = local_lines(filled, times, width)
    return filled.reshape(-1, 4, 2).astype(np.float32)


def local_lines(values: np.ndarray, times: np.ndarray, width: float) -> np.ndarray:
    """Values [T, C] smoothed over times [T]: the locally linear regression of `smooth_quads`."""
    if width < 1e-6:
        return values
    smooth = np.empty_like(values)
    for i, now in enumerate(times):
        low, high = np.searchsorted(times, [now - 4 * width, now + 4 * width])
        away = times[low:high] - now
        weight = np.exp(-0.5 * np.square(away / width))
        weight /= weight.sum()
        middle = weight @ away
        spread = weight @ np.square(away - middle)
        mean = weight @ values[low:high]
        if spread > 1e-9 * width**2:
            slope = (weight * (away - middle)) @ values[low:high] / spread
            mean = mean - slope * middle
        smooth[i] = mean
    return smooth


def points_in_crop(points: Any, quad: Any, *, size: int) -> np.ndarray:
    """Points [P, 2] of an image as `crop_face` moves them into its crop of side `size`."""
    quad = np.asarray(quad, np.float64)
    axes = np.stack([quad[3] - quad[0], quad[1] - quad[0]], axis=1)
    fraction = np.linalg.solve(axes, (np.asarray(points, np.float64) - quad[0]).T).T
    return (fraction * size - 0.5).astype(np.float32)
