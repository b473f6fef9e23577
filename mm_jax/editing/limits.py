"""How far a motion can be driven before the images stop following it."""

from __future__ import annotations

import numpy as np

from mm_jax import media
from mm_jax.artifacts import Subspace
from mm_jax.editing.affine import apply_edit
from mm_jax.latents import mean_latent, sample_latents, synthesize
from mm_jax.stylegan2.generator import Generator

__all__ = ["motion_limits"]

# Images of this side tell as much of a motion as larger ones.
_SIDE = 64
# A step that changes the images by less than this fraction of what the middle steps do is none.
_SLOW = 1 / 3


def motion_limits(
    gen: Generator, subspace: Subspace, *, max_strength: float = 2.0, steps: int = 13
) -> tuple[float, float]:
    """The strengths between which images follow a motion.

    Three faces are moved from -`max_strength` to `max_strength`. Where a step changes their images
    by less than a third of what the steps about zero do, the motion has come to its end.

    Args:
        gen: the generator.
        subspace: of the motion.
        max_strength: the largest strength that is tried.
        steps: an odd number of strengths.

    Returns:
        The lowest and the highest strength; -`max_strength` and `max_strength` where the motion
        never ends.
    """
    strengths = np.linspace(-max_strength, max_strength, steps, dtype=np.float32)
    labels = np.eye(gen.config.c_dim, dtype=np.float32)[[0, 0]] if gen.config.c_dim else None
    some = np.asarray(sample_latents(gen, seeds=[0, 1], truncation_psi=0.5, labels=labels))
    ws = np.concatenate([np.asarray(mean_latent(gen)), some])  # [3, L, D]
    moved = np.asarray(apply_edit(ws, subspace, strengths))  # [3, S, L, D]
    size = min(_SIDE, gen.config.resolution)
    images = np.stack(
        [media.to_uint8(synthesize(gen, own, resolution=size)) for own in np.swapaxes(moved, 0, 1)]
    )
    # Mean change of the images from one strength to the next: [S - 1].
    change = np.abs(np.diff(images.astype(np.float32), axis=0)).mean(axis=(1, 2, 3, 4))
    middle = steps // 2
    slow = change < np.mean(change[middle - 1 : middle + 1]) * _SLOW
    above = np.flatnonzero(slow[middle:])
    below = np.flatnonzero(slow[:middle])
    high = strengths[middle + above[0]] if len(above) else max_strength
    low = strengths[below[-1] + 1] if len(below) else -max_strength
    return float(low), float(high)
