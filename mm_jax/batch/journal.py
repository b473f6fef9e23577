"""Journals: one line of JSON for each item that a shard has finished or set aside.

An item's line is written after its files, so a line proves that the files exist. A crash can tear
only the last line; an item without a whole line is done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax.errors import DataError
from mm_jax.progress import ProgressFn, silent

__all__ = ["DONE", "FAILED", "Journal", "Ledger", "Record", "Seen", "read_journal"]

DONE, FAILED = "journal.jsonl", "failed.jsonl"
# Ids held as Python objects before they are packed into an array.
_LOOSE = 1 << 14

Record = dict[str, Any]


class Journal:
    """Appends lines to a file. One process at a time may use it (`mm_jax.batch.shards.locked`)."""

    def __init__(self, path: Path):
        """Open or create the file and cut off a torn last line.

        Raises:
            DataError: the file cannot be written.
        """
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            self._end = _end_of_whole_lines(self._file)
            os.ftruncate(self._file, self._end)
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from error

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Add one line for each record. The lines are on disk when this returns.

        Raises:
            DataError: the lines cannot be written. The file is left as it was.
        """
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        data = lines.encode("utf-8")
        if not data:
            return
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._file, data[done:], self._end + done)
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise DataError(f"cannot write {self.path}: {error.strerror}") from error
        self._end += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _end_of_whole_lines(file: int) -> int:
    """The length of a file up to the end of its last whole line."""
    end = os.fstat(file).st_size
    while end:
        start = max(end - 65536, 0)
        at = os.pread(file, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def read_journal(path: Path) -> Iterator[Record]:
    """Yield the records of a journal; a missing file has none.

    Raises:
        DataError: the file cannot be read, or a line other than a torn last one is damaged.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return  # still being written, or torn
                record = _parsed(line)
                if not isinstance(record, dict) or not isinstance(record.get("id"), str):
                    raise DataError(f"{path}, line {number} is damaged")
                yield record
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


class Ledger:
    """The two journals of a run, and its counts. Every engine enters its results here.

    Attributes:
        done: number of items finished by this run.
        failed: number of items set aside by this run.
        reason: why the last failed item was set aside, or empty.

    Args:
        done: journal of finished items.
        failed: journal of items that were set aside.
        progress: called as `("items", finished, total)` whenever items are entered.
        total: number of items that the run will do.
    """

    def __init__(
        self, done: Journal, failed: Journal, *, progress: ProgressFn = silent, total: int = 0
    ):
        self._journals = done, failed
        self._progress, self._total = progress, total
        self.done: int = 0
        self.failed: int = 0
        self.reason: str = ""
        progress("items", 0, total)

    def enter(self, done: Sequence[Record], failed: Sequence[Record]) -> None:
        """Record items whose files are in the store, and items that are set aside.

        Raises:
            DataError: a journal cannot be written.
        """
        for journal, records in zip(self._journals, (done, failed), strict=True):
            journal.append(records)
        self.done += len(done)
        self.failed += len(failed)
        if failed:
            self.reason = failed[-1]["reason"]
        if done or failed:
            self._progress("items", self.done + self.failed, self._total)


class Seen:
    """A set of ids that takes 12 bytes for each: a million ids are 12 MB.

    Args:
        ids: the first members.
    """

    def __init__(self, ids: Iterable[str] = ()):
        self._packed = np.zeros(0, "S12")  # sorted
        self._loose: set[bytes] = set()
        for id in ids:
            self.add(id)

    def add(self, id: str) -> bool:
        """Add an id of 24 hexadecimal digits; return whether it is new."""
        if id in self:
            return False
        self._loose.add(bytes.fromhex(id))
        if len(self._loose) > _LOOSE + len(self._packed) // 8:
            loose = np.array(list(self._loose), "S12")
            self._packed = np.sort(np.concatenate([self._packed, loose]))
            self._loose.clear()
        return True

    def __contains__(self, id: object) -> bool:
        raw = bytes.fromhex(str(id))
        if raw in self._loose:
            return True
        # NumPy strips trailing zero bytes from fixed-width strings, so compare without them.
        at = int(np.searchsorted(self._packed, np.bytes_(raw)))
        return at < len(self._packed) and bool(self._packed[at] == raw.rstrip(b"\0"))

    def __len__(self) -> int:
        return len(self._packed) + len(self._loose)
