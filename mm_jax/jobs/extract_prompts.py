"""mm_extract without clips: flags to a subspace from prompts or from stored anchors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mm_jax import cli
from mm_jax.jobs import extract
from mm_jax.jobs.settings import AnchorSettings, SubspaceSettings
from mm_jax.progress import shown

if TYPE_CHECKING:
    from mm_jax.artifacts import Subspace

__all__ = ["work"]


def work(
    values: cli.Flags, search: AnchorSettings | None, how: SubspaceSettings
) -> tuple[Subspace, Path] | None:
    """Find the subspace of what is searched for, or of the stored anchors; None after a --dry_run.

    Raises:
        UsageError: bad flags. DataError: a bad file.
    """
    gen, starts = cli.load_codes(values)
    stored = extract.load_sets(values.anchors, gen)
    names = list(stored) or list(starts.names or ())
    codes = len(names) * len(search.degrees) if search else sum(len(s.ws) for s in stored.values())
    how.check(anchors=codes, rows=gen.config.num_ws)
    judges = extract.load_judges(values.clip, values.arcface) if search else None
    facts = cli.inputs(gen, values.latents, *values.anchors, judges=judges)
    outputs = extract.outputs(names, from_prompts=bool(search))
    run = cli.open_run(values, "mm_extract", outputs, **facts)
    if run is None:
        return None
    with shown() as progress:
        sets = list(stored.values())
        if search and judges:
            sets = extract.find_anchors(gen, judges, starts, run.path, search, progress=progress)
        subspace = extract.extract(
            gen, names, sets, run, how, batch=values.batch, progress=progress
        )
    return subspace, run.path
