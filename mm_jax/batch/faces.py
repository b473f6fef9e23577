"""Pictures to crops of the generator's size, in any number of threads."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from mm_jax.alignment import Framing
from mm_jax.alignment.faces import open_faces
from mm_jax.alignment.find import Detector, open_detector
from mm_jax.alignment.options import AlignOptions as AlignSettings
from mm_jax.errors import UsageError

__all__ = ["FaceReader"]


def _silent(text: str) -> None:
    del text  # a line for each of a million pictures helps nobody


class FaceReader:
    """Reads pictures as `open_faces` does; a detector serves one thread, so each has its own.

    Raises:
        UsageError: settings that are for a few pictures only, or a detector that is not there.
    """

    def __init__(self, settings: AlignSettings, *, size: int, framing: Framing):
        if settings.landmarks or settings.face == "all" or isinstance(settings.face, tuple):
            raise UsageError(
                "mm_batch takes the largest face that a detector finds, or --aligned pictures: "
                "give neither --landmarks nor --face"
            )
        self._settings, self._size, self._framing = settings, size, framing
        self._own = threading.local()
        self._detector()

    def _detector(self) -> Detector | None:
        if self._settings.aligned:
            return None
        if not hasattr(self._own, "detector"):
            self._own.detector = open_detector(
                self._settings.detector, self._settings.detector_model
            )
        return self._own.detector

    def read(self, path: str) -> np.ndarray:
        """[R, R, 3] float32 in [-1, 1], of a picture's face.

        Raises:
            DataError: the file cannot be read, or no face is found in it.
        """
        face = open_faces(
            [Path(path)], ["face"], self._settings, size=self._size, framing=self._framing,
            tell=_silent, detector=self._detector(),
        )  # fmt: skip
        return face[0].image
