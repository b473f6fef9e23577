"""Checks of numbers and choices at the public edges; each failure says what is wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mm_jax.errors import UsageError

__all__ = ["check_count", "check_number", "check_one_of"]


def check_one_of(name: str, value: Any, known: Sequence[str]) -> None:
    """Raises UsageError unless `value` is one of `known`."""
    if value not in known:
        raise UsageError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def check_count(name: str, value: Any, *, least: int = 1) -> None:
    """Raises UsageError unless `value` is None or a whole number of at least `least`."""
    if value is None:
        return
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_number(name: str, value: Any, *, above: float | None = None) -> None:
    """Raises UsageError unless `value` is finite, not negative, and greater than `above`."""
    number = isinstance(value, int | float | np.number) and math.isfinite(value)
    if not number or value < 0 or (above is not None and value <= above):
        want = f" above {above:g}" if above is not None else ", not negative"
        raise UsageError(f"{name} must be a finite number{want}, got {value!r}")
