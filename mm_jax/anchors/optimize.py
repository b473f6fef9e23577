"""Anchors by optimisation: each degree's code is pulled from the start code towards its prompt.

The loss of one code w with start w0 and prompt t is the paper's,

    L = (1 - cos(CLIP(G(w)), CLIP(t))) + l2 |w - w0|^2 + id (1 - cos(ID(G(w)), ID(G(w0))))

minimised by Adam with a linear ramp-up of its rate over the first 5 % of the steps and a cosine
ramp-down over the last 25 % (arXiv 2204.12696; the schedule is that of Karras et al. 2020's
projector). Codes do not interact: losses are summed, not averaged, and Adam works element by
element, so optimising all degrees of all starts at once gives what one after another gives.

Letters: N starts, M prompts, B = N M codes, L rows of W+, D latent width, V views, E CLIP's width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax import parallel
from mm_jax.buckets import bucket, filled
from mm_jax.descent import as_argument, chunk_length, full_batches, learning_rates
from mm_jax.errors import DataError
from mm_jax.latents import synthesize
from mm_jax.perceptual.clip import Clip, encode_pixels, normalise
from mm_jax.perceptual.resize import apply_weights, area_resize, area_weights
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import pictures_at_once

__all__ = ["OBJECTIVES", "Objective", "Optimized", "optimize_codes"]

#: "cosine" is the paper's: one minus the cosine to the own prompt. "contrast" is the soft maximum
#: of the cosines to all prompts less that to the own: it asks for a picture that matches its prompt
#: better than those of the other degrees, so what all prompts share has no pull.
OBJECTIVES = ("cosine", "contrast")

# An augmented view shows at least this share of each side, under noise of this deviation.
_LEAST_EXTENT, _NOISE = 0.85, 0.05


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is static about the loss.

    Attributes:
        kind: one of `OBJECTIVES`.
        preprocess: "clip" or "styleclip", as in `encode_image`.
        resolution: side of the picture that is judged; rows of W+ above it are only held by l2.
        augment: how many random views of the picture are judged beside the picture itself.
    """

    kind: str = "cosine"
    preprocess: str = "clip"
    resolution: int
    augment: int = 0


class Optimized(NamedTuple):
    """Codes and how they came about.

    Attributes:
        ws: [N, M, L, D] float32.
        losses: [N, M, steps] float32, the whole loss before each step.
        similarities: [N, M, steps] float32, cosine to the own prompt (mean over views) likewise.
    """

    ws: np.ndarray
    losses: np.ndarray
    similarities: np.ndarray


class _Problem(NamedTuple):
    """The arrays that define the losses of a batch of codes."""

    start: jax.Array  # [B, L, D]
    own: jax.Array  # [B] int32, index of each code's prompt
    texts: jax.Array  # [M, E] unit, filled up to a bucket
    absent: jax.Array  # [M] float32, 0 for prompts and minus infinity for what fills them up
    moving: jax.Array  # [L] float32, 1 for the rows that may move
    l2_weight: jax.Array  # []
    identity_weight: jax.Array  # []


class _State(NamedTuple):
    ws: jax.Array  # [B, L, D]
    adam: optax.OptState


_ADAM = optax.scale_by_adam()


def optimize_codes(
    gen: Generator,
    clip: Clip,
    *,
    start: jax.Array,
    texts: jax.Array,
    objective: Objective,
    moving: np.ndarray,
    steps: int = 40,
    learning_rate: float = 0.1,
    l2_weight: float = 0.008,
    identity_weight: float = 0.0,
    identity: Callable[[jax.Array], jax.Array] | None = None,
    key: jax.Array | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> Optimized:
    """Optimise one code for every start and prompt, with fixed noise.

    All codes of a batch run in one jitted program, a scan over steps, which takes every weight as
    an argument: it is compiled once for each shape and objective. Arguments are taken as valid;
    `mm_jax.anchors.text.text_anchors` is the checked way in.

    Args:
        gen: the generator.
        clip: the network that judges pictures.
        start: [N, L, D] float32.
        texts: [M, E] unit vectors of the prompts.
        objective: the static part of the loss.
        moving: [L] bool, the rows of W+ that may move.
        steps, learning_rate, l2_weight, identity_weight: as in the module's text.
        identity: pictures [B, H, H, 3] to unit vectors [B, *]. A pytree that can be called (such as
            `jax.tree_util.Partial`) enters the program by its leaves, a plain function as it is.
        key: for the views; the same views are used for every code of a step.
        batch_size: codes optimised at once, by default as many as fit in about 2 GiB of each
            device; the result does not depend on it.
        progress: called as ("anchors", done, steps in all) after every few steps.

    Raises:
        DataError: a code or a loss is no longer finite.
    """
    starts, prompts = start.shape[0], texts.shape[0]
    total = starts * prompts
    devices = parallel.width(gen)
    fitting = pictures_at_once(gen.config, resolution=objective.resolution, gradient=True) * devices
    size = bucket(prompts)
    absent = np.where(np.arange(size) < prompts, 0.0, -np.inf)
    rates = learning_rates(steps, learning_rate)
    chunk = chunk_length(steps)
    identity = as_argument(identity)
    key = jax.random.key(0) if key is None else key

    # The last batch is filled up with codes that are optimised again and dropped.
    batches = list(full_batches(total, batch_size or fitting, devices=devices))
    done: list[tuple[np.ndarray, np.ndarray]] = []
    for i, (codes, count) in enumerate(batches):
        problem = _Problem(
            start=parallel.split(jnp.asarray(start, jnp.float32)[codes // prompts], gen),
            own=parallel.split(jnp.asarray(codes % prompts, jnp.int32), gen),
            texts=jnp.asarray(filled(np.asarray(texts, np.float32), size)),
            absent=jnp.asarray(absent, jnp.float32),
            moving=jnp.asarray(moving, jnp.float32),
            l2_weight=jnp.asarray(l2_weight, jnp.float32),
            identity_weight=jnp.asarray(identity_weight, jnp.float32),
        )
        person = None
        if identity is not None:
            wanted = _identify(gen, identity, problem.start, objective.resolution)
            person = (identity, wanted)
        # A copy: the state is donated to each chunk, the start is not.
        ws = jnp.array(problem.start, copy=True)
        state = _State(ws, parallel.split(_ADAM.init(ws), gen))
        figures = []
        for first in range(0, steps, chunk):
            state, figure = _run_chunk(
                gen,
                clip,
                person,
                problem,
                state,
                jnp.asarray(rates[first : first + chunk]),
                jnp.arange(first, first + chunk, dtype=jnp.int32),
                key,
                objective=objective,
            )
            figures.append(np.asarray(figure))
            progress("anchors", i * steps + first + chunk, len(batches) * steps)
        # [steps, 2, B] -> [2, B, steps]
        curves = np.concatenate(figures).transpose(1, 2, 0)
        done.append((np.asarray(state.ws)[:count], curves[:, :count]))

    ws = np.concatenate([batch[0] for batch in done])
    figures = np.concatenate([batch[1] for batch in done], axis=1)
    if not (np.isfinite(ws).all() and np.isfinite(figures).all()):
        raise DataError(
            "the optimisation of the anchors came to NaN or infinity: try a lower learning rate"
        )
    shape = (starts, prompts)
    return Optimized(
        ws=ws.reshape(*shape, *ws.shape[1:]),
        losses=figures[0].reshape(*shape, steps),
        similarities=figures[1].reshape(*shape, steps),
    )


@functools.partial(jax.jit, static_argnums=(3,))
def _identify(
    gen: Generator,
    identity: Callable[[jax.Array], jax.Array],
    ws: jax.Array,
    resolution: int,
) -> jax.Array:
    """Unit vectors [B, *] of the start pictures, which stay fixed during the optimisation."""
    return identity(synthesize(gen, ws, resolution=resolution))


@functools.partial(jax.jit, static_argnames=("objective",), donate_argnums=(4,))
def _run_chunk(
    gen: Generator,
    clip: Clip,
    person: tuple[Callable[[jax.Array], jax.Array], jax.Array] | None,
    problem: _Problem,
    state: _State,
    rates: jax.Array,
    numbers: jax.Array,
    key: jax.Array,
    *,
    objective: Objective,
) -> tuple[_State, jax.Array]:
    """Some steps of Adam: the new state, and losses and similarities [steps, 2, B]."""
    moving = problem.moving[None, :, None]

    def loss(ws: jax.Array, step_key: jax.Array) -> tuple[jax.Array, jax.Array]:
        images = synthesize(gen, ws, resolution=objective.resolution)
        cosines = _cosines(clip, images, problem.texts, step_key, objective)
        own = jnp.take_along_axis(cosines, problem.own[None, :, None], axis=2)[..., 0]
        if objective.kind == "cosine":
            pull = 1.0 - own
        else:
            scale = clip.logit_scale
            matches = scale * cosines + problem.absent[None, None, :]
            pull = jax.nn.logsumexp(matches, axis=2) / scale - own
        each = pull.mean(axis=0)
        each += problem.l2_weight * jnp.sum((ws - problem.start) ** 2, axis=(1, 2))
        if person is not None:
            identity, wanted = person
            each += problem.identity_weight * (1.0 - jnp.sum(identity(images) * wanted, axis=1))
        return jnp.sum(each), jnp.stack([each, own.mean(axis=0)])

    def step(state: _State, now: tuple[jax.Array, jax.Array]) -> tuple[_State, jax.Array]:
        rate, number = now
        gradient, figures = jax.grad(loss, has_aux=True)(state.ws, jax.random.fold_in(key, number))
        # Adam moves an element only where its gradient is not zero: held rows stay as they are.
        update, adam = _ADAM.update(gradient * moving, state.adam)
        moved: Any = optax.apply_updates(state.ws, optax.tree.scale(-rate, update))
        return _State(moved, adam), figures

    return jax.lax.scan(step, state, (rates, numbers))


def _cosines(
    clip: Clip, images: jax.Array, texts: jax.Array, key: jax.Array, objective: Objective
) -> jax.Array:
    """Cosine of each view of each picture [B, R, R, 3] to each prompt: [V, B, M]."""
    views = area_resize(images, clip.image_size)[None]
    if objective.augment:
        more = random_views(images, key, count=objective.augment, size=clip.image_size)
        views = jnp.concatenate([views, more])
    pixels = normalise(clip.spec, views, preprocess=objective.preprocess)
    vectors = encode_pixels(clip, pixels.reshape(-1, *pixels.shape[2:]))
    return (vectors @ texts.T).reshape(*views.shape[:2], -1)


def random_views(images: jax.Array, key: jax.Array, *, count: int, size: int) -> jax.Array:
    """Random crops of pictures, resized and with noise, so that no single pixel's accident counts.

    A view is drawn once and applied to all pictures: what differs between them is then only the
    pictures themselves. Nothing is mirrored or turned, since motions may be about just that.

    Args:
        images: [B, R, R, 3].
        key: which views.
        count: how many, V.
        size: side S of the result.

    Returns:
        [V, B, S, S, 3] float32.
    """
    extent_key, start_key, noise_key = jax.random.split(key, 3)
    extent = jax.random.uniform(extent_key, (count,), minval=_LEAST_EXTENT)
    start = jax.random.uniform(start_key, (2, count)) * (1.0 - extent)[None, :]
    noise = _NOISE * jax.random.normal(noise_key, (count, 1, size, size, 3))
    source = images.shape[1]

    def view(top: jax.Array, left: jax.Array, extent: jax.Array) -> jax.Array:
        rows = area_weights(source, size, start=top, extent=extent)
        columns = area_weights(source, size, start=left, extent=extent)
        return apply_weights(images, rows, columns)

    views = jax.vmap(view)(start[0], start[1], extent)
    return views + jnp.broadcast_to(noise, views.shape)
