"""Items on their way to the devices: inputs read ahead in threads, then gathered into batches.

Memory is bounded, however many items follow.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Protocol

from mm_jax.batch.journal import Record
from mm_jax.batch.manifest import Item
from mm_jax.errors import DataError, UsageError

__all__ = ["Failed", "Loaded", "Task", "batches", "read_ahead", "reason_of"]


class Task(Protocol):
    """What is done with items; see `mm_jax.batch.tasks`."""

    def group(self, item: Item, /) -> Hashable:
        """Key of the item's group; a batch holds items of one group."""
        ...

    def size(self, item: Item, /) -> int:
        """Number of items in a full batch of this item's group."""
        ...

    def load(self, item: Item, /) -> Any:
        """Read the item's inputs; called in threads."""
        ...

    def compute(self, items: list[Item], inputs: list[Any], /) -> Callable[[], Iterable[Any]]:
        """Start a batch, padded to its full size; the result waits and returns a value an item."""
        ...

    def files(self, item: Item, value: Any, /) -> dict[str, bytes]:
        """Encode an item's value as files, by suffix; called in threads."""
        ...


@dataclasses.dataclass(frozen=True)
class Loaded:
    """An item with its inputs."""

    item: Item
    inputs: Any


@dataclasses.dataclass(frozen=True)
class Failed:
    """An item that cannot be done, and why."""

    item: Item
    reason: str

    def record(self) -> Record:
        """The item's line in the journal of failures."""
        return {"id": self.item.id, "item": dict(self.item.entry), "reason": self.reason}


def reason_of(error: Exception) -> str:
    """One line on why an item failed."""
    text = " ".join(str(error).split())
    return text if isinstance(error, DataError | UsageError) else f"{type(error).__name__}: {text}"


def read_ahead(
    items: Iterable[Item],
    load: Callable[[Item], Any],
    threads: Executor,
    *,
    ahead: int,
    retries: int = 0,
    pause: float = 0.2,
) -> Generator[Loaded | Failed, None, None]:
    """Yield items with their inputs, in order.

    Args:
        items: the items.
        load: reads an item's inputs.
        threads: where `load` is called.
        ahead: maximum number of items read before they are asked for.
        retries: how often a failed `load` is repeated; file systems fail for moments.
        pause: seconds before the first repetition, doubled for each further one.
    """

    def attempt(item: Item) -> Loaded | Failed:
        for left in range(retries, -1, -1):
            try:
                return Loaded(item, load(item))
            # Whatever is wrong with one input of a million, it must not end the run.
            except Exception as error:
                if not left:
                    return Failed(item, reason_of(error))
                time.sleep(pause * 2 ** (retries - left))
        raise AssertionError("not reached")

    waiting: deque[Future[Loaded | Failed]] = deque()
    source = iter(items)
    try:
        while True:
            for item in itertools.islice(source, ahead - len(waiting)):
                waiting.append(threads.submit(attempt, item))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def batches(
    loaded: Iterable[Loaded | Failed], task: Task, *, groups: int = 8
) -> Iterator[list[Loaded] | Failed]:
    """Yield full batches, then the incomplete ones, and failures as they come.

    Args:
        loaded: items with inputs.
        task: decides groups and sizes of batches.
        groups: maximum number of incomplete batches; beyond it, the oldest is yielded as it is.
    """
    held: dict[Hashable, list[Loaded]] = {}
    for one in loaded:
        if isinstance(one, Failed):
            yield one
            continue
        group = task.group(one.item)
        rows = held.setdefault(group, [])
        rows.append(one)
        if len(rows) >= task.size(one.item):
            yield held.pop(group)
        elif len(held) > groups:
            yield held.pop(next(iter(held)))
    yield from held.values()
