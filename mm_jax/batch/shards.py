"""Shards: which items belong to which process, decided by the items alone, and whose turn it is.

A shard keeps what it has done in a folder of its own, so that processes on one machine, or on many
that share a file system, need no coordination.
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
    """Part `index` of `count`, both as in `--shard=index/count`: the first is 0."""

    index: int = 0
    count: int = 1

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise UsageError(
                f"shard {self.index}/{self.count}: want 0/{self.count} to "
                f"{self.count - 1}/{self.count}"
            )

    def holds(self, id: str) -> bool:
        """Whether an item's id, hexadecimal digits of a hash, falls into this shard."""
        return int(id, 16) % self.count == self.index

    def part(self, index: int, count: int) -> Shard:
        """This shard cut into `count`, one of them: all of those together hold the same items."""
        return Shard(self.index + self.count * index, self.count * count)

    def folder(self, outdir: Path) -> Path:
        """Where the shard keeps its journal."""
        return outdir / SHARDS / f"{self.index}-of-{self.count}"


def parse_shard(text: str, *, flag: str = "--shard") -> Shard:
    """A shard from "INDEX/COUNT".

    Raises:
        UsageError: anything else, or an index that is not below the count.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*([1-9]\d{0,8})\s*", text)
    if match is None:
        raise UsageError(f"{flag}={text!r}: want INDEX/COUNT, e.g. 0/8 for the first of eight")
    return Shard(int(match[1]), int(match[2]))


def shard_folders(outdir: Path) -> list[Path]:
    """The folders of all shards that have ever been worked on, however many there were."""
    return sorted(path for path in (outdir / SHARDS).glob("*-of-*") if path.is_dir())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only process that works on a shard, for as long as the block lasts.

    The lock is the kernel's (flock): it ends with its owner, however that ends.

    Raises:
        UsageError: another process works on it.
        DataError: the folder cannot be made.
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
                f"{folder} is being worked on by {owner}: let it finish, or work on another --shard"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(handle)
