"""The two ways of mm_edit, from its flags to the line that says what was done.

Codes are edited as they are. Pictures go the whole way: to faces, to codes, edited, and back into
the pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mm_jax import cli
from mm_jax.artifacts import load_latents
from mm_jax.deltas import load_delta
from mm_jax.errors import UsageError
from mm_jax.jobs import edit, invert, invert_inputs
from mm_jax.jobs.align_settings import PasteSettings
from mm_jax.jobs.full_pictures import FullPictures
from mm_jax.jobs.invert_settings import InvertSettings, TuneSettings
from mm_jax.jobs.settings import EditSettings, check_layers
from mm_jax.progress import shown
from mm_jax.runs import RunFolder

__all__ = ["INVERSION", "edit_codes", "edit_photos"]

INVERSION = "inversion"  # the folder in the run's own that holds what mm_invert writes


def edit_codes(values: cli.Flags, settings: EditSettings) -> str:
    """Edit the codes of --seeds or --latents; returns what was done, "" for a --dry_run.

    Raises:
        UsageError: bad flags. DataError: bad files.
    """
    gen, latents = cli.load_codes(values)
    check_layers(settings.layers, gen.config.num_ws)
    subspaces = cli.load_subspaces(values.subspace, gen)
    names = latents.names or ()
    facts = cli.inputs(gen, values.latents, *values.subspace)
    run = cli.open_run(values, "mm_edit", edit.outputs(names, settings), **facts)
    if run is None:
        return ""
    with shown() as progress:
        edit.edit(gen, latents, subspaces, run, settings, progress=progress)
    return f"{len(names)} faces of {settings.frames} frames: {run.path}/report.html"


def edit_photos(values: cli.Flags, settings: EditSettings) -> str:
    """Edit the faces of --image; returns what was done, "" for a --dry_run.

    Raises:
        UsageError: bad flags. DataError: bad files.
    """
    if values.latents:
        raise UsageError("give --image or --latents, not both")
    how, tune = cli.read_settings(values, InvertSettings), cli.read_settings(values, TuneSettings)
    paste = cli.read_settings(values, PasteSettings)
    gen, faces, looks, facts = invert_inputs.load(values)
    check_layers(settings.layers, gen.config.num_ws)
    subspaces = cli.load_subspaces(values.subspace, gen)
    facts["inputs"] |= cli.inputs(gen, *values.subspace)["inputs"]
    inverted = invert.outputs(faces.names, tune)
    with shown() as progress:
        full = FullPictures(faces.found, values.outdir, settings, paste, progress)
        outputs = [*_within(inverted), *edit.outputs(faces.names, settings, full)]
        _check_distinct(outputs)
        run = cli.open_run(values, "mm_edit", outputs, **facts)
        if run is None:
            return ""
        inner = RunFolder(run.file(INVERSION), run.command, run.settings, inverted)
        dbs = invert.invert_faces(
            gen, faces, looks, inner, how, tune,
            generator_name=values.generator, progress=progress,
            batch=values.batch,
        )  # fmt: skip
        if tune.tune:
            gen = dataclasses.replace(load_delta(inner.file(invert.TUNED), gen), meta=gen.meta)
        latents = load_latents(inner.file(invert.LATENTS))
        edit.edit(gen, latents, subspaces, run, settings, full=full, progress=progress)
    mean = sum(dbs.values()) / len(dbs)
    return (
        f"{len(dbs)} faces of {len(full.names)} pictures, rebuilt at {mean:.1f} dB and edited in "
        f"{settings.frames} frames: {run.path}/report.html"
    )


def _within(names: Sequence[str]) -> list[str]:
    return [f"{INVERSION}/{name}" for name in names]


def _check_distinct(outputs: Sequence[str]) -> None:
    """Refuse pictures such as me.jpg and me_full.jpg, whose files would be one."""
    seen: set[str] = set()
    twice = next((name for name in outputs if name in seen or seen.add(name)), None)
    if twice is not None:
        raise UsageError(f"two of the pictures would both be written to {twice}: rename one")
