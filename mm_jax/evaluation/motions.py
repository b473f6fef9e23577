"""The five micromotions for a topic: of an mm_demo run, or found anew as mm_demo finds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm_jax.artifacts import Latents, Subspace, load_subspace
from mm_jax.editing import apply_edit
from mm_jax.errors import DataError
from mm_jax.evaluation.reading import read_codes
from mm_jax.jobs import extract
from mm_jax.jobs.settings import DemoSettings
from mm_jax.latents import sample_latents
from mm_jax.perceptual import Clip
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.synthface.captions import ATTRIBUTES
from mm_jax.synthface.factors import FACTORS
from mm_jax.synthface.probe import Probe

__all__ = ["TARGETS", "effects", "find_motions", "load_motions"]

# For each motion the factor that it is about, and whether that grows or falls with its degree.
TARGETS = {a.name: (FACTORS.index(a.factor), 1 if a.slope > 0 else -1) for a in ATTRIBUTES}


def load_motions(folder: Path, gen: Generator, motions: Sequence[str]) -> dict[str, Subspace]:
    """The subspaces of motions of an mm_demo run.

    Raises:
        DataError: a missing or damaged file, or one of another generator.
    """
    found = {}
    for motion in motions:
        path = folder / motion / extract.SUBSPACE
        found[motion] = load_subspace(path)
        home = found[motion].meta.get("generator_fingerprint")
        if home not in (None, gen.fingerprint):
            raise DataError(f"{path} was found in another generator than {gen.name}")
    return found


def find_motions(
    gen: Generator,
    clip: Clip,
    folder: Path,
    *,
    batch: int,
    motions: Sequence[str] | None = None,
    starts: Sequence[int] | None = None,
    progress: ProgressFn = silent,
) -> dict[str, Subspace]:
    """The subspaces that mm_demo finds from prompts; what `folder` has is not looked for again.

    Args:
        gen, clip: the generator, and what judges its pictures.
        folder: where they are kept.
        batch: pictures per step.
        motions: which, all by default.
        starts: seeds of the start faces, mm_demo's by default.
        progress: told of the steps.
    """
    settings = DemoSettings(batch=batch)
    if starts is not None:
        settings = dataclasses.replace(settings, starts=tuple(starts))
    names = tuple(f"seed{seed:04d}" for seed in settings.starts)
    ws = sample_latents(gen, seeds=settings.starts, truncation_psi=settings.trunc)
    faces = Latents(ws, names, settings.starts)
    found = {}
    for motion in motions or settings.motions:

        def told(label: str, done: int, total: int, /, motion: str = motion) -> None:
            progress(f"{motion}: {label}", done, total)

        own = folder / motion
        judges, how = extract.Judges(clip), settings.anchors(motion)
        sets = extract.find_anchors(gen, judges, faces, own, how, progress=told)
        found[motion] = extract.find_subspace(sets, own, settings.subspace(motion))
    return found


def effects(
    gen: Generator,
    probe: Probe,
    ws: np.ndarray,
    motions: dict[str, Subspace],
    *,
    batch: int = 16,
    progress: ProgressFn = silent,
    label: str = "editing",
) -> dict[str, np.ndarray]:
    """How far each motion moves its own factor, from strength -1 to 1, in each code.

    Args:
        gen, probe: the generator, and what reads its pictures.
        ws: [N, L, D] codes.
        motions: subspaces by name.
        batch, progress, label: as in `read_codes`.

    Returns:
        [N] by motion, in the units of factors, positive where the motion goes its own way.
    """
    found = {}
    for motion, subspace in motions.items():
        edited = np.asarray(apply_edit(ws, subspace, [-1.0, 1.0]))
        read = read_codes(
            gen, probe, edited, batch=batch, progress=progress, label=f"{label}: {motion}"
        )
        target, sign = TARGETS[motion]
        found[motion] = sign * (read[:, 1, target] - read[:, 0, target])
    return found
