"""The flags of mm_batch, and what they say of the items; nothing here imports JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from mm_jax.batch import compat as cli
from mm_jax.batch.compat import AlignSettings, AnchorSettings, InvertSettings, SubspaceSettings
from mm_jax.batch.manifest import KINDS, Entry, read_entries
from mm_jax.batch.settings import BatchSettings
from mm_jax.errors import UsageError

__all__ = ["APART", "defaults", "define", "entries", "kind_settings", "plain", "rebuilt"]

# Flags on which the files of an item do not depend, or that are part of its id.
APART = (
    "manifest", "seeds", "latents", "image", "shard", "distributed", "coordinator", "processes",
    "process", "engine", "ray_address", "ray_workers", "status", "verify", "retry_failed",
    "readers", "writers", "retries",
    "trunc", "subspace", "strength", "frames", "motion", "text", "degrees",
)  # fmt: skip


def define(f: cli.Flags) -> None:
    """All flags but --outdir and its like."""
    cli.flag(f, "kind", None, "What is done with the items.", choices=list(KINDS))
    cli.flag(f, "manifest", "", "File of items, .jsonl or .csv; or, in place of it, one of")
    cli.flag(f, "image", "", "pictures: a folder or a pattern,")
    cli.define_latents(f, seeds="")
    cli.flag(f, "shard", "0/1", "INDEX/COUNT: work on this part of the items alone.")
    cli.flag(f, "status", False, "Count what is done and check its files; work on nothing.")
    cli.flag(f, "verify", False, "First check the files of what is done; do the damaged again.")
    cli.flag(f, "retry_failed", False, "Try items again that were set aside.")
    cli.flag(f, "distributed", False, "Be one of several processes that share the items.")
    cli.flag(f, "coordinator", "", "HOST:PORT of the first process, where it is not found.")
    cli.flag(f, "processes", None, "How many there are, where that is not found.", kind=int)
    cli.flag(f, "process", None, "Which this one is, where that is not found.", kind=int)
    cli.flag(
        f,
        "engine",
        "process",
        "Who works: this process by itself, or workers of a Ray cluster.",
        choices=("process", "ray"),
    )
    cli.flag(
        f, "ray_address", "", "Cluster: auto, HOST:PORT or ray://HOST:PORT; by default this machine"
    )
    cli.flag(
        f, "ray_workers", None, "Workers; by default one an accelerator, or one a node.", kind=int
    )
    cli.define_settings(f, BatchSettings)
    cli.flag(f, "subspace", [], "Subspace of edits (.npz); repeat to combine.", kind=list)
    cli.flag(f, "strength", [], "Strengths of edits: LOW:HIGH, or a list.", kind=list)
    cli.flag(f, "motion", None, "Motion of extractions.", kind=str)
    cli.flag(f, "text", "", "Prompt of extractions, with one {degree} in it.")
    # One flag for two kinds that differ in their default.
    cli.flag(f, "steps", None, "Steps of inversions [50] or of anchors [40].", kind=int)
    cli.define_generator(f)
    cli.flag(f, "clip", "synthface-clip", "CLIP: a bundled name, a folder, or a hub id.")
    cli.flag(f, "encoder", "auto", "Encoder of inversions: name, folder, or none for the mean.")
    cli.flag(f, "lpips", "", "Folder of an LPIPS network for inversions.")
    cli.flag(f, "arcface", "", "Folder of an ArcFace network for inversions.")
    cli.define_settings(f, InvertSettings, AlignSettings)
    cli.define_settings(f, AnchorSettings, SubspaceSettings)


def plain(f: cli.Flags) -> dict[str, Any]:
    """The values of all that `define` defines, for another process to rebuild them from."""
    return {name: f[name].value for name in _fresh()}


def rebuilt(values: Mapping[str, Any]) -> cli.Flags:
    """The flags that `plain` was given, but for --outdir and its like."""
    f = _fresh()
    f.mark_as_parsed()
    for name, value in values.items():
        f[name].value = value
    return f


def _fresh() -> cli.Flags:
    f = cli.Flags()
    define(f)
    return f


def kind_settings(f: cli.Flags, kind: type, **given: Any) -> Any:
    """As `cli.read_settings`, where --steps has the default of its kind.

    Raises:
        UsageError: a value that cannot be parsed or is out of range.
    """
    if f.steps is None:
        own = {field.name: field.default for field in dataclasses.fields(kind)}
        given = {"steps": own["steps"], **given}
    return cli.read_settings(f, kind, **given)


def entries(f: cli.Flags) -> Iterator[tuple[str, Entry]]:
    """The entries of --manifest, or the one that --seeds, --latents or --image makes.

    Raises:
        UsageError: none of them given, or several.
        DataError: as `read_entries`.
    """
    sources = {"manifest": f.manifest, "seeds": f.seeds, "latents": f.latents, "image": f.image}
    given = [name for name, value in sources.items() if value]
    if len(given) != 1:
        raise UsageError("want one of --manifest, --seeds, --latents and --image")
    if f.manifest:
        yield from read_entries(f.manifest)
        return
    field = "pictures" if f.image else given[0]
    yield f"--{given[0]}", {field: sources[given[0]]}


def defaults(f: cli.Flags) -> dict[str, Any]:
    """What entries of the manifest need not say."""
    own = {
        "trunc": f.trunc,
        "subspace": f.subspace,
        "strength": f.strength,
        "motion": f.motion,
        "text": f.text,
        "degrees": f.degrees,
    }
    if f.motion and f.text:
        raise UsageError("give --motion or --text, not both")
    return {name: value for name, value in own.items() if value not in (None, "", [])}
