"""Arrays out of bytes that are not trusted: nothing outside the bytes is ever looked at."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from weights_convert.readers.foreign import Limits, Refused
from weights_convert.readers.machine import spelled

__all__ = [
    "TORCH_ITEM_BYTES",
    "TORCH_STORAGES",
    "array_from_bytes",
    "check_shape",
    "numpy_dtype",
    "strided_array",
]

# torch's element types, by the name without "torch.", as they lie in memory. NumPy has no
# bfloat16: it is the upper half of a float32.
_TORCH_CODES = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
    "bool": "u1",
    "complex128": "c16",
    "complex64": "c8",
}
TORCH_ITEM_BYTES = {name: int(code[1:]) for name, code in _TORCH_CODES.items()}

TORCH_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
}

_DTYPE = re.compile(r"(?:[iu][1248]|f[248]|c8|c16|b1|[US][1-9]\d{0,3}|O8?)")
_LARGEST_CODE_POINT = 0x10FFFF
# Times the longest item, this is still a number of bytes that NumPy can count.
_MAX_ITEMS = 1 << 44


def check_shape(shape: Any, limits: Limits) -> tuple[int, ...]:
    """A tuple of so many non-negative integers that NumPy can hold them."""
    if type(shape) is int:
        shape = (shape,)
    if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
        raise Refused("holds an array whose shape is not a tuple of sizes")
    if len(shape) > limits.array_rank:
        raise Refused(
            f"holds an array whose rank must be at most {limits.array_rank}, got {len(shape)}"
        )
    # The product without zeros, as NumPy refuses what overflows even where it is empty.
    if math.prod(n for n in shape if n) >= _MAX_ITEMS:
        raise Refused("holds an array of an impossible shape")
    return shape


def numpy_dtype(code: Any, order: str = "<") -> np.dtype:
    """The dtype of a code such as "f4": numbers, booleans, strings and objects, nothing else."""
    if type(code) is not str or order not in tuple("<>|=") or not _DTYPE.fullmatch(code):
        raise Refused(f"holds an array of dtype {spelled(code)}, which this reader does not know")
    return np.dtype("O") if code[0] == "O" else np.dtype(order.replace("|", "<") + code)


def array_from_bytes(
    data: memoryview | bytes, dtype: np.dtype, shape: tuple[int, ...], *, fortran: bool = False
) -> np.ndarray:
    """A read-only array over all of the bytes, in the machine's byte order."""
    wanted = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or len(data) != wanted:
        raise Refused(f"holds an array {list(shape)} of {dtype} in {len(data)} bytes")
    if not wanted:
        return _frozen(np.zeros(shape, dtype.newbyteorder("=")))
    array = np.ndarray(shape, _as_stored(dtype), data, order="F" if fortran else "C")
    return _as_values(array, dtype)


def strided_array(
    data: memoryview,
    name: str,
    *,
    big_endian: bool,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> np.ndarray:
    """A torch tensor; offset and strides count elements, and are checked against the bytes.

    bfloat16 becomes float32.
    """
    dtype = np.dtype((">" if big_endian else "<") + _TORCH_CODES[name])
    wanted = {"bfloat16": np.dtype("f4"), "bool": np.dtype("?")}.get(name, dtype)
    if 0 in shape:
        return _frozen(np.zeros(shape, wanted.newbyteorder("=")))
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if min(offset, *strides, 0) < 0 or (last + 1) * dtype.itemsize > len(data):
        raise Refused(
            f"holds a tensor {list(shape)} of offset {offset} and strides {list(strides)}, which "
            f"is outside its storage of {len(data) // dtype.itemsize} elements"
        )
    # Strides of axes of length one mean nothing and may be any number.
    steps = [
        stride * dtype.itemsize if n > 1 else 0 for n, stride in zip(shape, strides, strict=True)
    ]
    array = np.ndarray(shape, dtype, data, offset * dtype.itemsize, steps)
    if name == "bfloat16":
        return _frozen((array.astype(np.uint32) << 16).view(np.float32))
    return _as_values(array, wanted)


def _as_stored(dtype: np.dtype) -> np.dtype:
    return np.dtype("u1") if dtype.kind == "b" else dtype


def _as_values(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array in the machine's byte order; whatever bits a file holds become valid values."""
    if dtype.kind == "b":
        return _frozen(array != 0)
    if dtype.kind == "U":
        points = np.frombuffer(array.tobytes(), ">u4" if dtype.str[0] == ">" else "<u4")
        if points.max(initial=0) > _LARGEST_CODE_POINT:
            raise Refused("holds an array of strings that are not Unicode")
    return _frozen(array.astype(dtype.newbyteorder("="), copy=False))


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    array.flags.writeable = False
    return array
