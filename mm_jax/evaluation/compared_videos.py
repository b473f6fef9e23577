"""Whether an edited video stays one person, a part of mm_eval --topic=compared.

The latents of each video's frames, as our anchors of it have them, are moved by each method along
another motion, by strength 1. TL-ID is the mean similarity of a frame's identity to the next
one's, TG-ID of all pairs of frames, both over that of the frames before the edit: 1 is as before
(Tzaban, Mokady, Gal, Bermano, Cohen-Or 2022, "Stitch it in Time", arXiv:2201.08361). Identity is
told by the face recogniser, and by the factors of the judge that say who it is, in standard
deviations from the population's mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_jax import io, rendering
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.baselines.moving import moved_images
from mm_jax.baselines.world import Direction, World
from mm_jax.evaluation.compared_judge import Judged, identify
from mm_jax.evaluation.motions import identity_factors
from mm_jax.evaluation.options import ComparedEval
from mm_jax.evaluation.reading import read_images
from mm_jax.progress import ProgressFn
from mm_jax.runs import RunFolder

__all__ = ["identity_along", "measure_all", "other_motion", "outputs"]

VIDEOS = "claims/videos.json"


def outputs(options: ComparedEval) -> list[str]:
    """Names of the files that are written."""
    del options  # whatever is compared
    return [VIDEOS]


def other_motion(video: str, edits: Sequence[str]) -> str:
    """The motion that a motion's video is edited by: the next one, or itself if there is none."""
    return edits[(edits.index(video) + 1) % len(edits)]


def identity_along(vectors: np.ndarray) -> tuple[float, float]:
    """Mean cosine of the identities [T, E] of neighbouring frames, and of all pairs of frames."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = units @ units.T
    return float(np.diag(cosines, 1).mean()), float(cosines[np.triu_indices(len(units), 1)].mean())


def measure_all(
    world: World,
    judged: Judged,
    found: Mapping[str, Sequence[Any]],
    run: RunFolder,
    options: ComparedEval,
    progress: ProgressFn,
) -> dict[str, Any]:
    """TL-ID and TG-ID by method, means over the videos; read if the folder has them.

    Args:
        world: has the videos.
        judged: who reads.
        found: by method its repetitions, the first of which is taken
            (`mm_jax.evaluation.compared_numbers.Found`).
        run: the output folder.
        options: what is measured.
        progress: called with the videos.
    """
    file = run.file(VIDEOS)
    if not file.exists():
        io.write_json(file, _measure(world, judged, found, options, progress))
    return {"videos": io.read_json(file)}


def _measure(
    world: World,
    judged: Judged,
    found: Mapping[str, Sequence[Any]],
    options: ComparedEval,
    progress: ProgressFn,
) -> dict[str, Any]:
    places = identity_factors(judged.judge.factors)

    def told(images: np.ndarray) -> dict[str, tuple[float, float]]:
        by = {}
        if judged.identity is not None:
            by["recogniser"] = identity_along(identify(judged.identity, images, options.batch))
        if len(places) > 1:
            read = read_images(judged.judge, images, batch=options.batch) / judged.scale[None]
            by["factors"] = identity_along((read - judged.mean[None])[:, places])
        return by

    rows: dict[str, list[dict[str, float]]] = {name: [] for name in found}
    videos = [name for name in options.edits if name in world.videos]
    for done, video in enumerate(videos):
        ws = np.asarray(world.video_anchors(MOTIONS[video]).ws)
        before = told(rendering.render_all(judged.gen, ws, batch=options.batch))
        motion = other_motion(video, options.edits)
        for name, repetitions in found.items():
            if motion not in repetitions[0].metrics:
                continue
            direction: Direction = repetitions[0].directions[motion]
            amounts = np.array([repetitions[0].metrics[motion]["amount"]])
            images = moved_images(judged.gen, ws, direction, amounts, batch=options.batch)
            after = told(np.concatenate(list(images)))
            row = {}
            for by, (local, everywhere) in after.items():
                row[f"TL-ID by {by}"] = local / max(before[by][0], 1e-6)
                row[f"TG-ID by {by}"] = everywhere / max(before[by][1], 1e-6)
            rows[name].append(row)
        progress("edited videos", done + 1, len(videos))
    return {
        "videos": {video: other_motion(video, options.edits) for video in videos},
        "methods": {
            name: {key: float(np.mean([row[key] for row in own])) for key in own[0]}
            for name, own in rows.items()
            if own
        },
    }
