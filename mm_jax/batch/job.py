"""mm_batch, from its flags to its exit status."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mm_jax.batch import compat as cli
from mm_jax.batch import flags, ray_cluster
from mm_jax.batch.hosts import Hosts, joined
from mm_jax.batch.journal import DONE, FAILED, Journal, Seen
from mm_jax.batch.ledger import Ledger
from mm_jax.batch.manifest import Item, read_items
from mm_jax.batch.settings import BatchSettings
from mm_jax.batch.shards import Shard, locked, parse_shard
from mm_jax.batch.status import Finished, count, finished
from mm_jax.batch.store import open_store
from mm_jax.errors import DataError, UsageError
from mm_jax.progress import shown, silent

__all__ = ["work"]

SCRATCH = "scratch"
# By what a run is told to come to an end. Workers elsewhere are let finish on Ctrl-C too.
_ENDING = {"process": (signal.SIGTERM,), "ray": (signal.SIGTERM, signal.SIGINT)}

Items = Callable[[Shard], Iterator[Item]]


def work(f: cli.Flags) -> int | None:
    """Do what the flags say; the exit status, None for 0.

    Raises:
        UsageError: bad flags, or a shard that another process works on.
        DataError: a bad manifest or model, or outputs that cannot be written.
    """
    cli.positive(f, "batch", "ray_workers")
    if not f.kind:
        raise UsageError("--kind is missing: what is done with the items")
    settings = cli.read_settings(f, BatchSettings)
    shard = parse_shard(f.shard)
    given = flags.defaults(f)

    def items(shard: Shard) -> Iterator[Item]:
        for item in read_items(flags.entries(f), f.kind, given, frames=settings.frames):
            if shard.holds(item.id):
                yield item

    if f.status:
        return _tell_status(f, settings, shard, items)
    if f.engine == "ray" and f.distributed:
        raise UsageError("--distributed: with --engine=ray, Ray knows all processes that there are")
    hosts = Hosts()
    if f.distributed:
        hosts = joined(f.coordinator, f.processes, f.process)
    return _run(f, settings, hosts, hosts.share(shard), items)


def _tell_status(f: cli.Flags, settings: BatchSettings, shard: Shard, items: Items) -> int | None:
    outdir = Path(f.outdir)
    store = open_store(settings.outputs, outdir / "items", outdir / SCRATCH)
    with shown() as progress:
        past = finished(outdir, store, progress=progress)
    now = count(items(shard), past)
    print(
        f"{now.items} items: {now.done} done, {now.failed} failed, {now.missing} missing, "
        f"{now.damaged} damaged; {past.files} files checked"
    )
    if now.done == now.items:
        return None
    if past.examples:
        print(f"not as they were written: {', '.join(past.examples)}", file=sys.stderr)
    return 1


def _run(
    f: cli.Flags, settings: BatchSettings, hosts: Hosts, shard: Shard, items: Items
) -> int | None:
    total, pictures = 0, False
    for item in items(shard):  # which also finds what is wrong with the manifest
        total += 1
        pictures = pictures or "picture" in item.entry
    with contextlib.ExitStack() as stack:
        ray = _cluster(f, stack)
        from mm_jax.batch import engines
        from mm_jax.batch.opening import open_kind

        kind, facts = open_kind(f, settings, pictures=pictures)
        with hosts.first_alone():
            plan = {"items": total} if f.dry_run else {}
            run = cli.open_run(f, "mm_batch", [], apart=flags.APART, **facts, **plan)
        if run is None:
            return None
        folder = shard.folder(run.path)
        stack.enter_context(locked(folder))
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        store = open_store(settings.outputs, run.path / "items", folder / SCRATCH)
        journals = [Journal(folder / name) for name in (DONE, FAILED)]
        for journal in journals:
            stack.callback(journal.close)
        progress = stack.enter_context(shown()) if hosts.index == 0 else silent
        past = finished(run.path, store if f.verify else None, progress=progress)
        now = count(items(shard), past)
        total = now.missing + now.damaged + (now.failed if f.retry_failed else 0)
        ledger = Ledger(*journals, progress=progress, total=total)
        ends = stack.enter_context(_ended_by(*_ENDING[f.engine]))
        work = engines.Work(
            flags=f,
            settings=settings,
            kind=kind,
            pictures=pictures,
            facts=facts,
            folder=run.path / "items",
            scratch=folder / SCRATCH,
            store=store,
            ledger=ledger,
            stop=lambda: bool(ends),
        )
        todo = _todo(items(shard), past, f.retry_failed)
        try:
            stopped = engines.by_ray(ray, work, todo) if ray else engines.here(work, todo)
        except DataError as error:
            raise DataError(f"{error}; what is done is kept, run the same command again") from error
    outcome = ledger.outcome(stopped=stopped)
    aside = now.failed * (not f.retry_failed) + outcome.failed
    reason = f" (the last: {outcome.reason})" if outcome.reason else ""
    words = f"{now.done} items were done before, {outcome.done} are now"
    if aside:
        words += f"; {aside} set aside in {folder / FAILED}{reason}"
    if outcome.stopped:
        by = f"stopped by {ends[0].name}"
        print(f"mm_batch: {by}: {words}; run the same command again", file=sys.stderr)
        return 128 + ends[0]
    print(f"{words}: {settings.outputs or run.path / 'items'}")
    return 1 if outcome.failed and not outcome.done else None


def _cluster(f: cli.Flags, stack: contextlib.ExitStack) -> Any:
    """The module `ray`, connected as long as the stack lasts; None for the other engine."""
    if f.engine != "ray":
        return None
    ray = ray_cluster.imported() if f.dry_run else None
    ray = ray or stack.enter_context(ray_cluster.joined(f.ray_address))
    import jax

    # The accelerators of this machine are for the workers.
    jax.config.update("jax_platforms", "cpu")
    return ray


def _todo(items: Iterator[Item], past: Finished, retry_failed: bool) -> Iterator[Item]:
    """Items that are neither done nor set aside, each once."""
    taken = Seen()
    for item in items:
        behind = item.id in past.done or (item.id in past.failed and not retry_failed)
        if not behind and taken.add(item.id):
            yield item


@contextlib.contextmanager
def _ended_by(*signals: signal.Signals) -> Iterator[list[signal.Signals]]:
    """Those of the signals that have come, which then end nothing by themselves.

    A second SIGINT interrupts: somebody sits before it.
    """
    came: list[signal.Signals] = []

    def note(number: int, frame: Any) -> None:
        del frame
        came.append(signal.Signals(number))
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
