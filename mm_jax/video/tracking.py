"""One person among the faces of a video: who moves on, leaves, comes back, or is cut away from.

From one frame to the next a face is told by its place. Where that does not decide (after a cut,
after a gap, or with other people about) a face recogniser does: the face must be like those that
were followed so far, and more like them than like other people's who were seen beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mm_jax.alignment.face import Face

__all__ = ["FaceTracker", "spans_text"]

# A face has gone, or another one is meant, when the nearest is this many of its sides away.
_JUMP = 1.0
# A gap of so many frames leaves a face near its place.
_GAP = 12
# Distances of descriptors. Somebody is the same person when no further from what was followed than
# `_STRICT` and twice the variation that was seen; in the place where they are expected, `_SAME`.
_STRICT, _SAME = 0.25, 0.5
# How often the followed face is described, and how many descriptors are kept.
_EVERY, _KEPT = 10, 64

Describe = Callable[[np.ndarray, Face], np.ndarray]


class FaceTracker:
    """Follows one face; is shown the faces of frame after frame.

    Args:
        describe: from a frame [H, W, 3] uint8 and a face in it to the face's descriptor [D];
            distances between descriptors are those of a face recogniser.
    """

    def __init__(self, describe: Describe) -> None:
        self._describe = describe
        self._own: list[np.ndarray] = []
        self._others: list[np.ndarray] = []
        self._last: Face | None = None
        self._missed = 0
        self._seen = 0

    @property
    def begun(self) -> bool:
        """Whether there is a face to follow."""
        return self._last is not None

    def begin(self, frame: np.ndarray, faces: Sequence[Face], chosen: int) -> Face:
        """Follow one of the faces of a frame; the others are other people."""
        self._own = [self._describe(frame, faces[chosen])]
        self._others = [self._describe(frame, f) for i, f in enumerate(faces) if i != chosen]
        return self._found(frame, faces[chosen])

    def next(self, frame: np.ndarray, faces: Sequence[Face], *, cut: bool) -> Face | None:
        """The followed face among those of the next frame, if it is there.

        Args:
            frame: [H, W, 3] uint8.
            faces: in it.
            cut: whether there is a cut since the frame before.
        """
        assert self._last is not None
        if cut:
            self._missed = _GAP + 1
        placed = [self._missed <= _GAP and self._is_near(face) for face in faces]
        if not self._others and not self._missed and len(faces) == 1 and placed[0]:
            return self._found(frame, faces[0])
        descriptors = [self._describe(frame, face) for face in faces]
        best, min_distance = None, np.inf
        for i, (near, descriptor) in enumerate(zip(placed, descriptors, strict=True)):
            distance = _distance(descriptor, self._own)
            limit = _SAME if near else self._limit()
            if distance < min(min_distance, limit, _distance(descriptor, self._others)):
                best, min_distance = i, distance
        if best is None:
            self._missed += 1
            return None
        for i, descriptor in enumerate(descriptors):
            # Of a reflection, or an image of the same person, nothing can be learned.
            if i != best and _distance(descriptor, self._own) > self._limit():
                self._others = [*self._others, descriptor][-_KEPT:]
        return self._found(frame, faces[best], descriptors[best])

    def _found(self, frame: np.ndarray, face: Face, descriptor: np.ndarray | None = None) -> Face:
        self._last, self._missed = face, 0
        # A face that the border cuts is unlike itself.
        if self._seen % _EVERY == 0 and _is_whole(face, frame):
            found = self._describe(frame, face) if descriptor is None else descriptor
            self._own = [*self._own, found][-_KEPT:]
        self._seen += 1
        return face

    def _limit(self) -> float:
        spread = max(float(np.linalg.norm(one - self._own[0])) for one in self._own)
        return min(_STRICT + 2.0 * spread, _SAME)

    def _is_near(self, face: Face) -> bool:
        assert self._last is not None
        away = _middle(face) - _middle(self._last)
        return float(np.hypot(*away)) <= _JUMP * np.sqrt(self._last.area)


def spans_text(indices: Sequence[int]) -> str:
    """Growing integers as runs: "0-23, 57-59"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _distance(descriptor: np.ndarray, known: Sequence[np.ndarray]) -> float:
    return min((float(np.linalg.norm(descriptor - one)) for one in known), default=np.inf)


def _middle(face: Face) -> np.ndarray:
    return face.box.reshape(2, 2).mean(axis=0)


def _is_whole(face: Face, frame: Any) -> bool:
    height, width = frame.shape[:2]
    left, top, right, bottom = face.box
    return left > 0 and top > 0 and right < width - 1 and bottom < height - 1
