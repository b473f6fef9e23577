"""mm_eval --topic=compared: micromotions beside the usual methods, measured against known factors.

Every method (`mm_jax.baselines.methods`) finds a direction for every motion, several times with
other keys. A direction is scaled on some faces until its target changes by one standard deviation,
and then moves faces that no method has seen. The judge reads what changes; no method has seen the
judge either. `mm_jax.evaluation.compared_measures` says what the metrics are.

What each method found and what the judge read is kept, one json and one npz for each method and
repetition, so that a run that was stopped resumes.

Shapes: N faces, S strengths, F factors, L rows of W+, D latent width.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mm_jax import io, zoo
from mm_jax.anchors import folder as anchors_folder
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.baselines import interfacegan, spaces
from mm_jax.baselines.methods import TABLE
from mm_jax.baselines.world import FIELDS, FROM_VIDEO, SAMPLED, Direction, World, start_names
from mm_jax.encoders.encoder import load_encoder
from mm_jax.errors import DataError
from mm_jax.evaluation import (
    compared_claims,
    compared_dci,
    compared_gradients,
    compared_numbers,
    compared_report,
    compared_videos,
)
from mm_jax.evaluation.compared_judge import UNEDITED, Judged, measure, open_judge
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.options import ComparedEval
from mm_jax.evaluation.results import Result
from mm_jax.faces.identity import open_identity
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.probe import load_probe
from mm_jax.progress import ProgressFn, prefixed, silent
from mm_jax.runs import RunFolder
from mm_jax.zoo import load_generator

__all__ = ["evaluate", "open_models", "outputs", "videos_of"]

# What is measured beside the methods.
_CLAIMS = (compared_claims, compared_gradients, compared_dci)


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


def _stem(method: str, repetition: int) -> str:
    return f"{_place(repetition)}/{method}"


def _place(repetition: int) -> str:
    return f"found{repetition}"


def outputs(options: ComparedEval) -> list[str]:
    """Names of the files that `evaluate` writes beside the tables and the report."""
    videos, names = videos_of(options), [UNEDITED]
    for r in range(options.repetitions):
        place = _place(r)
        shared = {file for name in _used(options) for file in TABLE[name].files}
        if options.claims and r == 0:
            shared |= {FIELDS, SAMPLED, spaces.STYLE_FIELDS}
        names += [f"{place}/{file}" for file in sorted(shared)]
        optimized = {"ours_optimize", "ours_one_start", "ours_compat"} & set(options.baselines)
        if optimized or (options.claims and r == 0):
            files = anchors_folder.tables(start_names(options.looked_at.starts))[:-2]
            names += [f"{place}/{motion}/{file}" for motion in options.edits for file in files]
        for name in _used(options):
            if r < _repetitions(name, options):
                names += [f"{_stem(name, r)}.{kind}" for kind in ("json", "npz")]
    files = anchors_folder.tables([FROM_VIDEO])[:-2]
    names += [f"{_place(0)}/{motion}/{file}" for motion in videos for file in files]
    if options.claims:
        for part in (*_CLAIMS, compared_videos):
            names += part.outputs(options)
    return [*names, *compared_report.outputs(options)]


def _used(options: ComparedEval) -> list[str]:
    """The methods that can be run: without a video, no motion is learned from one."""
    return [name for name in options.baselines if name != "ours_video" or videos_of(options)]


def _repetitions(name: str, options: ComparedEval) -> int:
    """How often a method is run: once, if no key changes what it finds."""
    return 1 if TABLE[name].once else options.repetitions


def evaluate(
    models: Mapping[str, Any],
    run: RunFolder,
    options: ComparedEval,
    progress: ProgressFn = silent,
) -> Result:
    """Find what the folder lacks, measure it, and put the tables together.

    Raises:
        DataError: a damaged file, a direction that moves nothing, or a video that cannot be read.
    """
    judged = open_judge(models, run, options, progress)
    first = _world(models, run, options, 0, progress)
    for r in range(options.repetitions):
        world = first if r == 0 else _world(models, run, options, r, progress)
        for name in _used(options):
            if r < _repetitions(name, options):
                _find_and_measure(name, world, judged, run, options, r, progress)
    found = load_found(run, options, judged)
    claims: dict[str, Any] = {}
    if options.claims:
        for part in _CLAIMS:
            claims |= part.measure_all(first, judged, run, options, progress)
        claims |= compared_videos.measure_all(first, judged, found, run, options, progress)
    compared_report.draw(judged, found, run, options)
    return compared_report.result(judged, found, claims, run, options)


def _world(
    models: Mapping[str, Any],
    run: RunFolder,
    options: ComparedEval,
    repetition: int,
    progress: ProgressFn,
) -> World:
    return World(
        models["gen"],
        models["clip"],
        key=jax.random.key(repetition),
        options=options.looked_at.replace(truncation_psi=options.trunc, batch=options.batch),
        probe=models["probe"],
        encoder=models.get("encoder"),
        videos=videos_of(options),
        motions=options.edits,
        folder=run.file(_place(repetition)),
        video_folder=run.file(_place(0)),
        progress=prefixed(progress, f"repetition {repetition + 1}"),
    )


def _find_and_measure(
    name: str,
    world: World,
    judged: Judged,
    run: RunFolder,
    options: ComparedEval,
    repetition: int,
    progress: ProgressFn,
) -> None:
    """Write the two files of one method and repetition, unless they are there."""
    stem = _stem(name, repetition)
    if not run.missing([f"{stem}.json", f"{stem}.npz"]):
        return
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
    io.save_npz(run.file(f"{stem}.npz"), **arrays)
    io.write_json(
        run.file(f"{stem}.json"),
        {
            "method": name,
            "repetition": repetition,
            "strengths": strengths.tolist(),
            "motions": metrics,
        },
    )


def _first_found(name: str, run: RunFolder) -> dict[str, tuple[Direction, float]]:
    """By motion, a method's direction of the first repetition, and how much of it is strength 1."""
    stem = _stem(name, 0)
    record, arrays = (
        io.read_json(run.file(f"{stem}.json")),
        io.load_npz(run.file(f"{stem}.npz"), required={}),
    )
    return {
        motion: (_direction(arrays, motion), own["amount"])
        for motion, own in record["motions"].items()
    }


def _direction(arrays: Mapping[str, np.ndarray], motion: str) -> Direction:
    start = f"{motion}.move."
    return Direction.of({k[len(start) :]: v for k, v in arrays.items() if k.startswith(start)})


def load_found(
    run: RunFolder, options: ComparedEval, judged: Judged
) -> dict[str, list[compared_numbers.Found]]:
    """By method, what each repetition found.

    Raises:
        DataError: a file is damaged, or of other faces.
    """
    found: dict[str, list[compared_numbers.Found]] = {}
    for name in _used(options):
        found[name] = []
        for r in range(_repetitions(name, options)):
            stem = _stem(name, r)
            record = io.read_json(run.file(f"{stem}.json"))
            count = len(record["strengths"])
            shape = (len(judged.unseen), count, len(judged.judge.factors))
            wanted = {f"{motion}.changes": shape for motion in record["motions"]}
            if judged.second is not None:
                other = (len(judged.unseen), len(judged.second.factors))
                wanted |= {f"{motion}.second": other for motion in record["motions"]}
            arrays = io.load_npz(run.file(f"{stem}.npz"), required=wanted)
            directions = {motion: _direction(arrays, motion) for motion in record["motions"]}
            found[name].append(
                compared_numbers.Found(
                    record["motions"],
                    {motion: arrays[f"{motion}.changes"] for motion in record["motions"]},
                    directions,
                    {
                        motion: arrays[f"{motion}.second"]
                        for motion in record["motions"]
                        if f"{motion}.second" in arrays
                    },
                )
            )
    return found
