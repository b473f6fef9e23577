"""Pivotal tuning: a copy of a generator that draws given pictures for given codes.

The codes, found by inversion, stay where they are (the pivots); the synthesis network moves until
it draws the pictures there. A locality term keeps it what it was elsewhere: at codes on the way
from a pivot to a random code of W, the copy has to draw what the original draws. With B pictures
x_i, pivots w_i, random codes z_i and shares u_i drawn from [0, 1] in each step,

    L = mean_i D(G'(w_i), x_i) + locality mean_i D(G'(v_i), G(v_i)),   v_i = w_i + u_i (z_i - w_i)
    D = pixel |.|^2 + laplacian Lap + lpips LPIPS

Reference: Roich et al. 2021, "Pivotal Tuning for Latent-based Editing of Real Images"; there, v
lies at a fixed distance from the pivot.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.checks import check_count, check_number
from mm_jax.descent import full_batches, learning_rates
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion import losses
from mm_jax.inversion.invert import check_images
from mm_jax.latents import sample_latents, synthesize
from mm_jax.perceptual.lpips import Lpips
from mm_jax.perceptual.resize import area_resize
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import UNTRAINED

__all__ = ["Tuning", "tune_generator"]

_ADAM = optax.scale_by_adam()


@dataclasses.dataclass(frozen=True, eq=False)
class Tuning:
    """A generator tuned to pictures, a pytree.

    Attributes:
        generator: the copy; its mapping network and its noise are the original's.
        losses: [steps] float32, the whole loss before each step.
        psnr: [N] float32, dB between the pictures and what the copy draws for their codes.
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
    locality: Any


class _Batch(NamedTuple):
    images: jax.Array  # [B, R, R, C]
    ws: jax.Array  # [B, L, D]
    key: jax.Array  # of the random codes and shares
    rate: jax.Array  # []


def tune_generator(
    gen: Generator,
    images: jax.Array | np.ndarray,
    ws: jax.Array | np.ndarray,
    *,
    steps: int = 100,
    learning_rate: float = 0.003,
    pixel_weight: float = 1.0,
    laplacian_weight: float = 1.0,
    lpips: Lpips | None = None,
    lpips_weight: float = 1.0,
    locality_weight: float = 1.0,
    batch_size: int = 4,
    key: jax.Array | None = None,
    progress: ProgressFn = silent,
) -> Tuning:
    """Fine-tune a copy of a generator around the codes of pictures.

    Args:
        gen: the generator, which stays as it is.
        images: [N, H, H, C] float in [-1, 1], as for `mm_jax.invert`.
        ws: [N, L, D] their codes, which stay as they are.
        steps: of Adam, with the schedule of Karras et al. 2020's projector; each sees `batch_size`
            pictures, in turn.
        learning_rate: for parameters as they are stored, that is of about unit variance.
        pixel_weight, laplacian_weight, lpips, lpips_weight: as in `mm_jax.invert`.
        locality_weight: what a change of pictures away from the pivots costs.
        batch_size: pictures of a step, and as many random codes.
        key: of the random codes and the order of the pictures; `jax.random.key(0)` unless given.
        progress: called as ("tuning", done, steps).

    Raises:
        UsageError: an argument is out of range or of another shape.
        DataError: pictures or codes are not finite, or the tuning diverges.
    """
    pictures = check_images(gen, images)
    codes = _check_codes(gen, ws, len(pictures))
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    check_number("learning_rate", learning_rate, above=0.0)
    weights = _Weights(pixel_weight, laplacian_weight, lpips_weight, locality_weight)
    for name, value in weights._asdict().items():
        check_number(f"{name}_weight", value)
    weights = _Weights(*(jnp.asarray(value, jnp.float32) for value in weights))
    order_key, code_key = jax.random.split(jax.random.key(0) if key is None else key)

    count, size = len(pictures), min(batch_size, len(pictures))
    wanted = np.concatenate(
        [
            np.asarray(area_resize(jnp.asarray(pictures[indices]), gen.config.resolution))[:real]
            for indices, real in full_batches(count, size)
        ]
    )
    order = np.concatenate(
        [
            np.asarray(jax.random.permutation(jax.random.fold_in(order_key, i), count))
            for i in range(-(-steps * size // count))
        ]
    )
    moving, still = _split(gen.params["synthesis"])
    # Copies: what is tuned is donated to each step, the original is not.
    moving = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), moving)
    state = (moving, _ADAM.init(moving))
    curve = []
    for i, rate in enumerate(learning_rates(steps, learning_rate)):
        chosen = order[i * size : (i + 1) * size]
        batch = _Batch(
            images=jnp.asarray(wanted[chosen]),
            ws=jnp.asarray(codes[chosen]),
            key=jax.random.fold_in(code_key, i),
            rate=jnp.asarray(rate),
        )
        state, loss = _step(gen, still, state, batch, weights, lpips)
        curve.append(loss)
        progress("tuning", i + 1, steps)
    values = np.asarray(jnp.stack(curve))
    if not np.isfinite(values).all():
        raise DataError("the tuning came to NaN or infinity: try a lower learning rate")
    tuned = _assemble(gen, state[0], still)
    drawn = np.concatenate(
        [
            np.asarray(
                losses.psnr(synthesize(tuned, codes[indices]), jnp.asarray(wanted[indices]))
            )[:real]
            for indices, real in full_batches(count, size)
        ]
    )
    return Tuning(tuned, values, drawn)


@functools.partial(jax.jit, donate_argnames=("state",))
def _step(
    gen: Generator,
    still: Mapping[str, Any],
    state: tuple[Any, optax.OptState],
    batch: _Batch,
    weights: _Weights,
    lpips: Lpips | None,
) -> tuple[tuple[Any, optax.OptState], jax.Array]:
    """One step of Adam: the parameters with its state, and the loss before."""
    code_key, share_key = jax.random.split(batch.key)
    count = len(batch.ws)
    z = jax.random.normal(code_key, (count, gen.config.z_dim))
    labels = None
    if gen.config.c_dim:
        classes = jax.random.randint(share_key, (count,), 0, gen.config.c_dim)
        labels = jax.nn.one_hot(classes, gen.config.c_dim)
    share = jax.random.uniform(share_key, (count, 1, 1))
    away = batch.ws + share * (sample_latents(gen, z=z, labels=labels) - batch.ws)
    original = synthesize(gen, away)

    def difference(drawn: jax.Array, wanted: jax.Array) -> jax.Array:
        each = weights.pixel * losses.pixel_distance(drawn, wanted)
        each += weights.laplacian * losses.laplacian_distance(drawn, wanted)
        if lpips is not None:
            each += weights.lpips * losses.perceptual_distance(lpips, drawn, wanted)
        return jnp.mean(each)

    def loss(moving: Any) -> jax.Array:
        drawn = synthesize(_assemble(gen, moving, still), jnp.concatenate([batch.ws, away]))
        near, far = jnp.split(drawn, 2)
        return difference(near, batch.images) + weights.locality * difference(far, original)

    moving, adam = state
    value, gradient = jax.value_and_grad(loss)(moving)
    update, adam = _ADAM.update(gradient, adam)
    moved = optax.apply_updates(moving, optax.tree.scale(-batch.rate, update))
    return (moved, adam), value


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


def _check_codes(gen: Generator, ws: jax.Array | np.ndarray, count: int) -> np.ndarray:
    codes = np.asarray(ws)
    want = (count, gen.config.num_ws, gen.config.w_dim)
    if codes.shape != want or codes.dtype.kind not in "fiu":
        raise UsageError(
            f"ws must be numbers {list(want)}, one code for each picture, got {codes.dtype} "
            f"{list(codes.shape)}"
        )
    if not np.isfinite(codes).all():
        raise DataError("ws hold NaN or infinity")
    return codes.astype(np.float32)
