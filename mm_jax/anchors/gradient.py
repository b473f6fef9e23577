"""Anchors from gradients: the one step that raises the degree which CLIP reads in most faces.

An optimisation follows CLIP's gradient from one face for many steps, and with it CLIP's blind spots
at that face. Here the gradient is taken once, at many faces, and averaged: what is particular to a
face cancels, and the motion stays. With r(w) the degree that CLIP reads off the image of w
(`mm_jax.anchors.reading`) and S the covariance of W, the motion is

    d = P mean_n g_n,    P = S (S + l I)^-1,    g_n = dr/dw at face n,

each g_n shortened to the median of sqrt(g_n' P g_n). P is the metric of W, see
`mm_jax.anchors.metric`. Faces whose reading is far from both ends have long gradients; shortening
them lets faces count about alike.

Faces are taken until their mean is known: with a the mean cosine of two faces' gradients, the
standard error of the mean of N is about sqrt((1 - a) / (a N)) of its length; an eighth is enough.

With options.refine the direction is then refined by other sampled faces (`mm_jax.anchors.refine`).

How far along d each degree lies is read off other images: the mean reading along d, from
-3 to 3 standard deviations of W, is inverted.

Shapes: N faces, K prompts, M degrees of each, L rows of W+, D latent width, T positions, E CLIP's
width.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import descent, parallel
from mm_jax.anchors.metric import direction_along, metric_of_w
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.reading import embed_latents, from_none_to_all, read_degrees
from mm_jax.anchors.refine import refined
from mm_jax.buckets import bucket
from mm_jax.errors import DataError
from mm_jax.latents import class_labels, draw_latents, fold_in_each, synthesize
from mm_jax.perceptual.clip import Clip, encode_image
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once

__all__ = [
    "GradientMotion",
    "SampledFaces",
    "covariance_of_w",
    "gradient_motion",
    "mean_field",
    "positions",
    "reading_gradients",
    "readings_of_images",
    "sampled_faces",
    "shortened",
    "standard_error",
]

# Latents from which the covariance of W is estimated.
_COVARIANCE = 8192
# Faces are drawn so many at once: one program serves any number.
_DRAWN = 64
# Tells the key of the faces that refine from those of others.
_REFINED = 0x2EF1
# Faces moved along the direction, and where: in standard deviations of W.
_MOVED, _REACH, _POSITIONS = 16, 3.0, 9
# Faces that are followed before it is asked whether they are enough, and the error that is.
_AT_ONCE, _ERROR = 16, 0.125
# Faces that tell which cosines are typical.
_TYPICAL = 64
# A degree is where the mean reading has come so far between its ends, which it only nears.
_ENDS = (0.05, 0.95)


class GradientMotion(NamedTuple):
    """What the gradients of many faces have in common.

    Attributes:
        direction: [D] float32, of one standard deviation of W.
        steps: [M] float32, how far along it each degree lies.
        agreement: mean cosine, in the metric of W, of the gradients of two faces: about 0 where
            faces have nothing in common.
        faces: whose gradients were averaged.
        positions: [T] standard deviations along the direction.
        readings: [T] mean degree that CLIP reads there, from 0 to 1.
    """

    direction: np.ndarray
    steps: np.ndarray
    agreement: float
    faces: int
    positions: np.ndarray
    readings: np.ndarray


class SampledFaces(NamedTuple):
    """Faces by which directions are refined, and what CLIP sees of them: the same for any prompt.

    Attributes:
        w: [N, D] float32 latents of W.
        vectors: [N, E] float32 unit vectors.
    """

    w: np.ndarray
    vectors: np.ndarray


def gradient_motion(
    gen: Generator,
    clip: Clip,
    *,
    texts: jax.Array,
    degrees: np.ndarray,
    moving: np.ndarray,
    key: jax.Array,
    options: AnchorOptions,
    sampled: SampledFaces | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> GradientMotion:
    """The motion that raises the degree which CLIP reads, from gradients at sampled faces.

    Arguments are taken as valid; `mm_jax.anchors.text.text_anchors` is the checked way in.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        texts: [M, E] unit vectors of the prompts.
        degrees: [M] their degrees.
        moving: [L] bool, the rows of W+ that take part.
        key: which faces; their number does not change the first ones.
        options: of them gradients (the most faces), refine (further ones), truncation_psi, label,
            preprocess and resolution are used.
        sampled: what `sampled_faces` gives for the same key and options, where that is known.
        batch_size: faces in work at once, by default as many as fit in about 2 GiB of each device;
            the result does not depend on it.
        progress: called as ("gradients", done, most) after some faces.

    Raises:
        DataError: gradients that are not finite or all zero.
    """
    faces_key, metric_key, moved_key = jax.random.split(key, 3)
    covariance = covariance_of_w(gen, metric_key, options)
    metric = metric_of_w(covariance)
    ws = _faces(gen, faces_key, options.gradients, options)
    shown = {"preprocess": options.preprocess, "resolution": options.resolution}
    values = from_none_to_all(degrees)
    texts_ = np.asarray(texts, np.float32)
    vectors = embed_latents(gen, clip, ws[:_TYPICAL], batch_size=batch_size, **shown)
    typical = (vectors @ texts_.T).mean(axis=0)
    gradients = np.zeros((0, *ws.shape[1:]), np.float32)
    field, agreement, used = np.zeros(ws.shape[1:]), 0.0, 0
    while used < len(ws) and not (used and standard_error(agreement, used) <= _ERROR):
        more, _ = reading_gradients(
            gen, clip, ws[used : used + _AT_ONCE], texts_[None], values, typical=typical[None],
            batch_size=batch_size, **shown,
        )  # fmt: skip
        gradients = np.concatenate([gradients, more[0]])
        field, agreement = mean_field(gradients, metric, moving)
        used = len(gradients)
        progress("gradients", used, len(ws))
    if used < len(ws):  # these were enough
        progress("gradients", used, used)
    direction = direction_along(field.sum(axis=0), covariance)
    if options.refine:
        if sampled is None:
            sampled = sampled_faces(
                gen, clip, key, options, batch_size=batch_size, progress=progress
            )
        direction = refined(
            field.sum(axis=0), covariance, w=sampled.w, vectors=sampled.vectors, texts=texts_
        )

    # Where the degrees lie: [T, N', L, D] latents along the direction.
    at = np.linspace(-_REACH, _REACH, _POSITIONS)
    rows = direction[None, :] * moving[:, None]
    moved = _faces(gen, moved_key, _MOVED, options)
    along = (moved[None] + at[:, None, None, None] * rows[None, None]).astype(np.float32)
    vectors = embed_latents(gen, clip, along, batch_size=batch_size, **shown)
    readings = read_degrees(
        vectors @ texts_.T, degrees, typical=typical, scale=float(clip.logit_scale)
    ).mean(axis=1)
    return GradientMotion(
        direction=direction.astype(np.float32),
        steps=positions(values, at, readings).astype(np.float32),
        agreement=agreement,
        faces=used,
        positions=at,
        readings=readings,
    )


def sampled_faces(
    gen: Generator,
    clip: Clip,
    key: jax.Array,
    options: AnchorOptions,
    *,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> SampledFaces:
    """The options.refine faces by which `gradient_motion` with this key refines its direction.

    Args:
        gen: the generator.
        clip: the network that looks at them.
        key: of `gradient_motion`.
        options: of them refine, truncation_psi, label, preprocess and resolution are used.
        batch_size: faces in work at once, by default as many as fit in about 2 GiB of each device.
        progress: called as ("looking at faces", done, N).
    """
    ws = _faces(gen, jax.random.fold_in(key, _REFINED), options.refine, options)
    vectors = embed_latents(
        gen, clip, ws, preprocess=options.preprocess, resolution=options.resolution,
        batch_size=batch_size, progress=progress, label="looking at faces",
    )  # fmt: skip
    return SampledFaces(ws[:, 0], vectors)


def reading_gradients(
    gen: Generator,
    clip: Clip,
    ws: np.ndarray,
    texts: np.ndarray,
    values: np.ndarray,
    *,
    typical: np.ndarray | None = None,
    preprocess: str = "clip",
    resolution: int | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the degrees that CLIP reads off faces, by each of several prompts.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        ws: [N, L, D] the faces.
        texts: [K, M, E] unit vectors of the prompts at each degree.
        values: [M] the degrees, from 0 to 1.
        typical: [K, M] cosines that are typical of faces; of these faces by default.
        preprocess: how images are shown to CLIP, as `encode_image` takes it.
        resolution: side of the running image that is shown, the whole one by default.
        batch_size: faces in work at once, by default as many as fit in about 2 GiB of each device.
        progress: called as ("gradients", done, N) after every batch.

    Returns:
        [K, N, L, D] float32 gradients, and [K, M] cosines that are typical of the faces.
    """
    shown = {"preprocess": preprocess, "resolution": resolution}
    if typical is None:
        vectors = embed_latents(gen, clip, ws, batch_size=batch_size, **shown)
        typical = np.asarray(np.einsum("ne,kme->nkm", vectors, texts).mean(axis=0))
    devices = parallel.width(gen)
    fitting = images_at_once(gen.config, resolution=resolution, gradient=True) * devices
    # Degrees are padded to a bucket by ones that never match.
    padding = bucket(len(values)) - len(values)
    prompts = (
        jnp.asarray(np.pad(texts, ((0, 0), (0, padding), (0, 0)))),
        jnp.asarray(
            np.pad(typical, ((0, 0), (0, padding)), constant_values=np.inf), jnp.float32
        ),
        jnp.asarray(np.pad(values, (0, padding)), jnp.float32),
    )  # fmt: skip
    found, done = [], 0
    for latents, count in descent.full_batches(len(ws), batch_size or fitting, devices=devices):
        batch = parallel.split(jnp.asarray(ws[latents]), gen)
        found.append(np.asarray(_gradients(gen, clip, batch, prompts, **shown))[:, :count])
        done += count
        progress("gradients", done, len(ws))
    return np.concatenate(found, axis=1), typical


def shortened(gradients: np.ndarray, metric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By how much gradients [N, D] are shortened, [N] up to 1, and how long they are [N].

    Lengths are in a metric [D, D]; what is above the median is brought there.

    Raises:
        DataError: gradients that are not finite or all zero.
    """
    gradients = gradients.astype(np.float64)
    squares = np.einsum("nd,nd->n", gradients @ metric, gradients)
    lengths = np.sqrt(np.maximum(squares, 0.0))
    if not np.isfinite(lengths).all():
        raise DataError("the gradients of CLIP's reading are not finite")
    if not np.median(lengths) > 0:
        raise DataError("CLIP reads the same of all faces: the prompt's degrees mean nothing to it")
    return np.minimum(1.0, np.median(lengths) / np.maximum(lengths, 1e-30)), lengths


def mean_field(
    gradients: np.ndarray, metric: np.ndarray, moving: np.ndarray
) -> tuple[np.ndarray, float]:
    """What gradients at N faces have in common, by rows of W+.

    Args:
        gradients: [N, L, D].
        metric: [D, D] of W, in which the sums over rows are shortened, as `metric_of_w`.
        moving: [L] bool, the rows that move.

    Returns:
        [L, D] float64, the mean of the shortened gradients, zero in the rows that do not move; and
        the mean cosine of two faces' gradients in the metric of W.

    Raises:
        DataError: gradients that are not finite or all zero.
    """
    rows = gradients.astype(np.float64) * moving[None, :, None]
    sums = rows.sum(axis=1)
    clipped, lengths = shortened(sums, metric)
    units = sums / np.maximum(lengths, 1e-30)[:, None]
    total, count = units.sum(axis=0), len(units)
    agreement = (total @ metric @ total - count) / max(count * (count - 1), 1)
    return (clipped[:, None, None] * rows).mean(axis=0), float(agreement)


def standard_error(agreement: float, faces: int) -> float:
    """Of the mean of so many gradients, in units of its length; infinite where none agree."""
    if not agreement > 0:
        return np.inf
    return float(np.sqrt((1 - agreement) / (agreement * faces)))


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


def covariance_of_w(gen: Generator, key: jax.Array, options: AnchorOptions) -> np.ndarray:
    """Covariance [D, D] float64 of W."""
    labels = class_labels(gen, options.label, _COVARIANCE)
    ws = draw_latents(gen, key, _COVARIANCE, labels=labels)  # [N, L, D], all rows alike
    return np.cov(np.asarray(ws[:, 0], np.float64).T)


def readings_of_images(
    clip: Clip,
    images: jax.Array,
    prompts: tuple[jax.Array, jax.Array, jax.Array],
    *,
    preprocess: str = "clip",
) -> jax.Array:
    """Degrees [N, K] that CLIP reads off images, as `read_degrees`; may be traced.

    Args:
        clip: the network that compares images and prompts.
        images: [N, H, H, 3] in about [-1, 1].
        prompts: texts [K, M, E], cosines [K, M] that are typical of them, and degrees [M].
        preprocess: how images are shown to CLIP, as `encode_image` takes it.
    """
    texts, typical, values = prompts
    vectors = encode_image(clip, images, preprocess=preprocess)
    cosines = jnp.einsum("ne,kme->nkm", vectors, texts)
    weights = jax.nn.softmax(clip.logit_scale * (cosines - typical[None]), axis=-1)
    return (weights * values[None, None]).sum(axis=2)


@functools.partial(jax.jit, static_argnames=("preprocess", "resolution"))
def _gradients(
    gen: Generator,
    clip: Clip,
    ws: jax.Array,
    prompts: tuple[jax.Array, jax.Array, jax.Array],
    *,
    preprocess: str,
    resolution: int | None,
) -> jax.Array:
    """Gradients [K, N, L, D] of the degrees read off latents [N, L, D] by K prompts."""

    def readings(ws):
        images = synthesize(gen, ws, resolution=resolution)
        # Each reading depends on its own latent alone: the gradient of the sum is all gradients.
        return readings_of_images(clip, images, prompts, preprocess=preprocess).sum(axis=0)

    found, pull = jax.vjp(readings, ws)
    return jax.lax.map(lambda which: pull(which)[0], jnp.eye(len(found)))
