"""Several hosts: which of them this process is. They share an output folder and nothing else.

Hosts meet once, to count themselves and to let the first create what they share. Afterwards no host
waits for another: one that is preempted leaves its part for a later run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from etils import epy

from mm_jax.batch.shards import Shard
from mm_jax.errors import UsageError, first_line

with epy.lazy_imports():
    import jax
    from jax.experimental import multihost_utils

__all__ = ["Hosts", "joined"]


class Hosts:
    """This process among all.

    Attributes:
        index: number of this process; 0 writes what all share, and shows progress.
        count: number of processes.
    """

    def __init__(self, index: int = 0, count: int = 1):
        self.index: int = index
        self.count: int = count

    def part_of(self, shard: Shard) -> Shard:
        """This process's part of a shard."""
        return shard.part(self.index, self.count)

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """Run the block in the first process, then in all others, and then part."""
        if self.count == 1:
            yield
            return
        if self.index:
            multihost_utils.sync_global_devices("mm_batch")
        yield
        if not self.index:
            multihost_utils.sync_global_devices("mm_batch")
        jax.distributed.shutdown()


def joined(
    coordinator: str = "", processes: int | None = None, process: int | None = None
) -> Hosts:
    """Meet the other processes through `jax.distributed.initialize`.

    Slurm, Open MPI, Kubernetes and Cloud TPU need no arguments.

    Args:
        coordinator: HOST:PORT of the first process.
        processes: number of processes.
        process: number of this one, from 0.

    Raises:
        UsageError: they do not find each other.
    """
    try:
        jax.distributed.initialize(coordinator or None, processes, process)
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"--distributed: {first_line(error)}; on clusters other than Slurm, Open MPI, "
            "Kubernetes and Cloud TPU give --coordinator, --processes and --process"
        ) from error
    return Hosts(jax.process_index(), jax.process_count())
