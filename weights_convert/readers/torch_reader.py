"""Both formats of torch.save: the archive of torch 1.6 and later, and the legacy stream before it.

The archive holds PREFIX/data.pkl and one stored file for each storage. The stream is five pickles
(magic number, version, metadata of the machine, content, list of storages) and then the storages.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from weights_convert.readers.arrays import TORCH_ITEM_BYTES
from weights_convert.readers.foreign import Meter, Refused
from weights_convert.readers.known import allow_list, scripted_list, storage_element
from weights_convert.readers.machine import Machine, spelled
from weights_convert.readers.records import Bytes, Storage, require
from weights_convert.readers.zips import Archive

__all__ = ["KNOWN", "LEGACY_MAGIC", "find_pickle", "is_scripted", "read_legacy", "read_zip"]

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
# As it stands in the file, whatever the pickle's protocol.
LEGACY_MAGIC = b"\x8a\x0a" + _MAGIC.to_bytes(10, "little") + b"."


def find_pickle(archive: Archive) -> str | None:
    """The name of the pickle of a torch archive; None where it is an archive of another kind."""
    names = [name for name in archive.names if name.rpartition("/")[2] == "data.pkl"]
    return names[0] if len(names) == 1 and names[0].count("/") <= 1 else None


def is_scripted(archive: Archive, name: str) -> bool:
    """Whether the pickle called `name` is that of a TorchScript program."""
    return f"{name[: -len('data.pkl')]}constants.pkl" in archive.names


def read_zip(archive: Archive, name: str, meter: Meter) -> Any:
    """What the pickle called `name` describes, as records; of a program, its modules.

    Raises:
        Refused: as for all readers.
    """
    prefix = name[: -len("data.pkl")]
    order = b"little"
    if f"{prefix}byteorder" in archive.names:
        order = bytes(archive.read(f"{prefix}byteorder"))
    require(order in (b"little", b"big"), "is a torch file of an unknown byte order")
    storages: dict[str, Bytes] = {}

    def persistent(identity: Any) -> Storage:
        key, element, size = _identity(identity, (5,))
        if key not in storages:
            storages[key] = Bytes(archive.read(f"{prefix}data/{key}"), order == b"big")
        data = storages[key].data
        if data is None or len(data) != size:
            raise Refused(f"says that storage {spelled(key)} has {size} bytes, which it has not")
        return Storage(storages[key], element, 0, size)

    known = _SCRIPTED if is_scripted(archive, name) else KNOWN
    return Machine(archive.read(name), known=known, meter=meter, persistent=persistent).run()


def read_legacy(data: memoryview, meter: Meter, *, depth: int = 0) -> Any:
    """What a legacy stream describes, as records; `depth` counts the streams around it.

    Raises:
        Refused: as for all readers.
    """
    storages: dict[str, Bytes] = {}
    sizes: dict[str, tuple[int, int]] = {}
    position = 0

    def value(persistent: Callable[[Any], Any] | None = None) -> Any:
        nonlocal position
        machine = Machine(
            data, known=KNOWN, meter=meter, start=position, persistent=persistent, depth=depth
        )
        result, position = machine.run(), machine.position
        return result

    def persistent(identity: Any) -> Any:
        if (module := _module_class(identity)) is not None:
            return module
        key, element, size = _identity(identity, (5, 6))
        item = TORCH_ITEM_BYTES[element]
        if key not in storages:
            require(len(storages) < meter.limits.entries, "holds too many storages")
            storages[key], sizes[key] = Bytes(None), (size, item)
        if sizes[key] != (size, item):
            raise Refused(f"describes storage {spelled(key)} in two ways")
        if len(identity) == 5 or identity[5] is None:
            return Storage(storages[key], element, 0, size)
        view = identity[5]
        require(
            isinstance(view, tuple)
            and len(view) == 3
            and all(type(n) is int and n >= 0 for n in view[1:])
            and (view[1] + view[2]) * item <= size,
            f"holds a view that is outside storage {spelled(key)}",
        )
        return Storage(storages[key], element, view[1] * item, view[2] * item)

    # A stream is five pickles in a row: magic, version, machine, the object, its storages' keys;
    # then the storages' bytes.
    for wanted in (_MAGIC, _VERSION):
        number = value()
        require(
            type(number) is int and number == wanted,
            "is not a torch file of a version that this reader knows",
        )
    metadata = value()
    if not isinstance(metadata, dict) or metadata.get("little_endian") is not True:
        raise Refused("is a legacy torch file of a big-endian machine")
    root = value(persistent)
    keys = value()
    if not isinstance(keys, list) or any(type(key) is not str for key in keys):
        raise Refused("is a damaged torch file: it has no list of storages")
    if len(set(keys)) != len(keys) or set(keys) != set(storages):
        raise Refused("is a damaged torch file: its list of storages is another one")
    # Each storage is its number of elements, 8 bytes, and their bytes.
    for key in keys:
        size, item = sizes[key]
        if position + 8 + size > len(data):
            raise Refused("is truncated: a storage ends in the middle")
        (count,) = struct.unpack_from("<q", data, position)
        if count * item != size:
            raise Refused(f"says that storage {spelled(key)} has {size} bytes, which it has not")
        storages[key].data = data[position + 8 : position + 8 + size]
        position += 8 + size
    return root


def _module_class(identity: Any) -> Any:
    """The class of ("module", class, file, source code), of a module that was saved whole."""
    whole = isinstance(identity, tuple) and len(identity) == 4 and identity[0] == "module"
    return identity[1] if whole else None


def _identity(identity: Any, lengths: tuple[int, ...]) -> tuple[str, str, int]:
    """Key, element type and bytes of ("storage", class, key, location, number of elements, ..).

    The location is where the storage was, such as "cuda:0", and means nothing here.
    """
    require(
        isinstance(identity, tuple)
        and len(identity) in lengths
        and type(identity[0]) is str
        and identity[0] == "storage"
        and type(identity[2]) is str
        and type(identity[4]) is int
        and 0 <= identity[4] < 1 << 48,
        "refers to data outside of it in a way that is not torch's",
    )
    element = storage_element(identity[1]) or "uint8"
    return identity[2], element, identity[4] * TORCH_ITEM_BYTES[element]


def _load_blob(machine: Machine, args: tuple) -> Storage:
    """torch.storage._load_from_bytes: a legacy stream of one storage, inside a pickle."""
    require(
        len(args) == 1 and type(args[0]) in (bytes, memoryview),
        "loads a tensor from something that is no bytes",
    )
    depth = machine.depth + 1
    require(depth <= machine.meter.limits.blobs, "nests torch files in torch files")
    storage = read_legacy(memoryview(args[0]), machine.meter, depth=depth)
    require(isinstance(storage, Storage), "loads a tensor from bytes that are no storage")
    return storage


KNOWN = allow_list(_load_blob)
_SCRIPTED = scripted_list(KNOWN)
