"""A task that needs no models: an item's file holds its seed, in words."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from mm_jax.batch.journal import DONE, FAILED, Journal, Ledger, Seen, read_journal
from mm_jax.batch.manifest import read_items
from mm_jax.batch.runner import Runner, threads
from mm_jax.batch.store import LocalStore
from mm_jax.errors import DataError
from mm_jax.progress import silent


class Outcome(NamedTuple):
    """How a run ended."""

    done: int
    failed: int
    stopped: bool


@dataclasses.dataclass
class Words:
    """Batches of three; odd and even seeds are separate groups."""

    unreadable: Any = ()
    diverging: Any = ()
    unwritable: Any = ()
    batches: list = dataclasses.field(default_factory=list)
    reads: list = dataclasses.field(default_factory=list)

    def group(self, item):
        return item.entry["seed"] % 2

    def size(self, item):
        return 3

    def load(self, item):
        self.reads.append(item.entry["seed"])
        if item.entry["seed"] in self.unreadable:
            raise OSError("the image is\ndamaged")
        return item.entry["seed"]

    def compute(self, items, inputs):
        self.batches.append(list(inputs))
        if set(inputs) & set(self.diverging):
            raise DataError("NaN")
        return lambda: [f"seed {seed}" for seed in inputs]

    def files(self, item, value):
        if item.entry["seed"] in self.unwritable:
            raise DataError("no image")
        return {".txt": value.encode(), "_more.txt": value.upper().encode()}


def items_of(seeds):
    return list(read_items([("here", {"seeds": seeds})], "sample", {"trunc": 1.0}))


def run(outdir: Path, task, items, *, readers=2, writers=2, progress=silent, **options):
    """Do the missing items, as mm_batch would."""
    done = Seen(record["id"] for record in read_journal(outdir / DONE))
    journals = Journal(outdir / DONE), Journal(outdir / FAILED)
    try:
        ledger = Ledger(*journals, progress=progress, total=len(items))
        with threads(readers, writers) as own:
            runner = Runner(
                task=task,
                store=LocalStore(outdir / "items", outdir / "scratch"),
                enter=ledger.enter,
                threads=own,
                pause=0.0,
                **options,
            )
            stopped = runner.run(item for item in items if item.id not in done)
        return Outcome(ledger.done, ledger.failed, stopped)
    finally:
        for journal in journals:
            journal.close()


def contents(outdir: Path):
    """What the items' files hold, by name."""
    files = (path for path in (outdir / "items").rglob("*") if path.is_file())
    return {path.relative_to(outdir / "items").as_posix(): path.read_text() for path in files}


def expected(items):
    """What they should hold."""
    found = {}
    for item in items:
        word = f"seed {item.entry['seed']}"
        found |= {item.file(".txt"): word, item.file("_more.txt"): word.upper()}
    return found
