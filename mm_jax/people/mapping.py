"""The mapping network of the bundled generator, and what its W holds.

W is made linear in what an image shows: ``w = describe(factors) @ frame() + rest``. The mapping
network learns that first and alone, since what W does not hold no synthesis network can draw, and
keeps to it when it is trained on with the synthesis network.

What an image shows is each factor in standard deviations, and a one-hot for the style of hair,
which is no matter of degree.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.people.factors import (
    FACTORS,
    HAIR_STYLES,
    NUM_FACTORS,
    Z_DIM,
    factors_from_z,
    index,
)
from mm_jax.people.training import Loop, linear_decay, muon, run_loop
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.networks import init_params, map_latents

__all__ = ["WIDTH", "describe", "frame", "frame_error", "train_mapping"]

WIDTH = NUM_FACTORS - 1 + len(HAIR_STYLES)
STYLE_SCALE = 2.0
STEPS, CHUNK, BATCH = 16_000, 500, 512
KERNEL_RATE = 15.0


@functools.cache
def _moments() -> tuple[np.ndarray, np.ndarray]:
    with jax.ensure_compile_time_eval():
        z = jax.random.normal(jax.random.key(1), (100_000, Z_DIM))
        raw = np.asarray(_raw(factors_from_z(z)))
    scale = raw.std(axis=0)
    scale[NUM_FACTORS - 1 :] = 1 / STYLE_SCALE
    return raw.mean(axis=0), scale


def _raw(factors: jax.Array) -> jax.Array:
    style = index("hair_style")
    position = (factors[:, style] + 1) / 2 * len(HAIR_STYLES)
    which = jnp.clip(position.astype(int), 0, len(HAIR_STYLES) - 1)
    others = jnp.asarray([k for k in range(NUM_FACTORS) if k != style])
    return jnp.concatenate([factors[:, others], jax.nn.one_hot(which, len(HAIR_STYLES))], axis=1)


def describe(factors: jax.Array) -> jax.Array:
    """What factors ``[N, F]`` show, ``[N, WIDTH]``, with mean 0 over z."""
    mean, scale = _moments()
    return (_raw(factors) - jnp.asarray(mean)[None]) / jnp.asarray(scale)[None]


@functools.cache
def _frame(w_dim: int) -> np.ndarray:
    rows = np.linalg.qr(np.random.RandomState(3).randn(w_dim, WIDTH))[0].T
    # Mean variance of W over its dimensions is about 1.
    return (rows * np.sqrt(w_dim / WIDTH)).astype(np.float32)


def frame(w_dim: int) -> jax.Array:
    """Orthogonal rows ``[WIDTH, D]``: where in W each thing that an image shows lies."""
    return jnp.asarray(_frame(w_dim))


def frame_error(w: jax.Array, factors: jax.Array) -> jax.Array:
    """Mean squared error of what W ``[N, D]`` says of the factors ``[N, F]``; a scalar.

    In variances of `describe`; directions of W across the frame are free.
    """
    rows = frame(w.shape[1])
    read = w @ rows.T / jnp.sum(jnp.square(rows[0]))
    return jnp.mean(jnp.square(read - describe(factors)))


def train_mapping(outdir: Path, config: GeneratorConfig, *, seed: int = 0) -> dict[str, Any]:
    """Train or resume in ``outdir``; parameters of the mapping network, with ``w_avg`` set."""
    tx = muon(linear_decay(2e-3, STEPS), kernel_rate=KERNEL_RATE)

    def start():
        mapping = init_params(jax.random.key(seed), config)["mapping"]
        return (mapping, tx.init(mapping))

    @jax.jit
    def chunk(carry, key):
        def step(carry, key):
            mapping, opt = carry
            z = jax.random.normal(key, (BATCH, Z_DIM))
            target = describe(factors_from_z(z)) @ frame(config.w_dim)

            def loss(mapping):
                w = map_latents(config, {"mapping": mapping}, z)
                return jnp.mean(jnp.square(w - target))

            value, grads = jax.value_and_grad(loss)(mapping)
            updates, opt = tx.update(grads, opt, mapping)
            return (optax.apply_updates(mapping, updates), opt), value

        carry, losses = jax.lax.scan(step, carry, jax.random.split(key, CHUNK))
        return carry, {"mse": losses.mean()}

    def step(carry, index_):
        return chunk(carry, jax.random.key(seed + 100 + index_))

    loop = Loop("mapping", outdir, STEPS // CHUNK, start, step, log_every=1, save_every=5)
    mapping, _ = run_loop(loop)
    z = jax.random.normal(jax.random.key(seed + 1), (16384, Z_DIM))
    return {**mapping, "w_avg": map_latents(config, {"mapping": mapping}, z).mean(axis=0)}


def held(config: GeneratorConfig, mapping: Any) -> dict[str, float]:
    """Fraction of each factor's variance, and of the style's, that W holds, on unseen z."""
    z = jax.random.normal(jax.random.key(77), (8192, Z_DIM))
    truth = describe(factors_from_z(z))
    rows = frame(config.w_dim)
    read = map_latents(config, {"mapping": mapping}, z) @ rows.T / jnp.sum(jnp.square(rows[0]))
    residual = jnp.mean(jnp.square(read - truth), axis=0) / jnp.var(truth, axis=0)
    names = [name for name in FACTORS if name != "hair_style"]
    names += [f"hair_{style}" for style in HAIR_STYLES]
    return {name: float(1 - r) for name, r in zip(names, residual, strict=True)}
