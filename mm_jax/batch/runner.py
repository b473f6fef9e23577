"""The loop: while the devices work on a batch, the one before is written and the next is read.

An item is done when its files are in the store and its line is in the journal, in this order. So a
process may end at any point: what has no line is done again, into the same names. An item that
fails, by itself, after retries, is set aside; a store or a journal that fails ends the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mm_jax.batch.journal import Journal
from mm_jax.batch.manifest import Item
from mm_jax.batch.pipeline import Failed, Kind, Loaded, batches, read_ahead, reason_of
from mm_jax.batch.store import Store
from mm_jax.errors import DataError, UsageError
from mm_jax.progress import ProgressFn, silent

__all__ = ["Outcome", "Runner"]

# Of these, the library says that an item is bad; anything else is about the run, or a bug.
_BAD_ITEM = (DataError, UsageError)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        done: items that were finished in it.
        failed: items that were set aside in it.
        stopped: whether `stop` ended it.
        reason: why the last of those was set aside.
    """

    done: int
    failed: int
    stopped: bool
    reason: str = ""


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
        done, failed: the journals.
        readers, writers: threads that read inputs and write outputs.
        ahead: items whose inputs are read before they are needed.
        retries: how often an item is tried again.
        pause: seconds before a failed input is read again.
        stop: asked before each batch whether to stop behind the one in work.
        progress: called as ("items", finished, total) after each batch.
        total: items that `run` is going to be given.
    """

    kind: Kind
    store: Store
    done: Journal
    failed: Journal
    readers: int = 4
    writers: int = 4
    ahead: int = 64
    retries: int = 1
    pause: float = 0.2
    stop: Callable[[], bool] = lambda: False
    progress: ProgressFn = silent
    total: int = 0

    def run(self, items: Iterable[Item]) -> Outcome:
        """Do items, each once.

        Raises:
            DataError: the store or a journal cannot be written. What is in the journal is done.
        """
        self._counts = {"done": 0, "failed": 0}
        self._reason = ""
        reading = ThreadPoolExecutor(self.readers, "read")
        writing = ThreadPoolExecutor(self.writers, "write")
        try:
            return self._run(items, reading, writing)
        finally:
            reading.shutdown(cancel_futures=True)
            writing.shutdown(cancel_futures=True)

    def _run(
        self, items: Iterable[Item], reading: ThreadPoolExecutor, writing: ThreadPoolExecutor
    ) -> Outcome:
        loaded = read_ahead(
            items, self.kind.load, reading, ahead=self.ahead, retries=self.retries, pause=self.pause
        )
        self.progress("items", 0, self.total)
        computing: _Batch | None = None
        written: list[Future[dict[str, Any] | Failed]] = []
        stopped = False
        for batch in batches(loaded, self.kind):
            if stopped := self.stop():
                break
            if isinstance(batch, Failed):
                self._record([], [batch])
                continue
            begun = self._begin(batch)
            futures = self._write(computing, writing)
            self._settle(written)
            computing, written = begun, futures
        futures = self._write(computing, writing)
        self._settle(written)
        self._settle(futures)
        loaded.close()
        return Outcome(self._counts["done"], self._counts["failed"], stopped, self._reason)

    def _begin(self, rows: list[Loaded]) -> _Batch:
        try:
            wait = self.kind.compute([row.item for row in rows], [row.inputs for row in rows])
        except _BAD_ITEM:
            wait = None
        return _Batch(rows, wait)

    def _write(
        self, batch: _Batch | None, writing: ThreadPoolExecutor
    ) -> list[Future[dict[str, Any] | Failed]]:
        """Waits for the devices, and hands every item's value to the threads that write."""
        if batch is None:
            return []
        values = self._values(batch)
        return [
            writing.submit(self._put, row.item, value)
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
                return next(iter(self.kind.compute([row.item], [row.inputs])()))
            except _BAD_ITEM as error:
                reason = reason_of(error)
        return Failed(row.item, reason)

    def _put(self, item: Item, value: Any) -> dict[str, Any] | Failed:
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

    def _settle(self, futures: list[Future[dict[str, Any] | Failed]]) -> None:
        """Enters a written batch into the journals, all of it that could be written."""
        done, failed = [], []
        error: BaseException | None = None
        for future in futures:
            problem = future.exception()
            if problem is not None:
                error = error or problem
                continue
            result = future.result()
            (failed if isinstance(result, Failed) else done).append(result)
        self._record(done, failed)
        if error is not None:
            raise error

    def _record(self, done: list[dict[str, Any]], failed: list[Failed]) -> None:
        self.done.append(done)
        self.failed.append(
            {"id": one.item.id, "item": dict(one.item.entry), "reason": one.reason}
            for one in failed
        )
        self._counts["done"] += len(done)
        self._counts["failed"] += len(failed)
        if failed:
            self._reason = failed[-1].reason
        if done or failed:
            self.progress("items", sum(self._counts.values()), self.total)
