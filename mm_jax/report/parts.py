"""Parts that several reports share: anchors and their subspace, edits, videos, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax.artifacts import Anchors, Subspace
from mm_jax.report import Code, Columns, Figure, Section, Svg, Table, Video, plots
from mm_jax.report.items import Item

__all__ = [
    "REPORT",
    "anchor_losses",
    "edit_items",
    "settings_section",
    "strength_labels",
    "subspace_charts",
    "subspace_facts",
    "video_section",
]

REPORT = "report.html"


def anchor_losses(sets: Sequence[Anchors], *, title: str) -> Svg | None:
    """Loss curves of the degrees, mean over start latents; None for anchors found without steps."""
    losses = [anchors.meta["losses"] for anchors in sets if "losses" in anchors.meta]
    if not losses or len({np.shape(one) for one in losses}) != 1:
        return None
    mean = np.mean(np.asarray(losses, np.float64), axis=0)
    labels = sets[0].meta.get("labels")
    names = [str(label) for label in labels] if labels and len(labels) == len(mean) else None
    return Svg(
        plots.loss_chart(mean.T, title=title, names=names),
        caption=f"by optimisation step, one curve per degree, mean of {len(losses)} start latents",
        title="Loss of the anchors",
    )


def subspace_facts(subspace: Subspace) -> dict[str, Any]:
    """The key figures of a subspace."""
    facts: dict[str, Any] = {"PC1 ratio": float(subspace.pc1_ratio), "rank": subspace.rank}
    if "effective_rank" in subspace.meta:
        facts["effective rank"] = float(subspace.meta["effective_rank"])
    return facts | {"natural scale": float(subspace.scale), "rows of W+": int(subspace.mask.sum())}


def subspace_charts(sets: Sequence[Anchors], subspace: Subspace, *, title: str) -> Columns:
    """Singular spectrum, and loss curves where there are any, side by side."""
    spectrum = Svg(
        plots.spectrum_chart(
            subspace.singular_values, title=f"Singular values of {title}", rank=subspace.rank
        ),
        caption=f"the first component holds {float(subspace.pc1_ratio):.1%} of the variance "
        "of the low-rank part",
        title="Singular spectrum",
    )
    losses = anchor_losses(sets, title=f"Loss curves of {title}")
    return Columns([spectrum] if losses is None else [spectrum, losses])


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
