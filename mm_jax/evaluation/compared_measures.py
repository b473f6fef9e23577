"""How well a direction does what it should: measures of readings, with intervals.

Shapes: N faces, S strengths (the first of them 0), F factors, R repetitions of the finding with
other keys, B bootstrap draws. Changes [N, S, F] are readings less those of the unedited face, in
standard deviations of each factor over unedited faces. Strength 1 is where the target changes by
one standard deviation on average over the faces that the strength is set on.

Leakage of another factor is the size of its mean change over the size of the target's; absolute
leakage has the mean size of its change instead (`mm_jax.edit_metrics`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mm_jax.edit_metrics import motion_truth
from mm_jax.errors import DataError

__all__ = [
    "Calibration",
    "Draws",
    "Interval",
    "calibrate",
    "curve",
    "differences",
    "figures_of",
    "interval",
    "leakages",
    "linearity",
    "saturation",
    "step_variation",
]

# Amounts that are tried first, in units of a typical distance between latents.
_TRIED = 2.0 ** np.arange(-6, 2)
# Near an expected amount, a reading within this fraction of the wanted amount will do.
_CLOSE = 0.1
# And the readings of all faces that follow.
_READ = 3


class Calibration(NamedTuple):
    """How far along a direction strength 1 is.

    Attributes:
        amount: times the direction's move.
        reached: mean change of the target there; 1 or -1, less where so much is not in reach.
    """

    amount: float
    reached: float


def calibrate(
    response: Callable[[np.ndarray], np.ndarray],
    typical: float,
    *,
    rough: Callable[[np.ndarray], np.ndarray] | None = None,
    near: float | None = None,
    wanted: float = 1.0,
) -> Calibration:
    """The first amount at which the target has changed by `wanted`, either way.

    Args:
        response: amounts [A] to the target's mean changes [A].
        typical: the amount at which the move is as long as latents are apart.
        rough: the same of fewer faces, by which the amount is looked for; `response` by default.
        near: where it is expected; nothing is looked for elsewhere, and within a tenth of it the
            response counts as straight.
        wanted: above 0, in the response's unit.

    Raises:
        DataError: nothing responds.
    """
    guess, in_reach, close = near, True, 0.0 if near is None else _CLOSE
    if guess is None:
        tried = np.concatenate([[0.0], typical * _TRIED])
        sizes = np.abs(np.concatenate([[0.0], (rough or response)(tried[1:])]))
        if not np.isfinite(sizes).all():
            raise DataError("the readings of a direction are not finite")
        guess = _first_crossing(tried, sizes, wanted)
        in_reach = guess is not None
        guess = float(tried[sizes.argmax()]) if guess is None else guess
    if not guess > 0:
        raise DataError("the target does not answer to the direction at all")
    amounts, changes = np.zeros(1), np.zeros(1)
    for _ in range(_READ):
        place = np.searchsorted(amounts, guess)
        amounts = np.insert(amounts, place, guess)
        changes = np.insert(changes, place, np.asarray(response(np.array([guess])))[0])
        found = _first_crossing(amounts, np.abs(changes), wanted)
        most = int(np.abs(changes).argmax())
        short = wanted / max(abs(changes[most]), 1e-9)
        if found is None and in_reach and most == len(amounts) - 1 and short > 1 + close:
            guess = float(amounts[most] * min(short, 1.5 if near is None else 4.0))
        elif found is None or np.abs(amounts[1:] - found).min() <= close * found:
            break
        else:
            guess = found
    best = _first_crossing(amounts, np.abs(changes), wanted)
    best = float(amounts[np.abs(changes).argmax()]) if best is None else best
    if not best > 0:
        raise DataError("the target does not answer to the direction at all")
    return Calibration(best, float(np.interp(best, amounts, changes)))


def _first_crossing(at: np.ndarray, sizes: np.ndarray, wanted: float) -> float | None:
    above = np.flatnonzero(sizes >= wanted)
    if not len(above):
        return None
    i = int(above[0])  # never the first, whose size is 0
    fraction = (wanted - sizes[i - 1]) / (sizes[i] - sizes[i - 1])
    return float(at[i - 1] + fraction * (at[i] - at[i - 1]))


def leakages(changes: np.ndarray, target: int) -> np.ndarray:
    """[..., F] leakage by factor, 1 for the target, of mean changes [..., F]."""
    sizes = np.abs(changes)
    return sizes / np.maximum(sizes[..., target : target + 1], 1e-12)


def linearity(strengths: np.ndarray, response: np.ndarray) -> float:
    """R2 of the straight line through a mean response [S]: 1 where it is straight."""
    rest = response - np.polyval(np.polyfit(strengths, response, 1), strengths)
    total = ((response - response.mean()) ** 2).sum()
    return float(1 - (rest**2).sum() / total) if total > 0 else 0.0


def step_variation(response: np.ndarray) -> float:
    """Coefficient of variation of the steps of a mean response [S] at even strengths: 0 is even."""
    steps = np.diff(response)
    mean = abs(steps.mean())
    return float(steps.std() / mean) if mean > 0 else float("inf")


def saturation(strengths: np.ndarray, response: np.ndarray) -> float | None:
    """The strength from which a step moves less than half of what the first one does, or None."""
    slopes = np.diff(response) / np.diff(strengths)
    slow = np.flatnonzero(slopes * np.sign(slopes[0]) < 0.5 * abs(slopes[0]))
    return float(strengths[slow[0]]) if len(slow) else None


def curve(changes: np.ndarray, target: int) -> dict[str, list[float]]:
    """What moves at each strength, of changes [N, S, F].

    Returns:
        lists over the strengths: "target", the size of the target's mean change; "others", the mean
        over the other factors of the size of their mean change; and StyleSpace's attribute
        dependency (Wu, Lischinski, Shechtman 2021, arXiv:2011.12799): "target_abs" and "others_abs"
        are means of the sizes of the changes of single faces.
    """
    others = np.arange(changes.shape[2]) != target
    mean, size = np.abs(changes.mean(axis=0)), np.abs(changes).mean(axis=0)  # [S, F]
    return {
        "target": mean[:, target].tolist(),
        "others": mean[:, others].mean(axis=1).tolist(),
        "target_abs": size[:, target].tolist(),
        "others_abs": size[:, others].mean(axis=1).tolist(),
    }


def figures_of(
    changes: np.ndarray, strengths: np.ndarray, *, target: int, sign: int
) -> dict[str, Any]:
    """The metrics of one direction as json values.

    Args:
        changes: [N, S, F].
        strengths: [S], the first 0, one of them 1; where they are only these two, what needs more
            is None.
        target: position of the factor that the motion is about.
        sign: 1 or -1, the way it is to move.
    """
    one = int(np.flatnonzero(strengths == 1.0)[0])
    at_one = motion_truth(changes[:, [0, one]], [0.0, 1.0], target=target, sign=sign)
    found = {
        "target_change": sign * at_one.target_change,
        "right_way": at_one.right_way,
        "leakage_mean": at_one.leakage_mean,
        "leakage_max": at_one.leakage_max,
        "leakage_abs_mean": at_one.leakage_abs_mean,
        "leakage_abs_max": at_one.leakage_abs_max,
        "moved": changes[:, one].mean(axis=0).tolist(),
    }
    several = len(strengths) > 2
    whole = motion_truth(changes, strengths, target=target, sign=sign) if several else None
    response = sign * changes[:, :, target].mean(axis=0)
    found |= {
        "spearman": None if whole is None else whole.spearman,
        "linearity": linearity(strengths, response) if several else None,
        "step_variation": step_variation(response) if several else None,
        "saturation": saturation(strengths, response) if several else None,
        "curve": curve(changes, target) if several else None,
    }
    return found


class Interval(NamedTuple):
    """A figure and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def to_list(self) -> list[float]:
        """For json."""
        return list(self)


def interval(value: float, draws: np.ndarray) -> Interval:
    """A figure with the 2.5th and 97.5th percentile of its bootstrap draws."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """Bootstrap draws, the same for all methods and motions, so that differences are paired.

    Both the faces that are measured and the repetitions of the finding are drawn with replacement.

    Attributes:
        faces: [B, N] how often each face is drawn, over N.
        uniform: [B, R] in [0, 1), which repetitions are drawn.
    """

    faces: np.ndarray
    uniform: np.ndarray

    @classmethod
    def make(cls, faces: int, repetitions: int, *, count: int = 1000, seed: int = 0) -> Draws:
        """Draws for so many faces and at most so many repetitions."""
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(faces, np.full(faces, 1 / faces), size=count) / faces
        return cls(weights, rng.random((count, repetitions)))

    def leakage(self, repetitions: Sequence[np.ndarray], target: int) -> np.ndarray:
        """Mean and largest leakage of drawn faces and repetitions, averaged over the repetitions.

        Args:
            repetitions: R times changes [N, F] at strength 1.
            target: the factor's position.

        Returns:
            [1 + B, 2]: the first row is of all faces and repetitions, the others are draws; the
            columns are the mean over the other factors, and the largest of them.
        """
        stack = np.stack(repetitions)  # [R, N, F]
        count, faces, factors = stack.shape
        weights = np.concatenate([np.full((1, faces), 1 / faces), self.faces])
        found = leakages(np.einsum("bn,rnf->rbf", weights, stack), target)
        others = found[..., np.arange(factors) != target]  # [R, 1 + B, F - 1]
        both = np.stack([others.mean(axis=-1), others.max(axis=-1)], axis=-1)
        drawn = (self.uniform[:, :count] * count).astype(int)  # [B, R]
        rows = np.arange(1, 1 + len(self.faces))
        of_draws = np.stack([both[drawn[:, r], rows] for r in range(count)]).mean(axis=0)
        return np.concatenate([both[:, 0].mean(axis=0)[None], of_draws])

    def band(self, changes: np.ndarray, target: int) -> np.ndarray:
        """[1 + B, S] mean over the other factors of the size of their mean change.

        Args:
            changes: [N, S, F].
            target: the factor's position.
        """
        faces, _, factors = changes.shape
        weights = np.concatenate([np.full((1, faces), 1 / faces), self.faces])
        sizes = np.abs(np.einsum("bn,nsf->bsf", weights, changes))
        return sizes[..., np.arange(factors) != target].mean(axis=-1)


def differences(draws: Mapping[str, np.ndarray], reference: str) -> dict[str, Interval]:
    """What each method's figure has above the reference's, paired draw by draw.

    Args:
        draws: by method [1 + B], the first of all data.
        reference: the method that is subtracted.
    """
    base = draws[reference]
    return {
        name: interval(values[0] - base[0], (values - base)[1:])
        for name, values in draws.items()
        if name != reference
    }
