"""The bundled generator: a StyleGAN2 distilled from the renderer.

z -> mapping -> W -> picture is trained against `render(factors_from_z(z))`, in five steps. A
pixel loss alone does not manage, since the features move with the head and wash out:

1. *Mapping first.*  The mapping network learns W codes from which a linear map reads the factors,
   and is then frozen.
2. *Mild faces first.*  Codes are truncated towards the mean of W, and their factors scaled by the
   same psi towards zero; psi grows from 0.1 to 1.  Features are learnt sharply where they hardly
   move, and follow the head as it begins to.  Later a part of the batch stays truncated.
3. *Small pictures first.*  Synthesis is trained at 32, then 64, then 128 pixels; each new block
   starts as the identity (its picture contribution is zero).
4. *Pairs.*  Half of every batch repeats the other half with one factor changed.  The difference of
   the two renders is the tangent of that factor, and the error along it, divided by the tangent's
   energy, is the generator's error in units of the factor: a gaze of a few pixels then weighs as
   much as a background.
5. *A probe.*  At 128 pixels `synthface-probe` shall read from the picture the factors that it
   reads from the render.  `synthface-judge`, of another seed, architecture and set of pictures,
   takes no part in any training, so that it measures honestly.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.networks import UNTRAINED, init_params, map_latents, synthesis
from mm_jax.synthface.factors import (
    FACTORS,
    MOTION_FACTORS,
    NUM_FACTORS,
    Z_DIM,
    factors_from_z,
    shift_one_score,
)
from mm_jax.synthface.probe import Probe, read_factors
from mm_jax.synthface.renderer import render
from mm_jax.synthface.train_probe import augment
from mm_jax.synthface.training import Loop, muon, run_loop

CONFIG = GeneratorConfig(
    resolution=128,
    z_dim=Z_DIM,
    w_dim=128,
    mapping_layers=4,
    mapping_lr_multiplier=1.0,
    channels=(192, 192, 160, 112, 48, 24),
)


@dataclasses.dataclass(frozen=True)
class Phase:
    """Training at one resolution: so many steps of so many pairs, and the learning rate's ends."""

    resolution: int
    steps: int
    pairs: int
    learning_rate: tuple[float, float]


PHASES = (
    Phase(32, 600, 4, (2e-3, 2e-3)),
    Phase(64, 1400, 4, (2e-3, 1.6e-3)),
    Phase(128, 7000, 4, (1.6e-3, 0.0)),
)
# Stored kernels have unit variance, effective ones 1 / sqrt(fan in): a usual relative step takes a
# larger rate than for the biases.
KERNEL_RATE = 8.0
MAPPING_STEPS = 10_000
CURRICULUM_STEPS = 1000
TRUNCATED_SHARE = 0.25
TANGENT_WEIGHT = 2.0
PROBE_WEIGHT = 1.0
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
    """Error ``[N, R, R, 3]`` along a tangent of the same shape, in the tangent's units ``[N]``."""
    energy = jnp.mean(jnp.square(tangent), axis=(1, 2, 3))
    return jnp.mean(error * tangent, axis=(1, 2, 3)) / (energy + 2e-4)


def fresh_params(key: jax.Array) -> dict[str, Any]:
    """Parameters whose blocks add nothing to the picture yet, the first one apart."""
    params = init_params(key, CONFIG)
    for name, block in params["synthesis"].items():
        if name != "b4":
            block["torgb"]["kernel"] = jnp.zeros_like(block["torgb"]["kernel"])
    return params


def readout_loss(mapping: Any, readout: jax.Array, z: jax.Array) -> jax.Array:
    """Mean squared error of the factors that ``readout [D + 1, F]`` reads linearly from W."""
    w = map_latents(CONFIG, {"mapping": mapping}, z)
    read = w @ readout[:-1] + jnp.broadcast_to(readout[-1:], (len(z), NUM_FACTORS))
    return jnp.mean(jnp.square(read - factors_from_z(z)))


def train_mapping(params: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    """Fit the mapping network together with a linear readout, and fill in `w_avg`."""
    tx = optax.adam(optax.cosine_decay_schedule(3e-3, MAPPING_STEPS))
    trained = (params["mapping"], jnp.zeros((CONFIG.w_dim + 1, NUM_FACTORS)))

    @jax.jit
    def fit(trained, key):
        def step(carry, key):
            trained, opt = carry
            z = jax.random.normal(key, (256, Z_DIM))
            loss, grads = jax.value_and_grad(lambda t: readout_loss(t[0], t[1], z))(trained)
            updates, opt = tx.update(grads, opt)
            return (optax.apply_updates(trained, updates), opt), loss

        keys = jax.random.split(key, MAPPING_STEPS)
        return jax.lax.scan(step, (trained, tx.init(trained)), keys)

    ((mapping, _), _), losses = fit(trained, key)
    jax.debug.print("mapping: readout mse {}", losses[-50:].mean())
    z = jax.random.normal(jax.random.fold_in(key, 1), (16384, Z_DIM))
    mapping = {**mapping, "w_avg": map_latents(CONFIG, {"mapping": mapping}, z).mean(0)}
    return {**params, "mapping": mapping}


class Batch(NamedTuple):
    """Training pictures; the second half repeats the first with one factor changed."""

    z: jax.Array  # [2P, 64]
    psi: jax.Array  # [2P], truncation of the codes and scale of the factors
    target: jax.Array  # [2P, R, R, 3]


def make_batch(key: jax.Array, pairs: int, resolution: int, reach: float = 1.0) -> Batch:
    """A random batch; ``reach`` bounds psi from above."""
    z, psi, factors = _pairs(key, pairs, reach)
    return Batch(z, psi, render(factors, resolution=resolution))


@functools.partial(jax.jit, static_argnames=("pairs",))
def _pairs(key: jax.Array, pairs: int, reach: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    kz, kf, ka, ks, kp, kt = jax.random.split(key, 6)
    z = jax.random.normal(kz, (pairs, Z_DIM))
    weights = jnp.asarray(_PAIR_WEIGHTS / _PAIR_WEIGHTS.sum())
    which = jax.random.choice(kf, NUM_FACTORS, (pairs,), p=weights)
    amount = jax.random.uniform(ka, (pairs,), minval=0.4, maxval=1.2)
    amount = amount * jax.random.rademacher(ks, (pairs,), jnp.float32)
    z = jnp.concatenate([z, shift_one_score(z, which, amount)])
    truncated = jax.random.bernoulli(kt, TRUNCATED_SHARE, (pairs,))
    psi = reach * jnp.where(truncated, jax.random.uniform(kp, (pairs,), minval=0.3), 1.0)
    psi = jnp.concatenate([psi, psi])
    return z, psi, psi[:, None] * factors_from_z(z)


def losses(params, batch: Batch, probe: Probe, key: jax.Array):
    """Total loss and its parts, a dictionary of scalars, on one batch of pairs."""
    ws = mean_ws(params, batch.z, psi=batch.psi)
    resolution = batch.target.shape[1]
    picture = synthesis(CONFIG, params, ws, noise_mode="none", resolution=resolution)
    error = picture - batch.target
    first, second = jnp.split(batch.target, 2)
    along = tangent_error(error, jnp.concatenate([second - first] * 2))
    parts = {
        "pyramid": pyramid_loss(error),
        "tangent": jnp.mean(optax.huber_loss(along, delta=0.5)),
        "psnr": -10 * jnp.log10(jnp.mean(jnp.square(0.5 * error))),
    }
    total = parts["pyramid"] + TANGENT_WEIGHT * parts["tangent"]
    if resolution == CONFIG.resolution:
        # The same noise and blur on both: no pattern that only this probe sees is to pay.
        seen = read_factors(probe, augment(picture, key))
        true = read_factors(probe, augment(batch.target, key))
        parts["probe"] = jnp.mean(optax.huber_loss(seen, true, delta=0.5))
        total = total + PROBE_WEIGHT * parts["probe"]
    return total, parts


def schedule(step: jax.typing.ArrayLike) -> jax.Array:
    """Learning rate over all phases: linear within each, a short warm-up at its start."""
    step, rate, start = jnp.asarray(step), jnp.zeros(()), 0
    for phase in PHASES:
        t = jnp.clip((step - start) / phase.steps, 0, 1)
        first, last = phase.learning_rate
        warm = jnp.minimum(1.0, (step - start + 1) / 100)
        rate = jnp.where(step >= start, warm * (first + t * (last - first)), rate)
        start += phase.steps
    return rate


def optimizer() -> optax.GradientTransformation:
    """Muon for the synthesis network; the mapping is held still."""

    def frozen(path: tuple[str, ...]) -> bool:
        return path[0] == "mapping" or path[-1] in UNTRAINED

    return muon(schedule, kernel_rate=KERNEL_RATE, frozen=frozen)


@functools.partial(jax.jit, donate_argnums=0)
def train_step(carry, batch: Batch, probe: Probe, key: jax.Array):
    """One step of Muon and the running mean of the parameters."""
    params, mean, opt = carry
    (_, parts), grads = jax.value_and_grad(losses, has_aux=True)(params, batch, probe, key)
    updates, opt = optimizer().update(grads, opt, params)
    params = optax.apply_updates(params, updates)
    mean = jax.tree.map(lambda m, p: m + 0.005 * (p - m), mean, params)
    return (params, mean, opt), parts


def phase_at(step: int) -> Phase:
    """The phase that training step ``step`` belongs to."""
    for phase in PHASES:
        if step < phase.steps:
            return phase
        step -= phase.steps
    return PHASES[-1]


def train(outdir: Path, probe: Probe, *, seed: int = 0) -> dict[str, Any]:
    """Train or resume in ``outdir`` with ``probe`` in the loss; returns the averaged parameters."""

    def start():
        params = train_mapping(fresh_params(jax.random.key(seed)), jax.random.key(seed + 1))
        return (params, jax.tree.map(jnp.copy, params), optimizer().init(params))

    def step(carry, index):
        phase = phase_at(index)
        reach = min(1.0, 0.1 + 0.9 * index / CURRICULUM_STEPS)
        key = jax.random.fold_in(jax.random.key(seed + 2), index)
        batch = make_batch(key, phase.pairs, phase.resolution, reach)
        return train_step(carry, batch, probe, jax.random.fold_in(key, 1))

    def sheet(carry, index):
        resolution = phase_at(index).resolution
        z = jax.random.normal(jax.random.key(99), (16, Z_DIM))
        ws = mean_ws(carry[1], z)
        made = synthesis(CONFIG, carry[1], ws, noise_mode="none", resolution=resolution)
        true = render(factors_from_z(z), resolution=resolution)
        return np.concatenate([np.asarray(true), np.asarray(made)])

    total = sum(phase.steps for phase in PHASES)
    return run_loop(Loop("generator", outdir, total, start, step, sheet))[1]


def mean_ws(params, z: jax.Array, *, psi: jax.Array | None = None) -> jax.Array:
    """W+ codes ``[N, L, D]`` of z with one w in all rows, truncated by ``psi [N]``."""
    w = map_latents(CONFIG, params, z)
    if psi is not None:
        mean = params["mapping"]["w_avg"][None]
        w = mean + psi[:, None] * (w - mean)
    return jnp.broadcast_to(w[:, None], (len(z), CONFIG.num_ws, CONFIG.w_dim))
