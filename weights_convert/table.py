"""Tables of (our path, their key, arrangement of axes), and how they are applied both ways.

A conversion accounts for every key on both sides: whatever is missing, unknown or of an unexpected
shape is refused, so that a checkpoint of another kind can not pass for one that is understood.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mm_jax.errors import DataError
from mm_jax.nn.network import flatten_tree
from weights_convert.readers import release

__all__ = ["Constant", "Row", "check_foreign", "from_foreign", "listed", "to_foreign"]

Arrangement = Literal["same", "dense", "conv", "map"]

# Their axes in the order of ours. Leading or trailing axes of length one that only they have are
# dropped before and put back after.
_PERMUTATIONS: dict[Arrangement, tuple[int, ...] | None] = {
    "same": None,
    "dense": (1, 0),  # [out, in] -> [in, out]
    "conv": (2, 3, 1, 0),  # [O, I, h, w] -> [h, w, I, O]
    "map": (1, 2, 0),  # [C, h, w] -> [h, w, C]
}
_NAMED = 24


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter: our path, their key, and how their value becomes ours.

    Attributes:
        path: our path, such as "mapping/fc0/kernel".
        key: their key.
        arrangement: the order of their axes.
        leading, trailing: their axes of length one that ours lacks.
        flip: our two spatial axes, h and w, run the other way in theirs.
        offset: what is added to theirs.
    """

    path: str
    key: str
    arrangement: Arrangement = "same"
    leading: int = 0
    trailing: int = 0
    flip: bool = False
    offset: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """A buffer of theirs that holds no knowledge, only a value that must be the expected one."""

    key: str
    value: np.ndarray


def check_foreign(
    state: Mapping[str, np.ndarray],
    rows: Sequence[Row],
    constants: Sequence[Constant],
    shapes: Mapping[str, Any],
    *,
    what: str,
    ignored: Collection[str] = (),
) -> None:
    """Accounts for every key and shape, without looking at the values of parameters.

    Arguments as in `from_foreign`.

    Raises:
        DataError: a key that is missing or not in the table, a wrong shape, or another filter.
    """
    known = {row.key for row in rows} | {constant.key for constant in constants} | set(ignored)
    wrong = []
    if missing := [row.key for row in rows if row.key not in state]:
        wrong.append(f"lacks {listed(missing)}")
    if unknown := [key for key in state if key not in known]:
        wrong.append(f"has keys that are not in its table: {listed(unknown)}")
    if wrong:
        raise DataError(f"{what} {'; it '.join(wrong)}")
    for constant in constants:
        if constant.key in state and not _equal(state[constant.key], constant.value):
            raise DataError(f"{what}: {constant.key} is not the filter that this project computes")
    wanted = flatten_tree(shapes)
    for row in rows:
        _check_shape(row, np.shape(state[row.key]), wanted[row.path].shape, what)


def from_foreign(
    state: Mapping[str, np.ndarray],
    rows: Sequence[Row],
    constants: Sequence[Constant],
    shapes: Mapping[str, Any],
    *,
    what: str,
    ignored: Collection[str] = (),
) -> dict[str, Any]:
    """Their state dict as our parameter tree, float32.

    Args:
        state: their arrays by key.
        rows: one for each of our parameters.
        constants: their keys that have no counterpart here; they may be absent.
        shapes: our tree of shapes.
        what: what the state dict is supposed to be, for messages.
        ignored: their keys whose values do not matter, and that may be absent.

    Raises:
        DataError: as `check_foreign`, or a value that is not finite.
    """
    check_foreign(state, rows, constants, shapes, what=what, ignored=ignored)
    tree: dict[str, Any] = {}
    for row in rows:
        *parents, last = row.path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = _to_ours(row, np.asarray(state[row.key]), what)
        release(state[row.key])
    return tree


def to_foreign(
    params: Mapping[str, Any], rows: Sequence[Row], constants: Sequence[Constant]
) -> dict[str, np.ndarray]:
    """Our parameter tree as their state dict, float32: the inverse of `from_foreign`."""
    flat = flatten_tree(params)
    state = {row.key: _to_theirs(row, np.asarray(flat[row.path], np.float32)) for row in rows}
    return state | {c.key: np.asarray(c.value, np.float32) for c in constants}


def listed(keys: Iterable[str]) -> str:
    """All keys by name, or the first of them and a count where they are very many."""
    names = sorted(keys)
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _check_shape(row: Row, theirs: tuple[int, ...], ours: tuple[int, ...], what: str) -> None:
    end = len(theirs) - row.trailing
    core, ones = theirs[row.leading : end], (*theirs[: row.leading], *theirs[end:])
    permutation = _PERMUTATIONS[row.arrangement] or tuple(range(len(core)))
    fits = (
        len(theirs) == row.leading + len(ours) + row.trailing
        and set(ones) <= {1}
        and tuple(core[axis] for axis in permutation) == ours
    )
    if not fits:
        raise DataError(
            f"{what}: {row.key} has shape {list(theirs)}, which does not become {row.path} "
            f"{list(ours)}"
        )


def _to_ours(row: Row, value: np.ndarray, what: str) -> np.ndarray:
    if value.dtype.kind not in "fiu":
        raise DataError(f"{what}: {row.key} must hold numbers, got {value.dtype}")
    if not np.isfinite(value).all():
        raise DataError(f"{what}: {row.key} holds NaN or infinity")
    value = value.reshape(value.shape[row.leading : value.ndim - row.trailing])
    permutation = _PERMUTATIONS[row.arrangement]
    if permutation is not None:
        value = value.transpose(permutation)
    if row.flip:
        value = value[::-1, ::-1]
    value = np.array(value, np.float32, order="C")
    return value + np.float32(row.offset) if row.offset else value


def _to_theirs(row: Row, value: np.ndarray) -> np.ndarray:
    if row.offset:
        value = value - np.float32(row.offset)
    if row.flip:
        value = value[::-1, ::-1]
    permutation = _PERMUTATIONS[row.arrangement]
    if permutation is not None:
        value = value.transpose(np.argsort(permutation))
    return np.array(
        value.reshape((1,) * row.leading + value.shape + (1,) * row.trailing), order="C"
    )


def _equal(value: np.ndarray, wanted: np.ndarray) -> bool:
    return np.shape(value) == wanted.shape and np.allclose(value, wanted, rtol=1e-5, atol=0)
