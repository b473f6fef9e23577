"""How far each strength of a motion goes: calibrated strengths, and where the motion ends.

A direction is straight in W+, but what is seen does not change evenly along it: a smile grows fast
at first and then stays. A calibration says what degree is read off images at some strengths, mean
over faces. By it, equal steps of a *calibrated* strength change the reading by equal amounts, with
0 and 1 where they are in the file's own units. Beyond the strengths at which the reading still
changes there is nothing to go by: from there on calibrated strengths are a straight line, whose
slope is the mean one of those between.

`mm_jax.anchors.calibrate` finds calibrations. Files of subspaces keep them in their metadata:

    "calibration": {"strengths": [..], "readings": [..], "saturates": [low, high]}

with growing strengths in the file's own units, readings from 0 to 1 that never fall, and the
strengths between which they rise.

Shapes: T calibrated points, [...] any shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError

__all__ = ["KEY", "Calibration", "growing", "isotonic", "rising_range"]

#: In the metadata of a subspace.
KEY = "calibration"
# A step whose slope is below this fraction of the steepest one's counts as none.
_SLOW = 0.15
# A reading that rises by less over all strengths calibrates nothing.
_LEAST = 0.05
# Where a reading stays for a while, its strengths are still told apart by this much of the slope.
_TILT = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """What is read at some strengths.

    Attributes:
        strengths: [T] growing, in the units of the subspace.
        readings: [T] mean degree read there, from 0 to 1, never falling.
        saturates: the strengths between which the reading rises.

    Raises:
        DataError: the values are not as described, or the reading hardly rises.
    """

    strengths: np.ndarray
    readings: np.ndarray
    saturates: tuple[float, float]

    def __post_init__(self) -> None:
        strengths = np.asarray(self.strengths, np.float64)
        readings = np.asarray(self.readings, np.float64)
        low, high = (float(end) for end in self.saturates)
        sound = strengths.ndim == 1 and len(strengths) >= 2 and strengths.shape == readings.shape
        if not (sound and np.isfinite(strengths).all() and np.isfinite(readings).all()):
            raise DataError("a calibration needs two strengths or more, and a reading for each")
        if not (np.diff(strengths) > 0).all() or (np.diff(readings) < 0).any():
            raise DataError("the strengths and readings of a calibration must grow")
        rise = readings[-1] - readings[0]
        if rise < _LEAST:
            raise DataError(
                f"the reading rises by {rise:.3f} over all strengths: there is nothing to "
                "calibrate by"
            )
        if not strengths[0] <= low < high <= strengths[-1]:
            raise DataError(
                f"saturates must be two growing strengths from {strengths[0]:g} to "
                f"{strengths[-1]:g}, got {low:g} and {high:g}"
            )
        object.__setattr__(self, "strengths", strengths)
        object.__setattr__(self, "readings", readings)
        object.__setattr__(self, "saturates", (low, high))

    @classmethod
    def measured(cls, strengths: np.ndarray, readings: np.ndarray) -> Calibration:
        """Of readings [T] as they are: made to grow, with the range in which they rise.

        Raises:
            DataError: the readings hardly rise.
        """
        grown = growing(strengths, readings)
        low, high = rising_range(strengths, grown) if grown[-1] > grown[0] else (0.0, 0.0)
        return cls(strengths, grown, (low, high))

    def strengths_of(self, amounts: Any) -> np.ndarray:
        """Strengths [...] of calibrated strengths [...].

        Raises:
            DataError: the reading does not rise from strength 0 to 1.
        """
        at, values = self._curve()
        return _continued(np.asarray(amounts, np.float64), values, at)

    def amounts_of(self, strengths: Any) -> np.ndarray:
        """Calibrated strengths [...] of strengths [...]; the inverse of `strengths_of`."""
        at, values = self._curve()
        return _continued(np.asarray(strengths, np.float64), at, values)

    def beyond(self, strengths: Any) -> bool:
        """Whether some of the strengths lie where the reading no longer changes."""
        low, high = self.saturates
        slack = 1e-6 * (high - low)
        values = np.asarray(strengths, np.float64)
        return bool((values < low - slack).any() or (values > high + slack).any())

    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Strengths [P] within the range, and calibrated strengths [P] there; both grow."""
        low, high = self.saturates
        inner = self.strengths[(self.strengths > low) & (self.strengths < high)]
        at = np.concatenate([[low], inner, [high]])
        read = np.interp(at, self.strengths, self.readings)
        slope = (read[-1] - read[0]) / (high - low)
        read = read + _TILT * slope * (at - low)
        zero, one = _continued(np.array([0.0, 1.0]), at, read)
        if one - zero < 0.1 * slope:
            raise DataError("the reading hardly rises from strength 0 to 1: no step is even")
        return at, (read - zero) / (one - zero)

    def to_dict(self) -> dict[str, Any]:
        """As plain json values."""
        return {
            "strengths": np.round(self.strengths, 6).tolist(),
            "readings": np.round(self.readings, 6).tolist(),
            "saturates": [round(end, 6) for end in self.saturates],
        }

    @classmethod
    def from_dict(cls, values: Any) -> Calibration:
        """From what `to_dict` gave.

        Raises:
            DataError: it was something else.
        """
        try:
            low, high = values["saturates"]
            return cls(np.asarray(values["strengths"], np.float64),
                       np.asarray(values["readings"], np.float64),
                       (float(low), float(high)))  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a calibration: {error}") from error

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Calibration | None:
        """That of a subspace's metadata, or None if it has none.

        Raises:
            DataError: it is not a calibration.
        """
        return None if meta.get(KEY) is None else cls.from_dict(meta[KEY])


def isotonic(values: np.ndarray) -> np.ndarray:
    """The growing numbers [T] nearest to `values` [T], by least squares (pool adjacent violators).

    Barlow, Bartholomew, Bremner, Brunk 1972, "Statistical Inference under Order Restrictions".
    """
    blocks: list[tuple[float, int]] = []
    for value in np.asarray(values, np.float64):
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, others = blocks.pop()
            mean = (before * others + mean * count) / (others + count)
            count += others
        blocks.append((mean, count))
    return np.concatenate([np.full(count, mean) for mean, count in blocks])


def growing(strengths: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """Readings [T] made to grow, for strengths [T] that grow.

    Far from the faces that the generator knows, what is read falls back; that is no part of the
    motion. So readings stay as they are beyond their highest at or above strength 0, and below
    their lowest at or below it; between them they are `isotonic`.
    """
    values = np.array(readings, np.float64)
    above, below = np.flatnonzero(strengths >= 0), np.flatnonzero(strengths <= 0)
    if len(above):
        top = above[values[above].argmax()]
        values[top:] = values[top]
    if len(below):
        bottom = below[len(below) - 1 - values[below][::-1].argmin()]
        values[: bottom + 1] = values[bottom]
    return isotonic(values)


def rising_range(strengths: np.ndarray, readings: np.ndarray) -> tuple[float, float]:
    """The strengths between which readings rise: without the slow steps at both ends.

    Args:
        strengths: [T] growing.
        readings: [T] that never fall.
    """
    slopes = np.diff(readings) / np.diff(strengths)
    fast = np.flatnonzero(slopes >= _SLOW * slopes.max())
    return float(strengths[fast[0]]), float(strengths[fast[-1] + 1])


def _continued(values: np.ndarray, at: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """A growing curve [P] over growing places [P], straight beyond them at its mean slope."""
    slope = (curve[-1] - curve[0]) / (at[-1] - at[0])
    inside = np.interp(values, at, curve)
    return inside + slope * (values - np.clip(values, at[0], at[-1]))
