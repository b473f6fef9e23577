"""The bundled generator: a StyleGAN2 distilled from the renderer.

z -> mapping -> W -> picture is trained against `render(factors_from_z(z))`, in five steps. A
pixel loss alone does not manage, since the features move with the head and wash out:

1. *Mapping first.*  The mapping network learns W codes from which a linear map reads the factors'
   normal scores, and is then frozen (`train_mapping`); it bounds what follows.
2. *Mild faces first.*  Codes are truncated towards the mean of W, and their scores scaled by the
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

The bundled parameters are `FROM_NOTHING` with a first, weaker mapping network, then `CONTINUED`
with the present one in its place, then `LONGER`, which keeps it.  `SKETCH` tunes them to pencil
drawings: the mapping network stays, so that both generators share Z, W and W+.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.people.training import Loop, muon, run_loop
from mm_jax.perceptual.probe import Probe, read_factors
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import UNTRAINED, init_params, map_latents, synthesis
from mm_jax.synthface.factors import Z_DIM, factors_from_z
from mm_jax.synthface.pairs import Batch, make_batch
from mm_jax.synthface.renderer import Style, render
from mm_jax.synthface.train_mapping import exchange_mapping, train_mapping
from mm_jax.synthface.train_probe import augment

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
    """Training at one resolution: so many steps of so many pairs.

    The learning rate goes linearly from its first value to its last, after it has been held at the
    first for the share ``hold`` of the steps.
    """

    resolution: int
    steps: int
    pairs: int
    learning_rate: tuple[float, float]
    hold: float = 0.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training: ``name`` is its checkpoint's, psi grows for ``curriculum`` steps."""

    name: str
    phases: tuple[Phase, ...]
    curriculum: int = 0
    probe_weight: float = 1.0
    style: Style = "face"

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def text(self) -> str:
        """What is trained on, in words."""
        kind = "renders" if self.style == "face" else f"{self.style} renders"
        counts = (f"{p.steps * 2 * p.pairs:,} at {p.resolution} px" for p in self.phases)
        return f"{kind}: {', '.join(counts)}"

    def phase_at(self, step: int) -> Phase:
        """The phase that training step ``step`` belongs to."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1]

    def rate_at(self, step: jax.typing.ArrayLike) -> jax.Array:
        """Learning rate over all phases, with a short warm-up at the start of each."""
        step, rate, start = jnp.asarray(step), jnp.zeros(()), 0
        for phase in self.phases:
            t = jnp.clip((step - start) / phase.steps, 0, 1)
            t = jnp.maximum(t - phase.hold, 0) / (1 - phase.hold)
            first, last = phase.learning_rate
            warm = jnp.minimum(1.0, (step - start + 1) / 100)
            rate = jnp.where(step >= start, warm * (first + t * (last - first)), rate)
            start += phase.steps
        return rate


FROM_NOTHING = Recipe(
    "generator",
    (
        Phase(32, 600, 4, (2e-3, 2e-3)),
        Phase(64, 1400, 4, (2e-3, 1.6e-3)),
        Phase(128, 7000, 4, (1.6e-3, 0.0)),
    ),
    curriculum=1000,
)
CONTINUED = Recipe(
    "generator-continued", (Phase(128, 2600, 4, (1e-3, 0.0), hold=0.5),), probe_weight=3.0
)
LONGER = Recipe("generator-longer", (Phase(128, 4000, 4, (1e-3, 0.0), hold=0.5),), probe_weight=3.0)
SKETCH = Recipe("sketch", (Phase(128, 700, 4, (1e-3, 0.0), hold=0.4),), style="sketch")
# Stored kernels have unit variance, effective ones 1 / sqrt(fan in): a usual relative step takes a
# larger rate than for the biases.
KERNEL_RATE = 8.0
TANGENT_WEIGHT = 2.0


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


def losses(params, batch: Batch, probe: Probe | None, key: jax.Array, probe_weight: float = 1.0):
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
    if probe is not None and resolution == CONFIG.resolution:
        # The same noise and blur on both: no pattern that only this probe sees is to pay.
        seen = read_factors(probe, augment(picture, key))
        true = read_factors(probe, augment(batch.target, key))
        parts["probe"] = jnp.mean(optax.huber_loss(seen, true, delta=0.5))
        total = total + probe_weight * parts["probe"]
    return total, parts


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Muon for the synthesis network; the mapping is held still."""

    def frozen(path: tuple[str, ...]) -> bool:
        return path[0] == "mapping" or path[-1] in UNTRAINED

    return muon(recipe.rate_at, kernel_rate=KERNEL_RATE, frozen=frozen)


@functools.partial(jax.jit, donate_argnums=0, static_argnames=("recipe",))
def train_step(carry, batch: Batch, probe: Probe | None, key: jax.Array, *, recipe: Recipe):
    """One step of Muon and the running mean of the parameters."""
    params, mean, opt = carry
    loss = jax.value_and_grad(losses, has_aux=True)
    (_, parts), grads = loss(params, batch, probe, key, recipe.probe_weight)
    updates, opt = optimizer(recipe).update(grads, opt, params)
    params = optax.apply_updates(params, updates)
    mean = jax.tree.map(lambda m, p: m + 0.005 * (p - m), mean, params)
    return (params, mean, opt), parts


def train(
    outdir: Path,
    probe: Probe | None,
    recipe: Recipe,
    *,
    first: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Train or resume in ``outdir``; returns the averaged parameters.

    Args:
      outdir: for checkpoints, log and sample sheet.
      probe: reads the pictures in the loss, if given.
      recipe: what to do.
      first: parameters to begin with, mapping included; by default fresh ones.
      seed: of parameters and batches.
    """
    if first is None:
        fresh = fresh_params(jax.random.key(seed))
        first = {**fresh, "mapping": train_mapping(outdir, CONFIG, seed=seed)}

    def start():
        params = jax.tree.map(jnp.copy, first)
        return (params, jax.tree.map(jnp.copy, params), optimizer(recipe).init(params))

    def step(carry, index):
        phase = recipe.phase_at(index)
        reach = 0.1 + 0.9 * index / recipe.curriculum if index < recipe.curriculum else 1.0
        key = jax.random.fold_in(jax.random.key(seed + 2), index)
        batch = make_batch(key, phase.pairs, phase.resolution, reach, style=recipe.style)
        return train_step(carry, batch, probe, jax.random.fold_in(key, 1), recipe=recipe)

    def sheet(carry, index):
        resolution = recipe.phase_at(index).resolution
        z = jax.random.normal(jax.random.key(99), (16, Z_DIM))
        ws = mean_ws(carry[1], z)
        made = synthesis(CONFIG, carry[1], ws, noise_mode="none", resolution=resolution)
        true = render(factors_from_z(z), resolution=resolution, style=recipe.style)
        return np.concatenate([np.asarray(true), np.asarray(made)])

    loop = Loop(recipe.name, outdir, recipe.steps, start, step, sheet, save_every=250)
    return run_loop(loop)[1]


def with_new_mapping(outdir: Path, gen: Generator, *, seed: int = 0) -> dict[str, Any]:
    """Parameters of ``gen`` with a mapping network trained in ``outdir``: where to go on from."""
    mapping = train_mapping(outdir, CONFIG, seed=seed)
    return exchange_mapping(CONFIG, gen.params, mapping, jax.random.key(seed + 3))


def mean_ws(params, z: jax.Array, *, psi: jax.Array | None = None) -> jax.Array:
    """W+ codes ``[N, L, D]`` of z with one w in all rows, truncated by ``psi [N]``."""
    w = map_latents(CONFIG, params, z)
    if psi is not None:
        mean = params["mapping"]["w_avg"][None]
        w = mean + psi[:, None] * (w - mean)
    return jnp.broadcast_to(w[:, None], (len(z), CONFIG.num_ws, CONFIG.w_dim))
