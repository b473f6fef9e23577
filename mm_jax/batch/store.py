"""Stores for outputs: a folder, or any URL that fsspec can open. Each file is whole or absent."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from mm_jax import io
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.words import how_to_install

__all__ = ["LocalStore", "RemoteStore", "Store", "open_store"]


class Store(Protocol):
    """Files by name, such as "3f/3f09.png"."""

    def write(self, name: str, data: bytes, /) -> None:
        """Write a whole file.

        Raises:
            DataError: it cannot be written.
        """
        ...

    def sha256(self, name: str, /) -> str | None:
        """The SHA-256 of a file in hexadecimal; None if there is no such file.

        Raises:
            DataError: it cannot be read.
        """
        ...


class LocalStore:
    """Files in a folder. They are on disk when `write` returns.

    Args:
        folder: where the files go.
        scratch: a folder in the same file system, and used by this run alone, in which files are
            written before they are moved into place. What a killed process leaves there is garbage.
    """

    def __init__(self, folder: Path, scratch: Path):
        self._folder, self._scratch = folder, scratch

    def write(self, name: str, data: bytes, /) -> None:
        """See `Store`."""
        target = self._folder / name
        io.write_atomic(target, lambda file: file.write(data), scratch=self._scratch, sync=True)

    def sha256(self, name: str, /) -> str | None:
        """See `Store`."""
        path = self._folder / name
        return io.sha256_file(path) if path.exists() else None


class RemoteStore:
    """Files at an fsspec URL such as "s3://bucket/faces". Object stores write files whole.

    Raises:
        UsageError: fsspec is not installed, or does not know the URL.
    """

    def __init__(self, url: str):
        try:
            import fsspec
        except ImportError:
            raise UsageError(
                f"{url}: outputs at a URL need fsspec: {how_to_install('mm-jax[remote]')}"
            ) from None
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{url}: {first_line(error)}") from error
        self._url = url
        # A root that does not begin with a slash begins with a bucket. Creating folders there could
        # create the bucket, and a mistyped name would silently become a new one.
        self._folders = self._root.startswith("/")

    def write(self, name: str, data: bytes, /) -> None:
        """See `Store`."""
        path = f"{self._root}/{name}"
        try:
            if self._folders:
                self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._files.pipe_file(path, data)
        # Every file system raises its own errors.
        except Exception as error:
            raise DataError(f"cannot write {self._url}/{name}: {first_line(error)}") from error

    def sha256(self, name: str, /) -> str | None:
        """See `Store`."""
        try:
            return hashlib.sha256(self._files.cat_file(f"{self._root}/{name}")).hexdigest()
        except FileNotFoundError:
            return None
        except Exception as error:
            raise DataError(f"cannot read {self._url}/{name}: {first_line(error)}") from error


def open_store(outputs: str, folder: Path, scratch: Path) -> Store:
    """Open the store at `outputs`, a folder or an fsspec URL; `folder` if it is empty.

    Raises:
        UsageError: as `RemoteStore`.
    """
    if "://" in outputs and not outputs.startswith("file://"):
        return RemoteStore(outputs.rstrip("/"))
    return LocalStore(Path(outputs.removeprefix("file://")) if outputs else folder, scratch)
