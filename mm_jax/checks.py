"""Checks at the public edges: numbers, choices, latents, rows of W+. Each says what is wanted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mm_jax.errors import DataError, UsageError

__all__ = [
    "as_latents",
    "as_layers",
    "check_latent_shape",
    "check_number",
    "check_one_of",
    "layer_mask",
]


def check_one_of(name: str, value: Any, known: Sequence[str]) -> None:
    """Check a choice.

    Raises:
        UsageError: `value` is none of `known`.
    """
    if value not in known:
        raise UsageError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def check_number(
    name: str,
    value: Any,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    whole: bool = False,
) -> None:
    """Check a number.

    Args:
        name: of the argument, for the message.
        value: a Python or NumPy number.
        minimum: the least value.
        above: a bound that the value must be greater than.
        maximum: the largest value.
        whole: whether it must be an integer.

    Raises:
        UsageError: not a finite number, not a whole one, or out of range.
    """
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
        raise UsageError(f"{name} must be a {'whole' if whole else 'finite'} number, got {value!r}")
    bounds = []
    if minimum is not None:
        bounds.append((value >= minimum, f"at least {minimum:g}"))
    if above is not None:
        bounds.append((value > above, f"above {above:g}"))
    if maximum is not None:
        bounds.append((value <= maximum, f"at most {maximum:g}"))
    if not all(holds for holds, _ in bounds):
        wanted = " and ".join(words for _, words in bounds)
        raise UsageError(f"{name} must be {wanted}, got {value!r}")


def as_layers(layers: Iterable[int] | None) -> tuple[int, ...] | None:
    """Row numbers of W+ as a tuple; None, which is all rows, stays None.

    Raises:
        UsageError: something else than row numbers, or none at all.
    """
    if layers is None:
        return None
    rows = tuple(layers)
    for row in rows:
        if isinstance(row, bool | np.bool_) or not isinstance(row, int | np.integer) or row < 0:
            raise UsageError(f"layers must be row numbers, got {row!r}")
    if not rows:
        raise UsageError("layers must name at least one row of W+, got none")
    return tuple(int(row) for row in rows)


def layer_mask(layers: Iterable[int] | None, rows: int) -> np.ndarray:
    """The chosen rows of W+ as a mask [L] bool; None chooses all of them.

    Raises:
        UsageError: something else than row numbers, or a row that is not there.
    """
    chosen = as_layers(layers)
    for row in chosen or ():
        if row >= rows:
            raise UsageError(f"layers must be rows 0 to {rows - 1} of W+, got {row}")
    return np.isin(np.arange(rows), range(rows) if chosen is None else chosen)


def check_latent_shape(what: str, shape: Sequence[int], wanted: Sequence[int], of: str) -> None:
    """Check the shape [L, D] of stored latents.

    Args:
        what: where they are from, for the message.
        shape: theirs.
        wanted: that of the generator or encoder.
        of: its name.

    Raises:
        DataError: they differ.
    """
    if tuple(shape) != tuple(wanted):
        raise DataError(f"{what}: latents are {list(shape)} each, those of {of} are {list(wanted)}")


def as_latents(
    name: str, ws: Any, wanted: Sequence[int], *, count: int | None = None
) -> np.ndarray:
    """Latents of W+ as [N, L, D] float32.

    Args:
        name: of the argument, for messages.
        ws: [N, L, D], or [L, D] for one.
        wanted: (L, D).
        count: N; one latent is then repeated. By default any number of at least one.

    Raises:
        UsageError: another shape, or no numbers. DataError: NaN or infinity.
    """
    array = np.asarray(ws)
    rows, width = wanted
    many = "N" if count is None else str(count)
    shapes = f"[{rows}, {width}] or [{many}, {rows}, {width}]"
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name} must be numbers, got {array.dtype}")
    if array.shape in ((1, width), (width,)) and rows > 1:
        raise UsageError(
            f"{name} must be {shapes}, got one w of shape {list(array.shape)}: repeat it over rows"
        )
    if array.ndim not in (2, 3) or array.shape[-2:] != (rows, width) or array.shape[0] == 0:
        raise UsageError(f"{name} must be {shapes}, got {list(array.shape)}")
    full = array.reshape(-1, rows, width)
    if count is not None and array.ndim == 2:
        full = np.repeat(full, count, axis=0)
    if count is not None and len(full) != count:
        raise UsageError(f"{name} must be {shapes}, got {list(array.shape)}")
    if not np.isfinite(full).all():
        raise DataError(f"{name} holds NaN or infinity")
    return full.astype(np.float32)
