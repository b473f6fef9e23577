"""Memory of mapped files: what has been looked at stays in memory until it is given back."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

__all__ = ["release", "release_map"]


def release(*arrays: Any) -> None:
    """Gives the memory of the files that arrays are views of back to the system.

    The arrays stay as they are: their bytes are fetched again when they are looked at. Arrays that
    are no views of a file are left alone.
    """
    maps = {id(found): found for found in map(_map_of, arrays) if found is not None}
    for found in maps.values():
        release_map(found)


def release_map(found: mmap.mmap) -> None:
    """As `release`, for all arrays of a file."""
    # Windows has no such call, and decides by itself.
    if hasattr(mmap, "MADV_DONTNEED"):
        found.madvise(mmap.MADV_DONTNEED)


def _map_of(value: Any) -> mmap.mmap | None:
    while isinstance(value, np.ndarray):
        value = value.base
    if isinstance(value, memoryview):
        value = value.obj
    return value if isinstance(value, mmap.mmap) else None
