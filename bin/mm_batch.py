"""Do very many items: sample, invert, extract or edit everything that a manifest names.

A manifest is a .jsonl or .csv file with one entry a line, such as {"image": "a.jpg"}, {"seed": 1}
or {"seeds": "0-99", "motion": "smile"}; see docs/batch.md. Outputs are OUTDIR/items/3f/3f09...,
named by a hash of the entry; OUTDIR/shards/*/journal.jsonl has a line for each finished item,
failed.jsonl one for each that was set aside. Running the same command again does what is missing,
whenever and however it was ended.

Examples:
  mm_batch --task=sample --seeds=0-9999 --outdir=runs/many
  mm_batch --task=invert --image='faces/*.jpg' --outdir=runs/latents
  mm_batch --task=edit --manifest=faces.csv --subspace=smile.npz --strength=-1,1 --outdir=runs/ed
  mm_batch --task=extract --manifest=prompts.csv --shard=0/8 --outdir=runs/motions
  mm_batch --task=sample --seeds=0-9999 --outdir=runs/many --engine=ray --ray_address=auto
  mm_batch --task=sample --seeds=0-9999 --outdir=runs/many --status
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from etils import epy

from mm_jax import cli
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions
from mm_jax.batch import ray_cluster
from mm_jax.batch.hosts import Hosts, joined
from mm_jax.batch.journal import FAILED
from mm_jax.batch.manifest import Item, ItemList
from mm_jax.batch.options import BatchOptions, ItemOptions
from mm_jax.batch.shards import parse_shard
from mm_jax.batch.status import count, finished
from mm_jax.batch.store import open_store
from mm_jax.errors import UsageError
from mm_jax.inversion.options import InvertOptions
from mm_jax.options import Options, option
from mm_jax.progress import shown, silent
from mm_jax.subspace.options import SubspaceOptions

with epy.lazy_imports():
    import jax

    from mm_jax.batch import job, ray_engine

# Signals that end a run early. Ctrl-C also lets workers elsewhere finish.
SIGNALS = {"process": (signal.SIGTERM,), "ray": (signal.SIGTERM, signal.SIGINT)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Which part of the work to do, and what does it."""

    shard: str = option("0/1", "INDEX/COUNT: do this part of the items only.")
    status: bool = option(False, "Count what is done and check its files; do nothing else.")
    verify: bool = option(False, "First check the files of what is done; do damaged items again.")
    retry_failed: bool = option(False, "Try items again that were set aside.")
    distributed: bool = option(False, "Be one of several processes that share the items.")
    coordinator: str = option("", "HOST:PORT of the first process, if it is not found.")
    processes: int | None = option(None, "Number of processes, if it is not found.", kind=int)
    process: int | None = option(None, "Number of this process, if it is not found.", kind=int)
    engine: str = option(
        "process",
        "What does the items: this process, or the workers of a Ray cluster.",
        choices=("process", "ray"),
    )
    ray_address: str = option(
        "", "Cluster: auto, HOST:PORT or ray://HOST:PORT; by default this machine."
    )
    ray_workers: int | None = option(
        None, "Maximum number of workers; by default one for each node.", kind=int, minimum=1
    )

    def check(self) -> None:
        """Refuse two ways of sharing the items."""
        if self.engine == "ray" and self.distributed:
            raise UsageError("--distributed: --engine=ray already shares the items")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepOptions(Options):
    """One flag for two tasks with different defaults."""

    steps: int | None = option(
        None, "Steps of inversions [50] or of anchors [40].", kind=int, minimum=0
    )


# Flags that do not change an item's files, or that are part of its id.
APART = (
    *(field.name for kind in (ItemOptions, RunOptions) for field in dataclasses.fields(kind)),
    "readers", "writers", "retries", "task", "degrees",
)  # fmt: skip


def read_options(call: cli.Call) -> BatchOptions:
    """Read what is done with the items."""
    steps = call.read(StepOptions).steps
    return call.read(
        BatchOptions,
        invert=call.read(InvertOptions, steps=InvertOptions.steps if steps is None else steps),
        align=call.read(AlignOptions),
        anchors=call.read(
            AnchorOptions,
            steps=AnchorOptions.steps if steps is None else steps,
            truncation_psi=call.read(ItemOptions).trunc,
            identity_weight=AnchorOptions.identity_weight,  # the flag is that of inversions
        ),
        subspace=call.read(SubspaceOptions),
    )


def work(call: cli.Call) -> int | None:
    """Do the items that are not done yet; return the exit status, None for 0."""
    options, sources, own = read_options(call), call.read(ItemOptions), call.read(RunOptions)
    shard, outdir = parse_shard(own.shard), Path(call.output.outdir)
    hosts = Hosts()
    if own.distributed and not own.status:
        hosts = joined(own.coordinator, own.processes, own.process)
    shard = hosts.part_of(shard)
    with contextlib.ExitStack() as stack:
        items = stack.enter_context(ItemList(sources.items(options, shard)))
        if own.status:
            return tell_status(outdir, options, items)
        ray = None
        if own.engine == "ray":
            ray = stack.enter_context(connected(own.ray_address, call.output.dry_run))
        task, models = job.load_task(options, images=items.images)
        with hosts.first_alone():
            plan = {"items": len(items)} if call.output.dry_run else {}
            # Folders of earlier versions call the task "kind".
            run = call.open_run([], apart=APART, kind=options.task, **models, **plan)
        if run is None:
            return None

        def engine(work: job.Work, to_do: Iterable[Item]) -> bool:
            if ray is None:
                return job.here(work, to_do)
            driver = ray_engine.RayDriver(
                ray,
                work,
                images=items.images,
                models=models,
                compile_cache=call.output.compile_cache,
                workers=own.ray_workers,
            )
            return driver.run(to_do)

        result = job.run_shard(
            run.path,
            shard,
            items,
            task,
            options,
            engine=engine,
            signals=SIGNALS[own.engine],
            verify=own.verify,
            retry_failed=own.retry_failed,
            progress=stack.enter_context(shown()) if hosts.index == 0 else silent,
        )
    words = f"{result.before} items were done before, {result.done} are now"
    if result.aside:
        last = f" (the last: {result.reason})" if result.reason else ""
        words += f"; {result.aside} set aside in {shard.folder(run.path) / FAILED}{last}"
    if result.stopped_by:
        by = f"stopped by {result.stopped_by.name}"
        print(f"mm_batch: {by}: {words}; run the same command again", file=sys.stderr)
        return 128 + result.stopped_by
    print(f"{words}: {options.outputs or run.path / 'items'}")
    return 1 if result.failed and not result.done else None


@contextlib.contextmanager
def connected(address: str, dry_run: bool) -> Iterator[Any]:
    """Yield the module `ray`, connected to the cluster unless this is a --dry_run."""
    with contextlib.ExitStack() as stack:
        if dry_run:
            ray = ray_cluster.imported()
        else:
            ray = stack.enter_context(ray_cluster.joined(address))
        jax.config.update("jax_platforms", "cpu")  # the accelerators are for the workers
        yield ray


def tell_status(outdir: Path, options: BatchOptions, items: ItemList) -> int | None:
    """Print how far the run has come; return 1 unless everything is done."""
    store = open_store(options.outputs, outdir / "items", outdir / "scratch")
    with shown() as progress:
        past = finished(outdir, store, progress=progress)
    now = count(items, past)
    print(
        f"{now.items} items: {now.done} done, {now.failed} failed, {now.missing} missing, "
        f"{now.damaged} damaged; {past.files} files checked"
    )
    if now.done == now.items:
        return None
    if past.examples:
        print(f"missing or damaged files: {', '.join(past.examples)}", file=sys.stderr)
    return 1


OPTIONS = (
    StepOptions, ItemOptions, RunOptions, BatchOptions, InvertOptions, AlignOptions, AnchorOptions,
    SubspaceOptions, cli.FolderOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
