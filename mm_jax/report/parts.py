"""Parts that several reports share: anchors and their subspace, edits, videos, settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax.anchors.readback import ReadBack
from mm_jax.artifacts import Anchors, Subspace
from mm_jax.report import Code, Columns, Figure, Section, Svg, Table, Video, plots
from mm_jax.report.items import Item

__all__ = [
    "REPORT",
    "anchor_losses",
    "edit_items",
    "read_back_chart",
    "settings_section",
    "strength_labels",
    "subspace_charts",
    "subspace_facts",
    "video_section",
]

REPORT = "report.html"
METHODS = {"rpca": "robust PCA", "svd": "plain SVD", "compat": "the official code's rule"}


def anchor_losses(sets: Sequence[Anchors], *, title: str) -> Svg | None:
    """Loss curves of the degrees, mean over start latents; None for anchors found without steps."""
    curves: dict[str, list[Any]] = {}
    for anchors in sets:
        losses = anchors.meta.get("losses", ())
        for name, curve in zip(_labels(anchors), losses, strict=bool(losses)):
            curves.setdefault(name, []).append(curve)
    # Sets may lack some of the degrees, but all have the same steps.
    if not curves or len({len(curve) for some in curves.values() for curve in some}) != 1:
        return None
    mean = np.stack([np.mean(np.asarray(some, np.float64), axis=0) for some in curves.values()])
    return Svg(
        plots.loss_chart(mean.T, title=title, names=list(curves)),
        caption=f"by optimisation step, one curve per degree, mean of {len(sets)} start latents",
        title="Loss of the anchors",
    )


def _labels(anchors: Anchors) -> list[str]:
    """What the anchors' degrees are called: as the prompts had them, else their numbers."""
    labels = anchors.meta.get("labels", ())
    if len(labels) == len(anchors.ws):
        return [str(label) for label in labels]
    return [f"{degree:g}" for degree in np.asarray(anchors.degrees)]


def subspace_facts(subspace: Subspace, found: ReadBack | None = None) -> dict[str, Any]:
    """The key figures of a subspace, what was read back of it first."""
    facts: dict[str, Any] = {}
    if found is not None:
        low, high = found.readings[:, found.begin].mean(), found.readings[:, -1].mean()
        facts |= {
            "degree read back": found.degree,
            "CLIP reads": f"{low:.2f} to {high:.2f}",
            "Spearman": found.spearman,
        }
    if "agreement" in subspace.meta:
        facts["agreement of gradients"] = float(subspace.meta["agreement"])
    return facts | {
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


def subspace_charts(
    sets: Sequence[Anchors], subspace: Subspace, *, title: str, first: Sequence[Item] = ()
) -> Columns:
    """Singular spectrum, and loss curves where there are any, side by side after `first`."""
    method = subspace.meta.get("method", "svd")
    of = "low-rank part" if method == "rpca" else "anchors"
    spectrum = Svg(
        plots.spectrum_chart(
            subspace.singular_values, title=f"Singular values of {title}", rank=subspace.rank
        ),
        caption=f"by {METHODS.get(method, method)}; the first component holds "
        f"{float(subspace.pc1_ratio):.1%} of the variance of the {of}. That tells how straight "
        "they lie, not whether the motion is the one that was asked for",
        title="Singular spectrum",
    )
    losses = anchor_losses(sets, title=f"Loss curves of {title}")
    return Columns([*first, spectrum] if losses is None else [*first, spectrum, losses])


def edit_items(
    folder: Path, name: str, kinds: Sequence[str], caption: str, *, frames: Sequence[str] = ()
) -> list[Item]:
    """The report's items on one edited latent: its strip and, if there is one, its video.

    Args:
        folder: of the files.
        name: of the latent.
        kinds: formats that were written.
        caption: of the strip.
        frames: labels of the strip's frames, if they are square.
    """
    items: list[Item] = [
        Figure(folder / f"{name}_strip.png", caption=caption, title=name, frames=frames)
    ]
    if "mp4" in kinds:
        items.append(Video(folder / f"{name}.mp4", wide=False))
    elif "gif" in kinds:
        items.append(Figure(folder / f"{name}.gif", wide=False))
    return items


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


def strength_labels(rows: Sequence[Sequence[float]], shown: Sequence[int]) -> list[str]:
    """What the frames of a strip are called: their strengths.

    Args:
        rows: [E][S] strengths of each subspace in every frame.
        shown: indices of the frames that the strip shows.
    """
    words = [", ".join(f"{row[i]:+.2f}" for row in rows) for i in shown]
    return [word.replace("-", "\u2212") for word in words]


def settings_section(command: str, settings: Mapping[str, Any]) -> Section:
    """The settings of a run, so that the report says how it was made."""
    rows = [[name, _text(value)] for name, value in settings.items()]
    return Section("Settings", [Code(command), Table(["setting", "value"], rows)])


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
