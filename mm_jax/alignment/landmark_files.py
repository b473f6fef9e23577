"""Landmarks from files: json for many images, npy, txt and pts for one or for a video's frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax import io
from mm_jax.alignment.face import Face
from mm_jax.errors import DAMAGE, DataError

__all__ = ["load_landmarks"]


def load_landmarks(path: io.PathLike, names: Sequence[str]) -> list[list[Face]]:
    """The faces of images, from a file.

    Formats, by the file's ending; a face has 68 or 5 points, see `Face`:
        .json: an object whose keys are images: as named in `names`, or the last part of that,
            with or without its ending. A value is one face, [[x, y], ..], or a list of faces.
        .npy: for one image [P, 2], or [F, P, 2] for F faces; for T images, such as the frames
            of a video, [T, P, 2] with one face each.
        .txt: a line "x y" or "x,y" for each point of one face in one image.
        .pts: the same in iBUG's format, whose first pixel is (1, 1).

    Args:
        path: the file.
        names: images, or frames by number.

    Returns:
        A list of faces for each name, in the file's order; empty where the file knows none.

    Raises:
        DataError: the file is missing, damaged, of another format, holds landmarks of another
            shape, or is for one image and several are asked for.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"cannot read {path}: no such file")
    kind = path.suffix.lower()
    if kind == ".json":
        return _from_json(path, names)
    if kind == ".npy":
        return _from_array(path, names)
    if kind in (".txt", ".pts"):
        if len(names) != 1:
            raise DataError(
                f"{path} holds the landmarks of one image, {len(names)} are given: use json"
            )
        return [[_face(path, _from_text(path, kind))]]
    raise DataError(f"{path}: landmarks are read from .json, .npy, .txt and .pts")


def _face(path: Path, points: Any, where: str = "") -> Face:
    try:
        array = np.asarray(points)
    except ValueError:
        array = np.empty(0)  # ragged lists: the shape below is refused
    try:
        return Face(array)
    except DataError as error:
        raise DataError(f"{path}{where}: {error}") from error


def _from_json(path: Path, names: Sequence[str]) -> list[list[Face]]:
    known = io.read_json(path)
    if not isinstance(known, dict):
        raise DataError(
            f"{path} must hold an object, {{image: [[x, y], ..]}}, got {type(known).__name__}"
        )
    faces = []
    for name in names:
        last = Path(name)
        key = next((key for key in (name, last.name, last.stem) if key in known), None)
        faces.append([] if key is None else _faces(path, known[key], f", {key}"))
    return faces


def _faces(path: Path, value: Any, where: str) -> list[Face]:
    """One face [[x, y], ..], or a list of them."""
    if not isinstance(value, list):
        raise DataError(
            f"{path}{where}: a face must be [[x, y], ..], or a list of such faces, got "
            f"{type(value).__name__}"
        )
    if not value:
        return []
    first = value[0]
    several = isinstance(first, list) and bool(first) and isinstance(first[0], list)
    return [_face(path, one, where) for one in (value if several else [value])]


def _from_array(path: Path, names: Sequence[str]) -> list[list[Face]]:
    try:
        array = np.load(path, allow_pickle=False)
    except DAMAGE as error:
        raise DataError(f"{path} is not a readable npy file: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3):
        raise DataError(
            f"{path} must hold landmarks [P, 2] or [F, P, 2], got shape {list(np.shape(array))}"
        )
    faces = [_face(path, one) for one in (array[None] if array.ndim == 2 else array)]
    if len(names) == 1:
        return [faces]
    if len(faces) != len(names):
        raise DataError(f"{path} holds landmarks of {len(faces)} images, {len(names)} are given")
    return [[face] for face in faces]


def _from_text(path: Path, kind: str) -> np.ndarray:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if kind == ".pts":
        if text.count("{") != 1 or text.count("}") != 1:
            raise DataError(f"{path}: a pts file has its points between braces")
        text = text[text.index("{") + 1 : text.index("}")]
    lines = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    try:
        points = np.array([[float(value) for value in line] for line in lines])
    except ValueError as error:
        raise DataError(f"{path} must hold two numbers on each line: {error}") from error
    return points - 1.0 if kind == ".pts" else points
