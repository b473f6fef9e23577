"""Writers of foreign files for tests: pickles that name classes which are not installed here."""

from __future__ import annotations

import collections
import dataclasses
import io
import json
import math
import pickle
import struct
import zipfile
from typing import Any, ClassVar

import numpy as np

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
}


@dataclasses.dataclass(frozen=True)
class Global:
    """A function or a class, by name only."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True)
class Call:
    """A call (REDUCE, or NEWOBJ), and the state that is then set (BUILD)."""

    function: Any
    args: Any = ()
    state: Any = None
    new: bool = False


@dataclasses.dataclass(frozen=True)
class Persistent:
    identity: Any


class _Pickler(pickle._Pickler):
    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def _global(self, value: Global) -> None:
        self.write(f"c{value.module}\n{value.name}\n".encode())

    def _call(self, value: Call) -> None:
        self.save(value.function)
        self.save(value.args)
        self.write(pickle.NEWOBJ if value.new else pickle.REDUCE)
        self.memoize(value)
        if value.state is not None:
            self.save(value.state)
            self.write(pickle.BUILD)

    def _persistent(self, value: Persistent) -> None:
        self.save(value.identity)
        self.write(pickle.BINPERSID)

    dispatch[Global] = _global
    dispatch[Call] = _call
    dispatch[Persistent] = _persistent


def dumps(value: Any, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    _Pickler(out, protocol).dump(value)
    return out.getvalue()


def storage(key: str, dtype: str, count: int, *more: Any) -> Persistent:
    return Persistent(("storage", Global("torch", STORAGES[dtype]), key, "cuda:0", count, *more))


def tensor(where: Any, shape: tuple, strides: tuple, offset: Any = 0) -> Call:
    args = (where, offset, shape, strides, False, collections.OrderedDict())
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), args)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def whole(key: str, array: np.ndarray, *more: Any) -> Call:
    """The tensor of a storage that holds an array and nothing else."""
    where = storage(key, array.dtype.name, array.size, *more)
    return tensor(where, array.shape, contiguous(array.shape))


def torch_zip(
    value: Any, storages: dict[str, bytes], *, prefix: str = "archive", **kwargs
) -> bytes:
    """`kwargs` may hold protocol, order (of bytes) and compression."""
    files = {"data.pkl": dumps(value, kwargs.get("protocol", 2)), "version": b"3\n"}
    files["byteorder"] = kwargs.get("order", b"little")
    files |= {f"data/{key}": content for key, content in storages.items()}
    files = {f"{prefix}/{name}": content for name, content in files.items()}
    return zipped(files, kwargs.get("compression", zipfile.ZIP_STORED))


def torchscript(value: Any, storages: dict[str, bytes], *, prefix: str = "archive") -> bytes:
    """A program's archive: as torch's, with constants, code and classes of its own."""
    files = {"data.pkl": dumps(value), "constants.pkl": dumps(()), "version": b"5\n"}
    files |= {"code/__torch__.py": b"raise SystemExit", "byteorder": b"little"}
    files |= {f"data/{key}": content for key, content in storages.items()}
    return zipped({f"{prefix}/{name}": content for name, content in files.items()})


def scripted(name: str, state: dict[str, Any]) -> Call:
    """A module of TorchScript."""
    return Call(Global("__torch__.model.___torch_mangle_7", name), (), state, new=True)


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return out.getvalue()


def without_sums(content: bytes) -> bytes:
    """An archive as torch writes it when told to leave checksums out: they are zero."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sums = {entry.CRC for entry in archive.infolist()}
    for value in sums:
        content = content.replace(struct.pack("<I", value), bytes(4))
    return content


def torch_legacy(value: Any, storages: dict[str, np.ndarray]) -> bytes:
    metadata = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [dumps(part) for part in (MAGIC, VERSION, metadata, value, list(storages))]
    for array in storages.values():
        parts += [struct.pack("<q", array.size), array.tobytes()]
    return b"".join(parts)


def blob(array: np.ndarray) -> Call:
    """An array's storage as NVlabs' pickles hold it: a legacy file within the pickle."""
    content = torch_legacy(storage("0", array.dtype.name, array.size, None), {"0": array})
    return Call(Global("torch.storage", "_load_from_bytes"), (content,))


def persistent_object(class_name: str, state: Any, **more: Any) -> Call:
    meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "state": state}
    meta = {**meta, "class_name": class_name, **more}
    return Call(Global("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def safetensors(header: Any, content: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


CONTAINERS = (
    "torch-zip",
    "torch-zip deflated",
    "torch-zip without sums",
    "torch-legacy",
    "torchscript",
    "nvlabs-pickle",
    "tensorflow-pickle",
    "pickle",
    "safetensors",
    "numpy",
    "numpy single",
    "numpy objects",
)
"""Names of the samples."""


def samples() -> dict[str, bytes]:
    """A small good file of every kind."""
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7, -8], np.int64)
    layers = {"_parameters": {"weight": tensor(blob(a), (2, 3), (3, 1))}, "_modules": {}}
    network = Call(
        Global("dnnlib.tflib.network", "Network"),
        state={"version": 4, "variables": [("w", a)]},
        new=True,
    )
    spans = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    spans["b"] = {"dtype": "I64", "shape": [2], "data_offsets": [24, 40]}
    archive = torch_zip(
        {"g_ema": {"a": whole("0", a)}, "b": whole("1", b)},
        {"0": a.tobytes(), "1": b.tobytes()},
    )
    return {
        "torch-zip": archive,
        "torch-zip without sums": without_sums(archive),
        "torch-zip deflated": torch_zip(
            {"a": whole("0", a)}, {"0": a.tobytes()}, compression=zipfile.ZIP_DEFLATED
        ),
        "torch-legacy": torch_legacy(
            {"a": whole("0", a, None), "b": whole("1", b)}, {"0": a, "1": b}
        ),
        "torchscript": torchscript(
            scripted("Net", {"training": False, "weight": whole("0", a)}), {"0": a.tobytes()}
        ),
        "nvlabs-pickle": dumps({"G_ema": persistent_object("Generator", layers)}, 4),
        "tensorflow-pickle": dumps((network, network, network), 4),
        "pickle": dumps({"comp": a, "mean": [np.float32(1), 2.5, None], "s": {"x"}}, 4),
        "safetensors": safetensors(spans, a.tobytes() + b.tobytes()),
        "numpy": zipped({"a.npy": npy(a), "b.npy": npy(b)}),
        "numpy single": npy(a),
        "numpy objects": npy(np.array({"x.jpg": [a]}, dtype=object)),
    }
