"""From image files to aligned faces; reports which faces were found and which were used."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mm_jax import media
from mm_jax.alignment import FFHQ, Face, Framing, crop_face, ffhq_quad, load_landmarks
from mm_jax.alignment.face import face_yaw
from mm_jax.alignment.find import Detector, check_inside, find_faces, open_detector
from mm_jax.alignment.options import AlignOptions
from mm_jax.errors import DataError, UsageError
from mm_jax.media.images import reduced_note

__all__ = ["Aligned", "choose_faces", "open_faces", "say", "whole_quad"]

# The yaw of a face beyond which an eye is hardly seen; a half profile has about 0.35.
_PROFILE = 0.6


@dataclasses.dataclass(frozen=True, eq=False)
class Aligned:
    """A face that was cropped from an image.

    Attributes:
        name: of this face, a distinct name for files.
        image_name: of its image; faces of one image share it.
        path: the image's file. It is read again when it is needed, since images can be large.
        quad: [4, 2] float32, where the face was cropped, see `mm_jax.alignment`.
        image: [S, S, 3] float32 in [-1, 1], the crop.
    """

    name: str
    image_name: str
    path: Path
    quad: np.ndarray
    image: np.ndarray

    def whole_image(self) -> np.ndarray:
        """The whole image, [H, W, 3] float32 in [-1, 1], upright."""
        return media.read_image(self.path)


def say(text: str) -> None:
    """A line on standard error, where it disturbs no output."""
    print(text, file=sys.stderr)


def open_faces(
    paths: Sequence[Path],
    names: Sequence[str],
    options: AlignOptions,
    *,
    size: int,
    framing: Framing = FFHQ,
    tell: Callable[[str], None] = say,
    detector: Detector | None = None,
) -> list[Aligned]:
    """Read images, find their faces and crop them.

    Args:
        paths: N files of images.
        names: N distinct names for them.
        options: how.
        size: side of the crops.
        framing: of the generator, see `mm_jax.alignment.framing_of`.
        tell: is given a line on each image.
        detector: one that is open already, in place of what `options` name.

    Returns:
        At least one face for each image, in the order of the images.

    Raises:
        UsageError: a detector that is not there, or the number of a face that is not.
        DataError: a file that cannot be read, an image without a face, landmarks that make no
            sense.
    """
    if options.aligned:
        return [_whole(path, name, size) for path, name in zip(paths, names, strict=True)]
    known: list[list[Face]] = []
    if options.landmarks:
        known = load_landmarks(options.landmarks, [str(path) for path in paths])
    elif detector is None:
        detector = open_detector(options.detector, options.detector_model)
    aligned: list[Aligned] = []
    for i, (path, name) in enumerate(zip(paths, names, strict=True)):
        image = media.read_image(path)
        if note := reduced_note(path):
            tell(note)
        if detector is None:
            faces = known[i]
            _check_known(faces, image, path, options.landmarks)
        else:
            faces = find_faces(image, detector)
            if not faces:
                raise DataError(
                    f"{path}: no face found (detector {options.detector}); one that is hidden, in "
                    "profile or smaller than about 30 pixels is not: crop the image about it, give "
                    "--landmarks, or --aligned if it is a crop already"
                )
        chosen = choose_faces(faces, options.face, str(path), tell)
        for number in chosen:
            quad = framing.apply(ffhq_quad(faces[number].landmarks))
            own = name if len(chosen) == 1 else f"{name}_face{number}"
            while own in {face.name for face in aligned} | ({*names} - {name}):
                own += "_"
            aligned.append(Aligned(own, name, path, quad, crop_face(image, quad, size=size)))
            _remark(own, faces[number], quad, image.shape, size, tell)
    return aligned


def choose_faces(
    faces: Sequence[Face],
    which: str | Sequence[int],
    path: str,
    tell: Callable[[str], None] = say,
) -> list[int]:
    """Indices of the faces that are meant; all are listed, and which are taken.

    Args:
        faces: at least one.
        which: "largest", "all", or indices.
        path: of the image, for messages.
        tell: is given the line.

    Raises:
        UsageError: an index that no face has.
    """
    areas = [face.area for face in faces]
    if which == "largest":
        chosen = [int(np.argmax(areas))]
    elif which == "all":
        chosen = list(range(len(faces)))
    else:
        chosen = [int(number) for number in which]
        for number in chosen:
            if number >= len(faces):
                have = "one face, 0" if len(faces) == 1 else f"faces 0 to {len(faces) - 1}"
                raise UsageError(f"--face={number}: {path} has {have}")
    if len(faces) == 1:
        tell(f"{path}: a face at {_place(faces[0])}")
        return chosen
    listed = "; ".join(f"{i} at {_place(face)}" for i, face in enumerate(faces))
    taken = ", ".join(map(str, chosen)) + (", the largest" if which == "largest" else "")
    tell(f"{path}: {len(faces)} faces: {listed}. Taken: {taken} (--face chooses: a number, or all)")
    return chosen


def _place(face: Face) -> str:
    left, top, right, bottom = face.box
    return f"{left:.0f},{top:.0f} ({right - left:.0f} x {bottom - top:.0f})"


def whole_quad(image: np.ndarray, path: str | Path, kind: str) -> np.ndarray:
    """The quad [4, 2] float32 of the whole of an image [H, H, 3] that is said to be aligned.

    Raises:
        DataError: it is not square; `path` and `kind` ("images", "videos") are for the message.
    """
    height, width = image.shape[:2]
    if height != width:
        raise DataError(
            f"{path} must be square, got {width} x {height} pixels: --aligned is for {kind} that "
            "are cropped already"
        )
    edge = height - 0.5
    return np.array([[-0.5, -0.5], [-0.5, edge], [edge, edge], [edge, -0.5]], np.float32)


def _whole(path: Path, name: str, size: int) -> Aligned:
    image = media.read_image(path)
    quad = whole_quad(image, path, "images")
    return Aligned(name, name, path, quad, crop_face(image, quad, size=size))


def _check_known(faces: Sequence[Face], image: np.ndarray, path: Path, source: str) -> None:
    if not faces:
        raise DataError(f"{source} has no landmarks of {path}")
    for face in faces:
        try:
            check_inside(face, *image.shape[:2])
        except DataError as error:
            raise DataError(f"{source}, {path}: {error}") from error


def _remark(
    name: str,
    face: Face,
    quad: np.ndarray,
    shape: tuple[int, ...],
    size: int,
    tell: Callable[[str], None],
) -> None:
    """Report faces that are small, turned, or cut by the border of their image [H, W, C]."""
    x, y = quad[3] - quad[0]
    side, angle = float(np.hypot(x, y)), float(np.degrees(np.arctan2(y, x)))
    if side < size / 2:
        tell(f"{name}: the crop has {side:.0f} pixels, the generator draws {size}: it is soft")
    if abs(angle) > 60:
        lies = "stands on its head" if abs(angle) > 120 else "lies on its side"
        turn = (
            "by 180 degrees"
            if abs(angle) > 120
            else f"a quarter {'left' if angle > 0 else 'right'}"
        )
        tell(
            f"{name}: the face leans by {angle:.0f} degrees, as in an image that {lies}. It is "
            f"taken upright and put back as it leans; if all of the image {lies}, turn it {turn}"
        )
    landmarks, edge = face.landmarks, np.array(shape[1::-1]) - 0.5
    if len(landmarks) == 68 and abs(face_yaw(landmarks)) > _PROFILE:
        tell(f"{name}: the face is turned far to the side, which few generators know")
    if ((landmarks < -0.5) | (landmarks > edge)).any():
        tell(f"{name}: the face is cut by the border of the image; what is missing is made up")
