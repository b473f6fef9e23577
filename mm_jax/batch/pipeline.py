"""Items on their way: inputs read ahead in threads, and gathered into batches of one program.

What is held is bounded, however many items follow.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Protocol

from mm_jax.batch.manifest import Item
from mm_jax.errors import DataError, UsageError

__all__ = ["Failed", "Kind", "Loaded", "batches", "read_ahead", "reason_of"]


class Kind(Protocol):
    """What is done with items; see `mm_jax.batch.kinds`."""

    def group(self, item: Item, /) -> Hashable:
        """Items of one group can go through one program together."""
        ...

    def size(self, item: Item, /) -> int:
        """Items of this one's group that make a batch."""
        ...

    def load(self, item: Item, /) -> Any:
        """The item's inputs; called in threads."""
        ...

    def compute(self, items: list[Item], inputs: list[Any], /) -> Callable[[], Iterable[Any]]:
        """Starts on a batch, filled up to its size; what it returns waits for a value an item."""
        ...

    def files(self, item: Item, value: Any, /) -> dict[str, bytes]:
        """By suffix, the files of an item's value; called in threads."""
        ...


@dataclasses.dataclass(frozen=True)
class Loaded:
    """An item with its inputs."""

    item: Item
    inputs: Any


@dataclasses.dataclass(frozen=True)
class Failed:
    """An item with which nothing can be done, and why."""

    item: Item
    reason: str

    def record(self) -> dict[str, Any]:
        """Its line for the journal."""
        return {"id": self.item.id, "item": dict(self.item.entry), "reason": self.reason}


def reason_of(error: Exception) -> str:
    """One line on what went wrong with an item."""
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
    """Items with their inputs, in order.

    Args:
        items: the items.
        load: an item's inputs.
        threads: where inputs are read.
        ahead: how many items may be read before they are asked for.
        retries: how often an item is tried again; a file system may fail for a moment.
        pause: seconds before the first time, doubled for each further one.
    """

    def attempt(item: Item) -> Loaded | Failed:
        for left in range(retries, -1, -1):
            try:
                return Loaded(item, load(item))
            # Whatever is wrong with one of a million inputs, it is no reason to stop.
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
    loaded: Iterable[Loaded | Failed], kind: Kind, *, groups: int = 8
) -> Iterator[list[Loaded] | Failed]:
    """Full batches of items of one group, the remainders at the end, and failures as they come.

    Args:
        loaded: items with inputs.
        kind: tells groups and their sizes.
        groups: when items of more groups than this wait for company, the oldest go on without.
    """
    held: dict[Hashable, list[Loaded]] = {}
    for one in loaded:
        if isinstance(one, Failed):
            yield one
            continue
        group = kind.group(one.item)
        rows = held.setdefault(group, [])
        rows.append(one)
        if len(rows) >= kind.size(one.item):
            yield held.pop(group)
        elif len(held) > groups:
            yield held.pop(next(iter(held)))
    yield from held.values()
