"""Faces in an image: one call for all detectors, and the code that they share."""

from __future__ import annotations

from collections.abc import Callable
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
_MOST_SIDE = 1600


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
    shrink = max(height, width) / _MOST_SIDE
    if shrink > 1:
        size = (max(round(width / shrink), 1), max(round(height / shrink), 1))
        array = np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BOX))
    scale = np.array([width / array.shape[1], height / array.shape[0]])
    faces = [_enlarged(face, scale) for face in detect(np.ascontiguousarray(array))]
    sound = [face for face in faces if _is_sound(face, height, width)]
    return sorted(sound, key=lambda face: (float(face.box[0]), float(face.box[1])))


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


def _enlarged(face: Face, scale: np.ndarray) -> Face:
    """A face of a reduced image in the full one; landmarks are at pixels' middles."""
    points = (face.landmarks + 0.5) * scale - 0.5
    box = (face.box.reshape(2, 2) + 0.5) * scale - 0.5
    return Face(points, box.reshape(4), face.score)


def _is_sound(face: Face, height: int, width: int) -> bool:
    try:
        check_inside(face, height, width)
    except DataError:
        return False
    return True
