"""e4e's way of reading pSp's heads: one w for all rows, and a small offset for each further row.

The offsets were penalised in training, so latents stay near W and edit better than pSp's.

Reference: Tov et al. 2021, "Designing an Encoder for StyleGAN Image Manipulation", and
omertov/encoder4editing, `models/encoders/psp_encoders.py` at its last stage of training.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ["codes_from_deltas"]


def codes_from_deltas(rows: jax.Array) -> jax.Array:
    """Heads' outputs `[N, L, D]`, w and L - 1 offsets to it, to latents `[N, L, D]`."""
    first = rows[:, :1]
    return jnp.concatenate([first, first + rows[:, 1:]], axis=1)
