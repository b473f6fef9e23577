"""Does the edit move what it should, and only that?

In a world whose factors can be read off an image by a probe, an edit is judged by the readings.

Shapes: N identities, S strengths, F factors.

With r[n, s, f] the reading of factor f, in units of the factor's standard deviation over the
population, c[n, f] = r[n, s_high, f] - r[n, s_low, f] its change from the lowest to the highest
strength, and t the target factor:

- *spearman*: mean over n of Spearman's rank correlation between r[n, :, t] and the strengths.
  An identity whose target does not change at all counts as 0.
- *right_way*: fraction of identities with c[n, t] of the right sign.
- *leakage* of another factor f: |mean_n c[n, f]| / |mean_n c[n, t]|, the change that the motion
  makes on average in units of its change of the target.
- *absolute leakage* of f: mean_n |c[n, f]| / |mean_n c[n, t]|, which is stricter: changes of
  opposite sign in different identities, and the probe's own noise, do not cancel.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mm_jax.errors import DataError, UsageError

__all__ = ["MotionTruth", "motion_truth", "spearman"]


@dataclasses.dataclass(frozen=True)
class MotionTruth:
    """The figures of one motion; see the module's text for what they are.

    Attributes:
        spearman: in [-1, 1].
        right_way: in [0, 1].
        leakage_mean: over the factors other than the target; 0 where there is no other.
        leakage_max: the largest of them.
        leakage_abs_mean: as `leakage_mean`, of the absolute leakage.
        leakage_abs_max: the largest of them.
        n: number of identities.
        target_change: mean change of the target, in standard deviations, by its own sign.
        per_factor: for each factor its leakage (1 for the target).
        per_factor_abs: for each factor its absolute leakage.
    """

    spearman: float
    right_way: float
    leakage_mean: float
    leakage_max: float
    leakage_abs_mean: float
    leakage_abs_max: float
    n: int
    target_change: float
    per_factor: tuple[float, ...]
    per_factor_abs: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain json values."""
        return dataclasses.asdict(self)


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis.

    Args:
        first: [..., S] numbers.
        second: [..., S] numbers, broadcast against the first.

    Returns:
        [...] float64 in [-1, 1]; 0 where either does not vary.
    """
    a, b = _ranks(first), _ranks(second)
    a = a - a.mean(axis=-1, keepdims=True)
    b = b - b.mean(axis=-1, keepdims=True)
    lengths = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    return np.where(lengths > 0, (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1.0), 0.0)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, from 1; equal numbers share the mean of theirs, NaN has none.

    As `scipy.stats.rankdata`, whose import takes as long as that of JAX.
    """

    def of_row(row: np.ndarray) -> np.ndarray:
        if np.isnan(row).any():
            return np.full(row.shape, np.nan)
        _, place, counts = np.unique(row, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[place]

    return np.apply_along_axis(of_row, -1, np.asarray(values, np.float64))


def motion_truth(
    readings: Any,
    strengths: Any,
    *,
    target: int,
    factor_scale: Any | None = None,
    sign: int = 1,
) -> MotionTruth:
    """Judge an edit by what a probe reads.

    Args:
        readings: [N, S, F] float, the factors read from each identity at each strength.
        strengths: [S] float, not all equal.
        target: index of the factor that the motion is about.
        factor_scale: [F] float > 0, each factor's standard deviation over the population, by which
            the readings are divided; 1 unless given, for readings that are in these units already.
        sign: 1 if the target should grow with the strength, -1 if it should fall (closing eyes
            lowers their opening).

    Raises:
        DataError: readings that are not finite, of the wrong shape, or whose target does not move.
        UsageError: target, scale, strengths or sign out of range.
    """
    values = np.asarray(readings, np.float64)
    amounts = np.asarray(strengths, np.float64)
    if values.ndim != 3 or 0 in values.shape:
        raise DataError(f"readings must be [N, S, F], with no empty axis, got {list(values.shape)}")
    if not np.isfinite(values).all():
        raise DataError("readings hold NaN or infinity")
    identities, count, factors = values.shape
    if amounts.shape != (count,) or not np.isfinite(amounts).all():
        raise UsageError(f"strengths must be {count} finite numbers, one for each reading")
    if amounts.max() == amounts.min():
        raise UsageError("strengths must not all be equal")
    if not 0 <= target < factors:
        raise UsageError(f"target {target} of {factors} factors")
    if sign not in (1, -1):
        raise UsageError(f"sign must be 1 or -1, got {sign}")
    if factor_scale is not None:
        scale = np.asarray(factor_scale, np.float64)
        if scale.shape != (factors,) or not np.isfinite(scale).all() or not (scale > 0).all():
            raise UsageError(f"factor_scale must be {factors} finite numbers above 0")
        values = values / scale

    # [N, F], from the lowest strength to the highest, and its size for the target: a number.
    change = values[:, amounts.argmax()] - values[:, amounts.argmin()]
    reference = abs(change[:, target].mean())
    if not reference > 0:
        raise DataError("the target factor does not change")
    # [F], in units of the target's change: of the mean face, and of each face by itself.
    leakage = np.abs(change.mean(axis=0)) / reference
    absolute = np.abs(change).mean(axis=0) / reference
    others = np.arange(factors) != target
    return MotionTruth(
        spearman=float(sign * spearman(values[:, :, target], amounts).mean()),
        right_way=float((sign * change[:, target] > 0).mean()),
        leakage_mean=float(leakage[others].mean()) if others.any() else 0.0,
        leakage_max=float(leakage[others].max()) if others.any() else 0.0,
        leakage_abs_mean=float(absolute[others].mean()) if others.any() else 0.0,
        leakage_abs_max=float(absolute[others].max()) if others.any() else 0.0,
        n=identities,
        target_change=float(change[:, target].mean()),
        per_factor=tuple(leakage.tolist()),
        per_factor_abs=tuple(absolute.tolist()),
    )
