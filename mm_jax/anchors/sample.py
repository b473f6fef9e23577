"""Anchors by sampling: of many random latents, those whose images match a prompt are averaged.

For each prompt the latents are ranked by how much better their image matches it than it matches
the prompts on average, so that what the prompts share (a person, a face) does not count. The best
are averaged with softmax weights; identities average out, the motion stays. The difference between
this mean and the mean of all latents is then added to the start latent.

Shapes: n latents, M prompts, D latent width, L rows of W+, E CLIP's width.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import parallel
from mm_jax.anchors.options import AnchorOptions
from mm_jax.buckets import bucket, filled
from mm_jax.latents import class_labels, draw_latents, fold_in_each, synthesize
from mm_jax.perceptual.clip import Clip, encode_image
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once

__all__ = ["Matches", "sample_matches"]

_BATCH = 16


class Matches(NamedTuple):
    """What sampling found for each prompt.

    Attributes:
        offsets: [M, D] float32, mean of the matching latents less the mean of all.
        mean: [D] float32, mean of all latents.
        margins: [M] float32, weighted mean over the matching latents of how much better than to all
            prompts, and than all latents do, they match the prompt (difference of cosines).
    """

    offsets: np.ndarray
    mean: np.ndarray
    margins: np.ndarray


def sample_matches(
    gen: Generator,
    clip: Clip,
    *,
    texts: jax.Array,
    key: jax.Array,
    options: AnchorOptions,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> Matches:
    """Sample latents, score their images against prompts, and average the matching ones.

    Arguments are taken as valid; `mm_jax.anchors.text.text_anchors` is the checked way in.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        texts: [M, E] unit vectors of the prompts.
        key: which latents; their number does not change the first ones.
        options: of them samples (n), keep, truncation_psi, preprocess and resolution are used.
        batch_size: latents scored at once, by default as many as fit in about 2 GiB of each
            device; a multiple of the devices in any case.
        progress: called as ("sampling", done, samples) after every batch.
    """
    samples, resolution = options.samples, options.resolution
    devices = parallel.width(gen)
    fitting = min(_BATCH, images_at_once(gen.config, resolution=resolution)) * devices
    size = math.ceil(min(batch_size or fitting, bucket(samples)) / devices) * devices
    prompts = len(texts)
    texts = jnp.asarray(filled(np.asarray(texts, np.float32), bucket(prompts)))
    ws, cosines = [], []
    for i in range(math.ceil(samples / size)):
        # One key for each latent: which ones there are does not depend on the batch size.
        keys = fold_in_each(key, range(i * size, (i + 1) * size))
        w, cosine = _score_batch(
            gen,
            clip,
            texts,
            parallel.split(keys, gen),
            jnp.asarray(options.truncation_psi, jnp.float32),
            class_labels(gen, options.label, len(keys)),
            preprocess=options.preprocess,
            resolution=resolution,
        )
        ws.append(np.asarray(w))
        cosines.append(np.asarray(cosine)[:, :prompts])
        progress("sampling", min((i + 1) * size, samples), samples)
    return average_matches(
        np.concatenate(ws)[:samples],
        np.concatenate(cosines)[:samples],
        scale=float(clip.logit_scale),
        keep=options.keep,
    )


def average_matches(ws: np.ndarray, cosines: np.ndarray, *, scale: float, keep: int) -> Matches:
    """Average, for each prompt, the `keep` best of latents [n, D] with cosines [n, M]."""
    margins = cosines - cosines.mean(axis=1, keepdims=True)
    # The same for all latents, so without influence on the choice: for the report.
    margins -= margins.mean(axis=0, keepdims=True)
    best = np.argsort(-margins, axis=0, kind="stable")[:keep]
    kept = np.take_along_axis(margins, best, axis=0)
    weights = np.exp(scale * (kept - kept[:1]))
    weights /= weights.sum(axis=0, keepdims=True)
    mean = ws.mean(axis=0)
    # best and weights are [keep, M], ws[best] is [keep, M, D].
    matching = np.einsum("km,kmd->md", weights, ws[best])
    return Matches(
        offsets=(matching - mean[None]).astype(np.float32),
        mean=mean.astype(np.float32),
        margins=(weights * kept).sum(axis=0).astype(np.float32),
    )


@functools.partial(jax.jit, static_argnames=("preprocess", "resolution"))
def _score_batch(
    gen: Generator,
    clip: Clip,
    texts: jax.Array,
    keys: jax.Array,
    truncation_psi: jax.Array,
    labels: jax.Array | None,
    *,
    preprocess: str,
    resolution: int | None,
) -> tuple[jax.Array, jax.Array]:
    """Latents [B, D] of keys [B], truncated, and the cosines [B, M] of their images."""
    ws = draw_latents(gen, keys, truncation_psi=truncation_psi, labels=labels)  # [B, L, D]
    images = synthesize(gen, ws, resolution=resolution)
    return ws[:, 0], encode_image(clip, images, preprocess=preprocess) @ texts.T
