"""Boxes [N, 4]: left, top, right, bottom."""

from __future__ import annotations

import numpy as np

__all__ = ["overlaps", "suppress"]


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box [4] with each of boxes [N, 4]: [N] in [0, 1]."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + areas - shared
    return shared / np.maximum(union, 1e-12)


def suppress(
    boxes: np.ndarray, scores: np.ndarray, *, threshold: float, overlap: float
) -> np.ndarray:
    """Non-maximum suppression.

    Args:
        boxes: [N, 4].
        scores: [N].
        threshold: boxes are left out whose score is not above it.
        overlap: boxes are left out that overlap a better one by more.

    Returns:
        Indices of what is kept, best first.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > threshold]
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[overlaps(boxes[best], boxes[order]) <= overlap]
    return np.array(kept, int)
