"""What the optimisations of codes share: the schedule, steps in chunks, batches of one size.

Many small problems are solved side by side in one jitted program that scans over a chunk of steps;
between chunks the host reports progress, and may stop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from mm_jax.buckets import bucket

__all__ = ["as_argument", "chunk_length", "full_batches", "learning_rates"]

RAMP_UP, RAMP_DOWN = 0.05, 0.25
# The most steps between two reports of progress.
_CHUNK = 10


def learning_rates(steps: int, learning_rate: float) -> np.ndarray:
    """The rate of every step, [steps] float32, as of Karras et al. 2020's projector.

    A linear ramp up over the first 5 % of the steps, and a cosine down over the last 25 %. The
    first is zero, as it is upstream.
    """
    t = np.arange(steps) / steps
    down = 0.5 - 0.5 * np.cos(np.pi * np.minimum(1.0, (1.0 - t) / RAMP_DOWN))
    return (learning_rate * down * np.minimum(1.0, t / RAMP_UP)).astype(np.float32)


def chunk_length(steps: int) -> int:
    """Steps of one call of the program: the largest divisor of `steps` up to ten."""
    return max(n for n in range(1, min(steps, _CHUNK) + 1) if steps % n == 0)


def full_batches(
    total: int, batch_size: int | None, *, devices: int = 1
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (indices, how many of them count) of batches of one shape.

    The last batch is filled up from the first. Every batch is filled up to a multiple of `devices`;
    which problems share a batch does not depend on it.

    Args:
        total: number of problems.
        batch_size: problems solved at once, all unless given. Fewer problems are filled up to a
            bucket, so that another number of them needs no other program.
        devices: among how many a batch is split.
    """
    size = min(batch_size, bucket(total)) if batch_size else total
    full = math.ceil(size / devices) * devices
    for first in range(0, total, size):
        yield np.arange(first, first + full) % total, min(size, total - first)


def as_argument(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """A function that can be an argument of a jitted program.

    A pytree that can be called (such as `mm_jax.ArcFace`) enters by its leaves, a plain function as
    it is.
    """
    if function is not None and jax.tree_util.all_leaves([function]):
        return jax.tree_util.Partial(function)
    return function
