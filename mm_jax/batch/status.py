"""How far a run has come: what is done, set aside, missing and damaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from mm_jax.batch.journal import DONE, FAILED, Record, Seen, read_journal
from mm_jax.batch.manifest import Item
from mm_jax.batch.shards import shard_folders
from mm_jax.batch.store import Store
from mm_jax.progress import ProgressFn, silent

__all__ = ["Finished", "Status", "count", "finished"]

# Damaged files named in messages; all of them are counted.
_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Finished:
    """What the journals of all shards in an output folder say.

    Attributes:
        done: ids of finished items.
        failed: ids of items that were set aside and have not been finished since.
        damaged: ids of items whose files differ from their journal; they are not in `done`.
        files: number of files that were checked.
        examples: names of some missing or damaged files.
    """

    done: Seen
    failed: Seen
    damaged: Seen
    files: int = 0
    examples: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Status:
    """Counts of distinct items."""

    items: int
    done: int
    failed: int
    damaged: int

    @property
    def missing(self) -> int:
        """Items of which no journal knows."""
        return self.items - self.done - self.failed - self.damaged

    def line(self) -> str:
        """The counts in words."""
        return (
            f"{self.items} items: {self.done} done, {self.failed} failed, {self.missing} missing, "
            f"{self.damaged} damaged"
        )


def finished(outdir: Path, store: Store | None, *, progress: ProgressFn = silent) -> Finished:
    """Read all journals of an output folder.

    Args:
        outdir: the output folder.
        store: where the files are, to compare each with its hash; None trusts the journals.
        progress: called as `("checking", items, total)` while files are compared.

    Raises:
        DataError: a journal is damaged, or the store cannot be read.
    """
    done, damaged, examples, files = Seen(), Seen(), [], 0
    total = 0 if store is None else sum(1 for _ in _records(outdir, DONE))
    for number, record in enumerate(_records(outdir, DONE), 1):
        names = record["files"]
        if store is not None:
            bad = [name for name, digest in names.items() if store.sha256(name) != digest]
            files += len(names)
            progress("checking", number, max(number, total))
            if bad:
                examples += bad[: _NAMED - len(examples)]
                damaged.add(record["id"])
                continue
        done.add(record["id"])
    failed = Seen(
        record["id"]
        for record in _records(outdir, FAILED)
        if record["id"] not in done and record["id"] not in damaged
    )
    return Finished(done, failed, damaged, files, tuple(examples))


def _records(outdir: Path, name: str) -> Iterator[Record]:
    for folder in shard_folders(outdir):
        yield from read_journal(folder / name)


def count(items: Iterable[Item], past: Finished) -> Status:
    """Count distinct items by what has become of them."""
    total = done = failed = damaged = 0
    for item in items:
        total += 1
        done += item.id in past.done
        failed += item.id in past.failed
        damaged += item.id in past.damaged
    return Status(total, done, failed, damaged)
