"""Images of latents that are moved along a direction of W+ or of S.

Shapes: N latents, A amounts, L rows of W+, D latent width, H image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mm_jax import rendering
from mm_jax.baselines.world import Direction
from mm_jax.buckets import filled
from mm_jax.latents import synthesize_from_styles, to_stylespace
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator

__all__ = ["moved_images", "typical_amount"]


def moved_images(
    gen: Generator,
    ws: np.ndarray,
    direction: Direction,
    amounts: np.ndarray,
    *,
    batch: int = 16,
    progress: ProgressFn = silent,
    label: str = "moved",
) -> Iterator[np.ndarray]:
    """Yield images [n, H, H, 3] of w + a * move for every latent and, within it, every amount.

    Args:
        gen: the generator.
        ws: [N, L, D].
        direction: the move.
        amounts: [A].
        batch: images per step.
        progress: called with the images.
        label: what progress calls the work.
    """
    move = direction.move
    if not isinstance(move, Mapping):
        moved = ws[:, None] + amounts[None, :, None, None] * np.asarray(move)[None, None]
        flat = moved.reshape(-1, *ws.shape[1:]).astype(np.float32)
        for _, images in rendering.render_batches(
            gen, flat, batch=batch, progress=progress, label=label
        ):
            yield images
        return
    total = len(ws) * len(amounts)
    for first in range(0, total, batch):
        places = np.arange(first, min(first + batch, total))
        full = filled(places, batch)
        styles = to_stylespace(gen, ws[full // len(amounts)])
        by = amounts[full % len(amounts)].astype(np.float32)[:, None]
        shifted = {
            name: np.asarray(style) + (by * np.asarray(move[name])[None] if name in move else 0.0)
            for name, style in styles.items()
        }
        yield np.asarray(synthesize_from_styles(gen, shifted))[: len(places)]
        progress(label, int(places[-1]) + 1, total)


def typical_amount(gen: Generator, ws: np.ndarray, direction: Direction) -> float:
    """The amount at which a direction is as long as the latents [N, L, D] are from their mean."""
    move = direction.move
    if isinstance(move, Mapping):
        styles = to_stylespace(gen, ws)
        variance = sum(float(np.asarray(s).var(axis=0).sum()) for s in styles.values())
    else:
        variance = float(ws.var(axis=0).sum())
    return float(np.sqrt(variance)) / max(direction.length, 1e-30)
