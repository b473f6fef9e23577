"""Several hosts: which of them this process is. They share a manifest and nothing else.

Hosts meet once, to count themselves, and to let the first make what they share. Afterwards none
waits for another: one that is preempted leaves its share for later and the others alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mm_jax.batch.shards import Shard
from mm_jax.errors import UsageError, first_line

__all__ = ["Hosts", "joined"]


class Hosts:
    """This process among all.

    Attributes:
        index: 0 for the one that writes what all share, and shows progress.
        count: how many there are.
    """

    def __init__(self, index: int = 0, count: int = 1):
        self.index, self.count = index, count

    def share(self, shard: Shard) -> Shard:
        """This process's part of a shard."""
        return shard.part(self.index, self.count)

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """The block is run by the first process, then by all others, who then part."""
        if self.count == 1:
            yield
            return
        import jax
        from jax.experimental import multihost_utils

        if self.index:
            multihost_utils.sync_global_devices("mm_batch")
        yield
        if not self.index:
            multihost_utils.sync_global_devices("mm_batch")
        jax.distributed.shutdown()


def joined(
    coordinator: str = "", processes: int | None = None, process: int | None = None
) -> Hosts:
    """Meet the other processes by `jax.distributed.initialize`.

    Args:
        coordinator: HOST:PORT of the first process. It, and the others, are found without being
            told on Slurm, Open MPI, Kubernetes and Cloud TPU.
        processes: how many there are.
        process: which this one is, from 0.

    Raises:
        UsageError: they do not find each other.
    """
    import jax

    try:
        jax.distributed.initialize(coordinator or None, processes, process)
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"--distributed: {first_line(error)}; on other clusters than Slurm, Open MPI, "
            "Kubernetes and Cloud TPU give --coordinator, --processes and --process"
        ) from error
    return Hosts(jax.process_index(), jax.process_count())
