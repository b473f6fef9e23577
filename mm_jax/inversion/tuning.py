"""Pivotal tuning: a copy of a generator that renders given images for given latents.

The latents, found by inversion, stay where they are (the pivots); the synthesis network moves until
it renders the images there. A locality term preserves it elsewhere: at latents on the way from a
pivot to a random latent of W, the copy must render what the original renders. With B images x_i,
pivots w_i, random latents z_i and fractions u_i drawn from [0, 1] in each step,

    L = mean_i D(G'(w_i), x_i) + locality mean_i D(G'(v_i), G(v_i)),   v_i = w_i + u_i (z_i - w_i)
    D = pixel |.|^2 + laplacian Lap + lpips LPIPS + identity (1 - cos ID)

Identity counts at the pivots only.

Reference: Roich et al. 2021, "Pivotal Tuning for Latent-based Editing of Real Images"; there, v
lies at a fixed distance from the pivot.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from mm_jax.checks import as_latents, check_number
from mm_jax.descent import Adam, State, as_argument, descend, full_batches, learning_rates
from mm_jax.errors import DataError
from mm_jax.inversion import losses
from mm_jax.inversion.invert import check_images
from mm_jax.inversion.options import TuneOptions
from mm_jax.latents import draw_latents, synthesize
from mm_jax.nn.resize import area_resize
from mm_jax.perceptual.lpips import Lpips
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import UNTRAINED

__all__ = ["Tuning", "tune_generator"]


@dataclasses.dataclass(frozen=True, eq=False)
class Tuning:
    """A generator tuned to images, a pytree.

    Attributes:
        generator: the copy; its mapping network and its noise are the original's.
        losses: [steps] float32, the whole loss before each step.
        psnr: [N] float32, dB between the images and what the copy renders for their latents.
    """

    generator: Generator
    losses: jax.Array | np.ndarray
    psnr: jax.Array | np.ndarray


jax.tree_util.register_dataclass(
    Tuning, data_fields=["generator", "losses", "psnr"], meta_fields=[]
)


class _Weights(NamedTuple):
    pixel: Any
    laplacian: Any
    lpips: Any
    identity: Any
    locality: Any


class _Critics(NamedTuple):
    lpips: Lpips | None
    identity: Any  # images [B, R, R, C] to unit vectors [B, E], a pytree; or None


class _Batch(NamedTuple):
    images: Any  # [B, R, R, C]
    ws: Any  # [B, L, D]
    key: jax.Array  # of the random latents and fractions


def tune_generator(
    gen: Generator,
    images: jax.Array | np.ndarray,
    ws: jax.Array | np.ndarray,
    *,
    options: TuneOptions = TuneOptions(),
    lpips: Lpips | None = None,
    identity: Callable[[jax.Array], jax.Array] | None = None,
    batch_size: int = 4,
    key: jax.Array | None = None,
    progress: ProgressFn = silent,
    **changes: Any,
) -> Tuning:
    """Fine-tune a copy of a generator around the latents of images.

    Args:
        gen: the generator, which stays as it is.
        images: [N, H, H, C] float in [-1, 1], as for `mm_jax.invert`.
        ws: [N, L, D] their latents, which stay as they are.
        options: how; `TuneOptions` explains each.
        lpips: a perceptual distance to add.
        identity: as for `mm_jax.invert`; a change of identity then costs.
        batch_size: images of a step, in turn, and as many random latents.
        key: of the random latents and the order of the images; `jax.random.key(0)` unless given.
        progress: called as ("tuning", done, steps).
        **changes: options by name, such as `steps=60`, in place of those in `options`.

    Raises:
        UsageError: an argument is out of range, unknown, or of another shape.
        DataError: images or latents are not finite, or the tuning diverges.
    """
    options = options.replace(**changes)
    images = check_images(gen, images)
    shape = (gen.config.num_ws, gen.config.w_dim)
    latents = as_latents("ws", ws, shape, count=len(images))
    check_number("batch_size", batch_size, minimum=1, whole=True)
    weights = _Weights(
        *(jnp.asarray(getattr(options, f"{name}_weight"), jnp.float32) for name in _Weights._fields)
    )
    order_key, latent_key = jax.random.split(jax.random.key(0) if key is None else key)

    # Targets [N, R, R, C] at the generator's size, and the order in which steps see them.
    steps, count, size = options.steps, len(images), min(batch_size, len(images))
    wanted = np.concatenate(
        [
            np.asarray(area_resize(jnp.asarray(images[indices]), gen.config.resolution))[:real]
            for indices, real in full_batches(count, size)
        ]
    )
    # [epochs N] indices: each pass over the images in an order of its own.
    order = np.asarray(_orders(order_key, -(-steps * size // count), count)).ravel()
    # Two trees of the synthesis network: what is tuned, and noise and other buffers.
    moving, still = _split(gen.params["synthesis"])

    def batch(first: int, count: int) -> _Batch:
        # One step at a time, so that the images of one step only are on the device.
        chosen = order[first * size : (first + count) * size]  # [B]
        # Leaves [1, B, ..], whose first axis is that of the steps.
        return _Batch(
            images=wanted[chosen][None],
            ws=latents[chosen][None],
            key=jax.random.fold_in(latent_key, first)[None],
        )

    state, values = descend(
        Partial(_loss, gen, still, weights, _Critics(lpips, as_argument(identity))),
        _begin(moving),
        learning_rates(steps, options.learning_rate),
        inputs=batch,
        chunk=1,
        report=lambda done: progress("tuning", done, steps),
    )
    if not np.isfinite(values).all():
        raise DataError("the tuning diverged: try a lower learning_rate")
    tuned = _assemble(gen, state.x, still)
    # [N] decibels of what the copy renders; the padding of the last batch is dropped.
    drawn = np.concatenate(
        [
            np.asarray(
                losses.psnr(synthesize(tuned, latents[indices]), jnp.asarray(wanted[indices]))
            )[:real]
            for indices, real in full_batches(count, size)
        ]
    )
    return Tuning(tuned, values, drawn)


@functools.partial(jax.jit, static_argnames=("epochs", "count"))
def _orders(key: jax.Array, epochs: int, count: int) -> jax.Array:
    """[epochs, count] indices, each row in an order of its own."""

    def order(epoch: jax.Array) -> jax.Array:
        return jax.random.permutation(jax.random.fold_in(key, epoch), count)

    return jax.vmap(order)(jnp.arange(epochs))


@jax.jit
def _begin(moving: Any) -> State:
    """Before the first step; copies, as what is tuned is donated to each step."""
    moving = jax.tree.map(jnp.copy, moving)
    return State(moving, Adam().init(moving))


def _loss(
    gen: Generator,
    still: Mapping[str, Any],
    weights: _Weights,
    critics: _Critics,
    moving: Mapping[str, Any],
    batch: _Batch,
) -> tuple[jax.Array, jax.Array]:
    """The loss of the parameters that move, twice: to be minimised and to be kept."""
    away_key, fraction_key = jax.random.split(batch.key)
    count = len(batch.ws)
    # Random latents [B, L, D], and points at a random fraction [B, 1, 1] of the way to them.
    labels = None
    if gen.config.c_dim:
        # [B] classes to one-hot [B, C]
        classes = jax.random.randint(fraction_key, (count,), 0, gen.config.c_dim)
        labels = jax.nn.one_hot(classes, gen.config.c_dim)
    fraction = jax.random.uniform(fraction_key, (count, 1, 1))
    away = batch.ws + fraction * (draw_latents(gen, away_key, count, labels=labels) - batch.ws)
    original = synthesize(gen, away)  # [B, R, R, C], which the copy is to render as well

    def difference(drawn: jax.Array, wanted: jax.Array) -> jax.Array:
        # Of images [B, R, R, C] each, as one number.
        each = weights.pixel * losses.pixel_distance(drawn, wanted)  # [B]
        each += weights.laplacian * losses.laplacian_distance(drawn, wanted)
        if critics.lpips is not None:
            each += weights.lpips * losses.perceptual_distance(critics.lpips, drawn, wanted)
        return jnp.mean(each)

    # Pivots and points away from them in one batch [2B, R, R, C].
    drawn = synthesize(_assemble(gen, moving, still), jnp.concatenate([batch.ws, away]))
    near, far = jnp.split(drawn, 2)  # [B, R, R, C] each
    value = difference(near, batch.images) + weights.locality * difference(far, original)
    if critics.identity is not None:
        # Unit vectors [B, E] each, to cosines [B].
        cosines = jnp.sum(critics.identity(near) * critics.identity(batch.images), axis=1)
        value += weights.identity * jnp.mean(1.0 - cosines)
    return value, value


def _split(synthesis: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What tuning moves and what it does not: two trees, None where a leaf is the other's."""

    def choose(trained: bool) -> dict[str, Any]:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf if (path[-1].key not in UNTRAINED) == trained else None,
            dict(synthesis),
        )

    return choose(True), choose(False)


def _assemble(gen: Generator, moving: Any, still: Any) -> Generator:
    synthesis = jax.tree.map(
        lambda a, b: b if a is None else a, moving, still, is_leaf=lambda leaf: leaf is None
    )
    return Generator(gen.config, {**gen.params, "synthesis": synthesis}, gen.meta)
