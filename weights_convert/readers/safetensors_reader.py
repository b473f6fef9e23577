"""safetensors: a length, a json header, and bytes. Read here, so that tensors stay mapped."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from weights_convert.readers.arrays import TORCH_ITEM_BYTES, check_shape
from weights_convert.readers.foreign import Meter, Refused
from weights_convert.readers.machine import spelled
from weights_convert.readers.records import Bytes, Storage, Tensor, require

__all__ = ["looks_like_safetensors", "read_safetensors"]

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}


def looks_like_safetensors(data: memoryview) -> bool:
    """A header of less than 4 GiB that starts as json does; the length may look like a pickle."""
    return len(data) > 8 and data[4:9] == b"\0\0\0\0{"


def read_safetensors(data: memoryview, meter: Meter) -> dict[str, Any]:
    """The tensors by name, as records; the free text under "__metadata__" is left out.

    Raises:
        Refused: a damaged header, or tensors that do not lie one after the other in all the bytes.
    """
    (length,) = struct.unpack_from("<Q", data)
    if length > meter.limits.header_bytes:
        raise Refused(
            f"must have a header of at most {meter.limits.header_bytes} bytes, got {length}"
        )
    require(8 + length <= len(data), "is truncated: its header ends in the middle")
    try:
        header = json.loads(str(data[8 : 8 + length], "utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise Refused("is not a safetensors file: its header is not json") from None
    require(isinstance(header, dict), "is not a safetensors file: its header is no table")
    header.pop("__metadata__", None)
    content = memoryview(data[8 + length :])
    tensors: dict[str, Any] = {}
    spans = []
    for name, entry in header.items():
        tensor, span = _tensor(name, entry, content, meter)
        tensors[name] = tensor
        spans.append(span)
    end = 0
    for first, last in sorted(spans):
        require(first == end, "is damaged: its tensors overlap or leave gaps")
        end = last
    if end != len(content):
        raise Refused(f"holds {len(content)} bytes of tensors, its header describes {end}")
    return tensors


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is given twice")
    return made


def _tensor(
    name: str, entry: Any, content: memoryview, meter: Meter
) -> tuple[Tensor, tuple[int, int]]:
    meter.steps(10)
    described = isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}
    shape = entry["shape"] if described else None
    span = entry["data_offsets"] if described else None
    if (
        not isinstance(shape, list)
        or not isinstance(span, list)
        or len(span) != 2
        or any(type(n) is not int for n in span)
        or not 0 <= span[0] <= span[1] <= len(content)
    ):
        raise Refused(f"does not describe its tensor {spelled(name)} as safetensors does")
    code = entry["dtype"]
    if type(code) is not str or code not in _DTYPES:
        raise Refused(f"holds a tensor of type {spelled(code)}, which this reader does not know")
    dtype = _DTYPES[code]
    shape = check_shape(tuple(shape), meter.limits)
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    first, last = span
    if math.prod(shape) * TORCH_ITEM_BYTES[dtype] != last - first:
        raise Refused(f"describes its tensor {spelled(name)} with a wrong number of bytes")
    storage = Storage(Bytes(content), dtype, first, last - first)
    return Tensor(storage, dtype, 0, shape, strides), (first, last)
