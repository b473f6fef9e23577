"""How many components to keep."""

from __future__ import annotations

import numpy as np

from mm_jax.artifacts import Array
from mm_jax.errors import UsageError

__all__ = ["NULL", "choose_rank"]

# Components below this share of the largest singular value are rounding.
NULL = 1e-5


def choose_rank(singular: Array, rank: int | None, explained: float | None) -> int:
    """K from either a number or a share of variance, checked against what there is."""
    variances = np.asarray(singular, np.float64) ** 2
    variances = variances if variances.ndim == 1 else variances.sum(axis=0)
    if rank is not None and explained is not None:
        raise UsageError("give a rank or a share of variance to explain, not both")
    if explained is not None:
        if not 0 < explained <= 1:
            raise UsageError(f"the share of variance to explain must be in (0, 1], got {explained}")
        cumulative = np.cumsum(variances) / variances.sum()
        rank = int(np.searchsorted(cumulative, explained - 1e-9) + 1)
        return min(rank, int((variances > (NULL**2) * variances[0]).sum()))
    rank = 1 if rank is None else rank
    if not isinstance(rank, int | np.integer) or isinstance(rank, bool) or rank < 1:
        raise UsageError(f"rank must be a whole number of at least 1, got {rank}")
    if rank > len(variances):
        raise UsageError(f"rank {rank} is more than the {len(variances)} components there are")
    present = int((variances > (NULL**2) * variances[0]).sum())
    if rank > present:
        raise UsageError(f"rank {rank} asked of a motion whose low-rank part has rank {present}")
    return int(rank)
