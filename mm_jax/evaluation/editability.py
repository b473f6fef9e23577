"""Whether motions move inverted latents as they move the latents that the images are drawn from.

The effect of a motion on latents is the mean change of its own factor, as the judge reads it, from
strength -1 to 1. A share of 1 is its effect on latents of the same faces that nothing was inverted
for: how far a motion goes depends on the face, as eyes that are shut cannot be closed. A share says
nothing of the rest of the image, and above 1 it is no better. Of a generated image it is known what
its edit looks like, so there the edited images are compared too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mm_jax.editing.affine import apply_edit
from mm_jax.evaluation.motions import effects, find_motions, load_motions
from mm_jax.evaluation.options import InversionEval
from mm_jax.inversion.losses import psnr
from mm_jax.progress import ProgressFn
from mm_jax.rendering import render_all
from mm_jax.report import Table
from mm_jax.runs import RunFolder

__all__ = ["AIM", "GENERATED", "Inverted", "measure", "table"]

AIM = 0.9
# The kind of images that are drawn from the sampled latents.
GENERATED = "generated"


class Inverted(NamedTuple):
    """Latents [n, L, D] of the first images of a kind, and the PSNR of what they draw."""

    kind: str
    ws: np.ndarray
    psnr: float


def measure(
    models: Mapping[str, Any],
    latents: Mapping[str, Inverted],
    sampled: Mapping[str, np.ndarray],
    run: RunFolder,
    options: InversionEval,
    progress: ProgressFn,
) -> list[dict[str, Any]]:
    """The share of each motion's effect that latents keep.

    Args:
        models: "gen", "judge", and "clip" where motions have to be found.
        latents: by label, what is measured.
        sampled: [N, L, D] by kind of image, what they are compared with, face by face.
        run: motions that have to be found are kept in its folder.
        options: where motions are, and the batch.
        progress: called with each motion.

    Returns:
        For each label: latents, n, psnr, the fraction of each motion, and, of generated images,
        "edited": PSNR in dB of the images at strength 1 to those of the sampled latents there, mean
        over faces and motions; else None.
    """
    gen, judge, batch = models["gen"], models["judge"], options.batch
    if options.subspaces:
        motions = load_motions(options.subspaces, gen, options.edits)
    else:
        motions = find_motions(
            gen,
            models["clip"],
            run.file("motions"),
            motions=options.edits,
            batch=batch,
            progress=progress,
        )

    def effect(ws: np.ndarray, label: str) -> dict[str, np.ndarray]:
        return effects(gen, judge, ws, motions, batch=batch, progress=progress, label=label)

    def moved(ws: np.ndarray) -> np.ndarray:
        edited = np.stack([apply_edit(ws, motion, 1.0)[:, 0] for motion in motions.values()])
        return render_all(gen, edited, batch=batch)  # [motions, n, H, W, 3]

    whole = {kind: effect(ws, f"{kind}, sampled latents") for kind, ws in sampled.items()}
    drawn = moved(sampled[GENERATED])
    rows = []
    for label, (kind, ws, decibels) in latents.items():
        own, n = effect(ws, label), len(ws)
        shares = {
            motion: float(moved.mean() / whole[kind][motion][:n].mean())
            for motion, moved in own.items()
        }
        edited = None
        if kind == GENERATED:
            pairs = zip(moved(ws), drawn[:, :n], strict=True)
            edited = float(np.mean([psnr(found, true) for found, true in pairs]))
        row = {"latents": label, "n": n, "psnr": decibels, "edited": edited, "shares": shares}
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of `measure` for a report."""
    names = list(rows[0]["shares"])
    return Table(
        ["latents", "n", "PSNR", "edited", *names],
        [
            [
                *(row["latents"], row["n"], row["psnr"], row["edited"]),
                *(row["shares"][name] for name in names),
            ]
            for row in rows
        ],
        units=["", "", "dB", "dB", *[""] * len(names)],
        title="Editability",
        caption="The effect of each motion on these latents over its effect on sampled latents of "
        f"the same faces; {AIM} is aimed at. Edited: PSNR of the images at strength 1 to those of "
        "the sampled latents there, mean over the motions.",
        digits=2,
        limits={name: (AIM, None) for name in names},
    )
