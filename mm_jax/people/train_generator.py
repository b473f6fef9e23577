"""The bundled generator: a StyleGAN2 distilled from the renderer.

z -> mapping -> W -> image is trained against the render of z's factors. A pixel loss alone does not
manage, since features move with the head and wash out:

1. *Mapping first* (`mapping`): W is linear in what an image shows.
2. *Facing the viewer first.*  Heads hardly turn at first, and turn farther step by step; faces are
   near the mean at first. All poses from the start gave a blur.
3. *Small images first.*  32, then 64, then 128 pixels; each new block starts as the identity.
4. *Pairs.*  A part of every batch shows people twice with one factor changed. The second image is
   made from the first's w moved along W's frame, so that affine edits are what is trained; and the
   error along the difference of the two renders, in units of that difference, makes a gaze of a few
   pixels weigh as much as a background.
5. *A probe.*  From 64 pixels on `people-probe` shall read from the image what it reads from the
   render. `people-judge`, of another seed, architecture and set of renders, takes no part in any
   training, so that it measures honestly.
6. *Where people look.*  The renderer's masks of eyes, brows and mouth weigh the loss.
7. *A critic.*  In the last phase a small network that tells renders from generated images of the
   same people makes outlines and wrinkles crisp (`critic`).

Half of all images are mirrored, with z mirrored too.

`DRAWING` tunes the generator to pencil drawings of the same renders, the other domain. The mapping
network is held still, so that both generators share Z, W and W+.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.people.critic import critic_loss, init_critic, sharpness_loss
from mm_jax.people.critic import optimizer as critic_optimizer
from mm_jax.people.drawing import pencil
from mm_jax.people.factors import Z_DIM, factors_from_z, index, mirror_z
from mm_jax.people.mapping import describe, frame, frame_error, train_mapping
from mm_jax.people.renders import Renders, RenderSet, load_renders
from mm_jax.people.train_probe import augment
from mm_jax.people.training import Loop, muon, run_loop
from mm_jax.perceptual.probe import Probe, read_factors
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.networks import UNTRAINED, init_params, map_latents, synthesis

__all__ = ["CONFIG", "DRAWING", "PHASES", "Phase", "Pool", "psnr", "train_generator"]

CONFIG = GeneratorConfig(
    resolution=128,
    z_dim=Z_DIM,
    w_dim=192,
    mapping_layers=6,
    mapping_lr_multiplier=1.0,
    channels=(192, 192, 160, 112, 56, 28),
)
# Stored kernels have unit variance, effective ones 1 / sqrt(fan in): a usual relative step takes a
# larger rate than for the biases.
KERNEL_RATE = 8.0
PROBE_WEIGHT, FRAME_WEIGHT = 3.0, 10.0


@dataclasses.dataclass(frozen=True)
class Phase:
    """Training at one resolution.

    Attributes:
        resolution: in pixels.
        steps: how many.
        singles, pairs: images of single people, and pairs, in a batch.
        learning_rate: first and last; held at the first for ``hold`` of the steps.
        pose: largest |yaw| (as a factor) at the phase's first and last step.
        front: whether only the sets of faces near the mean and facing the viewer are used.
        tangent: weight of the error along pairs. Early, while images are far off, it would drown
            all else: its gradient is large where two images hardly differ.
        probe: whether the probe takes part.
        widen: fraction of the steps in which the pose reaches its last value.
        drawn: whether the images are pencil drawings of the renders.
        sharpen: size of the critic's gradient at the image, in units of the pyramid loss's; 0:
            without a critic.
    """

    resolution: int
    steps: int
    singles: int
    pairs: int
    learning_rate: tuple[float, float]
    hold: float = 0.5
    pose: tuple[float, float] = (1.0, 1.0)
    front: bool = False
    tangent: float = 0.0
    probe: bool = False
    widen: float = 0.6
    drawn: bool = False
    sharpen: float = 0.0


PHASES = (
    Phase(32, 600, 12, 2, (2e-3, 2e-3), front=True),
    Phase(64, 900, 10, 3, (2e-3, 2e-3), front=True, tangent=0.1),
    Phase(64, 1500, 10, 3, (2e-3, 2e-3), pose=(0.15, 1.0), tangent=0.2),
    Phase(64, 600, 10, 3, (2e-3, 1.8e-3), tangent=0.3, probe=True),
    Phase(128, 1500, 8, 4, (1.4e-3, 0.0), tangent=0.3, probe=True, hold=0.3),
    Phase(128, 1100, 8, 4, (1.2e-3, 4e-4), tangent=0.3, probe=True, hold=0.5),
    Phase(128, 620, 8, 4, (6e-4, 0.0), tangent=0.3, probe=True, hold=0.4, sharpen=0.6),
    Phase(128, 1500, 8, 4, (1.2e-3, 2e-4), tangent=0.3, probe=True, hold=0.3),
    Phase(128, 400, 8, 4, (4e-4, 0.0), tangent=0.3, probe=True, hold=0.4, sharpen=0.6),
    Phase(128, 1750, 8, 4, (1.2e-3, 1.2e-3), tangent=0.3, probe=True),
    Phase(128, 2600, 8, 4, (1.2e-3, 0.0), tangent=0.3, probe=True, hold=0.3, sharpen=0.6),
)
DRAWING = (
    Phase(128, 1200, 8, 0, (1e-3, 0.0), hold=0.4, drawn=True),
    Phase(128, 1200, 8, 0, (1e-3, 0.0), hold=0.4, drawn=True),
    Phase(128, 3000, 8, 0, (1.4e-3, 0.0), hold=0.4, drawn=True),
)


class Pool:
    """Renders in memory at all resolutions, singles and pairs apart."""

    def __init__(self, folder: Path, singles: Sequence[RenderSet], pairs: Sequence[RenderSet]):
        self.singles = [_load(folder, which) for which in singles]
        self.pairs = [_load(folder, which) for which in pairs]
        self._single = [(s, k) for s, r in enumerate(self.singles) for k in range(len(r.z))]
        # In each chunk of 500 the second half repeats the first.
        self._pair = [
            (s, k) for s, r in enumerate(self.pairs) for k in range(len(r.z)) if k % 500 < 250
        ]
        self._single = np.array(self._single)
        self._pair = np.array(self._pair, int).reshape(-1, 2)  # drawings are learnt without pairs
        self._single_pose = self._poses(self.singles, self._single)
        self._pair_pose = np.maximum(
            self._poses(self.pairs, self._pair),
            self._poses(self.pairs, self._pair + np.array([0, 250])),
        )

    @staticmethod
    def _poses(sets, rows):
        columns = [index("yaw"), index("pitch"), index("roll")]
        pose = [np.abs(r.factors[:, columns]).max(axis=1) for r in sets]
        return np.array([pose[s][k] for s, k in rows])

    def batch(self, rng: np.random.Generator, phase: Phase, limit: float) -> dict[str, np.ndarray]:
        """Random images: singles, then first and second images of pairs."""
        single = self._single[np.flatnonzero(self._single_pose <= limit)]
        pair = self._pair[np.flatnonzero(self._pair_pose <= limit)]
        s = single[rng.integers(0, len(single), phase.singles)]
        p = pair[rng.integers(0, len(pair), phase.pairs)]
        rows = [(self.singles, s), (self.pairs, p), (self.pairs, p + np.array([0, 250]))]
        flip = rng.random(phase.singles + phase.pairs) < 0.5
        flip = np.concatenate([flip, flip[phase.singles :]])
        out = {name: [] for name in ("images", "focus", "z", "psi")}
        for sets, chosen in rows:
            for which, k in chosen:
                out["images"].append(sets[which].at(phase.resolution)[k])
                out["focus"].append(sets[which].focus[k])
                out["z"].append(sets[which].z[k])
                out["psi"].append(sets[which].psi[k])
        batch = {name: np.stack(values) for name, values in out.items()}
        for name in ("images", "focus"):
            mirrored = np.flip(batch[name], axis=2)
            shape = (-1, *[1] * (batch[name].ndim - 1))
            batch[name] = np.where(flip.reshape(shape), mirrored, batch[name])
        return batch | {"flip": flip}


class _Images:
    """Renders, and smaller copies of their images made when asked for."""

    def __init__(self, renders: Renders):
        self.z, self.psi, self.focus, self.factors = (
            renders.z, renders.psi, renders.focus, renders.factors
        )  # fmt: skip
        self._sizes = {renders.images.shape[1]: renders.images}

    def at(self, resolution: int) -> np.ndarray:
        """``[N, r, r, 3]`` uint8."""
        if resolution not in self._sizes:
            full = self._sizes[max(self._sizes)]
            out = np.empty((len(full), resolution, resolution, 3), np.uint8)
            block = full.shape[1] // resolution
            for start in range(0, len(full), 500):
                part = full[start : start + 500].astype(np.float32)
                part = part.reshape(len(part), resolution, block, resolution, block, 3)
                out[start : start + 500] = np.round(part.mean(axis=(2, 4)))
            self._sizes[resolution] = out
        return self._sizes[resolution]


def _load(folder: Path, which: RenderSet) -> _Images:
    return _Images(load_renders(folder, which))


# --- losses ---------------------------------------------------------------------------------------


def charbonnier(error: jax.Array) -> jax.Array:
    """A smooth absolute value."""
    return jnp.sqrt(jnp.square(error) + 1e-4)


def halve(x: jax.Array) -> jax.Array:
    """``[N, R, R, C]`` averaged over two by two pixels."""
    n, r, _, c = x.shape
    return x.reshape(n, r // 2, 2, r // 2, 2, c).mean((2, 4))


def double(x: jax.Array) -> jax.Array:
    """``[N, R, R, C]`` repeated over two by two pixels."""
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


def pyramid_loss(error: jax.Array, weight: jax.Array) -> jax.Array:
    """Charbonnier loss of an image error ``[N, R, R, 3]`` over its Laplacian pyramid.

    ``weight`` is ``[N, R, R, 1]``.
    """
    total = jnp.zeros(())
    while error.shape[1] > 4:
        coarse = halve(error)
        fine = error - double(coarse)
        total = total + jnp.mean(weight * (charbonnier(fine) + charbonnier(error)))
        error, weight = coarse, halve(weight)
    return total + jnp.mean(charbonnier(error))


def face_weight(focus: jax.Array, resolution: int) -> jax.Array:
    """``[N, R, R, 1]`` of mean about 1: the inner face, and more of eyes, brows and mouth.

    ``focus`` is ``[N, 64, 64]`` in [0, 1].
    """
    x = focus[..., None]
    while x.shape[1] > resolution:
        x = halve(x)
    while x.shape[1] < resolution:
        x = double(x)
    axis = (np.arange(resolution) + 0.5) * (2 / resolution) - 1
    row, column = np.meshgrid(axis, axis, indexing="ij")
    inner = 2.5 * np.exp(-(column**2 / 0.16 + (row - 0.08) ** 2 / 0.25))
    weight = 0.6 + jnp.asarray(inner, jnp.float32)[None, :, :, None] + 3.0 * x
    return weight / 1.4


def tangent_error(error: jax.Array, tangent: jax.Array) -> jax.Array:
    """Error ``[N, R, R, 3]`` along a tangent of the same shape, in the tangent's units ``[N]``."""
    energy = jnp.mean(jnp.square(tangent), axis=(1, 2, 3))
    return jnp.mean(error * tangent, axis=(1, 2, 3)) / (energy + 5e-4)


def inner_mask(resolution: int) -> jax.Array:
    """``[1, R, R, 1]``: 1 in the ellipse of the inner face."""
    axis = (np.arange(resolution) + 0.5) * (2 / resolution) - 1
    row, column = np.meshgrid(axis, axis, indexing="ij")
    inside = (column / 0.42) ** 2 + ((row - 0.10) / 0.48) ** 2 < 1
    return jnp.asarray(inside, jnp.float32)[None, :, :, None]


def _shown(images: jax.typing.ArrayLike, drawn: bool) -> jax.Array:
    """What the generator shall show: images ``[N, R, R, 3]`` uint8, or drawings of them."""
    shown = jnp.asarray(images).astype(jnp.float32) / 127.5 - 1
    return pencil(shown) if drawn else shown


def truncated_ws(params, w: jax.Array, psi: jax.Array) -> jax.Array:
    """``[N, L, D]`` of w ``[N, D]`` moved towards W's mean by psi ``[N]``."""
    mean = params["mapping"]["w_avg"][None]
    w = mean + psi[:, None] * (w - mean)
    return jnp.broadcast_to(w[:, None], (len(w), CONFIG.num_ws, CONFIG.w_dim))


def losses(
    params, batch, probe: Probe | None, key: jax.Array, phase: Phase, critic=None, trust=1.0
):
    """Total loss on one batch of `Pool.batch`.

    Args:
        params: of the generator.
        batch: images and what they show.
        probe: reads the images; None: no such loss.
        key: of the probe's noise.
        phase: of the training.
        critic: the critic's parameters; None: no such loss.
        trust: of the phase's ``sharpen``, how much is used, in [0, 1].

    Returns:
        The loss; and its parts, a dictionary of scalars, the generated images and the true ones.
    """
    pairs = phase.pairs
    z = jnp.where(batch["flip"][:, None], mirror_z(batch["z"]), batch["z"])
    target = _shown(batch["images"], phase.drawn)
    factors = factors_from_z(z)
    w = map_latents(CONFIG, params, z)
    parts = {"frame": frame_error(w, factors)}
    first, second = slice(-2 * pairs, -pairs), slice(-pairs, None)
    if pairs:
        # The second image of a pair from the first's w, by a straight step.
        shown = describe(factors)
        step = (shown[second] - shown[first]) @ frame(CONFIG.w_dim)
        w = jnp.concatenate([w[:-pairs], w[first] + step])
    resolution = target.shape[1]
    ws = truncated_ws(params, w, batch["psi"])
    image = synthesis(CONFIG, params, ws, noise_mode="none", resolution=resolution)
    error = image - target
    weight = face_weight(batch["focus"].astype(jnp.float32) / 255, resolution)
    still = jax.lax.stop_gradient(image)
    parts["pyramid"], slope = jax.value_and_grad(pyramid_loss)(still - target, weight)
    if critic is not None:
        # The critic's scale drifts as it learns. Its gradient at the image is brought to a fixed
        # size relative to that of the pyramid loss.
        parts["sharp"], push = jax.value_and_grad(lambda x: sharpness_loss(critic, x, target))(
            still
        )
        size = jnp.linalg.norm(slope) / (jnp.linalg.norm(push) + 1e-12)
        slope = slope + phase.sharpen * trust * size * push
    # The value is that of the pyramid loss, the gradient at the image is the slope.
    total = parts["pyramid"] + jnp.sum(slope * (image - still)) + FRAME_WEIGHT * parts["frame"]
    if pairs:
        tangent = target[second] - target[first]
        along = tangent_error(error[-2 * pairs :], jnp.concatenate([tangent] * 2))
        parts["tangent"] = jnp.mean(optax.huber_loss(along, delta=0.5))
        total = total + phase.tangent * parts["tangent"]
    if probe is not None:
        shown, true = image, target
        while shown.shape[1] < probe.config.trunk.resolution:
            shown, true = double(shown), double(true)
        # The same noise and blur on both: no pattern that only this probe sees is to pay.
        seen = read_factors(probe, augment(shown, key))
        want = read_factors(probe, augment(true, key))
        parts["probe"] = jnp.mean(optax.huber_loss(seen, want, delta=0.5))
        total = total + PROBE_WEIGHT * parts["probe"]
    parts["psnr"] = -10 * jnp.log10(jnp.mean(jnp.square(0.5 * error)))
    return total, (parts, image, target)


# --- training -------------------------------------------------------------------------------------


def learning_rate(phases: Sequence[Phase], step: jax.typing.ArrayLike) -> jax.Array:
    """Over all phases, with a short warm-up at the start of each."""
    step, rate, start = jnp.asarray(step), jnp.zeros(()), 0
    for phase in phases:
        t = jnp.clip((step - start) / phase.steps, 0, 1)
        t = jnp.maximum(t - phase.hold, 0) / (1 - phase.hold)
        first, last = phase.learning_rate
        warm = jnp.minimum(1.0, (step - start + 1) / 60)
        rate = jnp.where(step >= start, warm * (first + t * (last - first)), rate)
        start += phase.steps
    return rate


def phase_at(phases: Sequence[Phase], step: int) -> tuple[Phase, float]:
    """The phase of a step, and how far it has come, in [0, 1)."""
    for phase in phases:
        if step < phase.steps:
            return phase, step / phase.steps
        step -= phase.steps
    return phases[-1], 1.0


def optimizer(phases: Sequence[Phase], *, hold_mapping: bool) -> optax.GradientTransformation:
    """Muon for the synthesis network, slow Adam for the mapping network unless it is held."""

    def frozen(path: tuple[str, ...]) -> bool:
        return path[-1] in (*UNTRAINED, "noise_strength") or (hold_mapping and path[0] == "mapping")

    return muon(
        functools.partial(learning_rate, phases),
        kernel_rate=KERNEL_RATE,
        frozen=frozen,
        slow=lambda path: path[0] == "mapping",
    )


def fresh_params(key: jax.Array) -> dict[str, Any]:
    """Parameters whose blocks add nothing to the image yet, the first one apart."""
    params = init_params(key, CONFIG)
    for name, block in params["synthesis"].items():
        if name != "b4":
            block["torgb"]["kernel"] = jnp.zeros_like(block["torgb"]["kernel"])
    return params


@functools.partial(jax.jit, donate_argnums=0, static_argnames=("phases", "phase", "hold_mapping"))
def train_step(
    carry, batch, probe: Probe | None, key, trust, *,
    phases: tuple[Phase, ...], phase: Phase, hold_mapping: bool,
):  # fmt: skip
    """One step of the optimiser and of the critic's, and the running mean of the parameters."""
    params, mean, opt, critic = carry
    judged = critic["params"] if phase.sharpen else None
    loss = jax.value_and_grad(losses, has_aux=True)
    (_, (parts, made, true)), grads = loss(params, batch, probe, key, phase, judged, trust)
    tx = optimizer(phases, hold_mapping=hold_mapping)
    updates, opt = tx.update(grads, opt, params)
    params = optax.apply_updates(params, updates)
    mean = jax.tree.map(lambda m, p: m + 0.005 * (p - m), mean, params)
    if phase.sharpen:
        parts["critic"], slope = jax.value_and_grad(critic_loss)(
            critic["params"], made, true, jax.random.fold_in(key, 1)
        )
        updates, state = critic_optimizer().update(slope, critic["opt"])
        critic = {"params": optax.apply_updates(critic["params"], updates), "opt": state}
    return (params, mean, opt, critic), parts


def psnr(params, renders: _Images, resolution: int, *, count: int = 300, drawn: bool = False):
    """Mean PSNR in dB of unseen renders, or of drawings of them, whole and over the inner face."""
    whole, inner = [], []
    images = renders.at(resolution)
    for start in range(0, count, 50):
        part = slice(start, start + 50)
        a, b = _errors(params, renders.z[part], renders.psi[part], images[part], drawn=drawn)
        whole.append(np.asarray(a))
        inner.append(np.asarray(b))
    return tuple(float(np.mean(-10 * np.log10(np.concatenate(x)))) for x in (whole, inner))


@functools.partial(jax.jit, static_argnames="drawn")
def _errors(params, z, psi, images, *, drawn: bool):
    resolution = images.shape[1]
    ws = truncated_ws(params, map_latents(CONFIG, params, z), psi)
    made = synthesis(CONFIG, params, ws, noise_mode="none", resolution=resolution)
    square = jnp.square(0.5 * (made - _shown(images, drawn)))
    mask = inner_mask(resolution)
    return square.mean((1, 2, 3)), (square * mask).sum((1, 2, 3)) / (3 * mask.sum())


def train_generator(
    outdir: Path,
    pools: Mapping[str, Pool],
    unseen: Renders,
    probe: Probe | None,
    *,
    phases: tuple[Phase, ...] = PHASES,
    name: str = "generator",
    first: Mapping[str, Any] | None = None,
    until: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Train or resume in ``outdir``; returns the averaged parameters.

    Args:
        outdir: for checkpoints, log and sample sheet.
        pools: "all", and "front" if a phase wants it.
        unseen: renders that no training uses, for the log.
        probe: reads the images in the loss, in the phases that want it.
        phases: what to do.
        name: of the checkpoint.
        first: parameters to begin with, whose mapping network is held still: latents and motions
            keep their meaning. By default a trained mapping network and fresh synthesis.
        until: stop after so many steps, to go on later.
        seed: of parameters and batches.
    """
    hold_mapping = first is not None
    if first is None:
        mapping = train_mapping(outdir, CONFIG, seed=seed)
        first = {**fresh_params(jax.random.key(seed)), "mapping": mapping}
    held_out = _Images(unseen)

    def start():
        params = jax.tree.map(jnp.copy, first)
        critic = {}
        if any(phase.sharpen for phase in phases):
            critic["params"] = init_critic(jax.random.key(seed + 3))
            critic["opt"] = critic_optimizer().init(critic["params"])
        opt = optimizer(phases, hold_mapping=hold_mapping).init(params)
        return (params, jax.tree.map(jnp.copy, params), opt, critic)

    def step(carry, index_):
        phase, t = phase_at(phases, index_)
        low, high = phase.pose
        limit = low + (high - low) * min(1.0, t / phase.widen)
        rng = np.random.default_rng((seed, index_))
        batch = pools["front" if phase.front else "all"].batch(rng, phase, limit)
        key = jax.random.fold_in(jax.random.key(seed + 2), index_)
        used = probe if phase.probe else None
        # A fresh critic knows nothing yet: on its own it tells 9 of 10 apart after 100 steps.
        trust = min(1.0, max(0.0, t * phase.steps - 100) / 100)
        return train_step(
            carry, batch, used, key, trust,
            phases=phases, phase=phase, hold_mapping=hold_mapping,
        )  # fmt: skip

    def sheet(carry, index_):
        phase, _ = phase_at(phases, index_)
        whole, inner = psnr(carry[1], held_out, phase.resolution, drawn=phase.drawn)
        print(f"{name} {index_ + 1}: unseen {whole:.2f} dB, inner face {inner:.2f} dB", flush=True)
        z, images = jnp.asarray(held_out.z[:16]), held_out.at(phase.resolution)[:16]
        ws = truncated_ws(carry[1], map_latents(CONFIG, carry[1], z), jnp.ones(16))
        made = synthesis(CONFIG, carry[1], ws, noise_mode="none", resolution=phase.resolution)
        true = np.asarray(_shown(images, phase.drawn))
        rows = zip(np.split(true, 2), np.split(np.asarray(made), 2), strict=True)
        return np.concatenate([np.concatenate(pair) for pair in rows])

    total = sum(phase.steps for phase in phases)
    loop = Loop(name, outdir, min(total, until or total), start, step, sheet, save_every=250)
    return run_loop(loop)[1]
