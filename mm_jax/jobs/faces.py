"""From picture files to aligned faces: what is found and what is taken is said aloud."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mm_jax import media
from mm_jax.alignment import FFHQ, Face, Framing, crop_face, ffhq_quad, load_landmarks
from mm_jax.alignment.find import Detector, check_inside, find_faces, open_detector
from mm_jax.errors import DataError, UsageError
from mm_jax.jobs.align_settings import AlignSettings

__all__ = ["Aligned", "choose_faces", "open_faces", "say", "whole_quad"]


@dataclasses.dataclass(frozen=True, eq=False)
class Aligned:
    """A face that was cut out of a picture.

    Attributes:
        name: of this face, a distinct name for files.
        picture_name: of its picture; faces of one picture share it.
        path: the picture's file. It is read again when it is needed, since pictures can be large.
        quad: [4, 2] float32, where the face was cut out, see `mm_jax.alignment`.
        image: [S, S, 3] float32 in [-1, 1], the crop.
    """

    name: str
    picture_name: str
    path: Path
    quad: np.ndarray
    image: np.ndarray

    def picture(self) -> np.ndarray:
        """The whole picture, [H, W, 3] float32 in [-1, 1], upright."""
        return media.read_image(self.path)


def say(text: str) -> None:
    """A line on standard error, where it disturbs no output."""
    print(text, file=sys.stderr)


def open_faces(
    paths: Sequence[Path],
    names: Sequence[str],
    settings: AlignSettings,
    *,
    size: int,
    framing: Framing = FFHQ,
    tell: Callable[[str], None] = say,
    detector: Detector | None = None,
) -> list[Aligned]:
    """Read pictures, find their faces and cut them out.

    Args:
        paths: N files of pictures.
        names: N distinct names for them.
        settings: how.
        size: side of the crops.
        framing: of the generator, see `mm_jax.alignment.framing_of`.
        tell: is given a line on each picture.
        detector: one that is open already, in place of what `settings` name.

    Returns:
        At least one face for each picture, in the order of the pictures.

    Raises:
        UsageError: a detector that is not there, or the number of a face that is not.
        DataError: a file that cannot be read, a picture without a face, landmarks that make no
            sense.
    """
    if settings.aligned:
        return [_whole(path, name, size) for path, name in zip(paths, names, strict=True)]
    known: list[list[Face]] = []
    if settings.landmarks:
        known = load_landmarks(settings.landmarks, [str(path) for path in paths])
    elif detector is None:
        detector = open_detector(settings.detector, settings.detector_model)
    aligned: list[Aligned] = []
    for i, (path, name) in enumerate(zip(paths, names, strict=True)):
        picture = media.read_image(path)
        if detector is None:
            faces = known[i]
            _check_known(faces, picture, path, settings.landmarks)
        else:
            faces = find_faces(picture, detector)
            if not faces:
                raise DataError(
                    f"{path}: {settings.detector} finds no face: try another --detector, give "
                    "--landmarks, or --aligned if the picture is a crop already"
                )
        chosen = choose_faces(faces, settings.face, str(path), tell)
        for number in chosen:
            quad = framing.apply(ffhq_quad(faces[number].landmarks))
            own = name if len(chosen) == 1 else f"{name}_face{number}"
            while own in {face.name for face in aligned} | ({*names} - {name}):
                own += "_"
            aligned.append(Aligned(own, name, path, quad, crop_face(picture, quad, size=size)))
            _remark(own, quad, size, tell)
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
        path: of the picture, for messages.
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
    tell(f"{path}: {len(faces)} faces: {listed}. Taken: {taken} (--face chooses)")
    return chosen


def _place(face: Face) -> str:
    left, top, right, bottom = face.box
    return f"{left:.0f},{top:.0f} ({right - left:.0f} x {bottom - top:.0f})"


def whole_quad(picture: np.ndarray, path: str | Path, kind: str) -> np.ndarray:
    """The quad [4, 2] float32 of all of a picture [H, H, 3] that is said to be aligned.

    Raises:
        DataError: it is not square; `path` and `kind` ("pictures", "clips") are for the message.
    """
    height, width = picture.shape[:2]
    if height != width:
        raise DataError(
            f"{path} is {width} x {height} pixels, want a square: --aligned is for {kind} that "
            "are cropped already"
        )
    edge = height - 0.5
    return np.array([[-0.5, -0.5], [-0.5, edge], [edge, edge], [edge, -0.5]], np.float32)


def _whole(path: Path, name: str, size: int) -> Aligned:
    picture = media.read_image(path)
    quad = whole_quad(picture, path, "pictures")
    return Aligned(name, name, path, quad, crop_face(picture, quad, size=size))


def _check_known(faces: Sequence[Face], picture: np.ndarray, path: Path, source: str) -> None:
    if not faces:
        raise DataError(f"{source} has no landmarks of {path}")
    for face in faces:
        try:
            check_inside(face, *picture.shape[:2])
        except DataError as error:
            raise DataError(f"{source}, {path}: {error}") from error


def _remark(name: str, quad: np.ndarray, size: int, tell: Callable[[str], None]) -> None:
    """Tell of crops that will not look as wanted."""
    x, y = quad[3] - quad[0]
    side, angle = float(np.hypot(x, y)), float(np.degrees(np.arctan2(y, x)))
    if side < size / 2:
        tell(f"{name}: the crop has {side:.0f} pixels, the generator draws {size}: it is soft")
    if abs(angle) > 60:
        tell(f"{name}: the face leans by {angle:.0f} degrees: is the picture upright?")
