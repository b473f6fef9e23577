"""The allow-list: every global that a file may refer to, and what of ours stands for it.

Calls make records of our own (`records`), never objects of the named classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from weights_convert.readers.arrays import (
    TORCH_ITEM_BYTES,
    TORCH_STORAGES,
    array_from_bytes,
    check_shape,
)
from weights_convert.readers.foreign import Refused
from weights_convert.readers.machine import Known, Machine, check_key, spelled
from weights_convert.readers.records import (
    ArrayRecord,
    DtypeRecord,
    ObjectRecord,
    PersistentRecord,
    Storage,
    Tensor,
    as_bytes,
    latin1,
    require,
)

__all__ = ["SCRIPTED", "allow_list", "scripted_list", "storage_element"]

SCRIPTED = "__torch__"
"""The package that holds a TorchScript archive's own classes."""

# Modules of NVlabs' code, of which other projects carry copies.
_COPIED = ("torch_utils.persistence", "dnnlib.util", "dnnlib")
# About what a record takes; each costs the file a few bytes only.
_RECORD_BYTES = 256


# Python's own.


def _mapping(m: Machine, args: tuple) -> dict:
    """dict(), OrderedDict(pairs) and EasyDict(other)."""
    require(len(args) <= 1, "makes a dictionary of more than one value")
    made: dict[Any, Any] = {}
    m.meter.bytes(256)
    if args:
        require(isinstance(args[0], dict | list | tuple), "makes a dictionary of no pairs")
        m.meter.steps(len(args[0]))
        pairs = args[0].items() if isinstance(args[0], dict) else args[0]
        for pair in pairs:
            require(
                isinstance(pair, list | tuple) and len(pair) == 2, "makes a dictionary of no pairs"
            )
            check_key(pair[0])
            made[pair[0]] = pair[1]
    return made


def _collection(kind: type) -> Callable[[Machine, tuple], Any]:
    def make(m: Machine, args: tuple) -> Any:
        require(len(args) <= 1, f"makes a {kind.__name__} of more than one value")
        m.meter.bytes(256)
        if not args:
            return kind()
        require(
            isinstance(args[0], list | tuple | set | frozenset),
            f"makes a {kind.__name__} of no list",
        )
        m.meter.steps(len(args[0]))
        if kind in (set, frozenset):
            for member in args[0]:
                check_key(member)
        return kind(args[0])

    return make


def _encode(m: Machine, args: tuple) -> bytes:
    """_codecs.encode: how bytes are written in protocol 2."""
    require(
        len(args) == 2
        and all(type(part) is str for part in args)
        and args[1] in ("latin1", "latin-1"),
        "encodes something else than text as latin-1",
    )
    return latin1(m.meter, args[0])


def _bytes(m: Machine, args: tuple) -> bytes:
    """bytes(), bytearray(b"..") and bytearray("..", "latin-1"), all as bytes."""
    if not args:
        return b""
    if len(args) == 2:
        return _encode(m, args)
    require(
        len(args) == 1 and type(args[0]) in (bytes, memoryview), "makes bytes of something else"
    )
    m.meter.bytes(len(args[0]))
    return bytes(args[0])


def _complex(_: Machine, args: tuple) -> complex:
    require(
        1 <= len(args) <= 2
        and all(type(x) is float or (type(x) is int and abs(x) < 1e300) for x in args),
        "makes a complex number of something else",
    )
    return complex(*args)


# torch's.


def _stored(value: Any) -> Storage:
    require(isinstance(value, Storage), "rebuilds a tensor from something that is no storage")
    return value


def _tensor(
    m: Machine, storage: Storage, offset: Any, shape: Any, strides: Any, dtype: str
) -> Tensor:
    shape, limits = check_shape(shape, m.meter.limits), m.meter.limits
    require(
        isinstance(strides, tuple)
        and len(strides) == len(shape) <= limits.array_rank
        and all(type(n) is int and 0 <= n < 1 << 48 for n in (offset, *strides)),
        "rebuilds a tensor from a bad offset or bad strides",
    )
    return Tensor(storage, dtype, offset, shape, strides)


def _rebuild_tensor(m: Machine, args: tuple) -> Tensor:
    """(storage, offset, size, stride) and, in v2, gradients, hooks and metadata."""
    require(4 <= len(args) <= 7, "rebuilds a tensor from too few or too many values")
    storage = _stored(args[0])
    return _tensor(m, storage, args[1], args[2], args[3], storage.dtype)


def _rebuild_tensor_v3(m: Machine, args: tuple) -> Tensor:
    """As v2, with the element type that the untyped storage lacks."""
    require(7 <= len(args) <= 8, "rebuilds a tensor from too few or too many values")
    dtype = args[6].value if isinstance(args[6], Known) else None
    name = dtype.removeprefix("torch.") if type(dtype) is str else ""
    require(name in TORCH_ITEM_BYTES, "rebuilds a tensor of an unknown element type")
    return _tensor(m, _stored(args[0]), args[1], args[2], args[3], name)


def _rebuild_parameter(_: Machine, args: tuple) -> Tensor:
    """A parameter is its tensor; whether it is trained, hooks and attributes are left out."""
    require(
        1 <= len(args) <= 4 and isinstance(args[0], Tensor), "rebuilds a parameter of no tensor"
    )
    return args[0]


def _size(m: Machine, args: tuple) -> tuple[int, ...]:
    require(len(args) <= 1, "makes a torch.Size of more than one value")
    shape = args[0] if args else ()
    m.meter.steps(len(shape) if isinstance(shape, tuple | list) else 0)
    return check_shape(tuple(shape) if isinstance(shape, list) else shape, m.meter.limits)


def _device(_: Machine, args: tuple) -> str:
    require(
        1 <= len(args) <= 2
        and type(args[0]) is str
        and len(args[0]) < 40
        and (len(args) == 1 or type(args[1]) is int),
        "makes a torch.device of something else",
    )
    return ":".join(map(str, args))


# NumPy's.


def _reconstruct(m: Machine, args: tuple) -> ArrayRecord:
    require(
        len(args) == 3 and isinstance(args[0], Known) and args[0].name == "numpy.ndarray",
        "reconstructs something that is no numpy.ndarray",
    )
    return ArrayRecord(m.meter)


def _from_buffer(m: Machine, args: tuple) -> ArrayRecord:
    """(bytes, dtype, shape, order): arrays in protocol 5."""
    require(
        len(args) == 4 and isinstance(args[1], DtypeRecord) and type(args[3]) is str,
        "holds an array that is not described as NumPy does",
    )
    require(args[3] in ("C", "F"), "holds an array of an unknown order")
    record = ArrayRecord(m.meter)
    record.fill(args[2], args[1].dtype, args[3] == "F", args[0])
    return record


def _dtype(_: Machine, args: tuple) -> DtypeRecord:
    require(1 <= len(args) <= 3, "makes a dtype of too many values")
    return DtypeRecord(args[0])


def _scalar(m: Machine, args: tuple) -> Any:
    require(len(args) == 2 and isinstance(args[0], DtypeRecord), "makes a scalar of something else")
    return array_from_bytes(as_bytes(m.meter, args[1]), args[0].dtype, ())[()]


# NVlabs'.


def _reconstruct_persistent(m: Machine, args: tuple) -> PersistentRecord:
    meta = args[0] if len(args) == 1 else None
    if not (
        isinstance(meta, dict)
        and meta.get("type") == "class"
        and isinstance(meta.get("class_name"), str)
        and type(meta.get("version")) is int
        and isinstance(meta.get("module_src", ""), str)
        and isinstance(meta.get("state"), dict)
    ):
        raise Refused("holds a persistent object that is not described as NVlabs' code does")
    source = meta.get("module_src", "")
    m.meter.bytes(len(source))
    digest = hashlib.sha256(source.encode()).hexdigest() if source else None
    return PersistentRecord(meta["class_name"], meta["version"], digest, meta["state"])


def _recorded(
    module: str, name: str, *, foreign: bool = False
) -> Callable[[Machine, tuple], ObjectRecord]:
    def record(m: Machine, args: tuple) -> ObjectRecord:
        m.meter.bytes(_RECORD_BYTES)
        return ObjectRecord(module, name, args, foreign=foreign)

    return record


def _factory_mapping(m: Machine, args: tuple) -> dict:
    """collections.defaultdict(factory): a dictionary."""
    return _mapping(m, args[1:])


def _typed_tensor(m: Machine, args: tuple) -> Any:
    """torch._tensor._rebuild_from_type_v2(function, class, arguments, attributes)."""
    function = args[0].call if len(args) == 4 and isinstance(args[0], Known) else None
    if function is None or type(args[2]) is not tuple:
        raise Refused("rebuilds a tensor of an unknown kind")
    return function(m, args[2])


class AllowList(dict[tuple[str, str], Known]):
    """The list by module and name, and what stands for everything that is not on it.

    A foreign class or function is recorded, so that an object that nobody wants does not keep a
    file from being read. Nothing is ever imported or called.
    """

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        module, name = key
        # Copies of NVlabs' code within other packages.
        for home in _COPIED:
            if module.endswith(f".{home}"):
                key = (home, name)
        known = super().get(key, default)
        if known is None:
            record = _recorded(spelled(module), spelled(name), foreign=True)
            known = Known(spelled(f"{module}.{name}"), record, foreign=True)
        return known


def allow_list(load_blob: Callable[[Machine, tuple], Storage]) -> AllowList:
    """The list; `load_blob` stands for torch.storage._load_from_bytes."""
    calls: dict[tuple[str, str], Callable[[Machine, tuple], Any]] = {
        ("collections", "OrderedDict"): _mapping,
        ("collections", "defaultdict"): _factory_mapping,
        ("collections", "Counter"): _mapping,
        ("_codecs", "encode"): _encode,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
        ("torch.nn.parameter", "Parameter"): _rebuild_parameter,
        ("torch.storage", "_load_from_bytes"): load_blob,
        ("torch._tensor", "_rebuild_from_type_v2"): _typed_tensor,
        ("torch", "Size"): _size,
        ("torch", "device"): _device,
        ("numpy", "dtype"): _dtype,
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _reconstruct_persistent,
    }
    for module in ("builtins", "__builtin__"):
        calls[module, "dict"] = _mapping
        for kind in (list, tuple, set, frozenset):
            calls[module, kind.__name__] = _collection(kind)
        calls[module, "bytes"] = calls[module, "bytearray"] = _bytes
        calls[module, "complex"] = _complex
    for package in ("numpy.core", "numpy._core"):
        calls[f"{package}.multiarray", "_reconstruct"] = _reconstruct
        calls[f"{package}.multiarray", "scalar"] = _scalar
        calls[f"{package}.numeric", "_frombuffer"] = _from_buffer
    for module in ("dnnlib", "dnnlib.util", "easydict"):
        calls[module, "EasyDict"] = _mapping
    for module, name in (("argparse", "Namespace"), ("dnnlib.tflib.network", "Network")):
        calls[module, name] = _recorded(module, name)
    known = {key: Known(".".join(key), call) for key, call in calls.items()}
    known["numpy", "ndarray"] = Known("numpy.ndarray")
    for name in (*TORCH_STORAGES, "UntypedStorage"):
        for module in ("torch", "torch.storage"):
            known[module, name] = Known(f"{module}.{name}")
    for name in TORCH_ITEM_BYTES:
        known["torch", name] = Known(f"torch.{name}", value=f"torch.{name}")
    return AllowList(known)


class ScriptedList(AllowList):
    """The allow-list with the classes of a TorchScript archive, whose instances are recorded.

    They are the archive's own, below `__torch__`; its code is never looked at.
    """

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        module, name = key
        if module.partition(".")[0] == SCRIPTED:
            return Known(f"{module}.{name}", _recorded(module, name))
        return super().get(key, default)


def scripted_list(known: AllowList) -> ScriptedList:
    """`known` with what TorchScript's writer refers to besides."""
    calls: dict[str, Callable[[Machine, tuple], Any]] = {"restore_type_tag": _typed}
    for kind in ("bool", "int", "double", "tensor"):
        calls[f"build_{kind}list"] = _collection(list)
    module = "torch.jit._pickle"
    more = {(module, name): Known(f"{module}.{name}", call) for name, call in calls.items()}
    return ScriptedList(known | more)


def _typed(_: Machine, args: tuple) -> Any:
    """A list or dictionary, and the name of its type."""
    require(
        len(args) == 2 and isinstance(args[0], list | dict) and type(args[1]) is str,
        "gives a type to something that is no container",
    )
    return args[0]


def storage_element(value: Any) -> str | None:
    """The element type that a storage class of torch has; None if untyped.

    Raises:
        Refused: the value is no such class.
    """
    name = value.name.rpartition(".")[2] if isinstance(value, Known) else None
    if name == "UntypedStorage":
        return None
    if name not in TORCH_STORAGES:
        raise Refused(f"holds a storage of an unknown class ({name})")
    return TORCH_STORAGES[name]
