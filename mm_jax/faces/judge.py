"""Edits of any generator judged by strangers: networks that were trained on photographs.

No factor is known of an FFHQ generator, so that `mm_jax.edit_metrics` has nothing to read. Here the
factors are the readings of `mm_jax.faces.FaceReader`, and the figures are the same: does the target
follow the strength, what else moves, and is it still the same person?

Shapes: N identities, S strengths, F readings.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_jax.edit_metrics import MotionTruth, motion_truth
from mm_jax.errors import DataError, UsageError
from mm_jax.faces.detail import LEAST_DETAIL
from mm_jax.faces.readings import OTHER_PERSON, Readings, identity_distance

__all__ = [
    "READ",
    "TARGETS",
    "FaceEdit",
    "Target",
    "Verdict",
    "judge_edits",
    "judge_face",
    "target_of",
]

Target = tuple[str, int]
"""A reading of `READ`, and whether it should grow (1) or fall (-1) with the strength."""

READ = ("happy", "angry", "age", "male", "eyes_open", "yaw", "mouth_open", "brow_height")
"""The readings that edits are judged by, in order."""

TARGETS: dict[str, Target] = {
    "smile": ("happy", 1),
    "anger": ("angry", 1),
    "aging": ("age", 1),
    "closing_eyes": ("eyes_open", -1),
    "head_turn": ("yaw", 1),
}
"""The reading that a motion is about, and whether it grows (1) or falls (-1) with the strength."""

# Words of a prompt by which it asks for a reading; the first that is found.
_WORDS: tuple[tuple[str, Target], ...] = (
    (r"(smil|happ|laugh|grin|joy)", ("happy", 1)),
    (r"(angr|anger|furious|rage)", ("angry", 1)),
    (r"eyes.*clos|clos\w* .*eyes|blink", ("eyes_open", -1)),
    (r"mouth.*open|open\w* .*mouth", ("mouth_open", 1)),
    (r"brow\w*.*(rais|lift)|(rais|lift)\w* .*brow", ("brow_height", 1)),
    (r"turn.*right", ("yaw", 1)),
    (r"turn.*left", ("yaw", -1)),
    (r"\b(old|older|aged|elderly)\b", ("age", 1)),
    (r"\b(young|younger)\b", ("age", -1)),
)

# Standard deviation of each reading (probabilities as logits) over 63 renders of different people
# by `mm_jax.people`; over eight photographs and paintings they are of the same size.
_SPREAD = {
    "happy": 5.1,
    "angry": 3.4,
    "age": 15.0,
    "male": 2.9,
    "eyes_open": 0.037,
    "yaw": 0.17,
    "mouth_open": 0.09,
    "brow_height": 0.074,
}
# A reading has moved if it changed by so many of them.
_MOVED = 0.3

_PROBABILITIES = ("happy", "angry", "male")
_SURE = 1e-3
# The logit of 0.99, beyond which a probability can hardly grow: a broad smile does not get broader.
_END = 4.6


@dataclasses.dataclass(frozen=True)
class FaceEdit:
    """What strangers see of the edit of one face.

    Attributes:
        found: whether a face is found at every strength that was read.
        identity: the largest distance of a descriptor to that of the unedited face; None where no
            face is left.
        moved: by the reading that was asked for, its change from the lowest to the highest strength
            in standard deviations over people; it is positive if it went the right way.
        faults: what is wrong with the face, in words that follow a name.
        still: likewise which reading did not move as was asked for.
        full: readings left out of both, as they are at the end of their scale at both strengths.
        detail: the least share of the photo's fine detail that is left; None if not measured.
    """

    found: bool
    identity: float | None
    moved: dict[str, float]
    faults: tuple[str, ...]
    still: tuple[str, ...]
    full: tuple[str, ...] = ()
    detail: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        lists = {name: list(getattr(self, name)) for name in ("faults", "still", "full")}
        return {**dataclasses.asdict(self), **lists}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FaceEdit:
        """Inverse of `to_dict`."""
        texts = {name: tuple(values.get(name, ())) for name in ("faults", "still", "full")}
        return cls(**{**values, **texts})


def target_of(prompt: str) -> Target | None:
    """The reading that a prompt asks for, where there is one for what it says."""
    text = prompt.lower()
    return next((target for words, target in _WORDS if re.search(words, text)), None)


def judge_face(
    readings: Readings, strengths: Any, targets: Sequence[Target | None], unedited: np.ndarray, *,
    detail: np.ndarray | None = None,
) -> FaceEdit:  # fmt: skip
    """Judge the edit of one face by what strangers read.

    Args:
        readings: of its images at S strengths.
        strengths: [E, S] float, of each subspace.
        targets: E of them: what each subspace is about, or None where no reading is known for it.
        unedited: [128] the descriptor of the unedited face.
        detail: [S] what `detail_kept` says of the images; None where there is no photo.

    Raises:
        UsageError: strengths or targets of another number.
    """
    amounts = np.asarray(strengths, np.float64)
    if amounts.shape != (len(targets), len(readings.found)):
        raise UsageError(
            f"strengths must be [{len(targets)}, {len(readings.found)}], got {list(amounts.shape)}"
        )
    seen = readings.found
    identity, moved, faults, still, full = None, {}, [], [], []
    if not seen.all():
        lost = ", ".join(f"{s:g}" for s in amounts[0][~seen]) if len(amounts) else ""
        faults.append("no face is found" + (f" at strength {lost}" if lost else ""))
    if seen.any():
        identity = float(identity_distance(readings.descriptors[seen], unedited).max())
        if identity >= OTHER_PERSON:
            faults.append(
                f"becomes another person (descriptors must be less than {OTHER_PERSON:g} apart, "
                f"got {identity:.2f})"
            )
    left = None if detail is None else float(detail.min())
    if left is not None and left < LEAST_DETAIL:
        faults.append(
            f"is blurred (must keep {LEAST_DETAIL:.0%} of the photo's fine detail, "
            f"keeps {left:.0%})"
        )
    for amount, target in zip(amounts, targets, strict=True):
        low, high = amount.argmin(), amount.argmax()
        if target is None or amount[low] == amount[high] or not (seen[low] and seen[high]):
            continue
        name, sign = target
        values = _scale_of(name, readings.values[name])
        ends = values[[low, high]]
        if name in _PROBABILITIES and (sign * ends > _END).all():
            full.append(name)
            continue
        moved[name] = float(sign * (ends[1] - ends[0]) / _SPREAD[name])
        if moved[name] < _MOVED:
            way = "goes the wrong way" if moved[name] <= -_MOVED else "does not move"
            still.append(f"{name} {way} ({moved[name]:+.1f} sd)")
    return FaceEdit(
        bool(seen.all()), identity, moved, tuple(faults), tuple(still), tuple(full), left
    )


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
            "a face must be found at every strength of at least two identities, got "
            f"{seen.sum()} of {count}"
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
