"""What is computed next: the newest image of each session, and one heavy job at a time.

Both queues have one thread, serve their owners in turn, and forget an owner in one call. They know
nothing of images or pages.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Literal

from mm_jax.errors import DataError, UsageError
from mm_jax.progress import ProgressFn

__all__ = ["Cancelled", "Job", "Jobs", "NewestWins"]

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class Cancelled(Exception):
    """Raised inside a job that is no longer wanted."""


class NewestWins:
    """Calls of which only the newest of each owner counts: no queue of stale ones builds up.

    Owners are served in turn. A call that has begun ends.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[Any, Callable[[], None]] = OrderedDict()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._work, name="studio-frames", daemon=True)
        self._thread.start()

    def submit(self, owner: Any, call: Callable[[], None]) -> None:
        """Have a call made, in place of the owner's that waits. The owner keeps its turn."""
        with self._changed:
            self._waiting[owner] = call
            self._changed.notify()

    def go_on(self, owner: Any, call: Callable[[], None]) -> None:
        """Have the rest of a call made, after those of other owners; a newer one wins."""
        with self._changed:
            self._waiting.setdefault(owner, call)
            self._changed.notify()

    def forget(self, owner: Any) -> None:
        """Drop the owner's call that waits."""
        with self._changed:
            self._waiting.pop(owner, None)

    def close(self) -> None:
        """End the thread, once what it does is done."""
        with self._changed:
            self._open = False
            self._waiting.clear()
            self._changed.notify()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._open)
                if not self._open:
                    return
                _, call = self._waiting.popitem(last=False)
            try:
                call()
            except Exception:  # a bug of ours: the thread has to live on for the other sessions
                traceback.print_exc()
            del call


@dataclasses.dataclass(eq=False)
class Job:
    """A heavy job: what it is, and how far.

    Attributes:
        owner: whose it is.
        title: for people.
        state: waiting, running, done, failed or cancelled.
        label, step, steps: the progress that the work reports.
        ahead: jobs that come before it while it waits.
        error: one line, if it failed.
        result: what the work returned, if it is done.
        seconds: how long it has been running.
    """

    owner: Any
    title: str
    state: State = "waiting"
    label: str = ""
    step: int = 0
    steps: int = 0
    ahead: int = 0
    error: str = ""
    result: Any = None
    _began: float = 0.0
    _took: float = 0.0
    _cancel: threading.Event = dataclasses.field(default_factory=threading.Event)
    _finished: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def fraction(self) -> float:
        """How much of the present step of the work is done, in [0, 1]."""
        return self.step / self.steps if self.steps else 0.0

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return self._took or (time.monotonic() - self._began if self._began else 0.0)

    def cancel(self) -> None:
        """Ask it to end: the next time that it reports progress."""
        self._cancel.set()

    def progress(self, label: str, done: int, total: int, /) -> None:
        """Take a report of progress (see `mm_jax.progress`).

        Raises:
            Cancelled: the job is no longer wanted.
        """
        self.label, self.step, self.steps = label, done, total
        if self._cancel.is_set():
            raise Cancelled

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over; whether it is."""
        return self._finished.wait(timeout)


class Jobs:
    """Heavy jobs, one at a time, owners in turn.

    Args:
        max_jobs: jobs of one owner that may be waiting or running.
    """

    def __init__(self, max_jobs: int = 3) -> None:
        self._max_jobs = max_jobs
        self._queues: OrderedDict[Any, deque[tuple[Job, Callable[[ProgressFn], Any]]]] = (
            OrderedDict()
        )
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._work, name="studio-jobs", daemon=True)
        self._thread.start()

    def submit(self, owner: Any, title: str, work: Callable[[ProgressFn], Any]) -> Job:
        """Have work done.

        Args:
            owner: whose it is.
            title: for people.
            work: is given a progress function, which raises `Cancelled` inside it when the job is
                no longer wanted, and returns the result.

        Raises:
            UsageError: the owner has too many jobs already.
        """
        job = Job(owner, title)
        with self._changed:
            queue = self._queues.setdefault(owner, deque())
            own = len(queue) + (self._running is not None and self._running.owner == owner)
            if own >= self._max_jobs:
                raise UsageError(f"{own} jobs of yours are in work: wait for one, or cancel it")
            queue.append((job, work))
            self._count()
            self._changed.notify()
        return job

    def cancel(self, job: Job) -> None:
        """End a job: at once while it waits, else at its next report of progress."""
        job.cancel()
        with self._changed:
            queue = self._queues.get(job.owner, deque())
            for entry in [entry for entry in queue if entry[0] is job]:
                queue.remove(entry)
                _finish(job, "cancelled")
            self._count()

    def forget(self, owner: Any) -> None:
        """Cancel all jobs of an owner."""
        with self._changed:
            queue = self._queues.pop(owner, deque())
            for job, _ in queue:
                _finish(job, "cancelled")
            if self._running is not None and self._running.owner == owner:
                self._running.cancel()
            self._count()

    def close(self) -> None:
        """Cancel everything and end the thread."""
        with self._changed:
            self._open = False
            owners = [*self._queues, *([self._running.owner] if self._running else [])]
            self._changed.notify()
        for owner in owners:
            self.forget(owner)
        self._thread.join(timeout=10)

    def _next(self) -> tuple[Job, Callable[[ProgressFn], Any]] | None:
        """The first job of the owner whose turn it is; the owner then goes to the end."""
        for owner in list(self._queues):
            queue = self._queues.pop(owner)
            if queue:
                entry = queue.popleft()
                if queue:
                    self._queues[owner] = queue
                return entry
        return None

    def _count(self) -> None:
        """Tell every waiting job how many come before it."""
        ahead = itertools.count(int(self._running is not None))
        queues = [list(queue) for queue in self._queues.values()]
        for round_ in itertools.zip_longest(*queues):
            for entry in filter(None, round_):
                entry[0].ahead = next(ahead)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: any(self._queues.values()) or not self._open)
                entry = self._next()
                if entry is None:
                    if not self._open:
                        return
                    continue
                job, work = entry
                self._running = job
                job.state, job._began, job.ahead = "running", time.monotonic(), 0
                self._count()
            _run(job, work)
            with self._changed:
                self._running = None
                self._count()
            del entry, job, work


def _run(job: Job, work: Callable[[ProgressFn], Any]) -> None:
    try:
        job.progress("starting", 0, 0)
        job.result = work(job.progress)
    except Cancelled:
        _finish(job, "cancelled")
    except (DataError, UsageError) as error:
        job.error = " ".join(str(error).split())
        _finish(job, "failed")
    except Exception as error:  # a bug, or memory: the page says so, the log has the rest
        traceback.print_exc()
        full = "RESOURCE_EXHAUSTED" in str(error) or isinstance(error, MemoryError)
        job.error = "out of memory" if full else f"an error of the studio: {type(error).__name__}"
        _finish(job, "failed")
    else:
        _finish(job, "done")


def _finish(job: Job, state: State) -> None:
    job._took = time.monotonic() - job._began if job._began else 0.0
    job.state = state
    job._finished.set()
