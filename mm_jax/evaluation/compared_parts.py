"""The parts of mm_eval --topic=compared: what every method finds with the keys of one repetition.

A part writes its own files and can be measured in a process of its own, once the first repetition
is there: where strength 1 is in that, the others begin to look for theirs.

Shapes: F factors.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mm_jax import io, zoo
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.baselines import interfacegan
from mm_jax.baselines.methods import TABLE
from mm_jax.baselines.world import Direction, World
from mm_jax.encoders.encoder import load_encoder
from mm_jax.errors import DataError
from mm_jax.evaluation.compared_judge import Judged, measure
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.options import ComparedEval
from mm_jax.faces.identity import open_identity
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.probe import load_probe
from mm_jax.progress import ProgressFn, prefixed
from mm_jax.runs import RunFolder
from mm_jax.zoo import load_generator

__all__ = [
    "direction_in", "files_of", "measure_method", "open_models", "place_of", "used", "videos_of",
    "world_of",
]  # fmt: skip


def open_models(options: ComparedEval) -> dict[str, Any]:
    """The networks by name.

    Raises:
        UsageError: unknown names, a judge or a probe that does not read what a motion is about, or
            scikit-learn is missing for a method that needs it.
        DataError: missing or damaged folders.
    """
    videos = videos_of(options)
    if any(name.startswith("interfacegan") for name in options.baselines):
        interfacegan.check_installed()
    gen = load_generator(options.generator)
    models = {
        "gen": gen,
        "clip": load_clip(options.clip),
        "probe": load_probe(options.probe),
        "judge": load_probe(options.judge),
    }
    if options.second != "none":
        models["second"] = load_probe(options.second)
    for name in sorted({"probe", "judge", "second"} & set(models)):
        for motion in options.edits:
            target_of(motion, models[name].factors)
    if videos:
        models["encoder"] = load_encoder(options.encoder)
    identity = open_identity(options.identity, gen)
    return models if identity is None else {**models, "identity": identity}


def videos_of(options: ComparedEval) -> dict[str, Path]:
    """Files of the videos that there are of the motions; none if no method looks at them."""
    if "ours_video" not in options.baselines:
        return {}
    if options.videos:
        folder = zoo.resolve(options.videos, "videos")
    elif options.generator in zoo.BUNDLED:
        folder = zoo.ASSETS / (zoo.companion(options.generator, "videos") or zoo.VIDEOS)
    else:
        return {}
    files = {motion: folder / f"{motion}.mp4" for motion in options.edits}
    return {motion: file for motion, file in files.items() if file.is_file()}


def place_of(repetition: int) -> str:
    """The folder of a repetition, within that of the run."""
    return f"found{repetition}"


def used(options: ComparedEval, repetition: int) -> list[str]:
    """The methods that are run with the keys of one repetition.

    Without a video no motion is learned from one, and what no key changes is found once.
    """
    return [
        name
        for name in options.baselines
        if (name != "ours_video" or videos_of(options)) and not (repetition and TABLE[name].once)
    ]


def files_of(method: str, repetition: int) -> list[str]:
    """Names of the files of a method with the keys of one repetition."""
    return [f"{place_of(repetition)}/{method}.{kind}" for kind in ("json", "npz")]


def world_of(
    models: Mapping[str, Any],
    run: RunFolder,
    options: ComparedEval,
    repetition: int,
    progress: ProgressFn,
) -> World:
    """What methods may look at with the keys of a repetition."""
    return World(
        models["gen"],
        models["clip"],
        key=jax.random.key(repetition),
        options=options.looked_at.replace(truncation_psi=options.trunc, batch=options.batch),
        probe=models["probe"],
        encoder=models.get("encoder"),
        videos=videos_of(options),
        motions=options.edits,
        folder=run.file(place_of(repetition)),
        video_folder=run.file(place_of(0)),
        progress=prefixed(progress, f"repetition {repetition + 1}"),
    )


def measure_method(
    name: str,
    world: World,
    judged: Judged,
    run: RunFolder,
    options: ComparedEval,
    repetition: int,
    progress: ProgressFn,
) -> None:
    """Find and measure a method's directions: its two files, unless the folder has them.

    Raises:
        DataError: a direction that moves nothing, or a damaged file.
    """
    files = files_of(name, repetition)
    if not run.missing(files):
        return
    numbers_file, arrays_file = map(run.file, files)
    # All strengths once; what varies with the finding is leakage at strength 1.
    strengths = np.asarray(options.strengths if repetition == 0 else (0.0, 1.0))
    first = _first_found(name, run) if repetition else {}
    metrics: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for motion in options.edits:
        if name == "ours_video" and motion not in world.videos:
            continue
        told = prefixed(progress, f"{TABLE[name].title} {repetition + 1}: {motion}")
        target, sign = target_of(motion, judged.judge.factors)
        began = time.process_time()
        direction = TABLE[name].find(world, MOTIONS[motion])
        seconds = time.process_time() - began
        # A direction is as long as that of the first repetition where strength 1 is likely to be.
        near = None
        if repetition:
            before, amount = first[motion]
            near = amount * before.length / max(direction.length, 1e-30)
        try:
            found = measure(
                judged, direction, strengths, target=target, sign=sign, near=near,
                who=repetition == 0, second=True, progress=told,
            )  # fmt: skip
        except DataError as error:
            raise DataError(f"{name}, {motion}: {error}") from error
        metrics[motion] = {**found.metrics, "cpu_seconds": round(seconds, 2)}
        arrays[f"{motion}.changes"] = found.changes.astype(np.float32)
        if found.second is not None:
            arrays[f"{motion}.second"] = found.second.astype(np.float32)
        arrays |= {f"{motion}.move.{part}": move for part, move in direction.arrays().items()}
    io.save_npz(arrays_file, **arrays)
    io.write_json(
        numbers_file,
        {
            "method": name,
            "repetition": repetition,
            "strengths": strengths.tolist(),
            "motions": metrics,
        },
    )


def _first_found(name: str, run: RunFolder) -> dict[str, tuple[Direction, float]]:
    """By motion, a method's direction of the first repetition, and how much of it is strength 1."""
    numbers_file, arrays_file = map(run.file, files_of(name, 0))
    record, arrays = io.read_json(numbers_file), io.load_npz(arrays_file, required={})
    return {
        motion: (direction_in(arrays, motion), own["amount"])
        for motion, own in record["motions"].items()
    }


def direction_in(arrays: Mapping[str, np.ndarray], motion: str) -> Direction:
    """The direction of a motion among the arrays of a method's file."""
    start = f"{motion}.move."
    return Direction.of({k[len(start) :]: v for k, v in arrays.items() if k.startswith(start)})
