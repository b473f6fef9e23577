"""Video: what is learned from a video with bad frames, by robust PCA and by plain SVD.

A bundled video shows a rendered face in a known motion. A fifth of its frames is spoiled (something
before the face, or noise), and the direction that is learned from it moves faces that took no part.
The judge reads what that changes. Dropping bad frames and robust PCA are measured apart.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_jax import io, media
from mm_jax.anchors.video import video_anchors
from mm_jax.artifacts import Anchors, Subspace, load_anchors, save_anchors
from mm_jax.edit_metrics import MotionTruth, motion_truth
from mm_jax.editing.affine import apply_edit
from mm_jax.encoders.encoder import load_encoder
from mm_jax.errors import UsageError
from mm_jax.evaluation.motions import find_motions, target_of
from mm_jax.evaluation.options import VideoEval
from mm_jax.evaluation.reading import factor_scale, read_latents
from mm_jax.evaluation.results import Result
from mm_jax.latents import sample_latents
from mm_jax.media.video_reading import read_frames, video_info
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.probe import load_probe
from mm_jax.progress import ProgressFn, prefixed
from mm_jax.report import Figure, Section, Table
from mm_jax.runs import RunFolder
from mm_jax.subspace.decompose import extract_subspace
from mm_jax.zoo import bundled_video, load_generator

__all__ = ["CONDITIONS", "evaluate", "open_models", "outputs"]

# By label: whether frames are spoiled, whether bad ones are dropped, how anchors are decomposed.
CONDITIONS: dict[str, tuple[bool, bool, dict[str, Any]]] = {
    "rpca, bad frames dropped": (True, True, {"method": "rpca"}),
    "svd, bad frames dropped": (True, True, {"method": "svd"}),
    "rpca, all frames": (True, False, {"method": "rpca"}),
    "rpca of entries, all frames": (True, False, {"method": "rpca", "outliers": "entries"}),
    "svd, all frames": (True, False, {"method": "svd"}),
    "svd, video without bad frames": (False, False, {"method": "svd"}),
}
LIMITS = {"Spearman": (0.95, None), "mean leakage": (None, 0.1)}
# The video's whole motion, half of it each way, since faces rest in its middle.
STRENGTHS = (-0.5, -0.25, 0.0, 0.25, 0.5)


def open_models(options: VideoEval) -> dict[str, Any]:
    """The networks by name.

    Raises:
        UsageError: unknown names, a motion of which there is no video, or videos of another size
            than the generator's images.
        DataError: missing or damaged files.
    """
    gen = load_generator(options.generator)
    for motion in options.motions:
        info = video_info(bundled_video(motion, options.videos))
        if set(info.size) != {gen.config.resolution}:
            raise UsageError(
                f"{options.generator} draws {gen.config.resolution} px, the video of {motion} is "
                f"{info.size[1]}x{info.size[0]}"
            )
    return {
        "gen": gen,
        "encoder": load_encoder(options.encoder),
        "judge": load_probe(options.judge),
        "clip": load_clip(options.clip),
    }


def _anchors_file(motion: str, spoiled: bool, drop: bool) -> str:
    kind = ("dropped" if drop else "all") if spoiled else "clean"
    return f"{motion}/anchors_{kind}.npz"


def outputs(options: VideoEval) -> list[str]:
    """Names of the files that `evaluate` writes."""
    files = ["population.npz"]
    for motion in options.motions:
        kinds = {_anchors_file(motion, *condition[:2]) for condition in CONDITIONS.values()}
        files += sorted(kinds) + sorted(name.replace(".npz", ".json") for name in kinds)
        files += [f"{motion}/readings_{i}.npz" for i in range(len(CONDITIONS))]
        files.append(f"{motion}/frames.png")
    return files


def evaluate(
    models: Mapping[str, Any], run: RunFolder, options: VideoEval, progress: ProgressFn
) -> Result:
    """Do what the folder still lacks, and return the metrics."""
    scale = _population_scale(models, run, options, progress)
    text = find_motions(
        models["gen"],
        models["clip"],
        run.file("text"),
        batch=options.batch,
        motions=options.motions,
        starts=options.text_starts,
        progress=progress,
    )
    rows, cosines, metrics, sections = [], [], {}, []
    for motion in options.motions:
        found: dict[str, Subspace] = {}
        metrics[motion] = {"conditions": {}}
        for index, (label, condition) in enumerate(CONDITIONS.items()):
            anchors = _anchors(models, run, options, motion, condition[:2], progress)
            found[label] = extract_subspace(anchors, rank=1, **condition[2])
            file = f"{motion}/readings_{index}.npz"
            truth = _truth(models, run.file(file), options, motion, found[label], scale, progress)
            rows.append([motion, label, truth.spearman, truth.leakage_mean, truth.leakage_max])
            metrics[motion]["conditions"][label] = {
                "spearman": truth.spearman,
                "right_way": truth.right_way,
                "leakage_mean": truth.leakage_mean,
                "leakage_max": truth.leakage_max,
                "dropped": anchors.meta["dropped"],
                "frames": int(anchors.meta["frames"]),
            }
        # What prompts and the video say of the motion, as vectors [L D].
        own = np.asarray(found["rpca, bad frames dropped"].direction).ravel()
        other = np.asarray(text[motion].direction).ravel()
        cosine = float(own @ other / np.linalg.norm(own) / np.linalg.norm(other))
        metrics[motion]["cosine_text_video"] = cosine
        # Of the frames that were left out, how many had been spoiled on purpose.
        spoiled = _spoiled(options, motion)[1]
        metrics[motion]["spoiled"] = list(spoiled)
        dropped = {
            d["frame"] for d in metrics[motion]["conditions"][next(iter(CONDITIONS))]["dropped"]
        }
        hits = len(dropped & set(spoiled))
        cosines.append([motion, cosine, f"{hits} of {len(spoiled)}", len(dropped - set(spoiled))])
        sections.append(_frames(run, options, motion))
    return Result(
        title="Micromotions from videos",
        subtitle=f"{options.spoiled:.0%} of the frames spoiled; "
        f"{len(options.identities)} unseen faces of {models['gen'].name}",
        metrics=metrics,
        tables=[
            Table(
                ["motion", "condition", "Spearman", "mean leakage", "largest leakage"],
                rows,
                title="What the judge reads from unseen faces",
                limits=LIMITS,
                caption="From strength -0.5 to 0.5, the video's whole motion. 'rpca' takes whole "
                "latents for outliers, 'rpca of entries' single numbers of them.",
            ),
            Table(
                ["motion", "cosine", "spoiled frames found", "sound frames dropped"],
                cosines,
                title="Directions from text and from the video, and frames dropped",
                caption="Cosine of the direction learned from prompts with the "
                "one from the video (rpca, bad frames dropped).",
            ),
        ],
        sections=sections,
    )


@functools.lru_cache(maxsize=1)
def _spoiled(options: VideoEval, motion: str) -> tuple[np.ndarray, tuple[int, ...]]:
    return spoil(_video(options, motion), fraction=options.spoiled, seed=options.spoil_seed)


def _video(options: VideoEval, motion: str) -> np.ndarray:
    """All frames of a motion's video, ``[T, R, R, 3]`` float32 in [-1, 1]."""
    info = video_info(bundled_video(motion, options.videos))
    frames = np.stack([frame for _, frame in read_frames(info)])
    return frames.astype(np.float32) / 127.5 - 1


def spoil(frames: np.ndarray, *, fraction: float, seed: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Spoil some frames, half of them by something before the face and half by noise.

    Args:
        frames: ``[T, R, R, 3]`` float in [-1, 1].
        fraction: of the frames, in [0, 1]; the first and the last are spared.
        seed: of which, where and how.

    Returns:
        A copy of the frames, and which of them are spoiled, in order.
    """
    rng = np.random.default_rng(seed)
    count = min(round(fraction * len(frames)), max(len(frames) - 2, 0))
    spoiled = np.array(frames, np.float32)
    chosen = rng.permutation(np.arange(1, len(frames) - 1))[:count]
    side = frames.shape[1]
    for place, index in enumerate(chosen):
        if place % 2:
            noise = rng.standard_normal(frames.shape[1:]).astype(np.float32)
            spoiled[index] = np.clip(spoiled[index] + 0.8 * noise, -1.0, 1.0)
            continue
        height, width = (rng.uniform(0.35, 0.6, 2) * side).astype(int)
        top, left = (rng.uniform(0.15, 0.5, 2) * side).astype(int)
        colour = rng.uniform(-1.0, 1.0, 3).astype(np.float32)
        spoiled[index, top : top + height, left : left + width] = colour
    return spoiled, tuple(sorted(chosen.tolist()))


def _anchors(
    models: Mapping[str, Any],
    run: RunFolder,
    options: VideoEval,
    motion: str,
    kind: tuple[bool, bool],
    progress: ProgressFn,
) -> Anchors:
    file = run.file(_anchors_file(motion, *kind))
    if not file.exists():
        spoiled, drop = kind
        frames = _spoiled(options, motion)[0] if spoiled else _video(options, motion)
        told = prefixed(progress, f"{file.parent.name}, {file.stem}")
        found = video_anchors(
            models["gen"],
            frames,
            encoder=models["encoder"],
            steps=options.video_steps,
            together_steps=options.together_steps,
            drop=drop,
            progress=told,
        )
        save_anchors(file, found)
    return load_anchors(file)


def _population_scale(
    models: Mapping[str, Any], run: RunFolder, options: VideoEval, progress: ProgressFn
) -> np.ndarray:
    """[F] standard deviation of each factor over the population of unedited faces."""
    file = run.file("population.npz")
    if not file.exists():
        ws = sample_latents(models["gen"], seeds=options.population, truncation_psi=options.trunc)
        read = read_latents(
            models["gen"], models["judge"], ws, batch=options.batch, progress=progress,
            label="population",
        )  # fmt: skip
        io.save_npz(file, readings=read)
    return factor_scale(io.load_npz(file, required={"readings": 2})["readings"])


def _truth(
    models: Mapping[str, Any],
    file: Any,
    options: VideoEval,
    motion: str,
    subspace: Subspace,
    scale: np.ndarray,
    progress: ProgressFn,
) -> MotionTruth:
    if not file.exists():
        ws = sample_latents(models["gen"], seeds=options.identities, truncation_psi=options.trunc)
        edited = apply_edit(ws, subspace, STRENGTHS)
        read = read_latents(
            models["gen"], models["judge"], edited, batch=options.batch, progress=progress,
            label=f"{motion}, {file.stem}",
        )  # fmt: skip
        io.save_npz(file, readings=read)
    factors = models["judge"].factors
    shape = (len(options.identities), len(STRENGTHS), len(factors))
    read = io.load_npz(file, required={"readings": shape})["readings"]
    target, sign = target_of(motion, factors)
    return motion_truth(read, STRENGTHS, target=target, factor_scale=scale, sign=sign)


def _frames(run: RunFolder, options: VideoEval, motion: str) -> Section:
    """The video as it was given."""
    file = run.file(f"{motion}/frames.png")
    if not file.exists():
        media.save_png(file, media.grid(_spoiled(options, motion)[0], 13, gap=2))
    title = motion.replace("_", " ")
    return Section(title, [Figure(file, caption="the frames, the spoiled ones among them")])
