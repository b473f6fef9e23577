"""The mapping network of the bundled generator: W codes from which a linear map reads the scores.

What W does not hold no synthesis network can draw, so this comes first and alone, and bounds all
that follows.  A first mapping network, 10,000 steps of Adam, held 98.1 % of the variance of each
factor.  Renders whose factors are off by so much have 25.0 dB to the right ones over the inner
face, which is where the generator had stopped (24.9 dB).  Muon comes to 99.6 % in
6,000 steps: 16 scores are there all but entirely, five of 21 still at 98 %.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.people.training import Loop, linear_decay, muon, run_loop
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.networks import init_params, map_latents
from mm_jax.synthface.factors import NUM_FACTORS, Z_DIM, scores_from_z

STEPS, CHUNK, BATCH = 6000, 500, 512
KERNEL_RATE = 15.0
# Principal directions of W of less variance are noise: a score's direction has about 5.
LEAST_VARIANCE = 0.01


def readout_loss(config: GeneratorConfig, mapping: Any, readout: Any, z: jax.Array) -> jax.Array:
    """Mean squared error of the scores that a dense layer reads from the W codes of ``z``."""
    w = map_latents(config, {"mapping": mapping}, z)
    read = w @ readout["kernel"] + jnp.broadcast_to(readout["bias"], (len(z), NUM_FACTORS))
    return jnp.mean(jnp.square(read - scores_from_z(z)))


def train_mapping(outdir: Path, config: GeneratorConfig, *, seed: int = 0) -> dict[str, Any]:
    """Train or resume in ``outdir``; parameters whose W has mean variance 1, with ``w_avg``."""
    tx = muon(linear_decay(2e-3, STEPS), kernel_rate=KERNEL_RATE)

    def start():
        mapping = init_params(jax.random.key(seed), config)["mapping"]
        readout = {
            "kernel": jnp.zeros((config.w_dim, NUM_FACTORS)),
            "bias": jnp.zeros((NUM_FACTORS,)),
        }
        trained = (mapping, {"readout": readout})
        return (trained, tx.init(trained))

    @jax.jit
    def chunk(carry, key):
        def step(carry, key):
            trained, opt = carry
            z = jax.random.normal(key, (BATCH, Z_DIM))
            loss, grads = jax.value_and_grad(
                lambda t: readout_loss(config, t[0], t[1]["readout"], z)
            )(trained)
            updates, opt = tx.update(grads, opt, trained)
            return (optax.apply_updates(trained, updates), opt), loss

        carry, losses = jax.lax.scan(step, carry, jax.random.split(key, CHUNK))
        return carry, {"mse": losses.mean()}

    def step(carry, index):
        return chunk(carry, jax.random.key(seed + 100 + index))

    loop = Loop("mapping", outdir, STEPS // CHUNK, start, step, log_every=1, save_every=1)
    (mapping, _), _ = run_loop(loop)
    return unit_variance(config, mapping, jax.random.key(seed + 1))


@functools.partial(jax.jit, static_argnums=0)
def unit_variance(config: GeneratorConfig, mapping: Any, key: jax.Array) -> dict[str, Any]:
    """The mapping with its last layer scaled so that W's mean variance is 1, and ``w_avg`` set."""
    w = map_latents(config, {"mapping": mapping}, jax.random.normal(key, (16384, Z_DIM)))
    # Leaky ReLU lets a positive factor through.
    factor = jax.lax.rsqrt(jnp.mean(jnp.var(w, axis=0)))
    last = f"fc{config.mapping_layers - 1}"
    scaled = jax.tree.map(lambda x: factor * x, mapping[last])
    return {**mapping, last: scaled, "w_avg": factor * w.mean(0)}


@functools.partial(jax.jit, static_argnums=0)
def exchange_mapping(
    config: GeneratorConfig, params: Mapping[str, Any], mapping: Any, key: jax.Array
) -> dict[str, Any]:
    """Parameters with another mapping network, whose codes draw about what the old ones drew.

    The scores are read linearly from the new W, the old W is predicted linearly from the scores,
    and the product of the two matrices is put into the affine layers.
    """
    z = jax.random.normal(key, (16384, Z_DIM))
    scores = _with_one(scores_from_z(z))
    new = _with_one(map_latents(config, {"mapping": mapping}, z))
    old = map_latents(config, params, z)
    to_old = jnp.linalg.lstsq(new, scores)[0] @ jnp.linalg.lstsq(scores, old)[0]
    matrix, offset = to_old[:-1], to_old[-1]

    def exchange(path, leaf):
        if "affine" not in (names := [str(k.key) for k in path]):
            return leaf
        layer = params["synthesis"][names[0]][names[1]]["affine"]
        if names[-1] == "kernel":
            return matrix @ layer["kernel"]
        return layer["bias"] + offset @ layer["kernel"] / np.float32(np.sqrt(config.w_dim))

    synthesis = jax.tree_util.tree_map_with_path(exchange, params["synthesis"])
    return {"mapping": mapping, "synthesis": synthesis}


@functools.partial(jax.jit, static_argnums=0)
def within_w(config: GeneratorConfig, params: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
    """Parameters that draw the same pictures, and whose affine layers see only what W holds.

    W fills a few dimensions only.  Along the others nothing holds the affine layers, and Muon,
    whose step is as long in all directions, moves them far: four times as far as along W in the
    upper blocks.  An optimisation of codes would find these directions and leave W by them, so
    the kernels are projected onto the principal directions of W's variance.
    """
    w = map_latents(config, params, jax.random.normal(key, (16384, Z_DIM)))
    mean = w.mean(0)
    variances, directions = jnp.linalg.eigh(jnp.cov(w.T))
    held = directions * (variances >= LEAST_VARIANCE)[None]

    def project(path, leaf):
        if "affine" not in (names := [str(k.key) for k in path]):
            return leaf
        layer = params["synthesis"][names[0]][names[1]]["affine"]
        kernel = held @ (held.T @ layer["kernel"])
        if names[-1] == "kernel":
            return kernel
        lost = mean @ (layer["kernel"] - kernel) / np.float32(np.sqrt(config.w_dim))
        return layer["bias"] + lost

    synthesis = jax.tree_util.tree_map_with_path(project, params["synthesis"])
    return {"mapping": params["mapping"], "synthesis": synthesis}


def _with_one(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x, jnp.ones((len(x), 1))], axis=1)
