"""Numbers of mm_eval --topic=compared: of every method and motion, with intervals and differences.

Shapes: N faces, S strengths, F factors, B draws of a bootstrap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_jax.baselines.methods import TABLE
from mm_jax.baselines.world import Direction
from mm_jax.edit_metrics import spearman
from mm_jax.evaluation.compared_measures import Draws, differences, interval
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.options import ComparedEval

__all__ = ["COLUMNS", "Found", "numbers_of", "one_start", "ranking"]

#: Of each method and motion, beside the intervals of leakage.
COLUMNS = (
    "target_change",
    "reached",
    "right_way",
    "spearman",
    "linearity",
    "step_variation",
    "saturation",
    "identity_kept",
    "leakage_abs_mean",
    "leakage_abs_max",
    "cpu_seconds",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """One repetition of a method.

    Attributes:
        metrics: by motion, as `mm_jax.evaluation.compared.measure` gives them.
        changes: by motion [N, S, F] in standard deviations.
        directions: by motion.
        second: by motion [N, F2] changes at strength 1 as the second judge reads them, or nothing.
    """

    metrics: Mapping[str, Mapping[str, Any]]
    changes: Mapping[str, np.ndarray]
    directions: Mapping[str, Direction]
    second: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def numbers_of(
    found: Mapping[str, Sequence[Found]],
    factors: Sequence[str],
    options: ComparedEval,
    *,
    second: Sequence[str] = (),
) -> dict[str, Any]:
    """All numbers with their intervals, as json values.

    Args:
        found: by method, its repetitions.
        factors: names of what the judge reads.
        options: of the run.
        second: names of what the second judge reads, if there is one.
    """
    draws = Draws.make(len(options.unseen), options.repetitions)
    methods: dict[str, Any] = {}
    means: dict[str, np.ndarray] = {}  # [1 + B], over the motions
    again: dict[str, np.ndarray] = {}  # the same by the second judge
    for name, repetitions in found.items():
        # By motion [1 + B, 2]: mean and largest leakage, of all faces and of each draw of them.
        drawn = {
            motion: draws.leakage(
                [_at_one(one.changes[motion], options) for one in repetitions],
                target_of(motion, factors)[0],
            )
            for motion in repetitions[0].metrics
        }
        rows = {motion: _row(repetitions, motion, own) for motion, own in drawn.items()}
        methods[name] = {"title": TABLE[name].title, "sees": TABLE[name].sees, "motions": rows}
        # A mean over other motions than the others' cannot be compared with theirs.
        if set(rows) != set(options.edits):
            continue
        mean = np.mean(list(drawn.values()), axis=0)  # [1 + B, 2]
        means[name] = mean[:, 0]
        methods[name]["mean"] = _intervals(mean)
        if second and all(set(one.second) == set(rows) for one in repetitions):
            seconds = [
                draws.leakage(
                    [one.second[motion] for one in repetitions], target_of(motion, second)[0]
                )
                for motion in rows
            ]
            again[name] = np.mean(seconds, axis=0)[:, 0]
            own = interval(again[name][0], again[name][1:])
            methods[name]["mean"]["second"] = own.to_list()
    return {
        "generator": options.generator,
        "judge": options.judge,
        "probe": options.probe,
        "clip": options.clip,
        "unseen": len(options.unseen),
        "calibrated_on": len(options.calibrated_on),
        "repetitions": options.repetitions,
        "samples": options.looked_at.samples,
        "few": min(options.few, len(options.unseen)),
        "strengths": list(options.strengths),
        "factors": list(factors),
        "motions": {
            motion: dict(zip(("factor", "sign"), _named(motion, factors), strict=True))
            for motion in options.edits
        },
        "reference": options.reference,
        "second": {"judge": options.second, **ranking(means, again, options)} if second else None,
        "one_start": one_start(means),
        "methods": methods,
        "differences": {
            base: {name: d.to_list() for name, d in differences(means, base).items()}
            for base in means
        },
    }


def _row(repetitions: Sequence[Found], motion: str, drawn: np.ndarray) -> dict[str, Any]:
    """What is told of a method and a motion: of the first repetition, unless it says otherwise."""
    every = [one.metrics[motion] for one in repetitions]
    kept = ("amount", "space", "found", "curve", "moved", *COLUMNS)
    return {
        **{key: every[0][key] for key in kept},
        "right_way": float(np.mean([one["right_way"] for one in every])),
        **_intervals(drawn),
        "leakage_by_repetition": [one["leakage_mean"] for one in every],
    }


def _intervals(drawn: np.ndarray) -> dict[str, list[float]]:
    """Intervals of mean and largest leakage [1 + B, 2], whose first row is of all faces."""
    leakage, largest = (interval(column[0], column[1:]).to_list() for column in drawn.T)
    return {"leakage": leakage, "largest": largest}


def ranking(
    means: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray], options: ComparedEval
) -> dict[str, Any]:
    """Whether two judges rank the methods alike, of those that have not seen the second one.

    Args:
        means: by method [1 + B] mean leakage, the first of all data.
        again: the same by the second judge.
        options: the second judge may be the probe that some methods learned from.
    """
    blind = [
        name
        for name in again
        if options.second != options.probe or TABLE[name].sees not in ("probe", "oracle")
    ]
    if len(blind) < 3:
        return {"methods": blind, "spearman": None, "first_alike": None}
    first = np.array([means[name][0] for name in blind])
    second = np.array([again[name][0] for name in blind])
    return {
        "methods": blind,
        "spearman": float(spearman(first, second)),
        "first_alike": bool(first.argmin() == second.argmin()),
    }


def one_start(means: Mapping[str, np.ndarray]) -> list[float] | None:
    """Mean leakage of anchors of one face over that of several, with its interval."""
    if not {"ours_one_start", "ours_optimize"} <= set(means):
        return None
    ratio = means["ours_one_start"] / np.maximum(means["ours_optimize"], 1e-12)
    return interval(ratio[0], ratio[1:]).to_list()


def _named(motion: str, factors: Sequence[str]) -> tuple[str, int]:
    target, sign = target_of(motion, factors)
    return factors[target], sign


def _at_one(changes: np.ndarray, options: ComparedEval) -> np.ndarray:
    """Changes [N, F] at strength 1, of all strengths or of only 0 and 1."""
    return changes[:, 1 if changes.shape[1] == 2 else options.strengths.index(1.0)]
