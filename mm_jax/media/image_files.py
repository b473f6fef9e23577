"""Which image files a flag names, and what their images are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from mm_jax.errors import DataError, UsageError
from mm_jax.words import distinct

__all__ = ["IMAGE_SUFFIXES", "expand", "names_of"]

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif",
)  # fmt: skip


def expand(texts: Sequence[str], *, flag: str = "--image") -> list[Path]:
    """Image files of paths, patterns such as "faces/*.jpg", and folders, in that order.

    Each text may also be a list with commas between, unless a file has that very name.

    Of a folder, the files with an image's suffix, by name; a pattern's files by name too. A file
    that is named twice counts once.

    Raises:
        UsageError: nothing given. DataError: a pattern or a folder without images, or no file.
    """
    if not texts:
        raise UsageError(f"{flag} is missing: an image, a pattern such as 'faces/*.jpg', a folder")
    files: dict[str, Path] = {}
    for text in [part for given in texts for part in _listed(given)]:
        if "://" in text:
            raise DataError(f"{flag}={text} is an address: download it, and give the file")
        path = Path(text)
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise DataError(f"{text} holds no images ({', '.join(IMAGE_SUFFIXES)})")
        elif path.exists() or not glob.has_magic(text):
            found = [path]
        else:
            found = [Path(name) for name in sorted(glob.glob(text)) if os.path.isfile(name)]
            if not found:
                raise DataError(f"no file matches {text}")
        for one in found:
            if not one.exists():
                raise DataError(f"cannot read {one}: no such file")
            files.setdefault(os.path.abspath(one), one)
    return list(files.values())


def _listed(text: str) -> list[str]:
    if "," not in text or os.path.exists(text):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def names_of(paths: Sequence[Path]) -> list[str]:
    """A distinct name for each file: its stem, numbered where stems are equal."""
    return distinct([path.stem.lstrip(".") or "picture" for path in paths])
