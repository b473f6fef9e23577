"""The report on inverted images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm_jax.faces.readings import OTHER_PERSON
from mm_jax.inversion.judge import InversionVerdict
from mm_jax.report import Banner, Columns, Figure, Section, Svg, Table, parts, plots, write_report
from mm_jax.runs import RunFolder

__all__ = ["write_inversion_report"]


def write_inversion_report(
    run: RunFolder,
    verdict: InversionVerdict,
    *,
    generator: str,
    pairs: Sequence[Path],
    curves: np.ndarray,
) -> None:
    """Write report.html: images beside what is rendered for them, the verdict, the loss.

    Args:
        run: the open folder.
        verdict: on N images, in the order of `pairs` and `curves`.
        generator: name of the generator.
        pairs: N files that show an image on the left and its rendering on the right.
        curves: [N, steps + 1] float, the loss at the start and after each step.
    """
    judged = verdict.judged
    rows = [
        [
            name,
            judged[name].psnr,
            judged[name].laplacian,
            judged[name].lpips,
            judged[name].face,
            judged[name].identity,
            judged[name].from_mean,
            float(curve[0]),
            float(curve.min()),
            judged[name].fault or "usable",
        ]
        for name, curve in zip(judged, curves, strict=True)
    ]
    table = Table(
        [
            "image", "PSNR", "Laplacian", "LPIPS", "face found", "identity", "from mean",
            "loss at the start", "lowest loss", "verdict",
        ],
        rows,
        units=["", "dB", "", "", "", "", "", "", "", ""],
        limits={"identity": (None, OTHER_PERSON)},
        caption="Of the images shown, at the generator's size"
        + (", rendered by the tuned generator" if verdict.tuned else "")
        + f". Identity: distance of the faces' descriptors, {OTHER_PERSON:g} and more is another "
        "person. From mean: squared distance of the latent from the mean one, 1 for sampled ones.",
    )  # fmt: skip
    figures = [
        Figure(pair, caption=one.fault or f"{one.psnr:.1f} dB", title=name)
        for pair, (name, one) in zip(pairs, judged.items(), strict=True)
    ]
    sections = [Section("Images", [Columns(figures, least=220), table])]
    if curves.shape[1] > 1:
        chart = plots.loss_chart(curves.mean(axis=0), title="Loss of the inversion")
        caption = f"mean over {len(curves)} images, at the start and after each step"
        sections.append(Section("Loss", [Svg(chart, caption=caption)]))
    write_report(
        run.path,
        "Inverted images",
        [*sections, parts.settings_section(run.command, run.settings)],
        subtitle=f"Images on the left, what {generator} renders for their latents on the right.",
        metrics={"images": len(judged), "usable": verdict.usable},
        banner=Banner(verdict.line(), good=verdict.good),
        embed=False,
    )
