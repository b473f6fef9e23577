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

from collections.abc import Mapping
from typing import Any

from mm_jax import io
from mm_jax.anchors import folder as anchors_folder
from mm_jax.baselines import spaces
from mm_jax.baselines.methods import TABLE
from mm_jax.baselines.world import FIELDS, FROM_VIDEO, SAMPLED, start_names
from mm_jax.evaluation import (
    compared_jobs,
    compared_numbers,
    compared_report,
    compared_videos,
)
from mm_jax.evaluation.compared_jobs import CLAIMS
from mm_jax.evaluation.compared_judge import UNEDITED, Judged, open_judge
from mm_jax.evaluation.compared_parts import (
    direction_in,
    files_of,
    measure_method,
    open_models,
    place_of,
    used,
    videos_of,
    world_of,
)
from mm_jax.evaluation.options import ComparedEval
from mm_jax.evaluation.results import Result
from mm_jax.progress import ProgressFn, silent
from mm_jax.runs import RunFolder

__all__ = ["evaluate", "open_models", "outputs", "videos_of"]


def outputs(options: ComparedEval) -> list[str]:
    """Names of the files that `evaluate` writes beside the tables and the report."""
    videos, names = videos_of(options), [UNEDITED]
    for r in range(options.repetitions):
        place = place_of(r)
        shared = {file for name in used(options, r) for file in TABLE[name].files}
        if options.claims and r == 0:
            shared |= {FIELDS, SAMPLED, spaces.STYLE_FIELDS}
        names += [f"{place}/{file}" for file in sorted(shared)]
        optimized = {"ours_optimize", "ours_one_start", "ours_compat"} & set(options.baselines)
        if optimized or (options.claims and r == 0):
            files = anchors_folder.tables(start_names(options.looked_at.starts))[:-2]
            names += [f"{place}/{motion}/{file}" for motion in options.edits for file in files]
        names += [file for name in used(options, r) for file in files_of(name, r)]
    files = anchors_folder.tables([FROM_VIDEO])[:-2]
    names += [f"{place_of(0)}/{motion}/{file}" for motion in videos for file in files]
    if options.claims:
        for part in (*CLAIMS, compared_videos):
            names += part.outputs(options)
    return [*names, *compared_report.outputs(options)]


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
    if options.jobs > 1:
        compared_jobs.fill(run, options, progress=progress)
    first = world_of(models, run, options, 0, progress)
    for r in range(options.repetitions):
        world = first if r == 0 else world_of(models, run, options, r, progress)
        for name in used(options, r):
            measure_method(name, world, judged, run, options, r, progress)
    found = load_found(run, options, judged)
    claims: dict[str, Any] = {}
    if options.claims:
        for part in CLAIMS:
            claims |= part.measure_all(first, judged, run, options, progress)
        claims |= compared_videos.measure_all(first, judged, found, run, options, progress)
    compared_report.draw(judged, found, run, options)
    return compared_report.result(judged, found, claims, run, options)


def load_found(
    run: RunFolder, options: ComparedEval, judged: Judged
) -> dict[str, list[compared_numbers.Found]]:
    """By method, what each repetition found.

    Raises:
        DataError: a file is damaged, or of other faces.
    """
    found: dict[str, list[compared_numbers.Found]] = {}
    for r in range(options.repetitions):
        for name in used(options, r):
            record_file, arrays_file = map(run.file, files_of(name, r))
            record = io.read_json(record_file)
            count = len(record["strengths"])
            shape = (len(judged.unseen), count, len(judged.judge.factors))
            wanted = {f"{motion}.changes": shape for motion in record["motions"]}
            if judged.second is not None:
                other = (len(judged.unseen), len(judged.second.factors))
                wanted |= {f"{motion}.second": other for motion in record["motions"]}
            arrays = io.load_npz(arrays_file, required=wanted)
            directions = {motion: direction_in(arrays, motion) for motion in record["motions"]}
            found.setdefault(name, []).append(
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
