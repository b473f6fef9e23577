"""The faces of frame after frame: looked for everywhere now and then, in between near their places.

A whole frame of a large video takes many times as long to search as the places in which its faces
were a moment ago; one without a face takes longest, as it is turned and enlarged to find some.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mm_jax.alignment.face import Face
from mm_jax.faces.boxes import overlaps

__all__ = ["FaceSearch"]

# Every so many frames at the latest the whole frame is searched: somebody may have come; more often
# while the one who is followed is away.
_EVERY, _AWAY = 15, 3
# By how much of the area of both a face must overlap where it was.
_STILL = 0.6
# Two of which more is in common are one face that was found twice.
_APART = 0.3

Find = Callable[[np.ndarray], list[Face]]
Near = Callable[[np.ndarray, np.ndarray], Face | None]


class FaceSearch:
    """Finds the faces of a video's frames, one frame after the other.

    Args:
        find: the faces of a frame [H, W, 3] uint8, wherever they are.
        near: the face about a box [4] of a frame, see `mm_jax.faces.FaceDetector.near`; without
            it every frame is searched.
        glance: a quicker `find`, which overlooks some faces. Where a number of frames held none,
            only frames in which it sees one are searched, beside those that are in any case.
    """

    def __init__(self, find: Find, near: Near | None, glance: Find | None = None) -> None:
        self._find = find
        self._near = near
        self._glance = glance
        self._faces: list[Face] = []
        self._frame: np.ndarray | None = None
        self._since = 0
        self._without = 0

    def __call__(self, frame: np.ndarray, *, cut: bool = False, away: bool = False) -> list[Face]:
        """The faces of the next frame.

        Args:
            frame: [H, W, 3] uint8.
            cut: whether there is a cut since the frame before.
            away: whether somebody is missed who was among the faces.
        """
        # Videos of a low frame rate are often stored with every frame several times.
        if self._frame is not None and np.array_equal(frame, self._frame):
            return self._faces
        self._frame = frame
        due = cut or self._since + 1 >= (_AWAY if away and self._faces else _EVERY)
        known = None if due else self._none(frame) if not self._faces else self._moved(frame)
        self._since = 0 if known is None else self._since + 1
        self._faces = self._find(frame) if known is None else known
        self._without = 0 if cut or self._faces else self._without + 1
        return self._faces

    def _none(self, frame: np.ndarray) -> list[Face] | None:
        """No faces, if there were none for long and none is seen; None if that cannot be told."""
        if self._glance is None or self._without < _EVERY or self._glance(frame):
            return None
        return []

    def _moved(self, frame: np.ndarray) -> list[Face] | None:
        """The faces that were in the frame before, all of them; None if that cannot be told."""
        if self._near is None:
            return None
        moved: list[Face] = []
        for before in self._faces:
            found = self._near(frame, before.box)
            if found is None:
                return None
            face = Face(found.landmarks, _moved_box(before, found.landmarks), before.score)
            if overlaps(face.box, before.box[None])[0] < _STILL:
                return None
            if any(overlaps(face.box, other.box[None])[0] > _APART for other in moved):
                return None
            moved.append(face)
        return moved


def _moved_box(before: Face, landmarks: np.ndarray) -> np.ndarray:
    """A face's box [4], moved and scaled as its landmarks [P, 2] are."""
    was, now = before.landmarks.mean(axis=0), landmarks.mean(axis=0)
    scale = np.linalg.norm(landmarks - now) / np.linalg.norm(before.landmarks - was)
    return ((before.box.reshape(2, 2) - was) * scale + now).reshape(4)
