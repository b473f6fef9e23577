"""What torch.save writes, written without torch: an archive that `torch.load` opens."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from mm_jax.errors import DataError
from weights_convert.readers.arrays import TORCH_STORAGES

__all__ = ["write_torch_zip"]

_PREFIX = "archive"
# torch maps storages into memory where they start at a multiple of this.
_ALIGNMENT = 64
_STORAGE_OF = {dtype: name for name, dtype in TORCH_STORAGES.items()}
_EARLIEST = (1980, 1, 1, 0, 0, 0)


def write_torch_zip(file: BinaryIO, state: Mapping[str, Any]) -> None:
    """Writes a state as `torch.save` does; `torch.load(.., weights_only=True)` opens it.

    Args:
        file: an empty binary file that can be sought in.
        state: by name: arrays, NumPy scalars, numbers, strings, booleans, None, lists, tuples and
            further mappings. Arrays become contiguous CPU tensors of the same dtype.

    Raises:
        DataError: a value of another kind, or an array of a dtype that torch's files lack.
    """
    arrays: list[np.ndarray] = []
    pickled = io.BytesIO()
    pickled.write(b"\x80\x02")
    _write(pickled, state, "state", arrays)
    pickled.write(b".")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", pickled.getvalue())
        _add(archive, "byteorder", b"little")
        for key, array in enumerate(arrays):
            _add(
                archive, f"data/{key}", np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            )
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    entry = zipfile.ZipInfo(f"{_PREFIX}/{name}", date_time=_EARLIEST)
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(entry.filename.encode()) + 4
    padding = -start % _ALIGNMENT
    entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    archive.writestr(entry, content)


def _write(out: io.BytesIO, value: Any, where: str, arrays: list[np.ndarray]) -> None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        out.write(b"N")
    elif isinstance(value, bool):
        out.write(b"\x88" if value else b"\x89")
    elif isinstance(value, int):
        _write_int(out, value)
    elif isinstance(value, float):
        out.write(b"G" + struct.pack(">d", value))
    elif isinstance(value, str):
        _write_text(out, value)
    elif isinstance(value, Mapping):
        out.write(b"}(")
        for key, item in value.items():
            if not isinstance(key, str | int):
                raise DataError(f"cannot write {where}: {key!r} is no name")
            _write(out, key, where, arrays)
            _write(out, item, f"{where}.{key}", arrays)
        out.write(b"u")
    elif isinstance(value, list | tuple):
        out.write(b"](" if isinstance(value, list) else b"(")
        for index, item in enumerate(value):
            _write(out, item, f"{where}.{index}", arrays)
        out.write(b"e" if isinstance(value, list) else b"t")
    elif hasattr(value, "__array__"):
        _write_tensor(out, np.asarray(value), where, arrays)
    else:
        raise DataError(f"cannot write {where}: a {type(value).__name__} is not plain")


def _write_tensor(out: io.BytesIO, array: np.ndarray, where: str, arrays: list[np.ndarray]) -> None:
    storage = _STORAGE_OF.get(array.dtype.name)
    if storage is None:
        raise DataError(f"cannot write {where}: torch's files have no dtype {array.dtype}")
    out.write(b"ctorch._utils\n_rebuild_tensor_v2\n((")
    _write_text(out, "storage")
    out.write(f"ctorch\n{storage}\n".encode())
    _write_text(out, str(len(arrays)))
    _write_text(out, "cpu")
    _write_int(out, array.size)
    out.write(b"tQ")
    _write_int(out, 0)
    strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    for numbers in (array.shape, strides):
        out.write(b"(")
        for number in numbers:
            _write_int(out, number)
        out.write(b"t")
    out.write(b"\x89ccollections\nOrderedDict\n)RtR")
    arrays.append(array.astype(array.dtype.newbyteorder("<"), copy=False))


def _write_int(out: io.BytesIO, value: int) -> None:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(raw) > 255:
        raise DataError("cannot write an integer of more than 255 bytes")
    out.write(b"\x8a" + bytes([len(raw)]) + raw)


def _write_text(out: io.BytesIO, value: str) -> None:
    raw = value.encode()
    out.write(b"X" + struct.pack("<I", len(raw)) + raw)
