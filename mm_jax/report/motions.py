"""The report on a motion that was found: its images, what was read back, its anchors and videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax.anchors.finish import FinishedMotion
from mm_jax.anchors.images import MOTION, STRENGTHS, anchor_image, draw_images, image_files
from mm_jax.anchors.notes import anchor_notes
from mm_jax.anchors.readback import ReadBack
from mm_jax.anchors.video_files import comparison_file
from mm_jax.artifacts import Anchors, Subspace
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Banner, Columns, Figure, Section, Svg, Table, Text, plots, write_report
from mm_jax.report.items import Item
from mm_jax.report.parts import REPORT, settings_section, strength_labels, subspace_charts
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.calibration import Calibration
from mm_jax.words import counted

__all__ = [
    "calibration_chart",
    "motion_files",
    "read_back_chart",
    "show_motion",
    "subspace_metrics",
    "video_section",
]


def motion_files(names: Sequence[str]) -> list[str]:
    """Names of the files that `show_motion` writes."""
    return [*image_files(names), REPORT]


def show_motion(
    run: RunFolder,
    gen: Generator,
    names: Sequence[str],
    sets: Sequence[Anchors],
    motion: FinishedMotion,
    *,
    batch: int | None = None,
    progress: ProgressFn = silent,
) -> None:
    """Write what the folder lacks of images of anchors and motion, and of report.html on them.

    Args:
        run: the open folder.
        gen: the generator.
        names: N names of the sets.
        sets: N sets of anchors, from prompts, videos, or files.
        motion: what they have in common.
        batch: images per step.
        progress: called with the images.
    """
    subspace, found = motion.subspace, motion.read_back
    draw_images(gen, names, sets, subspace, run.path, batch=batch, progress=progress)
    if not run.missing([REPORT]):
        return
    videos = [str(one.meta["clip"]) for one in sets if one.meta.get("source") == "video"]
    plain = ", ".join(videos) or "Subspace of stored anchors"
    title = str(subspace.meta.get("template", plain))
    caption = "the start latents, at strengths " + ", ".join(f"{s:g}" for s in STRENGTHS)
    labels = strength_labels([STRENGTHS], range(len(STRENGTHS)))
    moved = Figure(run.file(MOTION), caption=caption, title="The motion", frames=labels)
    first = [] if found is None else [read_back_chart(found, template=title)]
    if calibration := Calibration.of(subspace.meta):
        first.append(calibration_chart(calibration))
    charts = subspace_charts(sets, subspace, title=title, first=first)
    strips = []
    for name, anchors in zip(names, sets, strict=True):
        degrees = ", ".join(map(str, anchors.meta.get("labels", ())))
        caption = f"the start latent, then its anchors {degrees}"
        strips.append(Figure(run.file(anchor_image(name)), caption=caption, title=name))
    banner = None
    if motion.fault:
        banner = Banner(f"{motion.fault.capitalize()}: {motion.words}.", good=False)
    elif found is not None:
        banner = Banner(motion.words, good=True)
    # Stored anchors of a video come without its frames.
    compared = [
        (name, s, run.file(comparison_file(name))) for name, s in zip(names, sets, strict=True)
    ]
    write_report(
        run.path,
        title,
        [
            Section("Motion", [moved, charts]),
            Section("Anchors", [*map(Text, anchor_notes(names, sets, subspace)), *strips]),
            *(video_section(*one) for one in compared if one[2].name in run.outputs),
            settings_section(run.command, run.settings),
        ],
        subtitle=f"A micromotion of {gen.name}, found from {counted(len(sets), 'set')} of anchors",
        banner=banner,
        metrics=subspace_metrics(subspace, found),
    )


def subspace_metrics(subspace: Subspace, found: ReadBack | None = None) -> dict[str, Any]:
    """The key metrics of a subspace, what was read back of it first."""
    metrics: dict[str, Any] = {}
    if found is not None:
        low, high = found.readings[:, found.begin].mean(), found.readings[:, -1].mean()
        metrics |= {
            "degree read back": found.degree,
            "CLIP reads": f"{low:.2f} to {high:.2f}",
            "Spearman": found.spearman,
        }
    if "agreement" in subspace.meta:
        metrics["agreement of gradients"] = float(subspace.meta["agreement"])
    if calibration := Calibration.of(subspace.meta):
        low, high = calibration.saturates
        metrics["reading rises from"] = f"{low:.2f} to {high:.2f}"
    return metrics | {
        "rank": subspace.rank,
        "natural scale": float(subspace.scale),
        "rows of W+": int(subspace.mask.sum()),
    }


def read_back_chart(found: ReadBack, *, template: str) -> Svg:
    """The degree that CLIP reads off other faces, against strength."""
    mean, spread = found.readings.mean(axis=0), found.readings.std(axis=0)
    controls = [plots.Series("", found.strengths, one, quiet=True) for one in found.controls]
    controls[0] = dataclasses.replace(controls[0], name="control prompts")
    read = plots.Series("the prompt", found.strengths, mean, spread=spread, markers=True)
    chart = plots.line_chart(
        [*controls, read],
        title=f"Degree read back of {template}",
        x_label="strength",
        y_label="degree that CLIP reads",
    )
    caption = (
        f"mean over {len(found.readings)} faces that no anchor started from, with a band of one "
        "standard deviation; 0 is the prompts' least degree, 1 their greatest. The degree read "
        f"back is the rise from strength {found.strengths[found.begin]:g} to 1, {found.rise:.2f}, "
        "less what three of four control prompts (the same degrees of things that no face has) "
        f"rise by at most, {found.others:.2f}."
    )
    return Svg(chart, caption=caption, title="What CLIP reads")


def calibration_chart(calibration: Calibration) -> Svg:
    """What CLIP reads along a motion, and where calibrated strengths lie."""
    low, high = calibration.saturates
    measured = plots.Series(
        "", calibration.strengths, np.asarray(calibration.readings), markers=True
    )
    chart = plots.line_chart(
        [measured],
        title="Calibration of the strengths",
        x_label="strength",
        y_label="degree that CLIP reads",
    )
    even = ", ".join(f"{one:.2f}" for one in calibration.strengths_of([-1, -0.5, 0, 0.5, 1]))
    caption = (
        f"mean over sampled faces. It rises from strength {low:.2f} to {high:.2f}; calibrated "
        f"strengths -1, -0.5, 0, 0.5 and 1, of even steps, are strengths {even}."
    )
    return Svg(chart, caption=caption, title="Calibrated strengths")


def video_section(name: str, anchors: Anchors, compared: Path) -> Section:
    """The report's section on the anchors of one video.

    Args:
        name: of the video.
        anchors: as `mm_jax.anchors.video_files` finds them.
        compared: image of frames, and below each what its latent reconstructs.
    """
    meta = anchors.meta
    caption = "frames of the video, and below each what its latent reconstructs"
    items: list[Item] = [Figure(compared, caption=caption, title=str(meta["clip"]))]
    quality = plots.line_chart(
        [plots.Series("", meta["kept"], meta["psnr"])],
        title="Similarity of the frames",
        x_label="frame",
        y_label="PSNR, dB",
    )
    charts = [Svg(quality, caption=f"mean {np.mean(meta['psnr']):.1f} dB", title="Similarity")]
    if (motion := meta["motion"]) is not None:
        progress = plots.line_chart(
            [plots.Series("", meta["kept"], motion["progress"])],
            title="Progress of the motion",
            x_label="frame",
            y_label="progress",
        )
        caption = f"by {motion['measured_by']}; {motion['share']:.0%} of all movement goes this way"
        charts.append(Svg(progress, caption=caption, title="Motion"))
    items.append(Columns(charts))
    if meta["dropped"]:
        rows = [[d["frame"], d["reason"]] for d in meta["dropped"]]
        items.append(Table(["frame", "reason"], rows, title="Frames left out"))
    intro = (
        f"{len(meta['kept'])} of {meta['frames']} frames taken, of {meta['clip_frames']} in all; "
        f"{len(meta['dropped'])} left out."
    )
    return Section(f"Video {name}", items, intro=intro)
