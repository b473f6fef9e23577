"""The demonstration: five micromotions found from prompts and a video, transferred, and measured.

For each motion: anchors from a few start faces, one subspace, edits of faces that took no part in
finding it, and what a probe reads from many more. The probe was trained on rendered faces whose
factors are known, never on what it measures here; the method itself sees images and prompts only.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

from mm_jax import io, media, rendering
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors import folder as anchors_folder
from mm_jax.anchors.calibrate import calibrate, calibrated
from mm_jax.anchors.gradient import SampledFaces, sampled_faces
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.anchors.video_files import anchors_of_video
from mm_jax.artifacts import Anchors, Latents, Subspace, load_subspace, save_subspace
from mm_jax.demo import report as demo_report
from mm_jax.demo.options import DemoOptions
from mm_jax.edit_metrics import MotionTruth, motion_truth
from mm_jax.editing import draw
from mm_jax.editing.affine import apply_edit
from mm_jax.editing.limits import motion_limits
from mm_jax.encoders.encoder import Encoder
from mm_jax.errors import UsageError
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.reading import factor_scale, read_latents
from mm_jax.latents import sample_latents
from mm_jax.media.video_reading import video_info
from mm_jax.perceptual.clip import Clip
from mm_jax.perceptual.probe import Probe
from mm_jax.progress import ProgressFn, prefixed, silent
from mm_jax.report import parts
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.zoo import ASSETS, BUNDLED, bundled_video, record

__all__ = ["install_motions", "outputs", "run_demo"]

POPULATION, READINGS = "population.npz", "readings.npz"
# What the anchors of a bundled video are called.
FROM_VIDEO = "clip"
TRUTH, OVERVIEW, STRIPS = "truth.json", "overview.png", "strips.png"

MOTIONS_KIND = "motions"
# What the metadata of a bundled subspace says.
_KEPT = (
    "source", "template", "clip", "generator", "generator_fingerprint", "method", "rank",
    "pc1_ratio_raw", "effective_rank",
)  # fmt: skip

# The metrics of truth.json, in order.
METRICS = ("spearman", "right_way", "leakage_mean", "leakage_max", "n")


def _names(seeds: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"seed{seed:04d}" for seed in seeds)


def outputs(options: DemoOptions) -> list[str]:
    """Names of the files that `run_demo` writes."""
    names = [POPULATION]
    for motion in options.motions:
        sets = (FROM_VIDEO,) if motion in options.videos else _names(options.starts)
        own = anchors_folder.tables(sets)
        own += draw.files_of(_names(options.faces), options.edit_options())
        names += [f"{motion}/{file}" for file in (*own, STRIPS, READINGS)]
    return [*names, OVERVIEW, TRUTH, parts.REPORT]


def run_demo(
    gen: Generator,
    clip: Clip,
    probe: Probe,
    encoder: Encoder | None,
    run: RunFolder,
    options: DemoOptions,
    *,
    progress: ProgressFn = silent,
) -> dict[str, MotionTruth]:
    """Do what the folder still lacks, and return the metrics of each motion.

    Args:
        gen: the generator, whose images the probe can read.
        clip: the network that compares images with prompts.
        probe: reads factors off images.
        encoder: guesses the latents of a video's frames, or None.
        run: the open folder.
        options: what is done.
        progress: called with each step of the work.

    Raises:
        DataError: a stored file of the folder is damaged, or the optimisation diverges.
        UsageError: options that do not fit the models.
    """
    scale = _population_scale(gen, probe, run, options, progress)

    @functools.cache
    def sampled() -> SampledFaces:
        # Once for all motions.
        key = jax.random.key(options.anchors.seed)
        return sampled_faces(gen, clip, key, options.anchors, progress=progress)

    how = options.anchors.resolved(())
    refining = sampled if how.strategy == "gradient" and how.refine else None
    found = [
        _do_motion(gen, clip, probe, encoder, run, options, motion, scale, refining, progress)
        for motion in options.motions
    ]
    truths = {result.motion: result.truth for result in found}
    if run.missing([TRUTH]):
        io.write_json(
            run.file(TRUTH),
            {name: {k: getattr(truth, k) for k in METRICS} for name, truth in truths.items()},
        )
    if run.missing([OVERVIEW]):
        _overview(gen, found, run, options)
    if run.missing([parts.REPORT]):
        demo_report.write(gen, found, run, options, overview=run.file(OVERVIEW))
    return truths


def install_motions(
    gen: Generator,
    clip: Clip,
    generator_name: str,
    run: RunFolder,
    options: DemoOptions,
    *,
    progress: ProgressFn = silent,
) -> Path:
    """Put the subspaces of a finished run into the package, as the motions of its generator.

    Each is calibrated by the prompt of its motion, also if it was learned from a video, where what
    CLIP reads changes about strength 0.

    Args:
        gen: the generator.
        clip: the network that compares its images with prompts.
        generator_name: its bundled name.
        run: the folder, with a subspace for each motion.
        options: of the run.
        progress: called with the images.

    Raises:
        UsageError: no motions are bundled with this generator.
        DataError: what CLIP reads hardly rises along a motion.
    """
    name = f"{generator_name}-{MOTIONS_KIND}"
    if BUNDLED.get(name) != MOTIONS_KIND:
        raise UsageError(f"no motions are bundled with {generator_name}")
    folder = ASSETS / name
    found = {}
    for motion in options.motions:
        subspace = load_subspace(run.file(motion) / anchors_folder.SUBSPACE)
        # Of each anchor's search the sidecar keeps every step, which is much, and for reports only.
        kept = {key: subspace.meta[key] for key in _KEPT if key in subspace.meta}
        meta = {**kept, "limits": motion_limits(gen, subspace)}
        curve = calibrate(
            gen, clip, subspace, template=MOTIONS[motion].template,
            degrees=options.anchors.degrees, truncation_psi=options.trunc,
            batch_size=options.batch, progress=prefixed(progress, motion),
        )  # fmt: skip
        found[motion] = dataclasses.replace(subspace, meta=meta)
        low, high = curve.saturates
        if low <= 0 <= high:
            found[motion] = calibrated(found[motion], curve)
        else:
            # The prompts grade another part of the motion, as those of a turn to the right do for
            # a head that turns from left to right: even steps are not known on both sides.
            progress(f"{motion}: what CLIP reads does not change about strength 0", 1, 1)
    for old in folder.glob("*"):
        old.unlink()
    for motion, subspace in found.items():
        save_subspace(folder / f"{motion}.npz", subspace)
    record(name)
    return folder


def _sampled(gen: Generator, seeds: Sequence[int], options: DemoOptions) -> Latents:
    ws = sample_latents(gen, seeds=seeds, truncation_psi=options.trunc)
    return Latents(ws, _names(seeds), tuple(seeds))


def _population_scale(
    gen: Generator, probe: Probe, run: RunFolder, options: DemoOptions, progress: ProgressFn
) -> np.ndarray:
    """[F] standard deviation of each factor over the population of unedited faces."""
    file = run.file(POPULATION)
    if not file.exists():
        ws = _sampled(gen, options.population, options).ws
        read = read_latents(
            gen, probe, ws, batch=options.batch, progress=progress, label="population"
        )
        io.save_npz(file, readings=read, seeds=np.asarray(options.population))
    readings = io.load_npz(file, required={"readings": 2})["readings"]
    return factor_scale(readings)


def _do_motion(
    gen: Generator,
    clip: Clip,
    probe: Probe,
    encoder: Encoder | None,
    run: RunFolder,
    options: DemoOptions,
    motion: str,
    scale: np.ndarray,
    sampled: Callable[[], SampledFaces] | None,
    progress: ProgressFn,
) -> demo_report.MotionResult:
    """Find, render and measure one motion."""
    folder = run.file(motion)

    told = prefixed(progress, motion)
    starts = _sampled(gen, options.starts, options)
    layers = MOTIONS[motion].layers
    if motion in options.videos:
        source = f"Learned from a bundled video, {motion}.mp4, of one face."
        sets = [_video_anchors(gen, encoder, motion, folder, options, told)]
    else:
        template = MOTIONS[motion].template
        source = f"“{template}”"
        how = options.anchors.replace(layers=layers)
        sets = anchors_folder.find_anchors(
            gen, clip, template, starts, folder, how, sampled=sampled, progress=told
        )
    subspace = anchors_folder.find_subspace(sets, folder, options.subspace.replace(layers=layers))
    faces = _sampled(gen, options.faces, options)
    draw.draw(gen, faces, [subspace], folder, options.edit_options(), progress=told)
    _stack_strips(folder, faces.names or ())

    strengths = options.strengths(options.measured)
    readings = _readings(gen, probe, subspace, folder, options, told)
    target, sign = target_of(motion, probe.factors)
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
        factors=probe.factors,
        target=target,
        truth=truth,
    )


def _video_anchors(
    gen: Generator,
    encoder: Encoder | None,
    motion: str,
    folder: Path,
    options: DemoOptions,
    progress: ProgressFn,
) -> Anchors:
    """The anchors of a bundled video: read where `folder` has them, else found and written."""

    def find() -> Anchors:
        info = video_info(bundled_video(motion))
        align = AlignOptions(aligned=True)
        found, _ = anchors_of_video(
            gen, encoder, info, align=align, options=options.video_anchors, progress=progress
        )
        return found

    return anchors_folder.keep_anchors(folder / anchors_folder.anchor_file(FROM_VIDEO), find)


def _readings(
    gen: Generator,
    probe: Probe,
    subspace: Subspace,
    folder: Path,
    options: DemoOptions,
    progress: ProgressFn,
) -> np.ndarray:
    """[N, S, F] factors read from every identity at every strength, kept in the motion's folder."""
    file = folder / READINGS
    strengths = np.asarray(options.strengths(options.measured), np.float32)
    if not file.exists():
        ws = _sampled(gen, options.identities, options).ws
        read = read_latents(
            gen,
            probe,
            apply_edit(ws, subspace, strengths),
            batch=options.batch,
            progress=progress,
            label="measuring",
        )
        io.save_npz(file, readings=read, strengths=strengths, seeds=np.asarray(options.identities))
    shape = (len(options.identities), len(strengths), len(probe.factors))
    return io.load_npz(file, required={"readings": shape})["readings"]


def _stack_strips(folder: Path, names: Sequence[str]) -> None:
    """All faces' strips below each other, as one image."""
    if not (folder / STRIPS).exists():
        rows = [media.to_uint8(media.read_image(folder / f"{name}_strip.png")) for name in names]
        media.save_png(folder / STRIPS, np.concatenate(rows))


def _overview(
    gen: Generator,
    found: Sequence[demo_report.MotionResult],
    run: RunFolder,
    options: DemoOptions,
) -> None:
    """One image of it all: a row for each motion, each of another face, by growing strength."""
    faces = np.asarray(_sampled(gen, options.faces, options).ws)
    rows = []
    for i, result in enumerate(found):
        own = faces[i % len(faces)][None]
        rows.append(np.asarray(apply_edit(own, result.subspace, options.strengths(7)))[0])
    images = rendering.render_all(gen, np.stack(rows), batch=options.batch)
    media.save_png(run.file(OVERVIEW), media.strip(images, gap=2))
