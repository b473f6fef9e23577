"""Where outputs go: a folder, or any place that fsspec knows, each file whole or absent."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from mm_jax import io
from mm_jax.errors import DataError, UsageError, first_line

__all__ = ["LocalStore", "RemoteStore", "Store", "open_store"]


class Store(Protocol):
    """Files by names such as "3f/3f09.png"."""

    def write(self, name: str, data: bytes, /) -> None:
        """Puts a file there as a whole; DataError where that is impossible."""
        ...

    def sha256(self, name: str, /) -> str | None:
        """Of the file's bytes; None where there is no such file."""
        ...


class LocalStore:
    """Files in a folder; they are on the disk when `write` returns.

    Args:
        folder: their folder.
        scratch: where they are written before they are put in place, in the same file system and
            used by nobody else: what a killed process leaves there is garbage.
    """

    def __init__(self, folder: Path, scratch: Path):
        self._folder, self._scratch = folder, scratch

    def write(self, name: str, data: bytes, /) -> None:
        target = self._folder / name
        io.write_atomic(target, lambda file: file.write(data), scratch=self._scratch, sync=True)

    def sha256(self, name: str, /) -> str | None:
        path = self._folder / name
        return io.sha256_file(path) if path.exists() else None


class RemoteStore:
    """Files at an fsspec URL, such as "s3://bucket/faces"; an object store's files are whole.

    Raises:
        UsageError: fsspec is not installed, or does not know the URL.
    """

    def __init__(self, url: str):
        try:
            import fsspec
        except ImportError:
            raise UsageError(
                f"{url}: outputs by URL need fsspec: pip install 'mm-jax[remote]'"
            ) from None
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{url}: {first_line(error)}") from error
        self._url = url
        # Where roots begin with a bucket there are no folders, and to make one may make the bucket:
        # that of a mistyped name would be a new one.
        self._folders = self._root.startswith("/")

    def write(self, name: str, data: bytes, /) -> None:
        path = f"{self._root}/{name}"
        try:
            if self._folders:
                self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._files.pipe_file(path, data)
        # Each file system has errors of its own.
        except Exception as error:
            raise DataError(f"cannot write {self._url}/{name}: {first_line(error)}") from error

    def sha256(self, name: str, /) -> str | None:
        try:
            return hashlib.sha256(self._files.cat_file(f"{self._root}/{name}")).hexdigest()
        except FileNotFoundError:
            return None
        except Exception as error:
            raise DataError(f"cannot read {self._url}/{name}: {first_line(error)}") from error


def open_store(outputs: str, folder: Path, scratch: Path) -> Store:
    """The store at `outputs`, a folder or an fsspec URL; by default in `folder`.

    Raises:
        UsageError: as `RemoteStore`.
    """
    if "://" in outputs and not outputs.startswith("file://"):
        return RemoteStore(outputs.rstrip("/"))
    return LocalStore(Path(outputs.removeprefix("file://")) if outputs else folder, scratch)
