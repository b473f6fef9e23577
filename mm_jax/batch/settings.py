"""The settings of mm_batch; see `mm_jax.jobs.settings`."""

from __future__ import annotations

import dataclasses

from mm_jax.batch.compat import at_least, option

__all__ = ["BatchSettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How a manifest is worked on.

    Raises:
        UsageError: a number out of range.
    """

    outputs: str = option("", "Folder or URL (fsspec) of the outputs; OUTDIR/items by default.")
    frames: int = option(7, "Frames of a LOW:HIGH strength.")
    format: str = option("png", "Pictures, or float32 arrays.", choices=("png", "npy"))
    noise_seed: int = option(0, "Seed of --noise_mode=random.")
    readers: int = option(4, "Threads that read inputs.")
    writers: int = option(4, "Threads that write outputs.")
    retries: int = option(1, "How often an item is tried again before it is set aside.")

    def __post_init__(self):
        at_least(self, 1, "readers", "writers")
        at_least(self, 0, "retries", "noise_seed")
