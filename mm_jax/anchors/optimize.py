"""Anchors by optimisation: each degree's latent is pulled from the start towards its prompt.

The loss of one latent w with start w0 and prompt t is the paper's,

    L = (1 - cos(CLIP(G(w)), CLIP(t))) + l2 |w - w0|^2 + id (1 - cos(ID(G(w)), ID(G(w0))))

minimised by Adam with the projector's schedule (arXiv 2204.12696; `mm_jax.descent`). Latents do not
interact: losses are summed, not averaged, and Adam works element by element, so optimising all
degrees of all starts at once gives the same result as one after another.

The objective "cosine" is the paper's: one minus the cosine to the own prompt. "contrast" is the
soft maximum of the cosines to all prompts less that to the own: it asks for an image that matches
its prompt better than those of the other degrees, so what all prompts share has no pull.

Shapes: N starts, M prompts, B latents, L rows of W+, D latent width, V views, E CLIP's width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import descent, parallel
from mm_jax.anchors.options import AnchorOptions
from mm_jax.buckets import bucket, filled
from mm_jax.checks import layer_mask
from mm_jax.errors import DataError
from mm_jax.latents import synthesize
from mm_jax.nn.resize import apply_weights, area_resize, area_weights
from mm_jax.perceptual.clip import Clip, encode_pixels, normalise
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once

__all__ = ["Objective", "Optimized", "optimize_latents", "optimize_pairs"]

# An augmented view shows at least this fraction of each side, under noise of this standard
# standard deviation.
_MIN_EXTENT, _NOISE = 0.85, 0.05


@jax.tree_util.register_static
@dataclass(frozen=True, kw_only=True)
class Objective:
    """The static part of the loss.

    Attributes:
        kind: "cosine" or "contrast".
        preprocess: "clip" or "styleclip", as in `encode_image`.
        resolution: side of the image that is compared; rows of W+ above it are only held by l2.
        augment: how many random views of the image are compared beside the image itself.
    """

    kind: str = "cosine"
    preprocess: str = "clip"
    resolution: int
    augment: int = 0


class Optimized(NamedTuple):
    """Latents and how they came about; leading axes are those of what was optimised.

    Attributes:
        ws: [..., L, D] float32.
        losses: [..., steps] float32, the whole loss before each step.
        similarities: [..., steps] float32, cosine to the own prompt (mean over views) likewise.
    """

    ws: np.ndarray
    losses: np.ndarray
    similarities: np.ndarray


class _Problem(NamedTuple):
    """The arrays that define the losses of a batch of latents."""

    start: jax.Array  # [B, L, D]
    own: jax.Array  # [B] int32, index of each latent's prompt
    texts: jax.Array  # [M', E] unit, padded to a bucket M' >= M
    absent: jax.Array  # [M'] float32, 0 for prompts and minus infinity for the padding
    moving: jax.Array  # [L] float32, 1 for the rows that may move
    l2_weight: jax.Array  # []
    identity_weight: jax.Array  # []


def optimize_latents(
    gen: Generator, clip: Clip, *, start: jax.Array | np.ndarray, texts: jax.Array, **settings: Any
) -> Optimized:
    """Optimise one latent for every start and prompt; results have leading axes [N, M].

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        start: [N, L, D] float32.
        texts: [M, E] unit vectors of the prompts.
        **settings: further arguments of `optimize_pairs`.

    Raises:
        DataError: a latent or a loss is no longer finite.
    """
    starts, prompts = start.shape[0], texts.shape[0]
    found = optimize_pairs(
        gen,
        clip,
        start=np.repeat(np.asarray(start), prompts, axis=0),
        texts=texts,
        own=np.tile(np.arange(prompts), starts),
        **settings,
    )
    return Optimized(*(value.reshape(starts, prompts, *value.shape[1:]) for value in found))


def optimize_pairs(
    gen: Generator,
    clip: Clip,
    *,
    start: np.ndarray,
    texts: jax.Array,
    own: np.ndarray,
    options: AnchorOptions,
    begin: np.ndarray | None = None,
    identity: Callable[[jax.Array], jax.Array] | None = None,
    key: jax.Array | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
    label: str = "anchors",
) -> Optimized:
    """Optimise one latent for each pair of a start and a prompt, with fixed noise.

    All latents of a batch run in one jitted program, a scan over steps, which takes every weight as
    an argument: it is compiled once for each shape and objective. Arguments are taken as valid;
    `mm_jax.anchors.text.text_anchors` is the checked way in.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        start: [B, L, D] float32, from which distance costs.
        texts: [M, E] unit vectors of the prompts.
        own: [B] integers, each latent's prompt.
        options: how; of the strategy "optimize".
        begin: [B, L, D] where the optimisation begins, at the starts unless given.
        identity: images [B, H, H, 3] to unit vectors [B, E']. A pytree that can be called (such as
            `jax.tree_util.Partial`) enters the program by its leaves, a plain function as it is.
        key: for the views; the same views are used for every latent of a step.
        batch_size: latents optimised at once, by default as many as fit in about 2 GiB of each
            device; the result does not depend on it.
        progress: called as (label, done, steps in all) after every few steps.
        label: what progress calls the work.

    Raises:
        DataError: a latent or a loss is no longer finite.
    """
    prompts = texts.shape[0]
    steps = options.steps
    devices = parallel.width(gen)
    objective = Objective(
        kind=options.objective,
        preprocess=options.preprocess,
        resolution=options.resolution or gen.config.resolution,
        augment=options.augment,
    )
    # What is the same for all batches. Prompts are padded to a bucket M' >= M.
    fitting = images_at_once(gen.config, resolution=objective.resolution, gradient=True) * devices
    size = bucket(prompts)
    absent = np.where(np.arange(size) < prompts, 0.0, -np.inf)
    moving = layer_mask(options.layers, gen.config.num_ws)
    learning_rates = descent.learning_rates(steps, options.learning_rate)
    identity = descent.as_argument(identity)
    adam = descent.Adam()
    key = jax.random.key(0) if key is None else key

    # The last batch is padded with latents that are optimised again and dropped.
    batches = list(descent.full_batches(len(start), batch_size or fitting, devices=devices))
    done: list[tuple[np.ndarray, np.ndarray]] = []
    for i, (latents, count) in enumerate(batches):
        problem = _Problem(
            start=parallel.split(jnp.asarray(start[latents], jnp.float32), gen),
            own=parallel.split(jnp.asarray(own[latents], jnp.int32), gen),
            texts=jnp.asarray(filled(np.asarray(texts, np.float32), size)),
            absent=jnp.asarray(absent, jnp.float32),
            moving=jnp.asarray(moving, jnp.float32),
            l2_weight=jnp.asarray(options.l2_weight, jnp.float32),
            identity_weight=jnp.asarray(options.identity_weight, jnp.float32),
        )
        target = None
        if identity is not None:
            # Unit vectors [B, E'] of the starts, from which a change of identity costs.
            wanted = _identify(gen, identity, problem.start, objective.resolution)
            target = (identity, wanted)

        loss = jax.tree_util.Partial(_loss, gen, clip, target, problem, key, objective)

        def report(done: int, i: int = i) -> None:
            progress(label, i * steps + done, len(batches) * steps)

        # A copy: the state is donated to each chunk, the start is not.
        if begin is None:
            ws = jnp.array(problem.start, copy=True)
        else:
            ws = parallel.split(jnp.array(begin[latents], jnp.float32), gen)
        state, metrics = descent.descend(
            loss,
            descent.State(ws, parallel.split(adam.init(ws), gen)),
            learning_rates,
            adam=adam,
            moving=problem.moving[None, :, None],
            inputs=lambda first, count: jnp.arange(first, first + count, dtype=jnp.int32),
            report=report,
        )
        # [steps, 2, B] -> [2, B, steps]
        curves = metrics.transpose(1, 2, 0)
        done.append((np.asarray(state.x)[:count], curves[:, :count]))

    ws = np.concatenate([batch[0] for batch in done])
    curves = np.concatenate([batch[1] for batch in done], axis=1)
    if not (np.isfinite(ws).all() and np.isfinite(curves).all()):
        raise DataError("the optimisation of the anchors diverged: try a lower learning_rate")
    return Optimized(ws=ws, losses=curves[0], similarities=curves[1])


@functools.partial(jax.jit, static_argnums=(3,))
def _identify(
    gen: Generator,
    identity: Callable[[jax.Array], jax.Array],
    ws: jax.Array,
    resolution: int,
) -> jax.Array:
    """Unit vectors [B, E'] of the start images, which stay fixed during the optimisation."""
    return identity(synthesize(gen, ws, resolution=resolution))


def _loss(
    gen: Generator,
    clip: Clip,
    target: tuple[Callable[[jax.Array], jax.Array], jax.Array] | None,
    problem: _Problem,
    key: jax.Array,
    objective: Objective,
    ws: jax.Array,
    number: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The loss of latents [B, L, D] in step `number`, and losses and similarities [2, B]."""
    # ws [B, L, D] -> images [B, R, R, 3] -> cosines [1 + V, B, M']
    images = synthesize(gen, ws, resolution=objective.resolution)
    views_key = jax.random.fold_in(key, number)
    cosines = _cosines(clip, images, problem.texts, views_key, objective)
    # Of each latent, the cosine to its own prompt: [1 + V, B].
    own = jnp.take_along_axis(cosines, problem.own[None, :, None], axis=2)[..., 0]
    if objective.kind == "cosine":
        pull = 1.0 - own
    else:
        scale = clip.logit_scale
        matches = scale * cosines + problem.absent[None, None, :]
        pull = jax.nn.logsumexp(matches, axis=2) / scale - own
    # Mean over views, then what holds the latent back: [B].
    each = pull.mean(axis=0)
    each += problem.l2_weight * jnp.sum((ws - problem.start) ** 2, axis=(1, 2))
    if target is not None:
        identity, wanted = target
        each += problem.identity_weight * (1.0 - jnp.sum(identity(images) * wanted, axis=1))
    return jnp.sum(each), jnp.stack([each, own.mean(axis=0)])


def _cosines(
    clip: Clip, images: jax.Array, texts: jax.Array, key: jax.Array, objective: Objective
) -> jax.Array:
    """Cosine of each view of each image [B, R, R, 3] to each prompt: [1 + V, B, M']."""
    views = area_resize(images, clip.image_size)[None]
    if objective.augment:
        more = random_views(images, key, count=objective.augment, size=clip.image_size)
        views = jnp.concatenate([views, more])
    # [1 + V, B, S, S, 3] -> one batch for CLIP -> vectors [(1 + V) B, E]
    pixels = normalise(clip.spec, views, preprocess=objective.preprocess)
    vectors = encode_pixels(clip, pixels.reshape(-1, *pixels.shape[2:]))
    return (vectors @ texts.T).reshape(*views.shape[:2], -1)


def random_views(images: jax.Array, key: jax.Array, *, count: int, size: int) -> jax.Array:
    """Random crops of images, resized and with noise, so that no single pixel decides.

    A view is drawn once and applied to all images, so that only the images themselves differ.
    Nothing is mirrored or rotated, since motions may be about just that.

    Args:
        images: [B, R, R, 3].
        key: which views.
        count: how many, V.
        size: side S of the result.

    Returns:
        [V, B, S, S, 3] float32.
    """
    extent_key, start_key, noise_key = jax.random.split(key, 3)
    extent = jax.random.uniform(extent_key, (count,), minval=_MIN_EXTENT)
    start = jax.random.uniform(start_key, (2, count)) * (1.0 - extent)[None, :]
    noise = _NOISE * jax.random.normal(noise_key, (count, 1, size, size, 3))
    source = images.shape[1]

    def view(top: jax.Array, left: jax.Array, extent: jax.Array) -> jax.Array:
        rows = area_weights(source, size, start=top, extent=extent)
        columns = area_weights(source, size, start=left, extent=extent)
        return apply_weights(images, rows, columns)

    views = jax.vmap(view)(start[0], start[1], extent)
    return views + jnp.broadcast_to(noise, views.shape)
