"""The options of mm_batch: what is done, which workers receive pickled, and with which items."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator

from mm_jax import zoo
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.batch.manifest import TASKS, Entry, Item, read_entries, read_items
from mm_jax.batch.shards import Shard
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion.options import InversionSources, InvertOptions
from mm_jax.options import Options, group, option
from mm_jax.sources import SEEDS, GeneratorOptions, label_option
from mm_jax.subspace.options import SubspaceOptions

__all__ = ["OF_EACH_FACE", "BatchOptions", "ItemOptions"]


#: An item is a face of its own. By gradients all faces of a prompt would have one motion.
OF_EACH_FACE = AnchorOptions(strategy="optimize")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchOptions(GeneratorOptions):
    """What is done with the items of a manifest, and how.

    Attributes:
        networks, invert, align: options for images.
        anchors, subspace: options for extractions; an item brings its own prompt and degrees.

    Raises:
        UsageError: no task or an unknown one, or a number out of range.
    """

    task: str = option(None, "What to do with the items.", choices=tuple(TASKS), alias="kind")
    noise_seed: int = option(0, "Seed of --noise_mode=random.", minimum=0)
    format: str = option("png", "Images, or float32 arrays.", choices=("png", "npy"))
    outputs: str = option("", "Folder or URL (fsspec) of the outputs; OUTDIR/items by default.")
    readers: int = option(4, "Threads that read inputs.", minimum=1)
    writers: int = option(4, "Threads that write outputs.", minimum=1)
    retries: int = option(
        1, "How often a failed item is repeated before it is set aside.", minimum=0
    )
    clip: str = option(zoo.CLIP, "CLIP: a bundled name, a folder, or a hub id.")
    networks: InversionSources = group(InversionSources(), ("encoder", "lpips", "identity"))
    invert: InvertOptions = InvertOptions()
    align: AlignOptions = AlignOptions()
    anchors: AnchorOptions = OF_EACH_FACE
    subspace: SubspaceOptions = SubspaceOptions()

    def check(self) -> None:
        """Refuse a missing task."""
        if self.task is None:
            raise UsageError(f"--task is missing: one of {', '.join(TASKS)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemOptions(Options):
    """The items, and what their entries need not say.

    Raises:
        UsageError: none or several sources, or two prompts.
    """

    manifest: str = option("", "File of items, .jsonl or .csv; or instead one of")
    image: list[str] = option([], "images: a file, a folder or a pattern; repeatable,")
    seeds: str = option("", SEEDS)
    latents: str = option("", "File of latents (.npz).")
    trunc: float = option(
        0.7, "Truncation psi of sampled latents: 1 is none, 0 is the mean.", minimum=-2, maximum=2
    )
    label: int | None = label_option()
    subspace: list[str] = option([], "Subspace of edits (.npz); repeat to combine.")
    strength: list[str] = option([], "Strengths of edits: LOW:HIGH, or a list.")
    frames: int = option(7, "Number of strengths that LOW:HIGH stands for.")
    motion: str | None = option(None, "Motion of extractions.", choices=tuple(MOTIONS))
    text: str = option("", "Prompt of extractions, with one {degree} in it.")

    def check(self) -> None:
        """Refuse none or several sources, and two prompts."""
        if sum(map(bool, (self.manifest, self.seeds, self.latents, self.image))) != 1:
            raise UsageError("give exactly one of --manifest, --seeds, --latents and --image")
        if self.motion and self.text:
            raise UsageError("give --motion or --text, not both")

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield the entries of the manifest, or the one that stands for the other source."""
        if self.manifest:
            yield from read_entries(self.manifest)
        elif self.image:
            for text in self.image:
                if not (glob.has_magic(text) or os.path.exists(text)):
                    raise DataError(f"--image={text}: no such file")
                yield "--image", {"images": text}
        else:
            name = "seeds" if self.seeds else "latents"
            yield f"--{name}", {name: getattr(self, name)}

    def items(self, options: BatchOptions, shard: Shard) -> Iterator[Item]:
        """Yield the items of a shard."""
        names = ("trunc", "subspace", "strength", "motion", "text")
        given = {name: getattr(self, name) for name in names} | {"class": self.label}
        defaults = {name: value for name, value in given.items() if value not in (None, "", [])}
        defaults["degrees"] = list(options.anchors.degrees)
        for item in read_items(self.entries(), options.task, defaults, frames=self.frames):
            if shard.holds(item.id):
                yield item
