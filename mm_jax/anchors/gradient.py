"""Anchors from gradients: the one step that raises the degree which CLIP reads in most faces.

An optimisation follows CLIP's gradient from one face for many steps, and with it CLIP's blind spots
at that face. Here the gradient is taken once, at many faces, and averaged: what is particular to a
face cancels, and the motion stays. With r(w) the degree that CLIP reads off the image of w
(`mm_jax.anchors.reading`) and S the covariance of W, the motion is

    d = S mean_n g_n,    g_n = dr/dw at face n, shortened to the median of sqrt(g_n' S g_n).

S is the metric of W: it turns the gradient into a direction, and leaves out what W does not hold,
in which an optimisation of latents loses itself. If W is normal, S E[dr/dw] is the covariance of w
and r (Stein 1981, "Estimation of the mean of a multivariate normal distribution"), so a regression
of sampled latents on CLIP's reading estimates the same, from many times as many faces. Faces whose
reading is far from both ends have long gradients; shortening them lets faces count about alike.

How far along d each degree lies is read off other images: the mean reading along d, from
-3 to 3 standard deviations of W, is inverted.

Shapes: N faces, M prompts, L rows of W+, D latent width, T positions, E CLIP's width.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import descent, parallel
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.reading import embed_latents, read_degrees
from mm_jax.buckets import bucket, filled
from mm_jax.errors import DataError
from mm_jax.latents import class_labels, draw_latents, fold_in_each, synthesize
from mm_jax.perceptual.clip import Clip, encode_image
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once

__all__ = ["Motion", "average_gradients", "gradient_motion", "positions"]

# Latents from which the covariance of W is estimated.
_COVARIANCE = 8192
# Faces are drawn so many at once: one program serves any number.
_DRAWN = 64
# Faces moved along the direction, and where: in standard deviations of W.
_MOVED, _REACH, _POSITIONS = 16, 3.0, 13
# A degree is where the mean reading has come so far between its ends, which it only nears.
_ENDS = (0.05, 0.95)


class Motion(NamedTuple):
    """What the gradients of many faces have in common.

    Attributes:
        direction: [D] float32, of one standard deviation of W.
        steps: [M] float32, how far along it each degree lies.
        agreement: mean cosine, in the metric of W, of the gradients of two faces: about 0 where
            faces have nothing in common.
        positions: [T] standard deviations along the direction.
        readings: [T] mean degree that CLIP reads there, from 0 to 1.
    """

    direction: np.ndarray
    steps: np.ndarray
    agreement: float
    positions: np.ndarray
    readings: np.ndarray


def gradient_motion(
    gen: Generator,
    clip: Clip,
    *,
    texts: jax.Array,
    degrees: np.ndarray,
    moving: np.ndarray,
    key: jax.Array,
    options: AnchorOptions,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> Motion:
    """The motion that raises the degree which CLIP reads, from gradients at sampled faces.

    Arguments are taken as valid; `mm_jax.anchors.text.text_anchors` is the checked way in.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        texts: [M, E] unit vectors of the prompts.
        degrees: [M] their degrees.
        moving: [L] bool, the rows of W+ that take part.
        key: which faces; their number does not change the first ones.
        options: of them gradients (N), truncation_psi, label, preprocess and resolution are used.
        batch_size: faces in work at once, by default as many as fit in about 2 GiB of each device;
            the result does not depend on it.
        progress: called as ("gradients", done, N) after every batch.

    Raises:
        DataError: gradients that are not finite or all zero.
    """
    faces_key, metric_key, moved_key = jax.random.split(key, 3)
    covariance = _covariance(gen, metric_key, options)
    ws = _faces(gen, faces_key, options.gradients, options)
    shown = {"preprocess": options.preprocess, "resolution": options.resolution}
    values = (degrees - degrees.min()) / np.ptp(degrees)
    texts_ = np.asarray(texts, np.float32)
    typical = (embed_latents(gen, clip, ws, batch_size=batch_size, **shown) @ texts_.T).mean(axis=0)

    devices = parallel.width(gen)
    fitting = images_at_once(gen.config, resolution=options.resolution, gradient=True) * devices
    # Batches of about one size, so that hardly any face is a padding.
    at_once = -(-len(ws) // -(-len(ws) // (batch_size or fitting)))
    # Prompts are padded to a bucket by ones that never match.
    size = bucket(len(texts_))
    prompts = (
        jnp.asarray(filled(texts_, size), jnp.float32),
        jnp.asarray(np.pad(typical, (0, size - len(typical)), constant_values=np.inf), jnp.float32),
        jnp.asarray(np.pad(values, (0, size - len(values))), jnp.float32),
    )
    found = []
    for latents, count in descent.full_batches(len(ws), at_once, devices=devices):
        batch = parallel.split(jnp.asarray(ws[latents], jnp.float32), gen)
        gradients = _gradients(gen, clip, batch, prompts, jnp.asarray(moving, jnp.float32), **shown)
        found.append(np.asarray(gradients)[:count])
        progress("gradients", sum(map(len, found)), len(ws))
    direction, agreement = average_gradients(np.concatenate(found), covariance)

    # Where the degrees lie: [T, N', L, D] latents along the direction.
    at = np.linspace(-_REACH, _REACH, _POSITIONS)
    rows = direction[None, :] * moving[:, None]
    moved = _faces(gen, moved_key, _MOVED, options)
    along = (moved[None] + at[:, None, None, None] * rows[None, None]).astype(np.float32)
    vectors = embed_latents(gen, clip, along, batch_size=batch_size, **shown)
    readings = read_degrees(
        vectors @ texts_.T, degrees, typical=typical, scale=float(clip.logit_scale)
    ).mean(axis=1)
    return Motion(
        direction=direction.astype(np.float32),
        steps=positions(values, at, readings).astype(np.float32),
        agreement=agreement,
        positions=at,
        readings=readings,
    )


def average_gradients(gradients: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """The direction that gradients [N, D] have in common, in the metric of a covariance [D, D].

    Returns:
        direction [D], of one standard deviation, and the mean cosine of two faces' gradients.

    Raises:
        DataError: gradients that are not finite or all zero.
    """
    gradients = gradients.astype(np.float64)
    steps = gradients @ covariance  # [N, D], symmetric
    lengths = np.sqrt(np.maximum((gradients * steps).sum(axis=1), 0.0))
    if not np.isfinite(lengths).all():
        raise DataError("the gradients of CLIP's reading are not finite")
    if not np.median(lengths) > 0:
        raise DataError("CLIP reads the same of all faces: the prompt's degrees mean nothing to it")
    clipped = np.minimum(1.0, np.median(lengths) / np.maximum(lengths, 1e-30))
    mean = (clipped[:, None] * gradients).mean(axis=0)
    length = np.sqrt(mean @ covariance @ mean)
    units = gradients / np.maximum(lengths, 1e-30)[:, None]
    total, count = units.sum(axis=0), len(units)
    agreement = (total @ covariance @ total - count) / max(count * (count - 1), 1)
    return covariance @ mean / max(length, 1e-30), float(agreement)


def positions(values: np.ndarray, at: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """Where along a direction the degrees lie.

    Args:
        values: [M] degrees from 0 to 1.
        at: [T] growing positions, around 0.
        readings: [T] mean readings there.

    Returns:
        [M] positions where the readings, made to grow and scaled to [0, 1], reach the values.
    """
    grown = np.maximum.accumulate(readings)
    spread = grown[-1] - grown[0]
    if not spread > 0:  # nothing to go by: evenly from end to end
        return at[0] + values * (at[-1] - at[0])
    scaled = (grown - grown[0]) / spread
    # Where the readings stay, the position nearest to the motion's middle.
    return np.interp(np.clip(values, *_ENDS), scaled + 1e-9 * np.arange(len(at)), at)


def _faces(gen: Generator, key: jax.Array, count: int, options: AnchorOptions) -> np.ndarray:
    """Latents [N, L, D] of sampled faces; a face depends on its place alone, not on N."""
    labels = class_labels(gen, options.label, _DRAWN)
    ws = [
        draw_latents(
            gen,
            fold_in_each(key, range(first, first + _DRAWN)),
            truncation_psi=options.truncation_psi,
            labels=labels,
        )
        for first in range(0, count, _DRAWN)
    ]
    return np.concatenate(ws)[:count]


def _covariance(gen: Generator, key: jax.Array, options: AnchorOptions) -> np.ndarray:
    """Covariance [D, D] float64 of W."""
    labels = class_labels(gen, options.label, _COVARIANCE)
    ws = draw_latents(gen, key, _COVARIANCE, labels=labels)  # [N, L, D], all rows alike
    return np.cov(np.asarray(ws[:, 0], np.float64).T)


@functools.partial(jax.jit, static_argnames=("preprocess", "resolution"))
def _gradients(
    gen: Generator,
    clip: Clip,
    ws: jax.Array,
    prompts: tuple[jax.Array, jax.Array, jax.Array],
    moving: jax.Array,
    *,
    preprocess: str,
    resolution: int | None,
) -> jax.Array:
    """Gradients [N, D] of the degree read off latents [N, L, D], summed over the moving rows."""
    texts, typical, values = prompts

    def reading(ws):
        images = synthesize(gen, ws, resolution=resolution)
        cosines = encode_image(clip, images, preprocess=preprocess) @ texts.T
        weights = jax.nn.softmax(clip.logit_scale * (cosines - typical[None]), axis=-1)
        # Each reading depends on its own latent alone: the gradient of the sum is all gradients.
        return (weights * values[None]).sum()

    return (jax.grad(reading)(ws) * moving[None, :, None]).sum(axis=1)
