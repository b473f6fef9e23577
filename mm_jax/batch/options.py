"""The options of mm_batch; a run's workers receive them pickled."""

from __future__ import annotations

import dataclasses

from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions
from mm_jax.batch.manifest import TASKS
from mm_jax.errors import UsageError
from mm_jax.inversion.options import InvertOptions
from mm_jax.options import Options, option
from mm_jax.subspace.options import SubspaceOptions

__all__ = ["BatchOptions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchOptions(Options):
    """What is done with the items of a manifest, and how.

    Attributes:
        invert, align: options for images.
        anchors, subspace: options for extractions; an item brings its own prompt and degrees.

    Raises:
        UsageError: no task or an unknown one, or a number out of range.
    """

    task: str = option(None, "What to do with the items.", choices=tuple(TASKS), alias="kind")
    generator: str = option("synthface", "Name of a bundled generator, or a folder of one.")
    noise_mode: str = option(
        "const",
        "Per-pixel noise: the generator's own, none, or random.",
        choices=("const", "none", "random"),
    )
    noise_seed: int = option(0, "Seed of --noise_mode=random.", minimum=0)
    batch: int | None = option(
        None, "Images per step; by default what fits in 2 GiB.", kind=int, minimum=1
    )
    format: str = option("png", "Images, or float32 arrays.", choices=("png", "npy"))
    outputs: str = option("", "Folder or URL (fsspec) of the outputs; OUTDIR/items by default.")
    readers: int = option(4, "Threads that read inputs.", minimum=1)
    writers: int = option(4, "Threads that write outputs.", minimum=1)
    retries: int = option(
        1, "How often a failed item is repeated before it is set aside.", minimum=0
    )
    clip: str = option("synthface-clip", "CLIP: a bundled name, a folder, or a hub id.")
    encoder: str = option("auto", "Encoder of inversions: a name, a folder, or none for the mean.")
    lpips: str = option("", "Folder of an LPIPS network for inversions.")
    arcface: str = option("", "Folder of an ArcFace network for inversions.")
    invert: InvertOptions = InvertOptions()
    align: AlignOptions = AlignOptions()
    anchors: AnchorOptions = AnchorOptions()
    subspace: SubspaceOptions = SubspaceOptions()

    def check(self) -> None:
        """Refuse a missing task."""
        if self.task is None:
            raise UsageError(f"--task is missing: one of {', '.join(TASKS)}")
