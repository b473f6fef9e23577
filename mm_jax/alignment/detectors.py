"""What finds faces: the bundled networks, and dlib. Either is imported when it is asked for.

Each is made from a model's file (or ""), and called with an image [H, W, 3] uint8 RGB it returns
`Face`s. Left and right are the image's throughout.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from mm_jax.alignment.face import Face
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.words import how_to_install

with epy.lazy_imports():
    from mm_jax.faces import detection

__all__ = ["Dlib", "networks"]


def _library(name: str, hint: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"{hint} ({error})") from error


def networks(model: str = "") -> Any:
    """A `mm_jax.faces.FaceDetector`: 68 landmarks by the bundled networks.

    Raises:
        UsageError: a model is given. DataError: a network is missing or damaged.
    """
    return detection.FaceDetector(model)


class Dlib:
    """dlib's frontal detector and its predictor of 68 landmarks: the pair that FFHQ was cut with.

    Args:
        model: shape_predictor_68_face_landmarks.dat; by default that of the package
            face-recognition-models, if it is installed.

    Raises:
        UsageError: no dlib, or no model. DataError: dlib cannot use the file.
    """

    _FILE = "shape_predictor_68_face_landmarks.dat"

    def __init__(self, model: str = "") -> None:
        dlib = _library("dlib", f"the detector dlib needs dlib: {how_to_install('mm-jax[dlib]')}")
        model = model or self._installed()
        if not model:
            raise UsageError(
                f"the detector dlib needs detector_model: {self._FILE}, or the package "
                "face-recognition-models, which holds it"
            )
        self._model = model
        try:
            self._predictor = dlib.shape_predictor(model)
        except RuntimeError as error:
            raise DataError(
                f"{model} is no model of dlib's shape predictor: {first_line(error)}"
            ) from error
        self._detector = dlib.get_frontal_face_detector()

    def _installed(self) -> str:
        """The model of an installed package, which is not imported for it."""
        spec = importlib.util.find_spec("face_recognition_models")
        folders = (spec.submodule_search_locations or []) if spec else []
        files = [Path(folder) / "models" / self._FILE for folder in folders]
        return next((str(path) for path in files if path.is_file()), "")

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Faces of an image [H, W, 3] uint8."""
        # The detector's faces are of 80 pixels or more; enlarged once, of 40.
        enlarge = 1 if max(image.shape) <= 1000 else 0
        boxes, scores, _ = self._detector.run(image, enlarge, 0.0)
        faces = []
        for box, score in zip(boxes, scores, strict=True):
            points = [(point.x, point.y) for point in self._predictor(image, box).parts()]
            if len(points) != 68:
                raise DataError(f"{self._model} must give 68 landmarks, got {len(points)}")
            edges = np.array([box.left(), box.top(), box.right(), box.bottom()])
            faces.append(Face(np.array(points), edges, float(score)))
        return faces
