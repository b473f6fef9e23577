"""A checkpoint file of any kind, told by its bytes, to plain values."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mm_jax.errors import DataError
from mm_jax.kinds import looks_like
from weights_convert.readers.foreign import Container, Foreign, Limits, Meter, Refused
from weights_convert.readers.machine import Machine, spelled
from weights_convert.readers.mapped import release_map
from weights_convert.readers.numpy_reader import NPY_MAGIC, is_npz, read_npy, read_npz
from weights_convert.readers.safetensors_reader import looks_like_safetensors, read_safetensors
from weights_convert.readers.settle import settle
from weights_convert.readers.tfjs_reader import looks_like_tfjs, read_tfjs
from weights_convert.readers.torch_reader import (
    KNOWN,
    LEGACY_MAGIC,
    find_pickle,
    is_scripted,
    read_legacy,
    read_zip,
)
from weights_convert.readers.zips import Archive

__all__ = ["read_file"]

_DEFAULT_LIMITS = Limits()


def read_file(path: str | os.PathLike[str], *, limits: Limits = _DEFAULT_LIMITS) -> Foreign:
    """Reads a checkpoint without torch and without running anything that it holds.

    The kind of file is told by its bytes, never by its name. Tensors are views of the
    mapped file, for all kinds of file; copies only where an archive is compressed, or NumPy lacks
    the element type or byte order. The file is read through for its sha256 and an archive's
    checksums, but memory holds no more than headers, so that looking at shapes alone is cheap.

    Args:
        path: the file.
        limits: how much a file may ask for.

    Returns:
        Plain values, as `Foreign` says.

    Raises:
        DataError: missing, empty, truncated, damaged, not a checkpoint, or asks for more than the
            limits; one line that names the file.
    """
    path = Path(path)
    try:
        mapped = _mapped(path)
        data = memoryview(mapped)
        meter = Meter(limits, len(data))
        files = _Beside(path, meter)
        container, root = _recognised(data, meter, files)
        content, classes, unknown = settle(root, meter)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except Refused as error:
        raise DataError(f"{path} {error}") from error
    except MemoryError as error:
        raise DataError(f"{path} needs more memory than there is") from error
    if container == "pickle" and "torch_utils.persistence" in classes:
        container = "nvlabs-pickle"
    elif container == "pickle" and "dnnlib.tflib.network.Network" in classes:
        container = "tensorflow-pickle"
    digest, size = hashlib.sha256(), 0
    for part in (mapped, *files.opened):
        digest.update(part)
        size += len(part)
        release_map(part)
    return Foreign(
        path=path,
        container=container,
        content=content,
        sha256=digest.hexdigest(),
        size=size,
        unknown=tuple(sorted(map(spelled, unknown))),
    )


class _Beside:
    """Opens the files that a manifest names, each a name without folders, and remembers them."""

    def __init__(self, manifest: Path, meter: Meter):
        self._folder, self._meter = manifest.parent, meter
        self._seen: set[tuple[int, int]] = set()
        self.opened: list[mmap.mmap] = []

    def __call__(self, name: str) -> memoryview:
        if len(self.opened) == self._meter.limits.files:
            raise Refused(f"names more than {self._meter.limits.files} files")
        try:
            found = _mapped(self._folder / name)
            status = (self._folder / name).stat()
        except OSError as error:
            raise Refused(f"names {name}, which cannot be read: {error.strerror}") from error
        except Refused as error:
            raise Refused(f"names {name}, which {error}") from error
        self.opened.append(found)
        # Links to one file, and files that are mostly holes, would be a cheap way to large ones.
        if (status.st_dev, status.st_ino) not in self._seen:
            self._seen.add((status.st_dev, status.st_ino))
            self._meter.allow(min(len(found), getattr(status, "st_blocks", 0) * 512))
        return memoryview(found)


def _mapped(path: Path) -> mmap.mmap:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        # Asked before it is opened: opening a pipe waits for whoever writes into it.
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise Refused(f"must be a checkpoint file, got {what}")
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise Refused("must be a checkpoint file, got an empty one")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _recognised(
    data: memoryview, meter: Meter, open_beside: Callable[[str], memoryview]
) -> tuple[Container, Any]:
    start = bytes(data[:32])
    if start.startswith(b"PK"):
        archive = Archive(data, meter)
        name = find_pickle(archive)
        if name is not None:
            kind = "torchscript" if is_scripted(archive, name) else "torch-zip"
            return kind, read_zip(archive, name, meter)
        if is_npz(archive):
            return "numpy", read_npz(archive, meter)
        raise Refused("is a zip archive, but neither torch's nor NumPy's")
    if start.startswith(NPY_MAGIC):
        return "numpy", read_npy(data, meter)
    if looks_like_safetensors(data):
        return "safetensors", read_safetensors(data, meter)
    if start.startswith(b"\x80"):
        if LEGACY_MAGIC in start:
            return "torch-legacy", read_legacy(data, meter)
        return "pickle", Machine(data, known=KNOWN, meter=meter).run()
    if looks_like_tfjs(data):
        return "tfjs", read_tfjs(data, meter, open_beside)
    known = looks_like(bytes(data[:300])) or "none of the formats that this reader knows"
    raise Refused(f"is not a checkpoint: it looks like {known}")
