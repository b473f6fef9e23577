"""The degree that CLIP reads off images, from their similarity to prompts of growing degree.

Shapes: B latents, M prompts, L rows of W+, D latent width, E CLIP's width.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mm_jax import parallel
from mm_jax.buckets import bucket, filled
from mm_jax.latents import draw_latents, synthesize
from mm_jax.perceptual.clip import Clip, encode_image
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once

__all__ = ["embed_latents", "from_none_to_all", "read_degrees", "sampled_faces"]

_BATCH = 16


def from_none_to_all(degrees: np.ndarray) -> np.ndarray:
    """Degrees [M] on a scale from 0, the lowest of them, to 1, the highest."""
    return (degrees - degrees.min()) / np.ptp(degrees)


def sampled_faces(
    gen: Generator, key: jax.Array, count: int, *, truncation_psi: float = 0.7
) -> np.ndarray:
    """Latents [count, L, D]; of a conditional generator all classes take their turn."""
    classes = gen.config.c_dim
    labels = jax.nn.one_hot(np.arange(count) % classes, classes) if classes else None
    return np.asarray(draw_latents(gen, key, count, labels=labels, truncation_psi=truncation_psi))


def embed_latents(
    gen: Generator,
    clip: Clip,
    ws: Any,
    *,
    preprocess: str = "clip",
    resolution: int | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
    label: str = "comparing",
) -> np.ndarray:
    """CLIP's unit vectors [..., E] of the images of latents [..., L, D].

    Args:
        gen: the generator.
        clip: the network.
        ws: [..., L, D] latents.
        preprocess: how images are shown to CLIP, as `encode_image` takes it.
        resolution: side of the running image that is shown, the whole one by default.
        batch_size: images in work at once, by default as many as fit in about 2 GiB of each device.
        progress: called after each batch.
        label: what progress calls the work.
    """
    ws = np.asarray(ws, np.float32)
    flat = ws.reshape(-1, *ws.shape[-2:])
    devices = parallel.width(gen)
    size = min(_BATCH, images_at_once(gen.config, resolution=resolution)) * devices
    size = -(-min(batch_size or size, bucket(len(flat))) // devices) * devices
    vectors = []
    for first in range(0, len(flat), size):
        part = flat[first : first + size]
        # Two programs, as others draw images of this size too.
        images = synthesize(gen, filled(part, size), resolution=resolution)
        found = encode_image(clip, images, preprocess=preprocess)
        vectors.append(np.asarray(found)[: len(part)])
        progress(label, first + len(part), len(flat))
    every = np.concatenate(vectors)
    return every.reshape(*ws.shape[:-2], every.shape[-1])


def read_degrees(
    cosines: np.ndarray, degrees: np.ndarray, *, typical: np.ndarray, scale: float
) -> np.ndarray:
    """The degree of each image: the mean of the prompts' degrees by how well each prompt matches.

    The match is CLIP's own softmax over the prompts, of cosines less what is typical for each
    prompt, since some prompts match every image better than others do.

    Args:
        cosines: [..., M] of images to prompts.
        degrees: [M], of the prompts.
        typical: [M] cosines, the mean over images of all degrees.
        scale: CLIP's trained factor on cosines.

    Returns:
        [...] from 0, the least of the degrees, to 1, the greatest.
    """
    values = from_none_to_all(degrees)
    logits = scale * (cosines - typical).astype(np.float64)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (weights * values).sum(axis=-1) / weights.sum(axis=-1)
