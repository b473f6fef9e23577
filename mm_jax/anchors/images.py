"""Images of anchors and of their motion, in the folder that holds both.

Shapes: M anchors, S strengths, N start latents, L rows of W+, D latent width, R side of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm_jax import media, rendering
from mm_jax.artifacts import Anchors, Subspace
from mm_jax.editing.affine import apply_edit
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator

__all__ = ["MOTION", "STRENGTHS", "anchor_image", "draw_images", "image_files", "save_comparison"]

MOTION = "motion.png"
#: What the image of the motion shows of each start latent.
STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0)
# Frames that a comparison shows at most.
_COMPARED = 16


def anchor_image(name: str) -> str:
    """Name of the image of the anchors of the start latent called `name`."""
    return f"anchors_{name}.png"


def image_files(names: Sequence[str]) -> list[str]:
    """Names of the files that `draw_images` writes."""
    return [*map(anchor_image, names), MOTION]


def draw_images(
    gen: Generator,
    names: Sequence[str],
    sets: Sequence[Anchors],
    subspace: Subspace,
    folder: Path,
    *,
    batch: int | None = None,
    progress: ProgressFn = silent,
) -> None:
    """Write those of `image_files` that `folder` lacks.

    Args:
        gen: the generator.
        names: N names of the sets.
        sets: N sets of anchors, M x [L, D] and a start [L, D] each.
        subspace: their motion, which is drawn from every start.
        folder: where files go.
        batch: images per step, by default as many as fit in about 2 GiB and at most 16.
        progress: called with the images.
    """
    todo: dict[Path, np.ndarray] = {}
    for name, anchors in zip(names, sets, strict=True):
        # The start, then its anchors: [1, 1 + M, L, D].
        ws = np.concatenate([np.asarray(anchors.start)[None], np.asarray(anchors.ws)])
        todo[folder / anchor_image(name)] = ws[None]
    starts = np.stack([np.asarray(anchors.start) for anchors in sets])  # [N, L, D]
    todo[folder / MOTION] = np.asarray(apply_edit(starts, subspace, STRENGTHS))  # [N, S, L, D]
    todo = {file: ws for file, ws in todo.items() if not file.exists()}
    flat = [ws.reshape(-1, *ws.shape[2:]) for ws in todo.values()]
    drawn = rendering.render_groups(gen, flat, batch=batch, progress=progress)
    for (file, ws), images in zip(todo.items(), drawn, strict=True):
        media.save_png(file, media.strip(images.reshape(*ws.shape[:2], *images.shape[1:])))


def save_comparison(
    path: Path, gen: Generator, frames: np.ndarray, ws: np.ndarray, *, batch: int | None = None
) -> None:
    """Write an image of at most 16 frames, and below each what its latent reconstructs.

    Args:
        path: of the image.
        gen: the generator.
        frames: [M, R, R, 3] float in [-1, 1].
        ws: [M, L, D] their latents.
        batch: images per step.
    """
    count = min(_COMPARED, len(frames))
    some = np.unique(np.rint(np.linspace(0, len(frames) - 1, count)).astype(int))  # [m], m <= 16
    rebuilt = rendering.render_all(gen, ws[some], batch=batch)
    media.save_png(path, media.strip(np.stack([frames[some], rebuilt]), gap=2))
