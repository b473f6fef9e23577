"""Records of a machine to the plain values that a reader returns, bounded as a tree."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from weights_convert.readers.arrays import TORCH_ITEM_BYTES, check_shape, strided_array
from weights_convert.readers.foreign import Meter, OpaqueObject, PersistentObject, Refused
from weights_convert.readers.machine import Known
from weights_convert.readers.records import (
    ArrayRecord,
    DtypeRecord,
    ObjectRecord,
    PersistentRecord,
    Storage,
    Tensor,
    require,
)

__all__ = ["settle"]

_SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes))
_SETS = (set, frozenset)


class _Settled(NamedTuple):
    """A plain value; values and bytes that it unfolds to as a tree, and how deep that is."""

    value: Any
    count: int
    size: int
    height: int


def settle(root: Any, meter: Meter) -> tuple[Any, set[str], set[str]]:
    """The plain value, and the classes of the objects in it: known ones, and foreign ones.

    Values that a file refers to twice stay one value. Yet what counts is the tree that a walk
    through them sees: a list of ten times one list of ten times one list, and so on, is refused,
    and so is a value that holds itself.

    Raises:
        Refused: cycles, too much or too deep a content, tensors outside their storage.
    """
    settled: dict[int, _Settled] = {}
    open_nodes: set[int] = set()
    classes: set[str] = set()
    foreign: set[str] = set()
    pending = [root]
    while pending:
        node = pending[-1]
        if id(node) in settled:
            pending.pop()
            continue
        children = _children(node)
        if id(node) not in open_nodes:
            open_nodes.add(id(node))
            for child in children:
                if id(child) in open_nodes:
                    raise Refused("holds a value that holds itself")
                if type(child) not in _SCALARS and id(child) not in settled:
                    pending.append(child)
            if pending[-1] is not node:
                continue
        below = [
            _Settled(child, 1, _size(child), 0) if type(child) in _SCALARS else settled[id(child)]
            for child in children
        ]
        value = _build(node, [entry.value for entry in below], meter)
        settled[id(node)] = _checked(
            _Settled(
                value,
                1 + len(node if type(node) in _SETS else ()) + sum(entry.count for entry in below),
                _size(value) + sum(entry.size for entry in below),
                1 + max((entry.height for entry in below), default=0),
            ),
            meter,
        )
        if type(node) is PersistentRecord:
            classes.add("torch_utils.persistence")
        elif type(node) is ObjectRecord:
            (foreign if node.foreign else classes).add(f"{node.module}.{node.name}")
        elif type(node) is Known and node.foreign:
            foreign.add(node.name)
        open_nodes.discard(id(node))
        pending.pop()
    return settled[id(root)].value, classes, foreign


def _checked(entry: _Settled, meter: Meter) -> _Settled:
    limits = meter.limits
    if entry.height > limits.depth:
        raise Refused(f"nests values more than {limits.depth} deep")
    if entry.count > limits.values:
        raise Refused(f"holds more than {limits.values} values")
    if entry.size > meter.allowance:
        raise Refused(f"unfolds to more than {meter.allowance} bytes")
    return entry


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray | np.generic):
        return value.nbytes
    return len(value) if type(value) in (str, bytes) else 0


def _children(node: Any) -> list[Any]:
    kind = type(node)
    if kind is dict:
        return list(node.values())
    if kind in (list, tuple):
        return list(node)
    if kind is ArrayRecord:
        return node.items or []
    if kind is ObjectRecord:
        return [node.args, node.state]
    if kind is PersistentRecord:
        return [node.state]
    return []


def _build(node: Any, below: list[Any], meter: Meter) -> Any:
    kind = type(node)
    if kind in _SCALARS or kind in _SETS or isinstance(node, np.generic):
        return node
    if kind is dict:
        return dict(zip(node, below, strict=True))
    if kind is list:
        return below
    if kind is tuple:
        return tuple(below)
    if kind is memoryview:
        meter.bytes(len(node))
        return bytes(node)
    if kind is Tensor:
        return _tensor(node, meter)
    if kind is Storage:
        count = node.size // TORCH_ITEM_BYTES[node.dtype]
        shape = check_shape((count,), meter.limits)
        return _tensor(Tensor(node, node.dtype, 0, shape, (1,)), meter)
    if kind is ArrayRecord:
        require(node.array is not None or node.items is not None, "holds an array without content")
        return node.array if node.array is not None else _nested(below, node.shape, meter)
    if kind is DtypeRecord:
        return node.dtype.name
    if kind is ObjectRecord:
        return OpaqueObject(node.module, node.name, *below)
    if kind is PersistentRecord:
        return PersistentObject(node.class_name, node.version, node.module_src_sha256, *below)
    if kind is Known and node.foreign:
        module, _, name = node.name.rpartition(".")
        return OpaqueObject(module, name, (), None)
    require(kind is Known and node.value is not None, _misplaced(node))
    return node.value


def _misplaced(node: Any) -> str:
    name = node.name if type(node) is Known else type(node).__name__
    return f"holds {name} where a value should be"


def _tensor(tensor: Tensor, meter: Meter) -> np.ndarray:
    storage = tensor.storage
    item = TORCH_ITEM_BYTES[tensor.dtype]
    # bfloat16 doubles.
    meter.bytes(math.prod(tensor.shape) * item * (2 if tensor.dtype == "bfloat16" else 1))
    data = storage.bytes.data
    require(data is not None, "holds a tensor whose storage is not in the file")
    assert data is not None
    return strided_array(
        data[storage.start : storage.start + storage.size],
        tensor.dtype,
        big_endian=storage.bytes.big_endian,
        offset=tensor.offset,
        shape=tensor.shape,
        strides=tensor.strides,
    )


def _nested(items: list[Any], shape: tuple[int, ...], meter: Meter) -> Any:
    """An object array as nested lists; of rank zero, its one object."""
    if not shape:
        return items[0]
    for axis in reversed(shape[1:]):
        meter.steps(len(items))
        items = [items[i : i + axis] for i in range(0, len(items), axis)] if axis else []
    return items
