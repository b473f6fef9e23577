"""Atomic files and folders, and arrays that are checked as they are read.

Every writer goes through `write_atomic`: the bytes are put in a temporary file of the same folder,
which then replaces the target in one step. A reader therefore never sees half a file, and a run
that is interrupted leaves the earlier file as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mm_jax.errors import DAMAGE, DataError, first_line
from mm_jax.kinds import wrong_kind

__all__ = [
    "json_bytes",
    "lacking",
    "load_npz",
    "npz_bytes",
    "put_safetensors",
    "read_json",
    "save_npz",
    "sha256_file",
    "whole_file",
    "whole_folder",
    "write_atomic",
    "write_json",
]

PathLike = str | os.PathLike[str]
# A required array is described by its rank, by its shape with None for a free axis, or by None
# where any shape will do.
Shape = int | tuple[int | None, ...] | None
_SAFETENSORS = {"<f4": "F32", "<f2": "F16", "|u1": "U8", "<u2": "U16"}


def _reason(error: BaseException) -> str:
    """The operating system's message for an error, else as `first_line`."""
    return getattr(error, "strerror", None) or first_line(error)


def _default_mode() -> int:
    """The permissions of an ordinary new file; temporary files would be private."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def write_atomic(
    path: PathLike,
    write: Callable[[BinaryIO], object],
    *,
    scratch: PathLike | None = None,
    sync: bool = False,
) -> Path:
    """Write a file atomically.

    Args:
        path: the target; its folder is made if it does not exist.
        write: puts the content into the open binary file that it is given.
        scratch: folder of the temporary file, in the same file system; by default the target's.
            What a killed process leaves behind is then where it can be told from other files.
        sync: the content is on the disk when this returns, and survives a loss of power.

    Returns:
        The target's path.

    Raises:
        DataError: the folder cannot be made or the file not written. Whatever else `write` raises
            is passed on. In all cases the target is as it was before.
    """
    with whole_file(path, scratch=scratch) as temporary, open(temporary, "wb") as file:
        write(file)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    return Path(path)


@contextlib.contextmanager
def whole_file(path: PathLike, *, scratch: PathLike | None = None) -> Iterator[Path]:
    """An empty temporary file, beside `path` or in `scratch`, that replaces `path` on success.

    For content that another program writes; see `write_atomic` for what is raised and when.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.parent if scratch is None else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name[:40]}.", suffix=".tmp", dir=folder
        )
        os.close(handle)
        yield Path(temporary)
        os.chmod(temporary, _default_mode())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DataError(f"cannot write {path}: {_reason(error)}") from error
        raise


@contextlib.contextmanager
def whole_folder(directory: PathLike, *, mark: str, what: str) -> Iterator[Path]:
    """A temporary folder to fill, which replaces `directory` on success.

    Args:
        directory: the target. An older one is replaced if it is empty or holds `mark`.
        mark: a file that every such folder holds.
        what: what such a folder holds, for messages.

    Raises:
        DataError: the target is something else or cannot be written. Whatever else is raised
            inside is passed on. In all cases the target is as it was before.
    """
    directory = Path(os.path.abspath(directory))
    if directory.exists() and not directory.is_dir():
        raise DataError(f"cannot write {directory}: it is a file")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / mark).is_file():
        raise DataError(f"cannot write {directory}: it holds something other than {what}")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent)
    except OSError as error:
        raise DataError(f"cannot write {directory}: {_reason(error)}") from error
    try:
        folder = Path(temporary, "new")
        folder.mkdir()
        yield folder
        _replace_folder(folder, directory, aside=Path(temporary, "old"))
    except OSError as error:
        raise DataError(f"cannot write {directory}: {_reason(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, target: Path, *, aside: Path) -> None:
    """Folders cannot be exchanged in one step: the old one steps aside, and back on failure."""
    if target.exists():
        target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise


def _plain(value: Any) -> Any:
    """The `default` hook of `json`: NumPy, JAX and path values become plain."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"cannot write a {type(value).__name__} as json")


def json_bytes(path: PathLike, obj: Any) -> bytes:
    """`obj` as indented UTF-8 json; numpy values, JAX arrays and paths are made plain.

    Raises:
        DataError: `obj` holds NaN, infinity or an unknown type; `path` is for the message.
    """
    try:
        text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise DataError(f"cannot write {path}: {_reason(error)}") from error
    return (text + "\n").encode("utf-8")


def write_json(path: PathLike, obj: Any) -> Path:
    """Write `obj` as json; see `json_bytes`.

    Raises:
        DataError: the file cannot be written, or as `json_bytes`.
    """
    data = json_bytes(path, obj)
    return write_atomic(path, lambda file: file.write(data))


def read_json(path: PathLike) -> Any:
    """Read a json file.

    Raises:
        DataError: the file is missing, unreadable or not json.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {_reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid json: {_reason(error)}") from error


def npz_bytes(path: PathLike, **arrays: Any) -> bytes:
    """Named arrays as one compressed `.npz`.

    Raises:
        DataError: a value is not a plain array (object dtype); `path` is for the message.
    """
    plain = {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in plain.items():
        if value.dtype.hasobject:
            raise DataError(f"cannot write {path}: {name!r} is not a plain array")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **plain)  # type: ignore[arg-type]
    return buffer.getvalue()


def save_npz(path: PathLike, **arrays: Any) -> Path:
    """Write named arrays as one compressed `.npz`.

    Raises:
        DataError: the file cannot be written, or as `npz_bytes`.
    """
    data = npz_bytes(path, **arrays)
    return write_atomic(path, lambda file: file.write(data))


def put_safetensors(
    file: BinaryIO, arrays: Mapping[str, np.ndarray], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write float32, float16, uint8 and uint16 arrays as safetensors, one by one.

    The library's own writer takes a copy of them all, which is much for large networks.
    """
    entries, end = {}, 0
    for name, value in arrays.items():
        start, end = end, end + value.nbytes
        dtype = _SAFETENSORS[value.dtype.str]
        entries[name] = {
            "dtype": dtype,
            "shape": list(value.shape),
            "data_offsets": [start, end],
        }
    held = {"__metadata__": dict(metadata), **entries} if metadata else entries
    header = json.dumps(held, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    for value in arrays.values():
        file.write(np.ascontiguousarray(value).data)


def _check_shape(path: PathLike, name: str, shape: tuple[int, ...], wanted: Shape) -> None:
    if wanted is None:
        return
    if isinstance(wanted, int):
        if len(shape) != wanted:
            raise DataError(
                f"{path}: {name!r} must be an array of rank {wanted}, got shape {list(shape)}"
            )
        return
    fits = len(shape) == len(wanted) and all(
        want is None or have == want for have, want in zip(shape, wanted, strict=True)
    )
    if not fits:
        text = ", ".join("*" if want is None else str(want) for want in wanted)
        raise DataError(f"{path}: {name!r} must have shape [{text}], got {list(shape)}")


def load_npz(
    path: PathLike, *, required: Mapping[str, Shape], what: str = "", called: str = ""
) -> dict[str, np.ndarray]:
    """Read a whole `.npz`, never unpickling anything.

    Args:
        path: the file.
        required: for each array that must be there, its rank, its shape with None for a free axis,
            or None for any shape. Further arrays are read too.
        what: what such a file is, such as "a subspace", to be told beside what another one is.
        called: the name of such a file in the folders of our programs.

    Returns:
        All arrays by name, in their stored dtype.

    Raises:
        DataError: the file is missing, corrupt or not an npz; a required array is missing or of
            another shape; any floating array holds NaN or infinity. The message names the file.
    """
    try:
        # Opened here, because numpy leaves a file that it cannot read open.
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it is a single array (.npy)")
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"cannot read {path}: no such file") from error
    except DAMAGE as error:
        other = wrong_kind(path, what or "an .npz", called=called)
        raise other or DataError(f"{path} is not a readable .npz: {_reason(error)}") from error
    for name, wanted in required.items():
        if name not in arrays:
            raise lacking(path, name, arrays, what)
        _check_shape(path, name, arrays[name].shape, wanted)
    for name, value in arrays.items():
        if value.dtype.kind in "fc" and not np.isfinite(value).all():
            raise DataError(f"{path}: {name!r} holds NaN or infinity")
    return arrays


def lacking(path: PathLike, name: str, arrays: Mapping[str, Any], what: str = "") -> DataError:
    """The error for an `.npz` without a wanted array: of another kind, or with other names."""
    other = wrong_kind(path, what) if what else None
    if other is not None and "an .npz of" not in str(other):
        return DataError(f"{other} (it has no array {name!r})")
    held = ", ".join(sorted(arrays)) or "nothing"
    return DataError(f"{path} has no array {name!r} (it holds {held})")


def sha256_file(path: PathLike) -> str:
    """The sha256 of a file's bytes, as 64 hex digits.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {_reason(error)}") from error
