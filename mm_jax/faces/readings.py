"""What strangers read from a face: networks that were trained on other people's photographs.

They know nothing of the generator whose images they are shown, so they can judge edits of any. How
far each reading can be believed is in `assets/faces/MODEL_CARD.md`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from mm_jax.alignment.face import Face, face_yaw, ffhq_quad
from mm_jax.alignment.framing import Framing
from mm_jax.faces.architectures import EXPRESSIONS
from mm_jax.faces.crops import RECOGNISED, Frame, cut
from mm_jax.faces.detection import FaceDetector, box_crop, face_frame
from mm_jax.faces.network import load_face_network
from mm_jax.media import to_uint8

__all__ = [
    "OTHER_PERSON",
    "FaceReader",
    "Readings",
    "Recogniser",
    "eye_contrast",
    "identity_distance",
    "landmark_readings",
]

OTHER_PERSON = 0.6
"""Descriptors so far apart, and farther, are those of different people: dlib's limit."""

# Left, top, right and bottom of a detector's box in FFHQ's crop, in fractions of its side.
_FACE = np.array([0.2, 0.25, 0.8, 0.9])


@dataclasses.dataclass(frozen=True)
class Readings:
    """Readings of N images; NaN where no face was found.

    Attributes:
        values: [N] float64 by name. Probabilities of the expressions ("happy", "angry", ..) and
            "male"; "age" in years; "eyes_open" as `eye_contrast` says; "yaw", "pitch",
            "mouth_open", "mouth_width", "brow_height" as `landmark_readings` says.
        descriptors: [N, 128] float32, for `identity_distance`.
        found: [N] bool.
    """

    values: dict[str, np.ndarray]
    descriptors: np.ndarray
    found: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Readings]) -> Readings:
        """The readings of several batches, of at least one, as one."""
        return cls(
            {name: np.concatenate([p.values[name] for p in parts]) for name in parts[0].values},
            np.concatenate([p.descriptors for p in parts]),
            np.concatenate([p.found for p in parts]),
        )


class Recogniser:
    """Describes faces, so that those of one person are near to each other; made once, for many.

    Raises:
        DataError: the bundled network is missing or damaged.
    """

    def __init__(self) -> None:
        self._network = load_face_network("faces/recogniser")

    def __call__(self, image: np.ndarray | Image.Image, face: Face) -> np.ndarray:
        """The descriptor [128] of a face in an image, cut out as the network was trained.

        Args:
            image: [H, W, 3] uint8, or one of Pillow's.
            face: a face in it.
        """
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        quad = RECOGNISED.apply(ffhq_quad(face.landmarks)).astype(np.float64)
        across = quad[3] - quad[0]
        x, y = quad.mean(axis=0) + 0.5
        frame = Frame(x, y, float(np.hypot(*across)), float(np.arctan2(across[1], across[0])))
        return np.asarray(self._network(cut(image, frame, self._network.config.side)[None])[0])


class FaceReader:
    """Finds the largest face of each image and reads it; made once, for many images.

    Args:
        framing: of images that are cropped as a generator's are. A face is then looked for where
            this says that it is, which is quicker, and elsewhere only if there is none.

    Raises:
        DataError: a bundled network is missing or damaged.
    """

    def __init__(self, framing: Framing | None = None) -> None:
        self._framing = framing
        self._detector = FaceDetector()
        self._expressions = load_face_network("faces/expressions")
        self._age_gender = load_face_network("faces/age_gender")
        self._describe = Recogniser()

    def __call__(self, images: Any) -> Readings:
        """Readings of images [N, H, W, 3], float in [-1, 1] or uint8, of one face each.

        Raises:
            DataError: images of another shape.
        """
        rows = [self._read(image) for image in to_uint8(images)]
        names = ("age", "male", "eyes_open", *EXPRESSIONS, *_LANDMARK_READINGS)
        empty = dict.fromkeys(names, np.nan)
        values = {
            name: np.array([(row[0] if row else empty)[name] for row in rows], np.float64)
            for name in names
        }
        nobody = np.full(128, np.nan, np.float32)
        descriptors = np.array([row[1] if row else nobody for row in rows]).reshape(-1, 128)
        return Readings(values, descriptors, np.array([row is not None for row in rows], bool))

    def _read(self, pixels: np.ndarray) -> tuple[dict[str, float], np.ndarray] | None:
        face = self._find(pixels)
        if face is None:
            return None
        image = Image.fromarray(pixels)
        points = face.landmarks.astype(np.float64) + 0.5  # of pixel edges, as crops are
        crop = box_crop(image, *face_frame(points), self._expressions.config.side)[None]
        probabilities = np.asarray(self._expressions(crop)[0])
        age, male = (float(value[0]) for value in self._age_gender(crop))
        values = {"age": age, "male": male, "eyes_open": eye_contrast(image, points)}
        values |= dict(zip(EXPRESSIONS, map(float, probabilities), strict=True))
        return values | landmark_readings(face.landmarks), self._describe(image, face)

    def _find(self, pixels: np.ndarray) -> Face | None:
        if (framing := self._framing) is not None:
            corners = _FACE.reshape(2, 2) - 0.5 - np.array([framing.right, framing.down])
            box = (corners / framing.scale + 0.5) * np.array(pixels.shape[1::-1]) - 0.5
            if (face := self._detector.near(pixels, box.reshape(4))) is not None:
                return face
        faces = self._detector(pixels, upright=self._framing is not None)
        return max(faces, key=lambda face: face.area, default=None)


_LANDMARK_READINGS = ("yaw", "pitch", "mouth_open", "mouth_width", "brow_height")


def landmark_readings(points: np.ndarray) -> dict[str, float]:
    """What 68 landmarks [68, 2] say of a face, whatever its place, size and tilt.

    - `yaw`: from -1 (turned to the image's left) to 1, see `mm_jax.alignment.face.face_yaw`.
    - `pitch`: how far the tip of the nose lies below the eyes' line; larger is further down.
    - `mouth_open`: gap of the lips.
    - `mouth_width`: from corner to corner.
    - `brow_height`: of the brows above the eyes.

    All but yaw are in lengths from the eyes' line to the base of the nose.
    """
    yaw = face_yaw(points)
    frame, _, _ = face_frame(np.asarray(points, np.float64))
    points = frame.from_image(np.asarray(points, np.float64)) * frame.side
    eyes = points[36:48].mean(axis=0)
    unit = points[33, 1] - eyes[1]
    unit = unit if abs(unit) > 1e-6 else np.nan
    return {
        "yaw": yaw,
        "pitch": float((points[30, 1] - eyes[1]) / unit),
        "mouth_open": float((points[65:68, 1].mean() - points[61:64, 1].mean()) / unit),
        "mouth_width": float((points[54, 0] - points[48, 0]) / unit),
        "brow_height": float((eyes[1] - points[17:27, 1].mean()) / unit),
    }


def eye_contrast(image: Image.Image, points: np.ndarray) -> float:
    """How much the colours change along the eyes' middle: less where lids cover white and iris.

    The landmarks of the lids hardly move when eyes close, so they can't tell it. This can between
    images of one face in one light; glasses and shadows change it as well.

    Args:
        image: the image.
        points: landmarks [68, 2], in pixels from its upper left corner.

    Returns:
        Mean absolute difference of neighbouring pixels' log luminance, of both eyes, in crops of 32
        pixels of one and a half eyes' width.
    """
    changes = []
    for first in (36, 42):
        eye = points[first : first + 6]
        across = eye[3] - eye[0]
        side, angle = 1.5 * float(np.hypot(*across)), math.atan2(across[1], across[0])
        x, y = eye.mean(axis=0)
        crop = cut(image, Frame(x, y, max(side, 1e-3), angle), 32)[12:22, 8:24]
        luminance = np.log((crop @ [0.3, 0.59, 0.11] + 1) / 2 + 0.05)
        changes.append(np.abs(np.diff(luminance, axis=1)).mean())
    return float(np.mean(changes))


def identity_distance(one: np.ndarray | jax.Array, other: np.ndarray | jax.Array) -> np.ndarray:
    """Distance of descriptors [..., 128]: 0 for one image; below `OTHER_PERSON` for one person."""
    return np.linalg.norm(np.asarray(one) - np.asarray(other), axis=-1)
