"""A run of mm_batch: the models of its options, and the items of one shard done by an engine."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from mm_jax import parallel
from mm_jax.alignment import framing_of
from mm_jax.batch.journal import DONE, FAILED, Journal, Ledger
from mm_jax.batch.manifest import Item, ItemList
from mm_jax.batch.options import BatchOptions
from mm_jax.batch.pipeline import Task
from mm_jax.batch.runner import Runner, threads
from mm_jax.batch.shards import Shard, locked
from mm_jax.batch.status import Finished, count, finished
from mm_jax.batch.store import Store, open_store
from mm_jax.batch.tasks import Drawing, Edit, Extract, FaceReader, Invert, Sample
from mm_jax.buckets import bucket
from mm_jax.checks import layer_mask
from mm_jax.errors import DataError
from mm_jax.inversion.inputs import InversionNetworks, open_networks
from mm_jax.perceptual import load_clip
from mm_jax.progress import ProgressFn, silent
from mm_jax.sources import fingerprints
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once
from mm_jax.words import counted
from mm_jax.zoo import load_generator

__all__ = ["SCRATCH", "Engine", "Result", "Work", "here", "load_task", "run_shard"]

SCRATCH = "scratch"
# Images of a batch on each device, by default; fewer if memory requires it.
_DRAWN, _OPTIMISED = 16, 32


def load_task(
    options: BatchOptions, *, images: bool, items: int | None = None
) -> tuple[Task, dict[str, Any]]:
    """Open the models that a task needs, on all devices of this process.

    Args:
        options: of the run.
        images: whether any item has an image as its source.
        items: how many there are, so that few are not padded to a full batch; None is any number.

    Returns:
        The task, and the fingerprints of its models.

    Raises:
        UsageError: options that contradict each other or the models.
        DataError: a damaged model, or models that do not fit each other.
    """
    devices = jax.local_devices()
    gen: Generator = _spread(
        load_generator(options.generator, precision=options.precision), devices
    )
    layers = options.anchors.layers
    layer_mask(layers, gen.config.num_ws)  # refuses rows that the generator does not have
    drawing = Drawing(options.noise_mode, options.noise_seed, options.format)
    drawn = _batch(options, gen, _DRAWN, len(devices), gradient=False)
    max_items = None if items is None else _whole(bucket(max(items, 1)), len(devices))
    if options.task == "sample":
        batch = min(drawn, max_items or drawn)
        return Sample(gen=gen, drawing=drawing, batch=batch), fingerprints(gen)
    edit = functools.partial(
        Edit, gen=gen, drawing=drawing, layers=layers, batch=drawn, max_items=max_items
    )
    if options.task == "edit" and not images:
        return edit(inverter=None), fingerprints(gen)
    optimised = _batch(options, gen, _OPTIMISED, len(devices), gradient=True)
    if options.task == "extract":
        clip = _spread(load_clip(options.clip), devices)
        extract = Extract(
            gen=gen, clip=clip, anchors=options.anchors, subspace=options.subspace,
            batch=optimised, max_items=max_items,
        )  # fmt: skip
        return extract, fingerprints(gen, clip=clip)
    opened = vars(open_networks(gen, options.generator, options.networks))
    networks = InversionNetworks(**{name: _spread(opened[name], devices) for name in opened})
    faces = FaceReader(options.align, size=gen.config.resolution, framing=framing_of(gen))
    inverter = Invert(
        gen=gen, networks=networks, options=options.invert, faces=faces,
        batch=min(optimised, max_items or optimised),
    )  # fmt: skip
    metadata = fingerprints(gen, **vars(networks))
    return (inverter if options.task == "invert" else edit(inverter=inverter)), metadata


def _spread(model: Any, devices: Sequence[Any]) -> Any:
    """A model, or None, replicated on all devices."""
    return parallel.replicate(model, parallel.make_mesh(devices)) if len(devices) > 1 else model


def _whole(images: int, devices: int) -> int:
    """So many images or a few more, so that each device has as many."""
    return math.ceil(images / devices) * devices


def _batch(
    options: BatchOptions, gen: Generator, max_images: int, devices: int, *, gradient: bool
) -> int:
    """Images of a batch: as given or what fits, rounded up to a multiple of the devices."""
    if options.batch is not None:
        return _whole(options.batch, devices)
    return min(images_at_once(gen.config, gradient=gradient), max_images) * devices


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What an engine needs to do items.

    Attributes:
        options: of the run.
        task: what is done with items.
        items: folder of the outputs unless the options say otherwise.
        scratch: folder in which files are written before they are moved into place.
        store: where the files are.
        ledger: where results are entered.
        stop: whether the run has been told to stop.
    """

    options: BatchOptions
    task: Task
    items: Path
    scratch: Path
    store: Store
    ledger: Ledger
    stop: Callable[[], bool]


# Does items, each once; returns whether it was stopped before the last one.
Engine = Callable[[Work, Iterable[Item]], bool]


def here(work: Work, items: Iterable[Item]) -> bool:
    """The engine that does items in this process.

    Raises:
        DataError: the store or a journal cannot be written.
    """
    with threads(work.options.readers, work.options.writers) as own:
        runner = Runner(
            task=work.task,
            store=work.store,
            enter=work.ledger.enter,
            threads=own,
            retries=work.options.retries,
            stop=work.stop,
        )
        return runner.run(items)


@dataclasses.dataclass(frozen=True)
class Result:
    """What has become of a shard's items.

    Attributes:
        before: number of items that were done before this run.
        done: number of items that this run has done.
        failed: number of items that this run has set aside.
        aside: number of items that are set aside, by this run or before.
        reason: why the last failed item was set aside, or empty.
        stopped_by: the signal that ended the run early, or None.
    """

    before: int
    done: int
    failed: int
    aside: int
    reason: str
    stopped_by: signal.Signals | None

    def line(self, failures: Path) -> str:
        """The counts in words; `failures` is the file that names what was set aside."""
        was, now = ("was" if self.before == 1 else "were"), ("is" if self.done == 1 else "are")
        words = f"{counted(self.before, 'item')} {was} done before, {self.done:,} {now} now"
        if self.aside:
            last = f" (the last: {self.reason})" if self.reason else ""
            words += f"; {self.aside:,} set aside in {failures}{last}"
        return words


def run_shard(
    outdir: Path,
    shard: Shard,
    items: ItemList,
    task: Task,
    options: BatchOptions,
    *,
    engine: Engine = here,
    signals: Sequence[signal.Signals] = (signal.SIGTERM,),
    verify: bool = False,
    retry_failed: bool = False,
    progress: ProgressFn = silent,
) -> Result:
    """Do those items of a shard that are not done yet.

    Args:
        outdir: the run's folder.
        shard: which part of the work this process does.
        items: the shard's items.
        task: what is done with them, from `load_task`.
        options: of the run.
        engine: does the items.
        signals: end the run after what is under way.
        verify: compare the files of finished items with their hashes first, and do damaged items
            again.
        retry_failed: try items again that were set aside before.
        progress: called as `("checking" or "items", finished, total)`.

    Raises:
        UsageError: another process works on the shard.
        DataError: a journal or the store cannot be read or written.
    """
    folder = shard.folder(outdir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(folder))
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        store = open_store(options.outputs, outdir / "items", folder / SCRATCH)
        journals = [Journal(folder / name) for name in (DONE, FAILED)]
        for journal in journals:
            stack.callback(journal.close)
        past = finished(outdir, store if verify else None, progress=progress)
        now = count(items, past)
        total = now.missing + now.damaged + (now.failed if retry_failed else 0)
        ledger = Ledger(*journals, progress=progress, total=total)
        received = stack.enter_context(_noted(signals))
        work = Work(
            options=options,
            task=task,
            items=outdir / "items",
            scratch=folder / SCRATCH,
            store=store,
            ledger=ledger,
            stop=lambda: bool(received),
        )
        try:
            stopped = engine(work, _to_do(items, past, retry_failed))
        except DataError as error:
            raise DataError(
                f"{error}; finished items are kept, run the same command again"
            ) from error
    return Result(
        before=now.done,
        done=ledger.done,
        failed=ledger.failed,
        aside=ledger.failed + (0 if retry_failed else now.failed),
        reason=ledger.reason,
        stopped_by=received[0] if stopped else None,
    )


def _to_do(items: ItemList, past: Finished, retry_failed: bool) -> Iterator[Item]:
    """Items that are neither done nor set aside."""
    for item in items:
        if item.id not in past.done and (retry_failed or item.id not in past.failed):
            yield item


@contextlib.contextmanager
def _noted(signals: Sequence[signal.Signals]) -> Iterator[list[signal.Signals]]:
    """Collect signals instead of being ended by them; a second SIGINT does interrupt."""
    received: list[signal.Signals] = []

    def note(number: int, frame: Any) -> None:
        del frame
        received.append(signal.Signals(number))
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
