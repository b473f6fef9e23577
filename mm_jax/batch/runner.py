"""The loop: while the devices compute one batch, the previous is written and the next is read.

An item is done when its files are in the store and then its line is in the journal. So a process
may end at any point: items without a line are done again, under the same names. An item that fails
by itself, after retries, is set aside; a store or journal that fails ends the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mm_jax.batch.journal import Record
from mm_jax.batch.manifest import Item
from mm_jax.batch.pipeline import Failed, Loaded, Task, batches, read_ahead, reason_of
from mm_jax.batch.store import Store
from mm_jax.errors import DataError, UsageError

__all__ = ["Runner", "Threads", "threads"]

# Raised by the library for a bad item. Any other error concerns the run, or is a bug.
_BAD_ITEM = (DataError, UsageError)


@dataclasses.dataclass(frozen=True)
class Threads:
    """The threads that read inputs and those that write outputs."""

    reading: ThreadPoolExecutor
    writing: ThreadPoolExecutor


@contextlib.contextmanager
def threads(readers: int, writers: int) -> Iterator[Threads]:
    """Start threads that end with the block; what they have not begun by then is dropped."""
    own = Threads(ThreadPoolExecutor(readers, "read"), ThreadPoolExecutor(writers, "write"))
    try:
        yield own
    finally:
        own.reading.shutdown(cancel_futures=True)
        own.writing.shutdown(cancel_futures=True)


@dataclasses.dataclass
class _Batch:
    rows: list[Loaded]
    wait: Callable[[], Iterable[Any]] | None  # None if the batch could not be started


@dataclasses.dataclass(kw_only=True)
class Runner:
    """Does items in this process; both engines use it.

    Attributes:
        task: what is done with items.
        store: where files go.
        enter: called with the journal lines of finished items and of items that are set aside.
        threads: for reading and writing.
        ahead: number of items whose inputs are read before they are needed.
        retries: how often a failed item is repeated.
        pause: seconds before a failed input is read again.
        stop: asked before each batch whether to stop.
    """

    task: Task
    store: Store
    enter: Callable[[list[Record], list[Record]], None]
    threads: Threads
    ahead: int = 64
    retries: int = 1
    pause: float = 0.2
    stop: Callable[[], bool] = lambda: False

    def run(self, items: Iterable[Item]) -> bool:
        """Do distinct items; return whether `stop` ended the run before the last one.

        Raises:
            DataError: the store or a journal cannot be written. What was entered is done.
        """
        loaded = read_ahead(
            items,
            self.task.load,
            self.threads.reading,
            ahead=self.ahead,
            retries=self.retries,
            pause=self.pause,
        )
        computing: _Batch | None = None
        written: list[Future[Record | Failed]] = []
        stopped = False
        for batch in batches(loaded, self.task):
            if stopped := self.stop():
                break
            if isinstance(batch, Failed):
                self.enter([], [batch.record()])
                continue
            # Three batches are under way: this one starts on the devices, `computing` goes from the
            # devices to the writing threads, `written` goes from there to the journal.
            started = self._start(batch)
            futures = self._write(computing)
            self._enter(written)
            computing, written = started, futures
        futures = self._write(computing)
        self._enter(written)
        self._enter(futures)
        loaded.close()
        return stopped

    def _start(self, rows: list[Loaded]) -> _Batch:
        try:
            wait = self._compute(rows)
        except _BAD_ITEM:
            wait = None
        return _Batch(rows, wait)

    def _compute(self, rows: list[Loaded]) -> Callable[[], Iterable[Any]]:
        return self.task.compute([row.item for row in rows], [row.inputs for row in rows])

    def _write(self, batch: _Batch | None) -> list[Future[Record | Failed]]:
        """Wait for the devices and pass each item's value to the writing threads."""
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
                pass  # computing the items one by one shows which of them is bad
        return [self._alone(row) for row in batch.rows]

    def _alone(self, row: Loaded) -> Any:
        """The value of a single item of a batch that failed, or a `Failed`."""
        reason = ""
        for _ in range(max(self.retries, 1)):
            try:
                return next(iter(self._compute([row])()))
            except _BAD_ITEM as error:
                reason = reason_of(error)
        return Failed(row.item, reason)

    def _put(self, item: Item, value: Any) -> Record | Failed:
        """Write an item's files; return its line for the journal."""
        if isinstance(value, Failed):
            return value
        try:
            files = self.task.files(item, value)
        except Exception as error:
            return Failed(item, reason_of(error))
        hashes = {}
        for suffix, data in files.items():
            self.store.write(item.file(suffix), data)
            hashes[item.file(suffix)] = hashlib.sha256(data).hexdigest()
        return {"id": item.id, "item": dict(item.entry), "files": hashes}

    def _enter(self, futures: list[Future[Record | Failed]]) -> None:
        """Enter all items of a batch that could be written, then raise the first error."""
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
