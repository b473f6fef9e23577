"""How many components to keep."""

from __future__ import annotations

import numpy as np

from mm_jax.artifacts import Array
from mm_jax.checks import check_number
from mm_jax.errors import UsageError

__all__ = ["NULL", "choose_rank"]

# Components below this fraction of the largest singular value are rounding.
NULL = 1e-5


def choose_rank(singular: Array, rank: int | None, explained: float | None) -> int:
    """K from either a number or a fraction of variance, checked against what there is.

    Args:
        singular: [R] singular values, descending, or [L, R] by rows, not all zero.
        rank: a number of components; 1 where neither is given.
        explained: a fraction of the variance in (0, 1] that they must hold together.

    Raises:
        UsageError: both are given, one is out of range, or there are fewer components.
    """
    variances = np.asarray(singular, np.float64) ** 2
    variances = variances if variances.ndim == 1 else variances.sum(axis=0)
    present = int((variances > NULL**2 * variances[0]).sum())
    if rank is not None and explained is not None:
        raise UsageError("give a rank or a fraction of variance to explain, not both")
    if explained is not None:
        check_number("explained", explained, above=0, maximum=1)
        cumulative = np.cumsum(variances) / variances.sum()
        return min(int(np.searchsorted(cumulative, explained - 1e-9)) + 1, present)
    rank = 1 if rank is None else rank
    check_number("rank", rank, minimum=1, whole=True)
    if rank > len(variances):
        raise UsageError(
            f"rank must be at most the {len(variances)} components there are, got {rank}"
        )
    if rank > present:
        raise UsageError(
            f"rank must be at most {present}, the rank of the motion's low-rank part, got {rank}"
        )
    return int(rank)
