"""mm_eval --topic=faces: what networks that know real faces see in edits of any generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mm_jax import rendering
from mm_jax.alignment.framing import framing_of
from mm_jax.editing.affine import apply_edit
from mm_jax.errors import DataError
from mm_jax.evaluation.motions import load_motions
from mm_jax.evaluation.options import FacesEval
from mm_jax.evaluation.results import Result
from mm_jax.faces.judge import READ, TARGETS, Verdict, judge_edits
from mm_jax.faces.readings import FaceReader, Readings
from mm_jax.latents import class_labels, sample_latents
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Table
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.zoo import load_generator

__all__ = ["evaluate", "open_models", "outputs"]

EXPLAINED = """\
Read by networks that were trained on photographs of other people; how far each reading can be \
believed is in mm_jax/assets/faces/MODEL_CARD.md. The metrics are those of mm_jax/edit_metrics.py, \
with readings in place of factors: leakage is the change of another reading in units of the \
target's, each in standard deviations over the faces. Person: mean distance of a face's \
descriptors from the lowest to the highest strength, beside the mean distance of different faces. \
Unread: faces that were not found at every strength, and are left out."""


def open_models(options: FacesEval) -> dict[str, Any]:
    """The generator; the networks that read are bundled.

    Raises:
        UsageError: an unknown name. DataError: a damaged folder.
    """
    return {"gen": load_generator(options.generator)}


def outputs(options: FacesEval) -> list[str]:
    """Names of the files that `evaluate` writes beside the tables and the report: none."""
    del options
    return []


def evaluate(
    models: Mapping[str, Any],
    run: RunFolder,
    options: FacesEval,
    progress: ProgressFn = silent,
    *,
    reader: Callable[[Any], Readings] | None = None,
) -> Result:
    """Edit sampled faces along each motion, and read what moved.

    Args:
        models: of `open_models`.
        run: the output folder.
        options: what is measured.
        progress: called with the images.
        reader: what reads images, a `FaceReader` by default.

    Raises:
        UsageError: no folder of subspaces, and a motion that is not bundled.
        DataError: a subspace that is missing or of another generator, or a motion of which no
            verdict can be given; it is named.
    """
    del run
    gen: Generator = models["gen"]
    motions = load_motions(options.subspaces, gen, options.edits)
    reader = reader or FaceReader(framing_of(gen))
    labels = class_labels(gen, options.label, len(options.identities))
    ws = sample_latents(gen, seeds=options.identities, truncation_psi=options.trunc, labels=labels)
    ws = np.asarray(ws)
    verdicts = {}
    for motion, subspace in motions.items():
        edited = np.asarray(apply_edit(ws, subspace, options.strengths))  # [N, S, L, D]
        batches = rendering.render_batches(
            gen,
            edited.reshape(-1, *edited.shape[2:]),
            batch=options.batch,
            progress=progress,
            label=motion,
        )
        readings = Readings.join([reader(images) for _, images in batches])
        target, sign = TARGETS[motion]
        try:
            verdicts[motion] = judge_edits(readings, options.strengths, target=target, sign=sign)
        except DataError as error:
            raise DataError(f"{motion}: {error}") from error
    return _result(gen, verdicts, options)


def _result(gen: Generator, verdicts: Mapping[str, Verdict], options: FacesEval) -> Result:
    rows = []
    for motion, verdict in verdicts.items():
        truth = verdict.truth
        target, _ = TARGETS[motion]
        leaks = {name: leak for name, leak in zip(READ, truth.per_factor, strict=True)}
        del leaks[target]
        worst = max(leaks, key=lambda name: leaks[name])
        rows.append(
            [
                motion,
                target,
                truth.spearman,
                truth.right_way,
                truth.leakage_mean,
                f"{leaks[worst]:.3f} ({worst})",
                verdict.identity_change,
                verdict.identity_between,
                verdict.unread,
            ]
        )
    table = Table(
        columns=[
            "motion",
            "reading",
            "Spearman",
            "right way",
            "leakage, mean",
            "leakage, max",
            "person: changed",
            "person: others",
            "unread",
        ],
        rows=rows,
        title="What strangers see",
        caption=EXPLAINED,
    )
    metrics = {
        "readings": list(READ),
        "strengths": list(options.strengths),
        "verdicts": {
            motion: {
                "target": TARGETS[motion][0],
                **verdict.truth.to_dict(),
                "identity_change": verdict.identity_change,
                "identity_between": verdict.identity_between,
                "unread": verdict.unread,
            }
            for motion, verdict in verdicts.items()
        },
    }
    return Result(
        title="Edits seen by strangers",
        subtitle=f"{gen.name}, {len(options.identities)} faces",
        metrics=metrics,
        tables=[table],
    )
