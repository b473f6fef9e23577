"""Shards: which items belong to which process, and the lock on a shard.

An item's id alone decides its shard, and every shard keeps its journals in its own folder. So
processes on one machine, or on many that share a file system, need no coordination.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from mm_jax.errors import DataError, UsageError

__all__ = ["Shard", "locked", "parse_shard", "shard_folders"]

SHARDS = "shards"
_LOCK = "lock"


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, as in `--shard=index/count`; the first index is 0.

    Raises:
        UsageError: the index is not below the count.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UsageError(
                f"shard must be 0/{self.count} to {self.count - 1}/{self.count}, "
                f"got {self.index}/{self.count}"
            )

    def holds(self, id: str) -> bool:
        """Whether an item belongs to this shard; `id` is hexadecimal."""
        return int(id, 16) % self.count == self.index

    def part(self, index: int, count: int) -> Shard:
        """One of the `count` shards into which this one is divided."""
        return Shard(self.index + self.count * index, self.count * count)

    def folder(self, outdir: Path) -> Path:
        """The folder of the shard's journals."""
        return outdir / SHARDS / f"{self.index}-of-{self.count}"


def parse_shard(text: str, *, flag: str = "--shard") -> Shard:
    """Parse "INDEX/COUNT".

    Raises:
        UsageError: the text has another form, or the index is not below the count.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*([1-9]\d{0,8})\s*", text)
    if match is None:
        raise UsageError(
            f"{flag} must be INDEX/COUNT, e.g. 0/8 for the first of eight, got {text!r}"
        )
    return Shard(int(match[1]), int(match[2]))


def shard_folders(outdir: Path) -> list[Path]:
    """The folders of all shards that any run has used, whatever their counts."""
    return sorted(path for path in (outdir / SHARDS).glob("*-of-*") if path.is_dir())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock on a shard's folder until the block ends.

    The kernel holds the lock (flock), so it ends with its process, however that ends.

    Raises:
        UsageError: another process holds it.
        DataError: the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise DataError(f"cannot write {folder / _LOCK}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(handle, 200).decode(errors="replace").strip() or "another process"
            raise UsageError(
                f"{folder} is in use by {owner}: let it finish, or choose another --shard"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(handle)
