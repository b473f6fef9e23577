"""mm_extract: prompts or stored anchors to the subspace of a motion."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from mm_jax import media
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import (
    Anchors,
    Latents,
    Subspace,
    load_anchors,
    load_subspace,
    save_anchors,
    save_subspace,
)
from mm_jax.editing import apply_edit
from mm_jax.errors import DataError, UsageError
from mm_jax.jobs import pictures, reports
from mm_jax.jobs.settings import AnchorSettings, SubspaceSettings
from mm_jax.perceptual import Clip, load_clip
from mm_jax.perceptual.arcface import ArcFace, load_arcface
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Figure, Section, write_report
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.decompose import extract_subspace

__all__ = [
    "SUBSPACE",
    "Judges",
    "anchor_file",
    "anchors_of",
    "extract",
    "find_anchors",
    "find_subspace",
    "load_judges",
    "load_sets",
    "outputs",
    "tables",
]

SUBSPACE, MOTION = "subspace.npz", "motion.png"
# What the picture of the motion shows of each start code.
STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0)


class Judges(NamedTuple):
    """The networks that judge pictures: by a prompt, and by whether the person stays the same."""

    clip: Clip
    identity: ArcFace | None = None


def load_judges(clip: str, arcface: str = "") -> Judges:
    """Opens them by name or folder.

    Raises:
        UsageError: an unknown name.
        DataError: a missing or damaged folder.
    """
    return Judges(load_clip(clip), load_arcface(arcface) if arcface else None)


def anchor_file(name: str) -> str:
    """Name of the file that holds the anchors of the start code called `name`."""
    return f"anchors_{name}.npz"


def load_sets(paths: Sequence[str], gen: Generator) -> dict[str, Anchors]:
    """Stored anchors by the stems of their files.

    Raises:
        DataError: a bad file, or anchors of another generator's shape.
        UsageError: two files of the same stem.
    """
    sets = {}
    wanted = [gen.config.num_ws, gen.config.w_dim]
    for path in paths:
        name = Path(path).stem.removeprefix("anchors_")
        if name in sets:
            raise UsageError(f"two files of anchors are called {name}")
        sets[name] = load_anchors(path)
        shape = list(sets[name].ws.shape[1:])
        if shape != wanted:
            raise DataError(f"{path}: codes are {shape}, those of {gen.name} are {wanted}")
    return sets


def anchors_of(
    gen: Generator,
    judges: Judges,
    starts: np.ndarray | jax.Array,
    settings: AnchorSettings,
    *,
    progress: ProgressFn = silent,
) -> list[Anchors]:
    """`mm_jax.text_anchors` of start codes [N, L, D], as settings and networks say."""
    arguments = dataclasses.asdict(settings)
    key = jax.random.key(arguments.pop("seed"))
    if judges.identity is None:
        arguments["identity_weight"] = 0.0
    arguments |= judges._asdict()
    found = text_anchors(gen, start=starts, key=key, progress=progress, **arguments)
    assert isinstance(found, list)  # as `start` has a batch axis
    return found


def find_anchors(
    gen: Generator,
    judges: Judges,
    starts: Latents,
    folder: Path,
    settings: AnchorSettings,
    *,
    progress: ProgressFn = silent,
) -> list[Anchors]:
    """The anchors of every start code: read where `folder` has them, else found and written.

    Args:
        gen: the generator.
        judges: what pictures are compared with.
        starts: [N, L, D] codes with names; all that are missing are optimised together.
        folder: holds one `anchors_<name>.npz` for each.
        settings: prompts and optimisation.
        progress: told of the steps.
    """
    assert starts.names is not None
    files = [folder / anchor_file(name) for name in starts.names]
    missing = [i for i, file in enumerate(files) if not file.exists()]
    if missing:
        codes = np.asarray(starts.ws)[missing]
        found = anchors_of(gen, judges, codes, settings, progress=progress)
        for i, anchors in zip(missing, found, strict=True):
            save_anchors(files[i], anchors)
    return [load_anchors(file) for file in files]


def find_subspace(anchors: Sequence[Anchors], folder: Path, settings: SubspaceSettings) -> Subspace:
    """The subspace of all anchors together: read from `folder`, else extracted and written."""
    file = folder / SUBSPACE
    if not file.exists():
        save_subspace(file, extract_subspace(anchors, **dataclasses.asdict(settings)))
    return load_subspace(file)


def tables(names: Sequence[str], *, from_prompts: bool) -> list[str]:
    """Names of the files that `find_anchors` and `find_subspace` write, with their sidecars."""
    found = [anchor_file(name) for name in names] if from_prompts else []
    return [f for npz in (*found, SUBSPACE) for f in (npz, npz.replace(".npz", ".json"))]


def outputs(names: Sequence[str], *, from_prompts: bool) -> list[str]:
    """All of these, and the names of the files that `extract` writes."""
    strips = [f"anchors_{name}.png" for name in names]
    return [*tables(names, from_prompts=from_prompts), *strips, MOTION, reports.REPORT]


def extract(
    gen: Generator,
    names: Sequence[str],
    sets: Sequence[Anchors],
    run: RunFolder,
    settings: SubspaceSettings,
    *,
    further: Sequence[Section] = (),
    batch: int | None = None,
    progress: ProgressFn = silent,
) -> Subspace:
    """The subspace of some anchors, with pictures of both and a report; what is there is kept.

    Args:
        gen: the generator that the anchors' codes are of.
        names: of the sets of anchors.
        sets: as many sets of anchors.
        run: the open folder.
        settings: of the decomposition.
        further: sections that the report gets after its own.
        batch: pictures per step, as in `pictures.batches`.
        progress: told of the pictures.

    Raises:
        DataError: anchors that do not fit each other or the generator, or do not move.
        UsageError: a rank or layers that the anchors do not have.
    """
    subspace = find_subspace(sets, run.path, settings)
    draw = functools.partial(pictures.all_pictures, gen, batch=batch, progress=progress)
    for name, anchors in zip(names, sets, strict=True):
        if run.missing([f"anchors_{name}.png"]):
            codes = np.concatenate([np.asarray(anchors.start)[None], np.asarray(anchors.ws)])
            strip = media.strip(draw(codes, label="pictures of anchors"))
            media.save_png(run.file(f"anchors_{name}.png"), strip)
    if run.missing([MOTION]):
        starts = np.stack([np.asarray(anchors.start) for anchors in sets])
        edited = np.asarray(apply_edit(starts, subspace, STRENGTHS))
        media.save_png(run.file(MOTION), media.strip(draw(edited, label="pictures of the motion")))
    if run.missing([reports.REPORT]):
        _report(gen, names, sets, subspace, run, further)
    return subspace


def _report(
    gen: Generator,
    names: Sequence[str],
    sets: Sequence[Anchors],
    subspace: Subspace,
    run: RunFolder,
    further: Sequence[Section],
) -> None:
    clips = ", ".join(str(s.meta["clip"]) for s in sets if "clip" in s.meta)
    title = str(subspace.meta.get("template", clips or "Subspace of stored anchors"))
    degrees = ", ".join(map(str, sets[0].meta.get("labels", ())))
    strips = [
        Figure(
            run.file(f"anchors_{name}.png"),
            caption=f"the start code, then its anchors {degrees}",
            title=name,
        )
        for name in names
    ]
    motion = Figure(
        run.file(MOTION),
        caption="the start codes, at strengths " + ", ".join(f"{s:g}" for s in STRENGTHS),
        title="The motion",
    )
    write_report(
        run.path,
        title,
        [
            Section("Motion", [motion, reports.subspace_charts(sets, subspace, title=title)]),
            Section("Anchors", strips),
            *further,
            reports.settings_section(run.command, run.settings),
        ],
        subtitle=f"A micromotion of {gen.name}, found from {len(sets)} set(s) of anchors",
        facts=reports.subspace_facts(subspace),
    )
