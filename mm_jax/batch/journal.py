"""A journal: what a shard has done, a line of json for each item, written behind the files.

A line is there only when the files that it names are, since it is written last; it may be torn by a
crash only where it is the last one, and what was not recorded is done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax.errors import DataError

__all__ = ["DONE", "FAILED", "Journal", "Seen", "read_journal"]

DONE, FAILED = "journal.jsonl", "failed.jsonl"
# Ids that are kept as Python objects before they are packed.
_LOOSE = 1 << 14


class Journal:
    """Appends lines to a file; used by one process at a time (`mm_jax.batch.shards.locked`)."""

    def __init__(self, path: Path):
        """Opens the file, or makes it, and cuts off a torn last line.

        Raises:
            DataError: it cannot be written.
        """
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            self._end = _whole_lines(self._file)
            os.ftruncate(self._file, self._end)
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from error

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds lines; they are on the disk when it returns.

        Raises:
            DataError: they cannot be written. The file is then as it was.
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
        os.close(self._file)


def _whole_lines(file: int) -> int:
    """The length of a file up to the end of its last whole line."""
    end = os.fstat(file).st_size
    while end:
        start = max(end - 65536, 0)
        at = os.pread(file, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a journal, one after another; none where there is no such file.

    Raises:
        DataError: it cannot be read, or a line is damaged that is not a torn last one.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return  # being written, or torn
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


class Seen:
    """A set of ids that takes twelve bytes for each: a million of them are 12 MB."""

    def __init__(self, ids: Iterable[str] = ()):
        self._packed = np.zeros(0, "S12")
        self._loose: set[bytes] = set()
        for id in ids:
            self.add(id)

    def add(self, id: str) -> bool:
        """Adds an id of 24 hexadecimal digits; whether it is new."""
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
        # Without the zeros at its end, which numpy does not tell from none.
        at = int(np.searchsorted(self._packed, np.bytes_(raw)))
        return at < len(self._packed) and bool(self._packed[at] == raw.rstrip(b"\0"))

    def __len__(self) -> int:
        return len(self._packed) + len(self._loose)
