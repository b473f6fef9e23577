"""Faces in an image: one call for all detectors, and the code that they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from mm_jax.alignment import detectors
from mm_jax.alignment.face import Face, ffhq_quad
from mm_jax.alignment.options import DETECTOR_NAMES
from mm_jax.errors import DataError, UsageError
from mm_jax.media import to_uint8

__all__ = ["DETECTORS", "Detector", "check_inside", "find_faces", "open_detector"]

# Larger images are reduced before they are searched: detectors were trained on smaller ones.
# Where nothing is found, as in panoramas and large groups, they are searched again in windows.
_MAX_SIDE = 1600
_MAX_WINDOWS = 16


class Detector(Protocol):
    """Anything that finds faces: [H, W, 3] uint8 RGB in, faces in pixels of that array out."""

    def __call__(self, image: np.ndarray, /) -> list[Face]:
        """Faces of an image."""
        ...


# By name: from a model file, or "" for none, to a detector.
_KINDS = (detectors.networks, detectors.Dlib)
DETECTORS: dict[str, Callable[[str], Detector]] = dict(zip(DETECTOR_NAMES, _KINDS, strict=True))


def open_detector(name: str = "faces", model: str = "") -> Detector:
    """A detector by name, ready for many images.

    Args:
        name: one of `DETECTORS`.
        model: the file of its model, for those that need one.

    Raises:
        UsageError: an unknown name, a library that is not installed, a model that is missing or not
            wanted.
        DataError: a model's file that does not exist or cannot be used.
    """
    if name not in DETECTORS:
        raise UsageError(f"unknown detector {name!r}, known are {', '.join(DETECTORS)}")
    if model and not Path(model).is_file():
        raise DataError(f"cannot read the detector's model {model}: no such file")
    return DETECTORS[name](model)


def find_faces(image: Any, detector: str | Detector = "faces", *, model: str = "") -> list[Face]:
    """The faces of an image.

    Args:
        image: [H, W, 3], float in [-1, 1] or uint8, upright.
        detector: a name, see `DETECTORS`, or a detector that is open already.
        model: for a name, its model's file.

    Returns:
        Faces from left to right; none where none is found. Faces whose landmarks make no sense, or
        that lie outside of the image, are left out.

    Raises:
        UsageError, DataError: as `open_detector`, or an image of another shape.
    """
    array = to_uint8(image)
    if array.ndim != 3:
        raise DataError(f"one image must be [H, W, 3], got {list(array.shape)}")
    detect = open_detector(detector, model) if isinstance(detector, str) else detector
    height, width = array.shape[:2]
    for shrink in _shrinks(height, width):
        faces = _distinct(
            [
                face
                for window in _windows(height, width, round(_MAX_SIDE * shrink))
                for face in _faces_in(array, window, shrink, detect)
            ]
        )
        if faces:
            return sorted(faces, key=lambda face: (float(face.box[0]), float(face.box[1])))
    return []


def _shrinks(height: int, width: int) -> Iterator[float]:
    """How much an image is reduced: to one window first, then less while nothing is found."""
    shrink = max(height / _MAX_SIDE, width / _MAX_SIDE, 1.0)
    yield shrink
    while shrink > 1.0:
        shrink = max(shrink / 2.0, 1.0)
        if len(_windows(height, width, round(_MAX_SIDE * shrink))) > _MAX_WINDOWS:
            return
        yield shrink


def _windows(height: int, width: int, side: int) -> list[tuple[int, int, int, int]]:
    """Windows (left, top, right, bottom) that cover an image and overlap by a quarter."""

    def starts(length: int) -> list[int]:
        count = max(math.ceil((length - 0.25 * side) / (0.75 * side)), 1)
        return np.rint(np.linspace(0, max(length - side, 0), count)).astype(int).tolist()

    return [
        (left, top, min(left + side, width), min(top + side, height))
        for top in starts(height)
        for left in starts(width)
    ]


def _faces_in(
    image: np.ndarray, window: tuple[int, int, int, int], shrink: float, detect: Detector
) -> list[Face]:
    """Sound faces of a window, in the image's own pixels."""
    left, top, right, bottom = window
    part = image[top:bottom, left:right]
    if shrink > 1:
        size = max(round((right - left) / shrink), 1), max(round((bottom - top) / shrink), 1)
        part = np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BOX))
    scale = np.array([(right - left) / part.shape[1], (bottom - top) / part.shape[0]])
    corner = np.array([left, top])
    faces = [_moved(face, scale, corner) for face in detect(np.ascontiguousarray(part))]
    return [face for face in faces if _is_sound(face, *image.shape[:2])]


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """Faces without those that another window shows too, and perhaps cuts."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.area):
        middle = face.box.reshape(2, 2).mean(axis=0)
        inside = [(one.box[:2] < middle).all() and (middle < one.box[2:]).all() for one in kept]
        if not any(inside):
            kept.append(face)
    return kept


def check_inside(face: Face, height: int, width: int) -> None:
    """See that landmarks are those of a face in an image of this size.

    Raises:
        DataError: they make no sense (see `ffhq_quad`), or the face's middle is not in the image.
    """
    quad = ffhq_quad(face.landmarks)
    x, y = quad.mean(axis=0)
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise DataError(
            f"the landmarks' face is at {x:.0f}, {y:.0f}, outside of the image of {width} x "
            f"{height} pixels: were they made for another size?"
        )


def _moved(face: Face, scale: np.ndarray, corner: np.ndarray) -> Face:
    """A face of a reduced window in the full image; landmarks are at pixels' middles."""
    points = (face.landmarks + 0.5) * scale - 0.5 + corner
    box = (face.box.reshape(2, 2) + 0.5) * scale - 0.5 + corner
    return Face(points, box.reshape(4), face.score)


def _is_sound(face: Face, height: int, width: int) -> bool:
    try:
        check_inside(face, height, width)
    except DataError:
        return False
    return True
