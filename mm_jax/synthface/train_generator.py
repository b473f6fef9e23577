"""The bundled generator: a StyleGAN2 distilled from the renderer.

z -> mapping -> W -> picture is trained against `render(factors_from_z(z))`, in three steps that a
pixel loss alone does not manage, since the features move with the head and wash out:

1. *Mapping first.*  The mapping network learns W codes from which a linear map reads the factors.
2. *Small pictures first.*  Synthesis is trained at 32, then 64, then 128 pixels; each new block
   starts as the identity (its picture contribution is zero).
3. *Pairs.*  Half of every batch repeats the other half with one factor changed.  The difference of
   the two renders is the tangent of that factor, and the error along it, divided by the tangent's
   energy, is the generator's error in units of the factor: a gaze of a few pixels then weighs as
   much as a background.  No learned judge takes part, so an independent probe measures honestly.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.networks import init_params, map_latents, synthesis, trainable
from mm_jax.synthface.factors import FACTORS, MOTION_FACTORS, NUM_FACTORS, Z_DIM
from mm_jax.synthface.factors import factors_from_z, shift_one_score
from mm_jax.synthface.renderer import render
from mm_jax.synthface.training import Loop, run_loop

CONFIG = GeneratorConfig(
    resolution=128,
    z_dim=Z_DIM,
    w_dim=128,
    mapping_layers=4,
    mapping_lr_multiplier=1.0,
    channels=(192, 192, 128, 80, 48, 24),
)


@dataclasses.dataclass(frozen=True)
class Phase:
    """Training at one resolution: so many steps of so many pairs, and the learning rate's ends."""

    resolution: int
    steps: int
    pairs: int
    learning_rate: tuple[float, float]


PHASES = (
    Phase(32, 3000, 8, (3e-3, 2e-3)),
    Phase(64, 3000, 8, (2.5e-3, 1.5e-3)),
    Phase(128, 6000, 4, (1.5e-3, 1e-4)),
)
MAPPING_STEPS = 6000
MAPPING_RATE = 0.05  # of synthesis's learning rate, once the mapping network is fitted
READOUT_WEIGHT = 0.2
TANGENT_WEIGHT = 0.25
# Small features are drawn more often as the changed factor of a pair.
_PAIR_WEIGHTS = np.asarray([2.0 if n in MOTION_FACTORS else 1.0 for n in FACTORS], np.float32)


def charbonnier(error: jax.Array) -> jax.Array:
    """A smooth absolute value."""
    return jnp.sqrt(jnp.square(error) + 1e-4)


def pyramid_loss(error: jax.Array) -> jax.Array:
    """Charbonnier loss of a picture error ``[N, R, R, 3]`` over its Laplacian pyramid."""
    total = jnp.zeros(())
    while error.shape[1] > 4:
        n, r, _, c = error.shape
        coarse = error.reshape(n, r // 2, 2, r // 2, 2, c).mean((2, 4))
        fine = error - jnp.repeat(jnp.repeat(coarse, 2, 1), 2, 2)
        total = (
            total + jnp.mean(_centre_weight(r) * charbonnier(fine)) + jnp.mean(charbonnier(error))
        )
        error = coarse
    return total + jnp.mean(charbonnier(error))


def _centre_weight(resolution: int) -> jax.Array:
    axis = (np.arange(resolution) + 0.5) * (2 / resolution) - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    weight = 1 + 3 * np.exp(-(x**2 + (y - 0.08) ** 2) / 0.45)
    return jnp.asarray(weight[None, :, :, None], jnp.float32)


def tangent_error(error: jax.Array, tangent: jax.Array) -> jax.Array:
    """Error ``[N, R, R, 3]`` along a tangent of the same shape, in units of the tangent: ``[N]``."""
    energy = jnp.mean(jnp.square(tangent), axis=(1, 2, 3))
    return jnp.mean(error * tangent, axis=(1, 2, 3)) / (energy + 2e-4)


def init_state(key: jax.Array) -> dict[str, Any]:
    """Parameters, their running mean, and the linear readout of the factors from W."""
    params = jax.tree.map(lambda a: a, init_params(key, CONFIG))
    for name, block in params["synthesis"].items():
        if name != "b4":
            block["torgb"]["kernel"] = jnp.zeros_like(block["torgb"]["kernel"])
    readout = jnp.zeros((CONFIG.w_dim + 1, NUM_FACTORS))
    return {"params": params, "readout": readout}


def readout_loss(mapping: Any, readout: jax.Array, z: jax.Array) -> jax.Array:
    """Mean squared error of the factors read linearly from W."""
    w = map_latents(CONFIG, {"mapping": mapping}, z)
    read = w @ readout[:-1] + readout[-1:][jnp.zeros(len(z), int)]
    return jnp.mean(jnp.square(read - factors_from_z(z)))


def train_mapping(state: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    """Fit the mapping network and the readout (seconds)."""
    tx = optax.adam(optax.cosine_decay_schedule(3e-3, MAPPING_STEPS))
    trained = (state["params"]["mapping"], state["readout"])

    @jax.jit
    def fit(trained, key):
        def step(carry, key):
            trained, opt = carry
            loss, grads = jax.value_and_grad(
                lambda t: readout_loss(*t, jax.random.normal(key, (512, Z_DIM)))
            )(trained)
            updates, opt = tx.update(grads, opt)
            return (optax.apply_updates(trained, updates), opt), loss

        return jax.lax.scan(step, (trained, tx.init(trained)), jax.random.split(key, MAPPING_STEPS))

    (trained, _), losses = fit(trained, key)
    print(f"mapping: readout mse {float(losses[-50:].mean()):.5f}", flush=True)
    state["params"]["mapping"], state["readout"] = trained
    return state


def make_batch(key: jax.Array, pairs: int, resolution: int) -> tuple[jax.Array, jax.Array]:
    """z ``[2P, 64]``, second half = first half with one factor changed, and its renders."""
    z, factors = _pairs(key, pairs)
    return z, render(factors, resolution=resolution)


@functools.partial(jax.jit, static_argnames=("pairs",))
def _pairs(key: jax.Array, pairs: int) -> tuple[jax.Array, jax.Array]:
    kz, kf, ka, ks = jax.random.split(key, 4)
    z = jax.random.normal(kz, (pairs, Z_DIM))
    which = jax.random.choice(
        kf, NUM_FACTORS, (pairs,), p=jnp.asarray(_PAIR_WEIGHTS / _PAIR_WEIGHTS.sum())
    )
    amount = jax.random.uniform(ka, (pairs,), minval=0.4, maxval=1.2)
    amount = amount * jax.random.rademacher(ks, (pairs,), jnp.float32)
    z = jnp.concatenate([z, shift_one_score(z, which, amount)])
    return z, factors_from_z(z)


def losses(params, readout, z, target) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Total loss and its parts on one batch of pairs."""
    resolution = target.shape[1]
    w = map_latents(CONFIG, params, z)
    ws = jnp.broadcast_to(w[:, None], (len(z), CONFIG.num_ws, CONFIG.w_dim))
    picture = synthesis(CONFIG, params, ws, noise_mode="none", resolution=resolution)
    error = picture - target
    first, second = jnp.split(target, 2)
    tangent = jnp.concatenate([second - first] * 2)
    along = tangent_error(error, tangent)
    parts = {
        "pyramid": pyramid_loss(error),
        "tangent": jnp.mean(optax.huber_loss(along, delta=0.5)),
        "readout": readout_loss(params["mapping"], readout, z),
        "psnr": -10 * jnp.log10(jnp.mean(jnp.square(0.5 * error))),
    }
    total = parts["pyramid"] + TANGENT_WEIGHT * parts["tangent"] + READOUT_WEIGHT * parts["readout"]
    return total, parts


def schedule(step: jax.Array) -> jax.Array:
    """Learning rate over all phases: geometric within each, a short warm-up at its start."""
    rate, start = jnp.zeros(()), 0
    for phase in PHASES:
        t = jnp.clip((step - start) / phase.steps, 0, 1)
        high, low = phase.learning_rate
        warm = jnp.minimum(1.0, (step - start + 1) / 200)
        rate = jnp.where(step >= start, warm * high * (low / high) ** t, rate)
        start += phase.steps
    return rate


def optimizer() -> optax.GradientTransformation:
    """Adam, slower for the mapping network, with the untrained leaves held still."""

    def label(tree):
        labels = jax.tree.map(lambda on: "fast" if on else "still", trainable(tree["params"]))
        labels["mapping"] = jax.tree.map(
            lambda name: "slow" if name == "fast" else name, labels["mapping"]
        )
        return {"params": labels, "readout": "slow"}

    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b1=0.9, b2=0.99))
    slow = optax.chain(adam, optax.scale(MAPPING_RATE))
    return optax.multi_transform({"fast": adam, "slow": slow, "still": optax.set_to_zero()}, label)


@functools.partial(jax.jit, donate_argnums=0)
def train_step(carry, z, target):
    """One Adam step and the running mean of the parameters."""
    trained, mean, opt = carry
    (_, parts), grads = jax.value_and_grad(
        lambda t: losses(t["params"], t["readout"], z, target), has_aux=True
    )(trained)
    updates, opt = optimizer().update(grads, opt, trained)
    trained = optax.apply_updates(trained, updates)
    mean = jax.tree.map(lambda m, p: m + 0.002 * (p - m), mean, trained["params"])
    return (trained, mean, opt), parts


def phase_at(step: int) -> Phase:
    """The phase that training step ``step`` belongs to."""
    for phase in PHASES:
        if step < phase.steps:
            return phase
        step -= phase.steps
    return PHASES[-1]


def train(outdir: Path, *, seed: int = 0) -> dict[str, Any]:
    """Train or resume in ``outdir``; returns the averaged parameters (``w_avg`` filled in)."""

    def start():
        state = train_mapping(init_state(jax.random.key(seed)), jax.random.key(seed + 1))
        mean = jax.tree.map(jnp.copy, state["params"])
        return (state, mean, optimizer().init(state))

    def step(carry, index):
        phase = phase_at(index)
        key = jax.random.fold_in(jax.random.key(seed + 2), index)
        return train_step(carry, *make_batch(key, phase.pairs, phase.resolution))

    def sheet(carry, index):
        resolution = phase_at(index).resolution
        z = jax.random.normal(jax.random.key(99), (16, Z_DIM))
        ws = mean_ws(carry[1], z)
        made = synthesis(CONFIG, carry[1], ws, noise_mode="none", resolution=resolution)
        true = render(factors_from_z(z), resolution=resolution)
        return np.concatenate([np.asarray(true), np.asarray(made)])

    total = sum(phase.steps for phase in PHASES)
    carry = run_loop(Loop("generator", outdir, total, start, step, sheet))
    params = carry[1]
    w = map_latents(CONFIG, params, jax.random.normal(jax.random.key(seed + 3), (16384, Z_DIM)))
    params["mapping"]["w_avg"] = w.mean(0)
    return params


def mean_ws(params, z: jax.Array) -> jax.Array:
    """W+ codes ``[N, L, D]`` of z with one w in all rows."""
    w = map_latents(CONFIG, params, z)
    return jnp.broadcast_to(w[:, None], (len(z), CONFIG.num_ws, CONFIG.w_dim))
