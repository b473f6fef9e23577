"""Do very many items: sample, invert, extract or edit everything that a manifest names.

A manifest is a .jsonl or .csv file with one entry a line, such as {"image": "a.jpg"}, {"seed": 1}
or {"seeds": "0-99", "motion": "smile"}; see docs/batch.md. Outputs are OUTDIR/items/3f/3f09...,
named by a hash of the entry; OUTDIR/shards/*/journal.jsonl has a line for each finished item,
failed.jsonl one for each that was set aside. Running the same command again does what is missing,
whenever and however it was ended.

--task=extract finds each face's own anchors: here --strategy=auto is optimize.

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
from collections.abc import Iterable
from pathlib import Path

from etils import epy

from mm_jax import cli, runs
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions
from mm_jax.batch import ray_cluster
from mm_jax.batch.hosts import Hosts, joined
from mm_jax.batch.journal import FAILED
from mm_jax.batch.manifest import Item, ItemList
from mm_jax.batch.options import OF_EACH_FACE, BatchOptions, ItemOptions
from mm_jax.batch.shards import parse_shard
from mm_jax.batch.status import count, finished
from mm_jax.batch.store import open_store
from mm_jax.errors import UsageError
from mm_jax.inversion.options import InvertOptions
from mm_jax.options import Options, option
from mm_jax.progress import shown, silent
from mm_jax.subspace.options import SubspaceOptions
from mm_jax.words import counted

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
    "class", "readers", "writers", "retries", "task", "degrees",
)  # fmt: skip


# Flags that only one task uses.
OF_TASK = {"edit": ("subspace", "strength", "frames"), "extract": ("motion", "text", "degrees")}


def read_options(call: cli.Call) -> BatchOptions:
    """Read what is done with the items."""
    steps = call.read(StepOptions).steps
    anchors = call.read(
        AnchorOptions,
        steps=AnchorOptions.steps if steps is None else steps,
        truncation_psi=call.read(ItemOptions).trunc,
        label=call.read(ItemOptions).label,
        identity_weight=AnchorOptions.identity_weight,  # the flag is that of inversions
    )
    if anchors.strategy == "auto":
        anchors = anchors.replace(strategy=OF_EACH_FACE.strategy)
    return call.read(
        BatchOptions,
        invert=call.read(InvertOptions, steps=InvertOptions.steps if steps is None else steps),
        align=call.read(AlignOptions),
        anchors=anchors,
        subspace=call.read(SubspaceOptions),
    )


def work(call: cli.Call) -> int | None:
    """Do the items that are not done yet; return the exit status, None for 0."""
    own, outdir = call.read(RunOptions), Path(call.output.outdir)
    if own.status and not call.is_given("task"):
        # Folders of earlier versions call the task "kind", and so do those of this one.
        call.adopt("task", runs.settings_of(outdir).get("kind"))
    options, sources = read_options(call), call.read(ItemOptions)
    refuse_unused(call, options.task)
    shard = parse_shard(own.shard)
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
            dry = call.output.dry_run
            ray = stack.enter_context(ray_cluster.joined(own.ray_address, dry_run=dry))
            jax.config.update("jax_platforms", "cpu")  # the accelerators are for the workers
        task, models = job.load_task(options, images=items.images, items=len(items))
        with hosts.first_alone():
            run = call.open_run([], apart=APART, kind=options.task, **models)
        if run is None:
            now = count(items, finished(outdir, None))
            to_do = counted(now.items - now.done - now.failed, "item")
            print(f"would do {to_do} of {now.items} in {outdir}", file=sys.stderr)
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
    words = result.line(shard.folder(run.path) / FAILED)
    if result.stopped_by:
        by = f"stopped by {result.stopped_by.name}"
        print(f"mm_batch: {by}: {words}; run the same command again", file=sys.stderr)
        return 128 + result.stopped_by
    where = options.outputs or run.path / "items"
    print(f"{words}: {where}. The same command with --status counts them")
    return 1 if result.failed and not result.done else None


def refuse_unused(call: cli.Call, task: str) -> None:
    """Refuse flags that this task, or these items, do not use."""
    for of, names in OF_TASK.items():
        for name in names:
            if of != task and call.is_given(name):
                raise UsageError(f"--{name} does nothing with --task={task}: it is for {of}")
    for source in ("latents", "image"):
        call.refuse_beside(source, "trunc", "class", why="it is for sampled latents")


def tell_status(outdir: Path, options: BatchOptions, items: ItemList) -> int | None:
    """Print how far the run has come; return 1 unless everything is done."""
    store = open_store(options.outputs, outdir / "items", outdir / "scratch")
    with shown() as progress:
        past = finished(outdir, store, progress=progress)
    now = count(items, past)
    print(f"{now.line()}; {past.files} files checked")
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
