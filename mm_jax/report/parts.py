"""Parts that several reports share: charts of anchors and their subspace, labels, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_jax.artifacts import Anchors, Subspace
from mm_jax.progress import longest, stages_so_far
from mm_jax.report import Code, Columns, Html, Section, Svg, Table, plots
from mm_jax.report.items import Item

__all__ = [
    "REPORT",
    "anchor_losses",
    "live_section",
    "settings_section",
    "strength_labels",
    "subspace_charts",
]

REPORT = "report.html"
# Stages whose cost a report lists; the others are one row.
_STAGES = 12
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


def live_section(markup: str) -> list[Section]:
    """The section of faces that the reader moves; none where there is no markup."""
    intro = "Drawn in your browser by the run's own generator; 0 is the face without an edit."
    return [Section("Live", [Html(markup)], intro=intro)] if markup else []


def strength_labels(rows: Sequence[Sequence[float]], shown: Sequence[int]) -> list[str]:
    """What the frames of a strip are called: their strengths.

    Args:
        rows: [E][S] strengths of each subspace in every frame.
        shown: indices of the frames that the strip shows.
    """
    words = [", ".join(f"{row[i]:+.2f}" for row in rows) for i in shown]
    return [word.replace("-", "\u2212") for word in words]


def settings_section(command: str, settings: Mapping[str, Any]) -> Section:
    """How the report's content was made: the settings that say something, what stages cost."""
    texts = {name: _text(value) for name, value in settings.items()}
    rows = [[name, text] for name, text in texts.items() if text not in ("", "()", "[]", "{}")]
    items: list[Item] = [Code(command), Table(["setting", "value"], rows)]
    if stages := stages_so_far():
        named, together = longest(stages, _STAGES), sum(stages.values())
        if len(named) < len(stages):
            named["others"] = together - sum(named.values())
        named["together"] = together
        cost = [[stage, f"{seconds:.1f}"] for stage, seconds in named.items()]
        items.append(Table(["stage", "seconds"], cost, title="What it cost up to this report"))
    return Section("Settings", items)


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
