"""NumPy's .npy and .npz; arrays of objects go through the same restricted machine as pickles."""

from __future__ import annotations

import re
import struct
from typing import Any

from weights_convert.readers.arrays import check_shape, numpy_dtype
from weights_convert.readers.foreign import Meter, Refused
from weights_convert.readers.machine import Machine
from weights_convert.readers.records import ArrayRecord, require
from weights_convert.readers.torch_reader import KNOWN
from weights_convert.readers.zips import Archive

__all__ = ["NPY_MAGIC", "is_npz", "read_npy", "read_npz"]

NPY_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?)([^']{1,8})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,15}L?,? ?)*)\),? *\} *\n?"
)


def is_npz(archive: Archive) -> bool:
    """Whether the archive is an `.npz`."""
    return bool(archive.names) and all(name.endswith(".npy") for name in archive.names)


def read_npz(archive: Archive, meter: Meter) -> dict[str, Any]:
    """The arrays by name.

    Raises:
        Refused: as for all readers.
    """
    return {name[: -len(".npy")]: read_npy(archive.read(name), meter) for name in archive.names}


def read_npy(data: memoryview, meter: Meter) -> ArrayRecord:
    """One array, as a record; of numbers, a view of the bytes.

    Raises:
        Refused: as for all readers, and structured dtypes.
    """
    require(
        len(data) >= 12 and data[:6] == NPY_MAGIC and data[6] in (1, 2, 3) and data[7] == 0,
        "is not an .npy of a version that this reader knows",
    )
    form = "<H" if data[6] == 1 else "<I"
    start = 8 + struct.calcsize(form)
    (length,) = struct.unpack_from(form, data, 8)
    start, header = start + length, bytes(data[start : start + length])
    # Long headers are those of structured dtypes, and of bombs.
    match = _HEADER.fullmatch(header) if len(header) < 1 << 12 else None
    if match is None:
        raise Refused("has an .npy header that is damaged, or one of a structured dtype")
    order, code, fortran, sizes = (group.decode("latin-1") for group in match.groups())
    dtype = numpy_dtype(code, order or "=")
    shape = check_shape(tuple(int(n) for n in re.findall(r"\d+", sizes)), meter.limits)
    record = ArrayRecord(meter)
    if dtype.hasobject:
        value = Machine(data, known=KNOWN, meter=meter, start=start).run()
        require(isinstance(value, ArrayRecord), "holds an array of objects that is none")
        return value
    record.fill(shape, dtype, fortran == "True", data[start:])
    return record
