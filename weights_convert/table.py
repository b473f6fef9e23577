"""Tables of (our path, their key, arrangement of axes), and how they are applied both ways.

A conversion accounts for every key on both sides: whatever is missing, unknown or of an unexpected
shape is refused, so that a checkpoint of another kind can not pass for one that is understood.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mm_jax.errors import DataError
from mm_jax.stylegan2.generator import flatten_tree

__all__ = ["Constant", "Row", "from_foreign", "to_foreign"]

Arrangement = Literal["same", "dense", "conv", "map"]

# Their axes in the order of ours. Leading or trailing axes of length one that only they have are
# dropped before and put back after.
_PERMUTATIONS: dict[Arrangement, tuple[int, ...] | None] = {
    "same": None,
    "dense": (1, 0),  # [out, in] -> [in, out]
    "conv": (2, 3, 1, 0),  # [O, I, h, w] -> [h, w, I, O]
    "map": (1, 2, 0),  # [C, h, w] -> [h, w, C]
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter: our path, their key, the arrangement, and their axes of length one."""

    path: str
    key: str
    arrangement: Arrangement = "same"
    leading: int = 0
    trailing: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """A buffer of theirs that holds no knowledge, only a value that must be the expected one."""

    key: str
    value: np.ndarray


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
      DataError: a key that is missing or not in the table, a wrong shape, or a value not finite.
    """
    known = {row.key for row in rows} | {constant.key for constant in constants} | set(ignored)
    if missing := [row.key for row in rows if row.key not in state]:
        raise DataError(f"{what} lacks {_listed(missing)}")
    if unknown := [key for key in state if key not in known]:
        raise DataError(f"{what} has keys that are not in its table: {_listed(unknown)}")
    for constant in constants:
        if constant.key in state and not _equal(state[constant.key], constant.value):
            raise DataError(f"{what}: {constant.key} is not the filter that this project computes")
    wanted = flatten_tree(shapes)
    tree: dict[str, Any] = {}
    for row in rows:
        value = _to_ours(row, np.asarray(state[row.key]), wanted[row.path].shape, what)
        *parents, last = row.path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def to_foreign(
    params: Mapping[str, Any], rows: Sequence[Row], constants: Sequence[Constant]
) -> dict[str, np.ndarray]:
    """Our parameter tree as their state dict, float32: the inverse of `from_foreign`."""
    flat = flatten_tree(params)
    state = {row.key: _to_theirs(row, np.asarray(flat[row.path], np.float32)) for row in rows}
    return state | {c.key: np.asarray(c.value, np.float32) for c in constants}


def _to_ours(row: Row, value: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    core = value.shape[row.leading : value.ndim - row.trailing]
    ones = (*value.shape[: row.leading], *value.shape[value.ndim - row.trailing :])
    permutation = _PERMUTATIONS[row.arrangement] or tuple(range(len(core)))
    fits = (
        value.ndim == row.leading + len(shape) + row.trailing
        and set(ones) <= {1}
        and tuple(core[axis] for axis in permutation) == shape
    )
    if not fits:
        raise DataError(
            f"{what}: {row.key} has shape {list(value.shape)}, which does not become {row.path} "
            f"{list(shape)}"
        )
    if not np.isfinite(value).all():
        raise DataError(f"{what}: {row.key} holds NaN or infinity")
    return np.array(value.reshape(core).transpose(permutation), np.float32, order="C")


def _to_theirs(row: Row, value: np.ndarray) -> np.ndarray:
    permutation = _PERMUTATIONS[row.arrangement]
    if permutation is not None:
        value = value.transpose(np.argsort(permutation))
    return np.array(
        value.reshape((1,) * row.leading + value.shape + (1,) * row.trailing), order="C"
    )


def _equal(value: np.ndarray, wanted: np.ndarray) -> bool:
    return np.shape(value) == wanted.shape and np.allclose(value, wanted, rtol=1e-5, atol=0)


def _listed(keys: Sequence[str]) -> str:
    shown = ", ".join(sorted(keys)[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"
