"""Values of our own making that stand for what a pickle describes, until `settle` makes them plain.

The data of a legacy torch file come after its pickle, and an array of NumPy is given its bytes
after it was made.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from weights_convert.readers.arrays import array_from_bytes, check_shape, numpy_dtype
from weights_convert.readers.foreign import Meter, Refused
from weights_convert.readers.machine import Stateful

__all__ = [
    "ArrayRecord",
    "Bytes",
    "DtypeRecord",
    "ObjectRecord",
    "PersistentRecord",
    "Storage",
    "Tensor",
    "as_bytes",
    "latin1",
    "require",
]


@dataclasses.dataclass(slots=True)
class Bytes:
    """The bytes of a storage; a legacy torch file gives them after its pickle."""

    data: memoryview | None
    big_endian: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """A stretch of a torch storage: element type, first byte and number of bytes."""

    bytes: Bytes
    dtype: str
    start: int
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class DtypeRecord(Stateful):
    """A dtype of NumPy; its state holds the byte order."""

    __slots__ = ("code", "dtype")

    def __init__(self, code: Any):
        self.code, self.dtype = code, numpy_dtype(code)

    def set_state(self, state: Any) -> None:
        """Take the byte order of a dtype's state."""
        if not isinstance(state, tuple) or len(state) < 5 or not isinstance(state[1], str):
            raise Refused("holds an array of an unknown dtype")
        require(all(part is None for part in state[2:5]), "holds an array of a structured dtype")
        self.dtype = numpy_dtype(self.code, state[1])


class ArrayRecord(Stateful):
    """An array of NumPy; of objects, where `items` is a list."""

    __slots__ = ("_meter", "array", "items", "shape")

    def __init__(self, meter: Meter):
        self._meter = meter
        self.array: np.ndarray | None = None
        self.items: list[Any] | None = None
        self.shape: tuple[int, ...] = ()

    def set_state(self, state: Any) -> None:
        """Take the shape, dtype and data of an array's state."""
        require(
            isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], DtypeRecord),
            "holds an array that is not described as NumPy does",
        )
        _, shape, record, fortran, data = state
        require(type(fortran) in (bool, int), "holds an array of an unknown order")
        self.fill(shape, record.dtype, fortran, data)

    def fill(self, shape: Any, dtype: np.dtype, fortran: Any, data: Any) -> None:
        """Take the array's content, once."""
        self.shape = check_shape(shape, self._meter.limits)
        require(self.array is None and self.items is None, "fills an array twice")
        if dtype.hasobject:
            require(
                isinstance(data, list) and len(data) == math.prod(self.shape), "holds a bad array"
            )
            require(not fortran or len(self.shape) < 2, "holds an array of objects by columns")
            self.items = data
        else:
            data = as_bytes(self._meter, data)
            self.array = array_from_bytes(data, dtype, self.shape, fortran=bool(fortran))


class ObjectRecord(Stateful):
    """An object of a class that is only recorded; of a foreign one, what it holds is not."""

    __slots__ = ("args", "foreign", "module", "name", "state")

    def __init__(self, module: str, name: str, args: tuple, *, foreign: bool = False):
        self.module, self.name, self.args, self.foreign = module, name, args, foreign
        self.state: Any = None

    def drop_items(self) -> None:
        """Foreign containers stay closed."""
        if not self.foreign:
            super().drop_items()

    def set_state(self, state: Any) -> None:
        """Keep the state."""
        self.state = state


@dataclasses.dataclass(frozen=True, slots=True)
class PersistentRecord:
    """An object of NVlabs' torch_utils.persistence."""

    class_name: str
    version: int
    module_src_sha256: str | None
    state: dict


def require(condition: bool, message: str) -> None:
    """Raises Refused unless `condition` holds."""
    if not condition:
        raise Refused(message)


def latin1(meter: Meter, text: str) -> bytes:
    """The bytes that Python 2, or protocol 2, wrote as text."""
    meter.bytes(len(text))
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise Refused("encodes text as latin-1 that is not") from None


def as_bytes(meter: Meter, data: Any) -> memoryview | bytes:
    """The bytes of an array, paid for."""
    if type(data) is str:
        # Python 2 wrote its bytes as text.
        return latin1(meter, data)
    require(type(data) in (bytes, memoryview), "holds an array without bytes")
    meter.bytes(len(data))
    return data
