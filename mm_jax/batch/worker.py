"""A worker: a process anywhere that opens the models once, and then does batches that it is given.

It writes the files of items; what they are is told to whoever gave them, who alone keeps journals.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import threading
from pathlib import Path
from typing import Any

from mm_jax import allocator, compile_cache
from mm_jax.batch import compat as cli
from mm_jax.batch import flags
from mm_jax.batch.dealer import Report
from mm_jax.batch.ledger import Record
from mm_jax.batch.manifest import Item
from mm_jax.batch.runner import Runner, threads
from mm_jax.batch.settings import BatchSettings
from mm_jax.batch.store import open_store
from mm_jax.errors import DataError, UsageError

__all__ = ["Opening", "Worker"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening:
    """What a worker has to know.

    Attributes:
        flags: values of those that `flags.define` defines.
        compile_cache: as the flag.
        cwd: the folder to which the names of files are relative.
        items: folder of the outputs, unless the flags say otherwise.
        scratch: where files are written before they are put in place.
        pictures: whether there are pictures among the items.
        facts: what `open_kind` says of the models where the run was started.
    """

    flags: dict[str, Any]
    compile_cache: str
    cwd: Path
    items: Path
    scratch: Path
    pictures: bool
    facts: dict[str, Any]


class Worker:
    """The process's only one."""

    def open(self, opening: Opening, cpus: int) -> str:
        """Opens the models; the name of this host.

        Args:
            opening: what to do.
            cpus: cores to compute on, 0 for all.

        Raises:
            UsageError: as `open_kind`, or the models are not those of the run.
            DataError: as `open_kind`.
        """
        if cpus:
            os.environ["NPROC"] = str(cpus)  # read by XLA as it starts
        # A host that does not share the folder may do without it: seeds, and outputs by URL.
        with contextlib.suppress(FileNotFoundError):
            os.chdir(opening.cwd)
        compile_cache.keep_programs(opening.compile_cache)
        allocator.keep_freed_memory()
        from mm_jax.batch.opening import open_kind

        f = flags.rebuilt(opening.flags)
        settings = cli.read_settings(f, BatchSettings)
        self._kind, facts = open_kind(f, settings, pictures=opening.pictures)
        if facts != opening.facts:
            raise UsageError("the models are others than where the run was started")
        self._store = open_store(settings.outputs, opening.items, opening.scratch)
        self._until_the_end = contextlib.ExitStack()
        self._threads = self._until_the_end.enter_context(
            threads(settings.readers, settings.writers)
        )
        self._retries = settings.retries
        self._turn = threading.Lock()
        return socket.gethostname()

    def do(self, items: list[Item]) -> Report:
        """Does a batch; called in several threads, so that one is read while another is computed.

        Whatever is not about an item, nor about the store, is raised.
        """
        done: list[Record] = []
        failed: list[Record] = []

        def enter(some: list[Record], others: list[Record]) -> None:
            done.extend(some)
            failed.extend(others)

        runner = Runner(
            kind=self._kind,
            store=self._store,
            enter=enter,
            threads=self._threads,
            turn=self._turn,
            retries=self._retries,
        )
        try:
            runner.run(items)
        except DataError as error:
            return Report(done, failed, str(error))
        return Report(done, failed)
