"""The engine that does items on a Ray cluster, by Ray's own tasks.

The driver cuts the items into parts, submits one Ray task for each, and alone writes the journals.
Ray places the tasks, uses nodes that join, and repeats a task whose worker or node is lost. A part
that is lost again is halved in further passes, so that an item that kills its worker is set aside
alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mm_jax import allocator, compile_cache
from mm_jax.batch.job import Work, load_task
from mm_jax.batch.journal import Record
from mm_jax.batch.manifest import Item
from mm_jax.batch.options import BatchOptions
from mm_jax.batch.pipeline import Failed, Loaded, Task, batches
from mm_jax.batch.runner import Runner, threads
from mm_jax.batch.store import Store, open_store
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.words import counted

__all__ = ["Job", "RayDriver", "Report", "Workers", "do_part"]

# Seconds of work in a part: short beside a run, long beside a task's overhead.
_PART = 20.0
# How often Ray repeats a part whose worker is lost, and the opening of the models.
_RETRIES, _OPENINGS = 1, 2
# Lost parts in a row, for each worker, after which the items are not to blame.
_PATIENCE = 10
# Seconds between checks for signals, between looks at the cluster, and until a slow start is noted.
_TICK, _NODES, _SLOW = 1.0, 5.0, 30.0
# Seconds between looks for a file; a shared file system may show it late.
_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker needs to know beside the items.

    Attributes:
        options: of the run.
        images: whether any item has an image as its source.
        models: fingerprints of the driver's models, as JSON.
        compile_cache: as the flag.
        cwd: folder to which file names are relative.
        items: folder of the outputs unless the options say otherwise.
        scratch: folder in which files are written before they are moved into place.
        cores: CPU cores to compute on; 0 for all.
    """

    options: BatchOptions
    images: bool
    models: str
    compile_cache: str
    cwd: Path
    items: Path
    scratch: Path
    cores: int


@dataclasses.dataclass(frozen=True)
class Report:
    """What has become of a part.

    Attributes:
        done, failed: lines for the journals.
        seconds: how long it took.
        host: name of the worker's host.
        error: why the store cannot be written, or empty.
    """

    done: list[Record]
    failed: list[Record]
    seconds: float
    host: str
    error: str = ""


@functools.lru_cache(maxsize=1)
def _opened(job: Job) -> tuple[Task, Store]:
    """The models and the store, opened once in a worker process."""
    if job.cores:
        os.environ["NPROC"] = str(job.cores)  # XLA reads it when it starts
    # A host without this folder can still do seeds, if the outputs go to a URL.
    with contextlib.suppress(FileNotFoundError):
        os.chdir(job.cwd)
    compile_cache.keep_programs(job.compile_cache)
    allocator.keep_freed_memory()
    task, metadata = load_task(job.options, images=job.images)
    if json.dumps(metadata, sort_keys=True) != job.models:
        raise UsageError(f"{socket.gethostname()} has other models than the driver")
    return task, open_store(job.options.outputs, job.items, job.scratch)


def do_part(job: Job, items: list[Item]) -> Report:
    """Do a part in a worker process; an empty part opens the models.

    Raises:
        UsageError, DataError: as `load_task`, or the models are not the driver's.
    """
    task, store = _opened(job)
    began = time.monotonic()
    done: list[Record] = []
    failed: list[Record] = []

    def enter(some: list[Record], others: list[Record]) -> None:
        done.extend(some)
        failed.extend(others)

    error = ""
    with threads(job.options.readers, job.options.writers) as own:
        runner = Runner(
            task=task, store=store, enter=enter, threads=own, retries=job.options.retries
        )
        try:
            runner.run(items)
        except DataError as problem:
            error = str(problem)
    return Report(done, failed, time.monotonic() - began, socket.gethostname(), error)


@dataclasses.dataclass(frozen=True)
class Workers:
    """How much of a node each task asks Ray for: by default, all of the smallest node.

    A process that has a whole node spreads its batches over all devices.

    Attributes:
        kind: "TPU", "GPU" or "CPU".
        amount: how many of them a task asks for.
        limit: maximum number of tasks at once, or None.
    """

    kind: str
    amount: float
    limit: int | None = None

    @classmethod
    def of(cls, nodes: Iterable[Mapping[str, Any]], workers: int | None = None) -> Workers:
        """Divide a cluster.

        Args:
            nodes: as from `ray.nodes()`.
            workers: maximum number of workers, which divide the nodes; by default one for each.
        """
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        have = {kind: [n[kind] for n in alive if n.get(kind)] for kind in ("TPU", "GPU", "CPU")}
        kind = next((kind for kind, amounts in have.items() if amounts), "CPU")
        amounts = have[kind] or [1.0]
        if workers is None:
            return cls(kind, min(amounts))
        each = sum(amounts) / workers
        if kind == "CPU" and each < 1:
            return cls(kind, each, workers)  # Ray divides one core, but not several
        return cls(kind, max(1, min(int(each), int(min(amounts)))), workers)

    @property
    def options(self) -> dict[str, Any]:
        """The same for `ray.remote`."""
        return {
            "num_cpus": self.amount if self.kind == "CPU" else 0,
            "num_gpus": self.amount if self.kind == "GPU" else 0,
            "resources": {"TPU": self.amount} if self.kind == "TPU" else None,
        }

    def on(self, nodes: Iterable[Mapping[str, Any]]) -> list[int]:
        """How many workers each node has room for."""
        own = (node["Resources"].get(self.kind, 0) for node in nodes if node["Alive"])
        return [int(amount / self.amount + 1e-6) for amount in own]


class RayDriver:
    """Has a shard's items done by the tasks of a Ray cluster.

    Args:
        ray: the module, connected to a cluster.
        work: what to do, and where results are entered.
        images: whether any item has an image as its source.
        models: fingerprints of the models, from `load_task`.
        compile_cache: as the flag.
        workers: maximum number of workers; by default one for each node.
    """

    def __init__(
        self,
        ray: Any,
        work: Work,
        *,
        images: bool,
        models: Mapping[str, Any],
        compile_cache: str,
        workers: int | None = None,
    ):
        self._ray, self._work = ray, work
        nodes = ray.nodes()
        self._workers = Workers.of(nodes, workers)
        job = Job(
            options=work.options,
            images=images,
            models=json.dumps(models, sort_keys=True),
            compile_cache=compile_cache,
            cwd=Path.cwd(),
            items=work.items.absolute(),
            scratch=work.scratch.absolute(),
            cores=int(self._workers.amount) if self._workers.kind == "CPU" else 0,
        )
        self._job = ray.put(job)
        # Processes keep their models for the next part. Ray may give another accelerator to the
        # process then, unless every worker has all of its node.
        shared = self._workers.kind != "CPU" and max(self._workers.on(nodes), default=0) > 1
        self._do = ray.remote(max_calls=int(shared), **self._workers.options)(do_part)
        self._room, self._looked = 0, -_NODES  # workers for which there is room, and when
        self._size = 1  # items of the next part, which is filled up to whole batches
        self._suspects: list[list[Item]] = []  # parts that Ray has given up
        self._lost_in_a_row = 0
        self._hosts: set[str] = set()  # whose files have been seen
        self._noted = False

    def run(self, items: Iterable[Item]) -> bool:
        """Do items, each once; return whether the run was stopped before the last one.

        Raises:
            DataError: the store or a journal cannot be written, or workers die whatever they do.
            UsageError: a worker cannot open the models, or its files cannot be seen from here.
        """
        if not self._open_models():
            return True
        left = self._pass(self._parts(items), _RETRIES)
        while self._suspects and not left:
            # Halve what was lost until an item that kills its worker is alone.
            halves = [half for part in self._suspects for half in _halves(part)]
            self._suspects = []
            left = self._pass(iter(halves), 0)
        return left

    def _open_models(self) -> bool:
        """Let a first worker open the models; return False if stopped meanwhile."""
        first = self._do.options(max_retries=_OPENINGS).remote(self._job, [])
        began = time.monotonic()
        while not self._ray.wait([first], timeout=_TICK)[0]:
            if self._work.stop():
                return False
            if time.monotonic() > began + _SLOW:
                self._note_waiting()
        report = self._report(first)
        if isinstance(report, str):
            raise DataError(f"{1 + _OPENINGS} workers died as they started, the last: {report}")
        return True

    def _parts(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Cut items into parts of whole batches, of about `_PART` seconds each."""
        part: list[Item] = []
        for batch in batches((Loaded(item, None) for item in items), self._work.task):
            assert not isinstance(batch, Failed)  # nothing has been loaded yet
            part += [row.item for row in batch]
            if len(part) >= self._size:
                yield part
                part = []
        if part:
            yield part

    def _pass(self, parts: Iterator[list[Item]], retries: int) -> bool:
        """Have parts done; return whether some were left when the run was stopped.

        Args:
            parts: taken as workers become free.
            retries: how often Ray repeats a part of several items whose worker is lost.
        """
        running: dict[Any, list[Item]] = {}  # by the reference of their report
        following = next(parts, None)
        while True:
            while following and len(running) < self._at_once() and not self._work.stop():
                again = retries if len(following) > 1 else self._work.options.retries
                do = self._do.options(max_retries=again)
                running[do.remote(self._job, following)] = following
                following = next(parts, None)
            if not running:
                return following is not None
            for ref in self._ray.wait(list(running), timeout=_TICK)[0]:
                part, report = running.pop(ref), self._report(ref)
                if isinstance(report, str):
                    self._lose(part, report)
                else:
                    self._lost_in_a_row = 0
                    self._enter(part, report)

    def _at_once(self) -> int:
        """How many parts to submit at once: two for each worker, so that none has to wait."""
        now = time.monotonic()
        if now >= self._looked + _NODES:
            self._looked, self._room = now, sum(self._workers.on(self._ray.nodes()))
            if not self._room:
                self._note_waiting()
        limit = self._workers.limit
        if limit is not None and self._room > limit:
            return limit
        return 2 * max(self._room, limit or 1)

    def _note_waiting(self) -> None:
        if not self._noted:
            self._noted = True
            need = f"{self._workers.amount:g} free {self._workers.kind}"
            print(f"note: waiting for a node with {need}", file=sys.stderr)

    def _report(self, ref: Any) -> Report | str:
        """A task's report, or why Ray has given it up.

        Raises:
            UsageError, DataError: raised by the task.
        """
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            if isinstance(error.cause, DataError | UsageError):
                raise type(error.cause)(f"a worker: {error.cause}") from error
            raise
        except errors.RayError as error:
            return first_line(error).split(". ")[0]

    def _enter(self, part: list[Item], report: Report) -> None:
        self._check_visible(report)
        self._work.ledger.enter(report.done, report.failed)
        if report.error:
            raise DataError(report.error)
        pace = len(part) / max(report.seconds, 1e-3)
        self._size = max(1, min(2 * len(part), int(pace * _PART)))

    def _check_visible(self, report: Report) -> None:
        """See once that the files of a host can be read here.

        Raises:
            UsageError: they cannot, so they are in a folder that is not shared.
        """
        if report.host in self._hosts or not report.done:
            return
        name, digest = next(iter(report.done[0]["files"].items()))
        for pause in _LOOKS:
            time.sleep(pause)
            if self._work.store.sha256(name) == digest:
                self._hosts.add(report.host)
                return
        raise UsageError(
            f"{name}, written by a worker on {report.host}, cannot be read here: give --outdir or "
            "--outputs in a folder that all nodes share, or --outputs=URL"
        )

    def _lose(self, part: list[Item], reason: str) -> None:
        """Suspect the items of a part that Ray has given up, or set its only item aside."""
        self._lost_in_a_row += 1
        if self._lost_in_a_row > _PATIENCE * max(self._room, 1):
            raise DataError(
                f"workers keep dying whatever they do, {self._lost_in_a_row} parts in a row, the "
                f"last: {reason}"
            )
        if len(part) > 1:
            self._suspects.append(part)
            return
        times = counted(1 + self._work.options.retries, "time")
        why = f"its worker died {times} while it had no other item, the last: {reason}"
        self._work.ledger.enter([], [Failed(part[0], why).record()])


def _halves(part: list[Item]) -> list[list[Item]]:
    middle = len(part) // 2
    return [part[:middle], part[middle:]]
