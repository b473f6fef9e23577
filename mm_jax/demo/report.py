"""What the demonstration shows: a table for the terminal, and a page for the browser."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from etils import epy

from mm_jax.artifacts import Anchors, Subspace
from mm_jax.demo.options import DemoOptions
from mm_jax.edit_metrics import MotionTruth
from mm_jax.report import (
    Columns,
    Figure,
    Section,
    Svg,
    Table,
    Text,
    Video,
    parts,
    plots,
    write_report,
)
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator

with epy.lazy_imports():
    from rich import console as rich_console
    from rich import table as rich_table

__all__ = ["LIMITS", "MotionResult", "print_truth", "write"]

# Targets: (minimum, maximum) of each metric.
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "spearman": (0.95, None),
    "right_way": (0.95, None),
    "leakage_mean": (None, 0.1),
    "leakage_max": (None, 0.3),
}

EXPLAINED = """\
Each motion was applied to faces that took no part in finding it, and a probe read the factors off
their images. Spearman is the rank correlation of the motion's own factor with the strength, mean
over faces. Right way is the fraction of faces whose factor moves in the right direction. Leakage of
another factor is its mean change in units of the mean change of the motion's own, both in standard
deviations over the population; mean and maximum are over the other factors."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionResult:
    """All that was found about one motion.

    Attributes:
        motion: its name.
        source: a line on what it was found from.
        folder: where its images and videos lie.
        names: of the faces shown.
        anchors: one set for each start face.
        subspace: of all of them.
        strengths: [S] at which faces were measured.
        readings: [N, S, F] factors read, in standard deviations over the population.
        factors: names of the F factors.
        target: index of the motion's own factor.
        truth: the metrics.
    """

    motion: str
    source: str
    folder: Path
    names: Sequence[str]
    anchors: Sequence[Anchors]
    subspace: Subspace
    strengths: Sequence[float]
    readings: np.ndarray
    factors: tuple[str, ...]
    target: int
    truth: MotionTruth


def _within(name: str, value: float) -> bool:
    low, high = LIMITS[name]
    return (low is None or value >= low) and (high is None or value <= high)


def print_truth(truths: Mapping[str, MotionTruth]) -> None:
    """Print the metrics of every motion as a table; those that fall short are marked."""
    grid = rich_table.Table(title="What a probe reads from unseen faces")
    grid.add_column("motion")
    for name in (*LIMITS, "n"):
        grid.add_column(name, justify="right")
    for motion, truth in truths.items():
        cells = []
        for name in LIMITS:
            value = getattr(truth, name)
            cells.append(f"{value:.3f}" if _within(name, value) else f"[yellow]{value:.3f} ![/]")
        grid.add_row(motion, *cells, str(truth.n))
    if not all(_within(name, getattr(t, name)) for t in truths.values() for name in LIMITS):
        aims = (
            f"{name} at {'most' if low is None else 'least'} {high if low is None else low}"
            for name, (low, high) in LIMITS.items()
        )
        grid.caption = f"! misses its aim ({', '.join(aims)})"
    rich_console.Console().print(grid)


def write(
    gen: Generator,
    found: Sequence[MotionResult],
    run: RunFolder,
    options: DemoOptions,
    *,
    overview: Path,
) -> Path:
    """Write `report.html` into the run's folder."""
    rows = [
        [r.motion, r.factors[r.target], *(getattr(r.truth, name) for name in LIMITS), r.truth.n]
        for r in found
    ]
    method = parts.METHODS.get(options.subspace.method, "SVD for prompts, robust PCA for videos")
    caption = f"{EXPLAINED} Directions are found by {method}."
    table = Table(["motion", "factor", *LIMITS, "n"], rows, limits=LIMITS, caption=caption)
    image = Figure(
        overview,
        caption="one row for each of "
        + ", ".join(r.motion for r in found)
        + f", each of another unseen face; strength from {options.low:g} to {options.high:g}",
    )
    sections = [
        Section("At a glance", [image, table]),
        *(_motion_section(result, options) for result in found),
        parts.settings_section(run.command, run.settings),
    ]
    return write_report(
        run.path,
        "Micromotions",
        sections,
        subtitle=f"Found in a StyleGAN2 from prompts of growing degree, {_found_by(options)}, or "
        "from a video of another face, and transferred to faces that had no part in it. The faces "
        "are rendered, so that the truth is known.",
        metrics={
            "generator": gen.name,
            "resolution": (gen.config.resolution, "px"),
            "motions": len(found),
            "faces measured": len(options.identities),
        },
    )


def _found_by(options: DemoOptions) -> str:
    anchors = options.anchors
    refined = f", refined by {anchors.refine} others" if anchors.refine else ""
    return {
        "optimize": f"for which {len(options.starts)} start faces were optimised",
        "sample": f"by the best of {anchors.samples} sampled faces",
        "gradient": f"by the gradients of CLIP's reading at {anchors.gradients} faces{refined}",
    }[anchors.strategy]


def _motion_section(result: MotionResult, options: DemoOptions) -> Section:
    edit = options.edit_options()
    strips = Figure(
        result.folder / "strips.png",
        caption=f"strength from {options.low:g} to {options.high:g}",
        title="Unseen faces",
        frames=parts.strength_labels(edit.strengths, edit.strip_frames),
    )
    videos = Columns([Video(result.folder / f"{name}.mp4") for name in result.names], least=160)
    response = Svg(
        plots.response_chart(
            result.strengths,
            result.readings,
            names=result.factors,
            target=result.target,
            title=f"Factors against strength, {result.motion}",
        ),
        caption=f"mean over {len(result.readings)} unseen faces; the motion's own factor, "
        f"{result.factors[result.target]}, in colour, with a band of one standard deviation",
        title="What the probe reads",
    )
    charts = parts.subspace_charts(result.anchors, result.subspace, title=result.motion)
    truth = result.truth
    order = np.argsort(truth.per_factor)[::-1]
    others = [i for i in order if i != result.target][:3]
    leaks = ", ".join(f"{result.factors[i]} {truth.per_factor[i]:.2f}" for i in others)
    text = Text(
        f"Spearman {truth.spearman:.3f}, right way {truth.right_way:.1%}, leakage "
        f"{truth.leakage_mean:.3f} on average. What leaks most: {leaks}. By the stricter measure, "
        f"in which changes of opposite sign do not cancel, leakage is {truth.leakage_abs_mean:.3f} "
        f"on average and {truth.leakage_abs_max:.3f} at most."
    )
    title = result.motion.replace("_", " ")
    return Section(title, [strips, videos, text, response, charts], intro=result.source)
