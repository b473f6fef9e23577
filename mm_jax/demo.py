"""The demonstration: five micromotions found from prompts and a clip, transferred, and measured.

For each motion: anchors from a few start faces, one subspace, edits of faces that took no part in
finding it, and what a probe reads from many more. The probe was trained on rendered faces whose
factors are known, never on what it judges, and the method itself sees pictures and prompts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm_jax import io, media
from mm_jax.artifacts import Anchors, Latents, Subspace, load_anchors, save_anchors
from mm_jax.editing import apply_edit
from mm_jax.encoders.encoder import Encoder
from mm_jax.evaluation.motions import TARGETS
from mm_jax.evaluation.reading import read_codes
from mm_jax.jobs import clip_anchors, demo_report, edit, extract, pictures, reports
from mm_jax.jobs.align_settings import AlignSettings
from mm_jax.jobs.settings import DemoSettings
from mm_jax.jobs.video_settings import ClipSettings, VideoAnchorSettings
from mm_jax.latents import sample_latents
from mm_jax.perceptual import Clip
from mm_jax.progress import ProgressFn, silent
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.synthface.factors import FACTORS
from mm_jax.synthface.probe import Probe
from mm_jax.truth import MotionTruth, motion_truth
from mm_jax.video.reading import video_info
from mm_jax.zoo import bundled_clip

__all__ = ["outputs", "run_demo"]

POPULATION, READINGS = "population.npz", "readings.npz"
# What the anchors of a bundled clip are called.
FROM_CLIP = "clip"
TRUTH, OVERVIEW, STRIPS = "truth.json", "overview.png", "strips.png"

# The figures of truth.json, in order.
FIGURES = ("spearman", "right_way", "leakage_mean", "leakage_max", "n")


def _names(seeds: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"seed{seed:04d}" for seed in seeds)


def outputs(settings: DemoSettings) -> list[str]:
    """Names of the files that `run_demo` writes."""
    names = [POPULATION]
    for motion in settings.motions:
        sets = (FROM_CLIP,) if motion in settings.clips else _names(settings.starts)
        own = extract.tables(sets, from_prompts=True)
        own += edit.drawn(_names(settings.faces), settings.edit())
        names += [f"{motion}/{file}" for file in (*own, STRIPS, READINGS)]
    return [*names, OVERVIEW, TRUTH, reports.REPORT]


def run_demo(
    gen: Generator,
    clip: Clip,
    probe: Probe,
    encoder: Encoder | None,
    run: RunFolder,
    settings: DemoSettings,
    *,
    progress: ProgressFn = silent,
) -> dict[str, MotionTruth]:
    """Do what the folder still lacks, and return the figures of each motion.

    Args:
        gen: the generator, whose pictures the probe can read.
        clip: what compares pictures with prompts.
        probe: reads factors off pictures.
        encoder: guesses the codes of a clip's frames, or None.
        run: the open folder.
        settings: what is done.
        progress: told of each step of the work.

    Raises:
        DataError: a stored file of the folder is damaged, or the optimisation diverges.
        UsageError: settings that do not fit the models.
    """
    scale = _population_scale(gen, probe, run, settings, progress)
    found: list[demo_report.MotionResult] = []
    for motion in settings.motions:
        found.append(_do_motion(gen, clip, probe, encoder, run, settings, motion, scale, progress))
    truths = {result.motion: result.truth for result in found}
    if run.missing([TRUTH]):
        io.write_json(
            run.file(TRUTH),
            {name: {k: getattr(truth, k) for k in FIGURES} for name, truth in truths.items()},
        )
    if run.missing([OVERVIEW]):
        _overview(gen, found, run, settings)
    if run.missing([reports.REPORT]):
        demo_report.write(gen, found, run, settings, overview=run.file(OVERVIEW))
    return truths


def _codes(gen: Generator, seeds: Sequence[int], settings: DemoSettings) -> Latents:
    ws = sample_latents(gen, seeds=seeds, truncation_psi=settings.trunc)
    return Latents(ws, _names(seeds), tuple(seeds))


def _population_scale(
    gen: Generator, probe: Probe, run: RunFolder, settings: DemoSettings, progress: ProgressFn
) -> np.ndarray:
    """[F] standard deviation of each factor over the population of unedited faces."""
    file = run.file(POPULATION)
    if not file.exists():
        ws = _codes(gen, settings.population, settings).ws
        read = read_codes(
            gen, probe, ws, batch=settings.batch, progress=progress, label="population"
        )
        io.save_npz(file, readings=read, seeds=np.asarray(settings.population))
    readings = io.load_npz(file, required={"readings": 2})["readings"]
    return np.maximum(readings.std(axis=0), 1e-6)


def _do_motion(
    gen: Generator,
    clip: Clip,
    probe: Probe,
    encoder: Encoder | None,
    run: RunFolder,
    settings: DemoSettings,
    motion: str,
    scale: np.ndarray,
    progress: ProgressFn,
) -> demo_report.MotionResult:
    """Find, draw and measure one motion."""
    folder = run.file(motion)

    def told(label: str, done: int, total: int, /) -> None:
        progress(f"{motion}: {label}", done, total)

    starts = _codes(gen, settings.starts, settings)
    if motion in settings.clips:
        source = f"Learned from a bundled clip, {motion}.mp4, of one face."
        sets = [_clip_anchors(gen, encoder, motion, folder, told)]
    else:
        judges, how = extract.Judges(clip), settings.anchors(motion)
        source = f"“{how.template}”"
        sets = extract.find_anchors(gen, judges, starts, folder, how, progress=told)
    subspace = extract.find_subspace(sets, folder, settings.subspace(motion))
    faces = _codes(gen, settings.faces, settings)
    edit.draw(gen, faces, [subspace], folder, settings.edit(), progress=told)
    _stack_strips(folder, faces.names or ())

    strengths = settings.strengths(settings.measured)
    readings = _readings(gen, probe, subspace, folder, settings, told)
    target, sign = TARGETS[motion]
    truth = motion_truth(readings, strengths, target=target, factor_scale=scale, sign=sign)
    return demo_report.MotionResult(
        motion=motion,
        source=source,
        folder=folder,
        names=faces.names or (),
        anchors=sets,
        subspace=subspace,
        strengths=strengths,
        readings=readings / scale[None, None, :],
        target=target,
        truth=truth,
    )


def _clip_anchors(
    gen: Generator, encoder: Encoder | None, motion: str, folder: Path, progress: ProgressFn
) -> Anchors:
    """The anchors of a bundled clip: read where `folder` has them, else found and written."""
    file = folder / extract.anchor_file(FROM_CLIP)
    if not file.exists():
        align, clip = AlignSettings(aligned=True), ClipSettings()
        # The encoder knows these faces well, and the demonstration is short. Frames that are held
        # together more than by default have less else than the motion in them.
        how = VideoAnchorSettings(clip_steps=0, together_steps=30, temporal_weight=0.3, rest="mean")
        found, _ = clip_anchors.anchors_of_clip(
            gen, encoder, video_info(bundled_clip(motion)), align, clip, how, progress=progress
        )
        save_anchors(file, found)
    return load_anchors(file)


def _readings(
    gen: Generator,
    probe: Probe,
    subspace: Subspace,
    folder: Path,
    settings: DemoSettings,
    progress: ProgressFn,
) -> np.ndarray:
    """[N, S, F] factors read from every identity at every strength, kept in the motion's folder."""
    file = folder / READINGS
    strengths = np.asarray(settings.strengths(settings.measured), np.float32)
    if not file.exists():
        ws = _codes(gen, settings.identities, settings).ws
        read = read_codes(
            gen,
            probe,
            apply_edit(ws, subspace, strengths),
            batch=settings.batch,
            progress=progress,
            label="measuring",
        )
        io.save_npz(file, readings=read, strengths=strengths, seeds=np.asarray(settings.identities))
    shape = (len(settings.identities), len(strengths), len(FACTORS))
    return io.load_npz(file, required={"readings": shape})["readings"]


def _stack_strips(folder: Path, names: Sequence[str]) -> None:
    """All faces' strips below each other, as one picture."""
    if not (folder / STRIPS).exists():
        rows = [media.to_uint8(media.read_image(folder / f"{name}_strip.png")) for name in names]
        media.save_png(folder / STRIPS, np.concatenate(rows))


def _overview(
    gen: Generator,
    found: Sequence[demo_report.MotionResult],
    run: RunFolder,
    settings: DemoSettings,
) -> None:
    """One picture of it all: a row for each motion, each of another face, by growing strength."""
    faces = np.asarray(_codes(gen, settings.faces, settings).ws)
    rows = []
    for i, result in enumerate(found):
        code = faces[i % len(faces)][None]
        rows.append(np.asarray(apply_edit(code, result.subspace, settings.strengths(7)))[0])
    images = pictures.all_pictures(gen, np.stack(rows), batch=settings.batch)
    media.save_png(run.file(OVERVIEW), media.strip(images, gap=2))
