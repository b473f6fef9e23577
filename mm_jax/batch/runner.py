"""The loop: while the devices work on a batch, the one before is written and the next is read.

An item is done when its files are in the store and its line is in the journal, in this order. So a
process may end at any point: what has no line is done again, into the same names. An item that
fails, by itself, after retries, is set aside; a store or a journal that fails ends the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mm_jax.batch.ledger import Record
from mm_jax.batch.manifest import Item
from mm_jax.batch.pipeline import Failed, Kind, Loaded, batches, read_ahead, reason_of
from mm_jax.batch.store import Store
from mm_jax.errors import DataError, UsageError

__all__ = ["Runner", "Threads", "threads"]

# Of these, the library says that an item is bad; anything else is about the run, or a bug.
_BAD_ITEM = (DataError, UsageError)


@dataclasses.dataclass(frozen=True)
class Threads:
    """Those that read inputs, and those that write outputs."""

    reading: ThreadPoolExecutor
    writing: ThreadPoolExecutor


@contextlib.contextmanager
def threads(readers: int, writers: int) -> Iterator[Threads]:
    """Threads that end with the block; what they have not begun by then is dropped."""
    own = Threads(ThreadPoolExecutor(readers, "read"), ThreadPoolExecutor(writers, "write"))
    try:
        yield own
    finally:
        own.reading.shutdown(cancel_futures=True)
        own.writing.shutdown(cancel_futures=True)


@dataclasses.dataclass
class _Batch:
    rows: list[Loaded]
    wait: Callable[[], Iterable[Any]] | None  # None where the batch could not even be started


@dataclasses.dataclass(kw_only=True)
class Runner:
    """Everything that a run needs but its items.

    Attributes:
        kind: what is done with items.
        store: where files go.
        enter: given the journals' lines of items that are done, and of those that are set aside.
        threads: for reading and writing.
        turn: held while a batch is begun, by runners that share a device.
        ahead: items whose inputs are read before they are needed.
        retries: how often an item is tried again.
        pause: seconds before a failed input is read again.
        stop: asked before each batch whether to stop behind the one in work.
    """

    kind: Kind
    store: Store
    enter: Callable[[list[Record], list[Record]], None]
    threads: Threads
    turn: contextlib.AbstractContextManager[Any] = dataclasses.field(
        default_factory=contextlib.nullcontext
    )
    ahead: int = 64
    retries: int = 1
    pause: float = 0.2
    stop: Callable[[], bool] = lambda: False

    def run(self, items: Iterable[Item]) -> bool:
        """Do items, each once; whether `stop` ended it.

        Raises:
            DataError: the store or a journal cannot be written. What was entered is done.
        """
        loaded = read_ahead(
            items,
            self.kind.load,
            self.threads.reading,
            ahead=self.ahead,
            retries=self.retries,
            pause=self.pause,
        )
        computing: _Batch | None = None
        written: list[Future[Record | Failed]] = []
        stopped = False
        for batch in batches(loaded, self.kind):
            if stopped := self.stop():
                break
            if isinstance(batch, Failed):
                self.enter([], [batch.record()])
                continue
            begun = self._begin(batch)
            futures = self._write(computing)
            self._settle(written)
            computing, written = begun, futures
        futures = self._write(computing)
        self._settle(written)
        self._settle(futures)
        loaded.close()
        return stopped

    def _begin(self, rows: list[Loaded]) -> _Batch:
        try:
            wait = self._compute(rows)
        except _BAD_ITEM:
            wait = None
        return _Batch(rows, wait)

    def _compute(self, rows: list[Loaded]) -> Callable[[], Iterable[Any]]:
        with self.turn:
            return self.kind.compute([row.item for row in rows], [row.inputs for row in rows])

    def _write(self, batch: _Batch | None) -> list[Future[Record | Failed]]:
        """Waits for the devices, and hands every item's value to the threads that write."""
        if batch is None:
            return []
        values = self._values(batch)
        return [
            self.threads.writing.submit(self._put, row.item, value)
            for row, value in zip(batch.rows, values, strict=True)
        ]

    def _values(self, batch: _Batch) -> list[Any]:
        """One value for each item, or a `Failed`."""
        if batch.wait is not None:
            try:
                return list(batch.wait())
            except _BAD_ITEM:
                pass  # which of them it is about is found out below
        return [self._alone(row) for row in batch.rows]

    def _alone(self, row: Loaded) -> Any:
        """The value of one item of a batch that failed: which one is to blame, or was it chance?"""
        reason = ""
        for _ in range(max(self.retries, 1)):
            try:
                return next(iter(self._compute([row])()))
            except _BAD_ITEM as error:
                reason = reason_of(error)
        return Failed(row.item, reason)

    def _put(self, item: Item, value: Any) -> Record | Failed:
        """Writes an item's files; its line for the journal."""
        if isinstance(value, Failed):
            return value
        try:
            files = self.kind.files(item, value)
        except Exception as error:
            return Failed(item, reason_of(error))
        hashes = {}
        for suffix, data in files.items():
            self.store.write(item.file(suffix), data)
            hashes[item.file(suffix)] = hashlib.sha256(data).hexdigest()
        return {"id": item.id, "item": dict(item.entry), "files": hashes}

    def _settle(self, futures: list[Future[Record | Failed]]) -> None:
        """Enters a written batch, all of it that could be written."""
        done: list[Record] = []
        failed: list[Record] = []
        error: BaseException | None = None
        for future in futures:
            problem = future.exception()
            if problem is not None:
                error = error or problem
                continue
            result = future.result()
            if isinstance(result, Failed):
                failed.append(result.record())
            else:
                done.append(result)
        self.enter(done, failed)
        if error is not None:
            raise error
