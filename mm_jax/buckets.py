"""Counts rounded up to buckets, so that one compiled program serves several of them.

A program is compiled for arrays of fixed shapes. Where a count would be part of a shape, arrays are
filled up to a bucket, and what the filling gives is dropped.
"""

from __future__ import annotations

from typing import TypeVar

import jax
import numpy as np

__all__ = ["bucket", "filled"]


Array = TypeVar("Array", np.ndarray, jax.Array)


def bucket(count: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, 24, .. that is `count` or more."""
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and power * 3 // 4 >= count else power


def filled(array: Array, size: int) -> Array:
    """An array [n, ...] as [size, ...], n from 1 to size, its last entry repeated."""
    return array[np.minimum(np.arange(size), len(array) - 1)]
