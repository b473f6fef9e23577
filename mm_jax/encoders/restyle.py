"""ReStyle: an encoder that sees an image and its current rendering, and corrects the latent.

The first rendering is that of the mean latent, to which the first correction is added. An encoder
that was trained so reaches in some five steps what a single pass can not.

Reference: Alaluf et al. 2021, "ReStyle: A Residual-Based StyleGAN Encoder via Iterative
Refinement", and yuval-alaluf/restyle-encoder, `utils/inference_utils.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mm_jax.encoders.psp import StyleEncoderConfig, apply_style_encoder
from mm_jax.latents import synthesize
from mm_jax.nn.resize import adaptive_resize
from mm_jax.stylegan2.generator import Generator

__all__ = ["refine"]


def refine(
    config: StyleEncoderConfig,
    params: Mapping[str, Any],
    gen: Generator,
    images: jax.Array,
    *,
    steps: int,
) -> jax.Array:
    """The latents after every step.

    Args:
        config: of kind "restyle_psp" or "restyle_e4e".
        params: the encoder's.
        gen: renders latents, with its fixed noise.
        images: [N, R, R, C] of the encoder's own resolution.
        steps: how many corrections T.

    Returns:
        [T, N, L, D] float32.
    """

    def step(latents: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        rendered = adaptive_resize(synthesize(gen, latents), config.resolution)
        both = jnp.concatenate([images, rendered], axis=-1)
        latents = latents + apply_style_encoder(config, params, both)
        return latents, latents

    mean = params["latent_avg"][None]
    start = jnp.broadcast_to(mean, (images.shape[0], *mean.shape[1:]))
    return jax.lax.scan(step, start, None, length=steps)[1]
