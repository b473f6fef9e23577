"""What mm_eval --topic=compared writes: sheets of faces, chart, CSV, and the page."""

from __future__ import annotations

import csv
import io as text_io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_jax import io, media, rendering
from mm_jax.baselines.moving import moved_images
from mm_jax.evaluation.compared_measures import Draws
from mm_jax.evaluation.compared_numbers import COLUMNS, Found, numbers_of
from mm_jax.evaluation.compared_tables import label, tables
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.options import ComparedEval
from mm_jax.evaluation.results import Result
from mm_jax.report import Figure, Section, Svg
from mm_jax.report.plots import Series, line_chart
from mm_jax.runs import RunFolder

__all__ = ["CHART", "CSV", "csv_text", "draw", "outputs", "result"]

CSV, CHART = "compared.csv", "compared.svg"
# Faces that are shown, and how far they are moved: twice the standard deviation is well seen.
_SHOWN, _STRENGTH = 4, 2.0
# As many as can be told apart by colour; the others are grey.
_COLOURED = (
    "ganspace",
    "sefa",
    "styleclip",
    "interfacegan_clip",
    "clip_regression",
    "ours_optimize",
    "ours_refined",
    "ceiling_regression",
)
_CAPTION = (
    "Means over the motions, of the first repetition; bands are 95 % intervals over faces. Grey: "
    "the other methods."
)


def outputs(options: ComparedEval) -> list[str]:
    """Names of the files that are written beside json, Markdown and report."""
    return [CSV, CHART, *(_sheet(motion) for motion in options.edits)]


def _sheet(motion: str) -> str:
    return f"faces_{motion}.png"


def draw(
    judged: Any, found: Mapping[str, Sequence[Found]], run: RunFolder, options: ComparedEval
) -> None:
    """Write the sheets of images that are missing: a row of unedited faces, then one a method."""
    ws = judged.unseen[:_SHOWN]
    for motion in options.edits:
        file = run.file(_sheet(motion))
        if file.exists():
            continue
        rows = [rendering.render_all(judged.gen, ws, batch=options.batch)]
        for name in _drawn(found, motion):
            one = found[name][0]
            amounts = np.array([_STRENGTH * one.metrics[motion]["amount"]])
            images = moved_images(
                judged.gen, ws, one.directions[motion], amounts, batch=options.batch
            )
            rows.append(np.concatenate(list(images)))
        media.save_png(file, media.grid(np.concatenate(rows), len(ws), gap=2))


def _drawn(found: Mapping[str, Sequence[Found]], motion: str) -> list[str]:
    return [name for name, repetitions in found.items() if motion in repetitions[0].metrics]


def chart(
    found: Mapping[str, Sequence[Found]], factors: Sequence[str], options: ComparedEval
) -> str:
    """Leakage against change of the target, means over the motions, as SVG.

    The band is the 95 % interval over faces, of the first repetition.
    """
    draws = Draws.make(len(options.unseen), 1)
    series = []
    for name, repetitions in found.items():
        one = repetitions[0]
        if name == "random" or set(one.changes) != set(options.edits):
            continue
        across, up = [], []
        for motion, changes in one.changes.items():
            target, _ = target_of(motion, factors)
            across.append(np.abs(changes[:, :, target].mean(axis=0)))
            up.append(draws.band(changes, target))
        band = np.mean(up, axis=0)  # [1 + B, S]
        low, high = np.percentile(band[1:], [2.5, 97.5], axis=0)
        loud = name in _COLOURED
        series.append(
            Series(
                label(name) if loud else "others",
                np.mean(across, axis=0),
                (low + high) / 2 if loud else band[0],
                spread=(high - low) / 2 if loud else None,
                quiet=not loud,
            )
        )
    return line_chart(
        series,
        title="Leakage of the compared methods against the change of the target",
        x_label="change of the target (standard deviations)",
        y_label="mean change of other factors",
        height=420,
    )


def csv_text(numbers: Mapping[str, Any]) -> str:
    """A line for each method and motion; empty where there is nothing to tell."""
    out = text_io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    bounds = [f"{key}_{end}" for key in ("leakage", "largest") for end in ("value", "low", "high")]
    writer.writerow(["method", "sees", "motion", *bounds, *COLUMNS])
    for name, method in numbers["methods"].items():
        for motion, own in method["motions"].items():
            writer.writerow(
                [name, method["sees"], motion, *own["leakage"], *own["largest"]]
                + ["" if own[key] is None else own[key] for key in COLUMNS]
            )
    return out.getvalue()


def result(
    judged: Any,
    found: Mapping[str, Sequence[Found]],
    claims: Mapping[str, Any],
    run: RunFolder,
    options: ComparedEval,
) -> Result:
    """Write table and figure as files, and put the result together."""
    factors = judged.judge.factors
    other = () if judged.second is None else judged.second.factors
    numbers = {**numbers_of(found, factors, options, second=other), "claims": dict(claims)}
    io.write_atomic(run.file(CSV), lambda file: file.write(csv_text(numbers).encode()))
    svg = chart(found, factors, options)
    io.write_atomic(run.file(CHART), lambda file: file.write(svg.encode()))
    sheets = [
        Figure(
            run.file(_sheet(motion)),
            title=motion.replace("_", " "),
            caption=f"The target moved by {_STRENGTH:g} standard deviations. From above: unedited; "
            + "; ".join(label(name) for name in _drawn(found, motion)),
        )
        for motion in options.edits
    ]
    return Result(
        title="Micromotions beside the usual methods",
        subtitle=f"{len(options.unseen)} faces of {judged.gen.name}, read by {options.judge}",
        metrics=numbers,
        tables=tables(numbers, claims),
        sections=[
            Section("Leakage against change of the target", [Svg(svg, caption=_CAPTION)]),
            Section("The same faces, the same change of the target", sheets),
        ],
    )
