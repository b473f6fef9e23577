"""When the frames of a video are shown: presentation timestamps, exactly, as files hold them."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from mm_jax.errors import UsageError

__all__ = ["MAX_FPS", "Timing", "as_fraction", "as_rate"]

# Cameras for slow motion record up to 960 frames a second.
MAX_FPS = 1000


def as_fraction(value: Any) -> Fraction:
    """A rational number of PyAV, whose type is its own from version 19 on."""
    return Fraction(value.numerator, value.denominator)


def as_rate(fps: float | Fraction) -> Fraction:
    """Frames per second as a fraction; 23.976, 29.97 and 59.94 are the NTSC rates n * 1000 / 1001.

    Raises:
        UsageError: not a number above 0 and at most `MAX_FPS`.
    """
    if not (math.isfinite(fps) and 0 < fps <= MAX_FPS):
        raise UsageError(f"frames per second must be above 0 and at most {MAX_FPS}, got {fps}")
    if isinstance(fps, Fraction):
        return fps
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    if ntsc and fps != round(fps) and abs(fps - ntsc) < 0.005:
        return ntsc
    return Fraction(fps).limit_denominator(1000)


@dataclasses.dataclass(frozen=True)
class Timing:
    """When each of T frames is shown.

    Attributes:
        pts: T growing integers, in units of `time_base` from the file's start: the first frame may
            come later than the sound.
        time_base: seconds of a unit.
        end: when the last frame ceases, in the same units.
    """

    pts: Sequence[int]
    time_base: Fraction
    end: int

    @classmethod
    def constant(
        cls, fps: float | Fraction, frames: int, *, first: Fraction = Fraction(0)
    ) -> Timing:
        """So many frames at a constant rate, the first at `first` seconds."""
        period = 1 / as_rate(fps)
        # A unit in which both the period and the first frame's time are whole.
        unit = Fraction(1, math.lcm(period.denominator, first.denominator))
        step, begin = int(period / unit), int(first / unit)
        return cls(range(begin, begin + frames * step, step), unit, begin + frames * step)

    @property
    def first(self) -> Fraction:
        """When the first frame is shown, in seconds."""
        return self.pts[0] * self.time_base

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's beginning to the last one's end."""
        return (self.end - self.pts[0]) * self.time_base

    @property
    def fps(self) -> Fraction:
        """Frames per second: exact where the rate is constant, else their mean."""
        return len(self.pts) / self.duration

    @functools.cached_property
    def times(self) -> np.ndarray:
        """[T] float64: seconds from the first frame."""
        return (np.array(self.pts) - self.pts[0]) * float(self.time_base)
