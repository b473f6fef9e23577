"""Training of the probes on renders, and their figures on unseen ones."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.nn.trunk import TrunkConfig
from mm_jax.people.training import Loop, linear_decay, muon, run_loop
from mm_jax.perceptual.probe import Probe, ProbeConfig, read_factors
from mm_jax.synthface.factors import FACTORS
from mm_jax.synthface.renderer import Style
from mm_jax.synthface.renders import Renders, make_renders


@dataclasses.dataclass(frozen=True)
class ProbeRecipe:
    """How one probe is trained."""

    trunk: TrunkConfig
    seed: int
    renders_seed: int
    count: int = 24_000
    steps: int = 2000
    batch: int = 48
    style: Style = "face"

    @property
    def text(self) -> str:
        """What is trained on, in words."""
        kind = "renders" if self.style == "face" else f"{self.style} renders"
        return f"{self.steps:,} steps of {self.batch} from {self.count:,} {kind}"


RECIPES = {
    "synthface-probe": ProbeRecipe(
        TrunkConfig(
            resolution=128, fold=2, channels=(32, 64, 96, 128), activation="gelu", hidden=256
        ),
        seed=10,
        renders_seed=1000,
    ),
    "synthface-judge": ProbeRecipe(
        TrunkConfig(
            resolution=128, fold=2, channels=(40, 72, 96, 112), activation="gelu", hidden=160
        ),
        seed=20,
        renders_seed=2000,
    ),
    "synthface-sketch-judge": ProbeRecipe(
        TrunkConfig(
            resolution=128, fold=2, channels=(40, 72, 96, 112), activation="gelu", hidden=160
        ),
        seed=50,
        renders_seed=5000,
        count=6000,
        steps=800,
        style="sketch",
    ),
}
UNSEEN_SEED = 3000


def augment(images: jax.Array, key: jax.Array) -> jax.Array:
    """Slight noise and blur: a probe must not live on the exact pixels of the renderer."""
    ka, kb, kc = jax.random.split(key, 3)
    n, r = images.shape[:2]
    near = images.reshape(n, r // 2, 2, r // 2, 2, 3).mean((2, 4))
    blurred = jnp.repeat(jnp.repeat(near, 2, 1), 2, 2)
    mix = jax.random.uniform(ka, (n, 1, 1, 1), maxval=0.7) * jax.random.bernoulli(ka, 0.5)
    level = jax.random.uniform(kb, (n, 1, 1, 1), maxval=0.06)
    return images + mix * (blurred - images) + level * jax.random.normal(kc, images.shape)


def train_probe(name: str, outdir: Path, renders: Path) -> Probe:
    """Train or resume one probe in ``outdir``, with pictures kept in ``renders``."""
    recipe = RECIPES[name]
    config = ProbeConfig(trunk=recipe.trunk, factors=FACTORS)
    data = make_renders(renders, recipe.count, seed=recipe.renders_seed, style=recipe.style)
    tx = muon(linear_decay(2e-3, recipe.steps), kernel_rate=1.0)

    def start():
        params = Probe.init(config, jax.random.key(recipe.seed))
        return (params, tx.init(params))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry, images, truth, key):
        def loss(params):
            read = read_factors(Probe(config, params), augment(images, key))
            return jnp.mean(jnp.square(read - truth))

        params, opt = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, opt = tx.update(grads, opt, params)
        return (optax.apply_updates(params, updates), opt), {"mse": value}

    def step(carry, index):
        rng = np.random.default_rng((recipe.seed, index))
        images, truth = data.batch(rng, recipe.batch)
        return update(
            carry, images, truth, jax.random.fold_in(jax.random.key(recipe.seed + 1), index)
        )

    carry = run_loop(Loop(name, outdir, recipe.steps, start, step))
    return Probe(config, carry[0])


def r_squared(read: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Coefficient of determination of each column: ``[N, F], [N, F] -> [F]``."""
    residual = np.mean((read - truth) ** 2, axis=0)
    return 1 - residual / np.var(truth, axis=0)


def measure_probe(probe: Probe, unseen: Renders) -> np.ndarray:
    """R squared of each factor on unseen renders, ``[F]``."""
    return r_squared(read_all(probe, unseen.images), unseen.factors)


def read_all(probe: Probe, images: np.ndarray, *, batch: int = 100) -> np.ndarray:
    """Factors ``[N, F]`` of uint8 pictures ``[N, R, R, 3]``, N a multiple of ``batch``."""
    parts = np.split(images, len(images) // batch)
    return np.concatenate(
        [np.asarray(read_factors(probe, part.astype(np.float32) / 127.5 - 1)) for part in parts]
    )
