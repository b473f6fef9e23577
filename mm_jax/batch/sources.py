"""Sources that stand for many: the pictures of a folder or pattern, the codes of a file.

Names are given as they come, not sorted and not collected: there may be millions.
"""

from __future__ import annotations

import fnmatch
import functools
import glob
import os
from collections.abc import Iterator

from mm_jax import io
from mm_jax.errors import DataError
from mm_jax.media.image_files import IMAGE_SUFFIXES as PICTURE_SUFFIXES

__all__ = ["each_code", "each_picture"]


def each_picture(text: str) -> Iterator[str]:
    """Paths of a folder's pictures, of the files that a pattern matches, or of one file.

    Raises:
        DataError: there are none, or the folder cannot be read.
    """
    folder, pattern = os.path.split(text)
    if os.path.isdir(text):
        found = _listed(text, lambda name: name.lower().endswith(PICTURE_SUFFIXES))
    elif not glob.has_magic(text):
        found = iter([text])
    elif not glob.has_magic(folder) and "**" not in pattern:
        found = _listed(folder, functools.partial(fnmatch.fnmatchcase, pat=pattern))
    else:
        found = (path for path in glob.iglob(text, recursive=True) if os.path.isfile(path))
    first = next(found, None)
    if first is None:
        raise DataError(f"no picture matches {text}")
    yield first
    yield from found


def _listed(folder: str, wanted) -> Iterator[str]:
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                if not entry.name.startswith(".") and wanted(entry.name) and entry.is_file():
                    yield os.path.join(folder, entry.name)
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error


def each_code(path: str) -> range:
    """Numbers of the codes in a file of latents.

    Raises:
        DataError: the file is missing or damaged.
    """
    ws = io.load_npz(path, required={"ws": None})["ws"]
    return range(len(ws) if ws.ndim == 3 else 1)
