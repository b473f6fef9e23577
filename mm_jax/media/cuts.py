"""Where one shot of a video ends and the next begins: cuts, and dissolves from one to the other.

A cut is a frame that differs from the one before as nothing that moves does. In a dissolve every
frame is a mixture of the last frame of one shot and the first of the next, whose fraction grows;
neither a pan nor a zoom nor a face that moves is such a mixture, and where the light changes, the
image at the end is like the one at the beginning.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

__all__ = ["CutFinder", "thumbnail"]

_SIDE = 32
# Of 255: copies of a frame differ by less, and no cut is softer than this.
_SAME, _MIN_CHANGE = 0.5, 10.0
# A cut stands out from the changes about it by so much; within so many frames, of which two count.
_OUTSTANDING, _WITHIN = 2.5, 6

# Frames over which dissolves are looked for. A window may be longer than the dissolve; one that is
# not much longer holds less of the movement in either shot.
_WINDOWS = (6, 9, 12, 18, 24, 36, 48)
# Of 255: a dissolve changes the image by at least so much.
_MIN_DISSOLVED = 15.0
# What of a frame is no mixture of the ends, as a part of their difference; root mean squares.
# Pans, zooms, turns and shakes of photographs have 0.28 at least, and head_turn of the bundled
# videos has 0.44.
_MAX_LEFT = 0.2
# The fraction of the second shot grows, but for noise; frames between these fractions are mixtures.
_MAX_BACK, _MIXED = 0.05, (0.1, 0.9)
# Correlation of the ends' details, the best of small shifts: the same scene in other light has
# nearly 1, shots of two people in the middle of the image 0.4 at most.
_MAX_LIKE, _SHIFT = 0.6, 2
# Of 255: an end with less detail, root mean square, is black or white, so the shot only fades.
_MIN_DETAIL = 2.0
# Where one frame makes so much of the change, it is a cut.
_AT_ONCE = 0.8


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """A frame [H, W, 3] uint8 reduced as `CutFinder` compares it."""
    return np.asarray(Image.fromarray(frame).resize((_SIDE, _SIDE), Image.Resampling.BOX))


class _Dissolve(NamedTuple):
    """A window in which one image goes over into another.

    Attributes:
        first: the first frame that is a mixture.
        last: the last one.
        middle: the first frame that shows more of the second image.
        change: mean absolute difference of the images, of 255.
    """

    first: int
    last: int
    middle: int
    change: float


class CutFinder:
    """Is shown frame after frame, and then names the cuts and dissolves."""

    SIDE = _SIDE

    def __init__(self) -> None:
        self._recent: deque[np.ndarray] = deque(maxlen=max(_WINDOWS) + 1)
        self._changes: list[float] = []
        self._dissolves: list[_Dissolve] = []

    def add(self, small: Any) -> None:
        """Look at the next frame, [SIDE, SIDE, 3] uint8."""
        values = np.asarray(small, np.float32)
        change = float(np.abs(values - self._recent[-1]).mean()) if self._recent else 0.0
        self._changes.append(change)
        self._recent.append(values)
        for length in _WINDOWS:
            if length < len(self._recent) and (found := self._dissolve(length)):
                self._dissolves.append(found)

    def cuts(self) -> tuple[int, ...]:
        """The first frames of all shots but the first.

        After a dissolve that is the first frame that shows more of the new shot than of the old.
        """
        cuts = {i for i, change in enumerate(self._changes) if self._is_cut(i, change)}
        together: list[list[_Dissolve]] = []
        for one in sorted(self._dissolves):
            if together and one.first <= max(other.last for other in together[-1]):
                together[-1].append(one)
            else:
                together.append([one])
        for some in together:
            # The window that holds most of the dissolve knows its middle best.
            middle = max(some, key=lambda one: one.change).middle
            if not cuts & set(range(middle - _WITHIN, middle + _WITHIN + 1)):
                cuts.add(middle)
        return tuple(sorted(cuts))

    def _is_cut(self, index: int, change: float) -> bool:
        """Whether a change is alone: in a pan, or on fast movement, its neighbours are as large."""
        if change < _MIN_CHANGE:
            return False
        before = self._changes[max(index - _WITHIN, 0) : index][::-1]
        after = self._changes[index + 1 : index + 1 + _WITHIN]
        # Copies, which a change of the frame rate puts in, say nothing about movement.
        near = [[c for c in side if c > _SAME][:2] for side in (before, after)]
        return change > _OUTSTANDING * max([*near[0], *near[1]], default=0.0)

    def _dissolve(self, length: int) -> _Dissolve | None:
        """The dissolve that the last `length` frames and the one before them are, if they are."""
        first, last = self._recent[-length - 1], self._recent[-1]
        change = float(np.abs(last - first).mean())
        if change < _MIN_DISSOLVED or max(self._changes[-length:]) > _AT_ONCE * change:
            return None
        window = np.stack([self._recent[i] for i in range(-length - 1, 0)])
        from_first = (window - first[None]).reshape(length + 1, -1)
        whole = from_first[-1]
        fractions = from_first @ whole / (whole @ whole)
        mixed = (fractions > _MIXED[0]) & (fractions < _MIXED[1])
        if not mixed.any() or np.diff(fractions).min() < -_MAX_BACK:
            return None
        left = from_first - fractions[:, None] * whole
        if np.square(left).sum(axis=1).max() > _MAX_LEFT**2 * (whole @ whole):
            return None
        if _likeness(first, last) > _MAX_LIKE:
            return None
        places = len(self._changes) - 1 - length + np.arange(length + 1)
        mixtures = places[mixed]
        return _Dissolve(
            int(mixtures[0]), int(mixtures[-1]), int(places[np.argmax(fractions >= 0.5)]), change
        )


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the details of two thumbnails, the best of small shifts.

    1 where one of them has no details.
    """
    one, other = _details(one), _details(other)
    if min(np.sqrt(np.mean(np.square(details))) for details in (one, other)) < _MIN_DETAIL:
        return 1.0
    inside = slice(_SHIFT, -_SHIFT)
    fixed = other[inside, inside]
    best = -1.0
    for down in range(2 * _SHIFT + 1):
        for right in range(2 * _SHIFT + 1):
            height, width, _ = fixed.shape
            moved = one[down : down + height, right : right + width]
            size = np.sqrt(np.square(moved).sum() * np.square(fixed).sum())
            best = max(best, float((moved * fixed).sum() / max(size, 1e-6)))
    return best


def _details(small: np.ndarray) -> np.ndarray:
    """A thumbnail less the mean of 3 by 3 pixels, without its border: [SIDE - 2, SIDE - 2, 3]."""
    rows = small[:-2] + small[1:-1] + small[2:]
    mean = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0
    return small[1:-1, 1:-1] - mean
