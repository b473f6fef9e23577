"""Rasterising triangles: which one a sample of the image sees, and maps of depth.

The only compiled loops of the renderer, together with `sampling`. Samples lie on a regular grid,
``across`` to a side, at integer coordinates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

__all__ = ["BAYER", "Visible", "choose_samples", "depth_map", "visible"]

# Thresholds of ordered dithering. With four by four samples a pixel, coverage of a soft edge comes
# out in sixteenths and the same at every pixel: no noise that belongs to the screen.
BAYER = (
    np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) + 0.5
) / 16


class Visible(NamedTuple):
    """What each sample of an image sees.

    Attributes:
        depth: ``[A, A]`` float32, one over the distance, 0 where there is nothing.
        triangle: ``[A, A]`` int32, -1 where there is nothing.
        weights: ``[A, A, 2]`` float32, barycentric weights of the second and third vertex.
    """

    depth: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray


def visible(points: np.ndarray, faces: np.ndarray, alpha: np.ndarray, across: int) -> Visible:
    """The nearest triangle at each sample.

    Args:
        points: ``[n, 3]`` float32, image coordinates and one over the distance.
        faces: ``[t, 3]`` int32.
        alpha: ``[n]`` float32 opacity of vertices; a soft one is dithered.
        across: samples to a side, A.
    """
    out = Visible(
        np.zeros((across, across), np.float32),
        np.full((across, across), -1, np.int32),
        np.zeros((across, across, 2), np.float32),
    )
    _draw(points, faces, alpha, BAYER, *out)
    return out


@numba.njit(cache=True, fastmath=True)
def _draw(points, faces, alpha, bayer, depth, triangle, weights):
    across = depth.shape[0]
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        if alpha[a] + alpha[b] + alpha[c] <= 0:
            continue
        x0, y0 = points[a, 0], points[a, 1]
        x1, y1 = points[b, 0], points[b, 1]
        x2, y2 = points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0:
            continue
        left = max(0, math.ceil(min(x0, min(x1, x2))))
        right = min(across - 1, math.floor(max(x0, max(x1, x2))))
        top = max(0, math.ceil(min(y0, min(y1, y2))))
        bottom = min(across - 1, math.floor(max(y0, max(y1, y2))))
        solid = min(alpha[a], min(alpha[b], alpha[c])) >= 1
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
                w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
                w0 = 1 - w1 - w2
                if w0 < -1e-6 or w1 < -1e-6 or w2 < -1e-6:
                    continue
                z = w0 * points[a, 2] + w1 * points[b, 2] + w2 * points[c, 2]
                if z <= depth[y, x]:
                    continue
                # Perspective: weights in the scene, not in the image.
                p1, p2 = w1 * points[b, 2] / z, w2 * points[c, 2] / z
                if not solid:
                    opacity = (1 - p1 - p2) * alpha[a] + p1 * alpha[b] + p2 * alpha[c]
                    if opacity <= bayer[y & 3, x & 3]:
                        continue
                depth[y, x] = z
                triangle[y, x] = t
                weights[y, x, 0] = p1
                weights[y, x, 1] = p2


def depth_map(points: np.ndarray, faces: np.ndarray, alpha: np.ndarray, across: int) -> np.ndarray:
    """Orthographic depth ``[A, A]`` float32, larger is nearer, -9 where there is nothing.

    ``points [n, 3]`` are image coordinates and depth; triangles less than half opaque are left out.
    """
    out = np.full((across, across), -9, np.float32)
    _draw_depth(points, faces, alpha, out)
    return out


@numba.njit(cache=True, fastmath=True)
def _draw_depth(points, faces, alpha, out):
    across = out.shape[0]
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        if alpha[a] + alpha[b] + alpha[c] < 1.5:
            continue
        x0, y0 = points[a, 0], points[a, 1]
        x1, y1 = points[b, 0], points[b, 1]
        x2, y2 = points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0:
            continue
        # Half a texel more on each side, so that small triangles leave no holes.
        left = max(0, math.floor(min(x0, min(x1, x2)) + 0.5))
        right = min(across - 1, math.floor(max(x0, max(x1, x2)) + 0.5))
        top = max(0, math.floor(min(y0, min(y1, y2)) + 0.5))
        bottom = min(across - 1, math.floor(max(y0, max(y1, y2)) + 0.5))
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
                w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
                w0 = 1 - w1 - w2
                if w0 >= 0 and w1 >= 0 and w2 >= 0:
                    z = w0 * points[a, 2] + w1 * points[b, 2] + w2 * points[c, 2]
                    if z > out[y, x]:
                        out[y, x] = z


@numba.njit(cache=True)
def choose_samples(triangle, material, wanted, side, weight):
    """Choose the samples that are shaded, so many for each pixel and material.

    Args:
        triangle: ``[A, A]`` int32 of `visible`, A = 4 R.
        material: ``[t]`` int8 of triangles.
        wanted: ``[M]`` int64, most samples of a material in a pixel.
        side: R, pixels to a side.
        weight: ``[A, A]`` float32, filled with how many samples a chosen one stands for, else 0.
    """
    for row in range(side):
        for column in range(side):
            for m in range(wanted.shape[0]):
                count = 0
                for k in range(16):
                    t = triangle[4 * row + k // 4, 4 * column + k % 4]
                    if t >= 0 and material[t] == m:
                        count += 1
                if count == 0:
                    continue
                taken, most = 0, min(wanted[m], count)
                for k in range(16):
                    # Steps of seven visit the sixteen samples in a scattered order.
                    j = (7 * k + 5) % 16
                    t = triangle[4 * row + j // 4, 4 * column + j % 4]
                    if t >= 0 and material[t] == m and taken < most:
                        weight[4 * row + j // 4, 4 * column + j % 4] = count / most
                        taken += 1
