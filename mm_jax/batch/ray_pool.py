"""Workers as actors of a Ray cluster: as many as it has room for, as nodes come and go."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from typing import Any

from mm_jax.batch.dealer import HELD, Ended, Event, Lost, Ready
from mm_jax.batch.manifest import Item
from mm_jax.batch.ray_places import Place, places
from mm_jax.batch.worker import Opening, Worker
from mm_jax.errors import DataError, UsageError

__all__ = ["RayPool"]

# Seconds: of waiting for something to happen, between looks for nodes that have joined, and until
# it is said that no worker starts.
_TICK, _EVERY, _LONG = 1.0, 10.0, 30.0
# How often in a row a worker may die as it starts.
_STARTS = 3


@dataclasses.dataclass(eq=False)
class _Slot:
    """A worker's place, and the actor that has it."""

    place: Place
    number: int
    actor: Any
    opening: Any  # what is awaited of an actor that is not ready
    starts: int = 1
    given: dict[Any, int] = dataclasses.field(default_factory=dict)


class RayPool:
    """A `Pool` for `Dealer`.

    Args:
        ray: the module, connected to a cluster.
        opening: for the workers.
        workers: how many, see `places`.
    """

    def __init__(self, ray: Any, opening: Opening, workers: int | None):
        self._ray, self._opening, self._workers = ray, opening, workers
        self._actor = ray.remote(Worker)
        self._slots: dict[int, _Slot] = {}
        self._last = 0
        self._looked: float | None = None
        self._began: float | None = time.monotonic()  # None once a worker has been ready

    def give(self, worker: Any, batch: int, items: list[Item], /) -> None:
        slot = self._slots[worker]
        slot.given[slot.actor.do.remote(items)] = batch

    def wait(self) -> list[Event]:
        """See `Pool`.

        Raises:
            UsageError, DataError: what a worker says of models or flags, or workers die as they
                start.
        """
        self._look()
        self._remark()
        awaited = {ref: slot for slot in self._slots.values() for ref in slot.given}
        awaited |= {slot.opening: slot for slot in self._slots.values() if slot.opening is not None}
        if not awaited:
            time.sleep(_TICK)
            return []
        refs = list(awaited)
        if self._ray.wait(refs, num_returns=1, timeout=_TICK)[0]:
            refs = self._ray.wait(refs, num_returns=len(refs), timeout=0)[0]
            return [event for ref in refs for event in self._event(awaited[ref], ref)]
        return []

    def _event(self, slot: _Slot, ref: Any) -> list[Event]:
        if self._slots.get(slot.number) is not slot:
            return []  # lost, as another of its batches has told
        errors = self._ray.exceptions
        try:
            result = self._ray.get(ref)
        except errors.RayTaskError as error:
            if isinstance(error.cause, DataError | UsageError):
                raise type(error.cause)(f"a worker: {error.cause}") from error
            raise
        except errors.RayError as error:
            return self._lose(slot, _reason(error))
        if ref == slot.opening:
            slot.opening, slot.starts, self._began = None, 0, None
            return [Ready(slot.number, result)]
        return [Ended(slot.number, slot.given.pop(ref), result)]

    def _lose(self, slot: _Slot, reason: str) -> list[Event]:
        """Starts another in place of a worker that died."""
        self._remove(slot)
        if slot.starts >= _STARTS:
            raise DataError(f"{_STARTS} workers died as they started, the last: {reason}")
        self._start(slot.place, slot.starts + 1)
        return [] if slot.opening is not None else [Lost(slot.number, reason)]

    def _start(self, place: Place, starts: int = 1) -> None:
        self._last += 1
        actor = self._actor.options(max_concurrency=HELD, **place.options()).remote()
        opening = actor.open.remote(self._opening, int(place.cpus))
        self._slots[self._last] = _Slot(place, self._last, actor, opening, starts)

    def _remove(self, slot: _Slot) -> None:
        del self._slots[slot.number]
        self._ray.kill(slot.actor)

    def _look(self) -> None:
        """Workers for nodes that have joined; none that wait for nodes that have gone."""
        now = time.monotonic()
        if self._looked is not None and (self._workers or now < self._looked + _EVERY):
            return
        self._looked = now
        wanted = Counter(places(self._ray.nodes(), self._workers))
        wanted.subtract(slot.place for slot in self._slots.values())
        for slot in [slot for slot in self._slots.values() if slot.opening is not None]:
            if wanted[slot.place] < 0:
                wanted[slot.place] += 1
                self._remove(slot)
        for place in (+wanted).elements():
            self._start(place)

    def _remark(self) -> None:
        if self._began is not None and time.monotonic() > self._began + _LONG:
            self._began = None
            asked = {str(slot.place) for slot in self._slots.values()}
            print(
                f"note: no worker has started in {_LONG:g} s; each wants a node with "
                f"{' or '.join(sorted(asked)) or 'a CPU'} to spare",
                file=sys.stderr,
            )


def _reason(error: Exception) -> str:
    """How an actor ended: a part of the last line of what Ray has to say."""
    last = str(error).strip().splitlines()[-1]
    return last.split("exit detail: ")[-1].split(" Some common causes")[0]
