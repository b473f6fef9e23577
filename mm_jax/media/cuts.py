"""Cuts of a video: frames that differ from the one before as nothing that moves does."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

__all__ = ["CutFinder", "thumbnail"]

_SIDE = 32
# Of 255: copies of a frame differ by less, and no cut is softer than this.
_SAME, _MIN_CHANGE = 0.5, 10.0
# A cut stands out from the changes about it by so much; within so many frames, of which two count.
_OUTSTANDING, _WITHIN = 2.5, 6


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """A frame [H, W, 3] uint8 reduced as `CutFinder` compares it."""
    return np.asarray(Image.fromarray(frame).resize((_SIDE, _SIDE), Image.Resampling.BOX))


class CutFinder:
    """Is shown frame after frame, and then names the cuts."""

    SIDE = _SIDE

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._changes: list[float] = []

    def add(self, small: Any) -> None:
        """Look at the next frame, [SIDE, SIDE, 3] uint8."""
        values = np.asarray(small, np.float32)
        change = 0.0 if self._last is None else float(np.abs(values - self._last).mean())
        self._changes.append(change)
        self._last = values

    def cuts(self) -> tuple[int, ...]:
        """The first frames of all shots but the first."""
        return tuple(i for i, change in enumerate(self._changes) if self._is_cut(i, change))

    def _is_cut(self, index: int, change: float) -> bool:
        """Whether a change is alone: in a pan, or on fast movement, its neighbours are as large."""
        if change < _MIN_CHANGE:
            return False
        before = self._changes[max(index - _WITHIN, 0) : index][::-1]
        after = self._changes[index + 1 : index + 1 + _WITHIN]
        # Copies, which a change of the frame rate puts in, say nothing about movement.
        near = [[c for c in side if c > _SAME][:2] for side in (before, after)]
        return change > _OUTSTANDING * max([*near[0], *near[1]], default=0.0)
