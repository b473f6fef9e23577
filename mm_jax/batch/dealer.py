"""Batches dealt to workers elsewhere, any of which may be lost at any time, or join.

A worker holds a few batches, so that it need not wait for the next; the rest of the manifest stays
unread. What a lost worker held is suspected of having killed it, and is given again to a worker
that holds nothing else: if that is lost too, it is clear with what. A batch is then taken apart,
and an item that goes on killing workers by itself is set aside.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Protocol

from mm_jax.batch.ledger import Ledger, Record
from mm_jax.batch.manifest import Item
from mm_jax.batch.pipeline import Failed, Kind, Loaded, batches
from mm_jax.batch.store import Store
from mm_jax.errors import DataError, UsageError

__all__ = ["HELD", "Dealer", "Ended", "Event", "Lost", "Pool", "Ready", "Report"]

# Batches that a worker holds: one is read, one computed, one written.
HELD = 3
# Items, for each worker, that may kill it one after another before it is no item's fault.
_PATIENCE = 4
# Seconds between looks for a file; a shared file system may show it late.
_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of a batch.

    Attributes:
        done, failed: lines for the journals.
        error: what the store said, where it cannot be written.
    """

    done: list[Record]
    failed: list[Record]
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Ready:
    """A worker, new or in place of another, takes batches from now on."""

    worker: Hashable
    where: str


@dataclasses.dataclass(frozen=True)
class Ended:
    """A worker is through with a batch."""

    worker: Hashable
    batch: int
    report: Report


@dataclasses.dataclass(frozen=True)
class Lost:
    """A worker is gone with all that it held."""

    worker: Hashable
    reason: str


Event = Ready | Ended | Lost


class Pool(Protocol):
    """Workers, whoever runs them."""

    def give(self, worker: Hashable, batch: int, items: list[Item], /) -> None:
        """Hands a numbered batch to a worker that is ready."""
        ...

    def wait(self) -> list[Event]:
        """What has happened since; none, where nothing does for about a second."""
        ...


@dataclasses.dataclass
class _Batch:
    items: list[Item]
    losses: int = 0  # workers that were lost while they held it


@dataclasses.dataclass
class _Worker:
    where: str
    held: dict[int, _Batch] = dataclasses.field(default_factory=dict)
    seen: bool = False  # whether a file that it wrote has been seen from here


class Dealer:
    """One run.

    Args:
        pool: the workers.
        ledger: where items are entered.
        store: where the workers' files are expected.
        retries: how often an item by itself is given to a further worker.
        stop: asked again and again whether to deal no more, and await what is held.
    """

    def __init__(
        self,
        pool: Pool,
        ledger: Ledger,
        store: Store,
        *,
        retries: int = 1,
        stop: Callable[[], bool] = lambda: False,
    ):
        self._pool, self._ledger, self._store = pool, ledger, store
        self._stop = stop
        # Losses until an item is set aside: with others, with its batch, and by itself.
        self._course = 3 + retries
        self._workers: dict[Hashable, _Worker] = {}
        self._suspects: deque[_Batch] = deque()
        self._number = 0
        self._most = 0  # workers at once
        self._in_vain = 0  # of them lost since something came of one

    def run(self, items: Iterable[Item], kind: Kind) -> bool:
        """Do items, each once; whether `stop` ended it.

        Args:
            items: the items.
            kind: tells which of them make a batch.

        Raises:
            DataError: the store or a journal cannot be written, or workers are lost whatever they
                are given. What was entered is done.
            UsageError: what workers write is not seen from here.
        """
        self._fresh = _cut(items, kind)
        self._next = next(self._fresh, None)
        while True:
            stopped = self._stop()
            if not stopped:
                self._deal()
            if not any(worker.held for worker in self._workers.values()):
                over = self._next is None and not self._suspects
                if stopped or over:
                    return not over
            self._take(self._pool.wait())

    def _deal(self) -> None:
        """To every worker as much as it may hold, first to those that hold least."""
        dealt = True
        while dealt:
            dealt = False
            for name, worker in sorted(self._workers.items(), key=lambda one: len(one[1].held)):
                batch = self._pick(worker)
                if batch is not None:
                    dealt = True
                    self._number += 1
                    worker.held[self._number] = batch
                    self._pool.give(name, self._number, batch.items)

    def _pick(self, worker: _Worker) -> _Batch | None:
        if self._suspects:
            return None if worker.held else self._suspects.popleft()
        alone = any(batch.losses for batch in worker.held.values())
        if alone or len(worker.held) >= HELD or self._next is None:
            return None
        batch, self._next = self._next, next(self._fresh, None)
        return batch

    def _take(self, events: list[Event]) -> None:
        done: list[Record] = []
        failed: list[Record] = []
        error = ""
        for event in events:
            if isinstance(event, Ready):
                self._workers[event.worker] = _Worker(event.where)
                self._most = max(self._most, len(self._workers))
            elif isinstance(event, Lost):
                failed += self._lose(event)
            else:
                self._look(self._workers[event.worker], event.report.done)
                del self._workers[event.worker].held[event.batch]
                done += event.report.done
                failed += event.report.failed
                error = error or event.report.error
        if done:
            self._in_vain = 0
        self._ledger.enter(done, failed)
        if error:
            raise DataError(error)

    def _look(self, worker: _Worker, done: list[Record]) -> None:
        """Once for each worker: are its files here? Else they are where nobody looks for them."""
        if worker.seen or not done:
            return
        name, digest = next(iter(done[0]["files"].items()))
        for pause in _LOOKS:
            time.sleep(pause)
            if self._store.sha256(name) == digest:
                worker.seen = True
                return
        raise UsageError(
            f"{name}, which a worker on {worker.where} has written, is not here: give --outdir or "
            "--outputs in a folder that all nodes share, or --outputs=URL"
        )

    def _lose(self, event: Lost) -> list[Record]:
        """Puts what the worker held among the suspects; lines of items that are set aside."""
        self._in_vain += 1
        if self._in_vain > _PATIENCE * self._course * self._most:
            raise DataError(f"{self._in_vain} workers were lost in a row, the last: {event.reason}")
        aside = []
        for batch in self._workers.pop(event.worker).held.values():
            batch.losses += 1
            if batch.losses == 1 or (len(batch.items) == 1 and batch.losses < self._course):
                self._suspects.append(batch)
            elif len(batch.items) > 1:
                self._suspects.extend(_Batch([item], batch.losses) for item in batch.items)
            else:
                times = f"{batch.losses} workers were lost with it, the last: {event.reason}"
                aside.append(Failed(batch.items[0], times).record())
        return aside


def _cut(items: Iterable[Item], kind: Kind) -> Iterator[_Batch]:
    """Full batches, as a process by itself would do them."""
    for rows in batches((Loaded(item, None) for item in items), kind):
        assert not isinstance(rows, Failed)  # as nothing is read yet
        yield _Batch([row.item for row in rows])
