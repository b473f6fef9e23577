"""Edits of any generator judged by strangers: networks that were trained on photographs.

No factor is known of an FFHQ generator, so that `mm_jax.edit_metrics` has nothing to read. Here the
factors are the readings of `mm_jax.faces.FaceReader`, and the figures are the same: does the target
follow the strength, what else moves, and is it still the same person?

Shapes: N identities, S strengths, F readings.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mm_jax.edit_metrics import MotionTruth, motion_truth
from mm_jax.errors import DataError, UsageError
from mm_jax.faces.readings import Readings, identity_distance

__all__ = ["READ", "TARGETS", "Verdict", "judge_edits"]

READ = ("happy", "angry", "age", "male", "eyes_open", "yaw", "mouth_open", "brow_height")
"""The readings that edits are judged by, in order."""

TARGETS = {
    "smile": ("happy", 1),
    "anger": ("angry", 1),
    "aging": ("age", 1),
    "closing_eyes": ("eyes_open", -1),
    "head_turn": ("yaw", 1),
}
"""The reading that a motion is about, and whether it grows (1) or falls (-1) with the strength."""

_PROBABILITIES = ("happy", "angry", "male")
_SURE = 1e-3


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What strangers say of an edit.

    Attributes:
        truth: `MotionTruth` of the readings `READ`; probabilities as logits, all in standard
            deviations over the identities at the strength nearest 0.
        identity_change: mean distance of the descriptors at the lowest and the highest strength.
        identity_between: mean distance between different identities at the strength nearest 0; a
            change that comes near it has made another person.
        unread: identities of which a face was not found at every strength; they are left out.
    """

    truth: MotionTruth
    identity_change: float
    identity_between: float
    unread: int


def judge_edits(readings: Readings, strengths: Any, *, target: str, sign: int = 1) -> Verdict:
    """Judge edits of several people by what strangers read.

    Args:
        readings: what a `FaceReader` gave for N * S images: the first identity at all strengths,
            then the second, and so on.
        strengths: [S] float, not all equal.
        target: one of `READ`, the reading that the motion is about; `TARGETS` has it by motion.
        sign: 1 if it should grow with the strength, -1 if it should fall.

    Raises:
        UsageError: an unknown target, or strengths or sign as `motion_truth` refuses them.
        DataError: another number of readings, fewer than two identities whose faces are found, or
            a target that does not change.
    """
    if target not in READ:
        raise UsageError(f"target must be one of {', '.join(READ)}, got {target!r}")
    amounts = np.asarray(strengths, np.float64)
    if amounts.ndim != 1 or not amounts.size:
        raise UsageError(f"strengths must be [S] numbers, got {list(amounts.shape)}")
    steps = len(amounts)
    count, rest = divmod(len(readings.found), steps)
    if rest or not count:
        raise DataError(
            f"{len(readings.found)} readings are not {steps} strengths of some identities"
        )
    seen = readings.found.reshape(count, steps).all(axis=1)
    if seen.sum() < 2:
        raise DataError(
            f"a face was found at every strength of {seen.sum()} of {count} identities, want two"
        )
    values = np.stack([_scale_of(name, readings.values[name]) for name in READ], axis=-1)
    values = values.reshape(count, steps, len(READ))[seen]
    people = readings.descriptors.reshape(count, steps, -1)[seen]
    unedited = int(np.abs(amounts).argmin())
    deviations = values[:, unedited].std(axis=0)
    truth = motion_truth(
        values,
        amounts,
        target=READ.index(target),
        factor_scale=np.where(deviations > 0, deviations, 1.0),
        sign=sign,
    )
    change = identity_distance(people[:, amounts.argmin()], people[:, amounts.argmax()])
    between = identity_distance(people[:, None, unedited], people[None, :, unedited])
    return Verdict(
        truth=truth,
        identity_change=float(change.mean()),
        identity_between=float(between[~np.eye(len(people), dtype=bool)].mean()),
        unread=int(count - seen.sum()),
    )


def _scale_of(name: str, values: np.ndarray) -> np.ndarray:
    """Logits of probabilities, which else hardly move near 0 and 1; other readings as they are."""
    if name not in _PROBABILITIES:
        return values
    values = np.clip(values, _SURE, 1 - _SURE)
    return np.log(values / (1 - values))
