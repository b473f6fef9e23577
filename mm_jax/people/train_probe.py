"""Training of the probes on renders, and their figures on unseen ones."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.nn.trunk import TrunkConfig, init_trunk
from mm_jax.people.factors import NUM_FACTORS
from mm_jax.people.labelled import Labelled, Store
from mm_jax.people.probe import Probe, apply_probe, augment, read_factors
from mm_jax.people.training import Loop, linear_decay, muon, run_loop

__all__ = ["RECIPES", "ProbeRecipe", "r_squared", "read_all", "train_probe"]


@dataclasses.dataclass(frozen=True)
class ProbeRecipe:
    """How one probe is trained."""

    config: TrunkConfig
    seed: int
    steps: int = 3000
    batch: int = 48


RECIPES = {
    "people-probe": ProbeRecipe(
        TrunkConfig(
            resolution=128, fold=2, channels=(32, 64, 96, 128), activation="gelu", hidden=384
        ),
        seed=10,
    ),
    "people-judge": ProbeRecipe(
        TrunkConfig(
            resolution=128, fold=2, channels=(40, 72, 96, 112), activation="gelu", hidden=320
        ),
        seed=20,
    ),
}


def train_probe(name: str, outdir: Path, data: Sequence[Store]) -> Probe:
    """Train or resume one probe in ``outdir`` on all of ``data``; half of it is mirrored."""
    recipe = RECIPES[name]
    tx = muon(linear_decay(2e-3, recipe.steps), kernel_rate=1.0)
    labelled = Labelled(data)
    scale = labelled.factors().std(axis=0)

    def start():
        params = init_trunk(recipe.config, NUM_FACTORS, jax.random.key(recipe.seed))
        return (params, tx.init(params))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry, images, truth, key):
        images = images.astype(jnp.float32) / 127.5 - 1

        def loss(params):
            read = apply_probe(recipe.config, params, augment(images, key))
            return jnp.mean(jnp.square((read - truth) / jnp.asarray(scale)[None]))

        params, opt = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, opt = tx.update(grads, opt, params)
        return (optax.apply_updates(params, updates), opt), {"unexplained": value}

    def step(carry, index_):
        rng = np.random.default_rng((recipe.seed, index_))
        images, truth = labelled.batch(rng, recipe.batch)
        key = jax.random.fold_in(jax.random.key(recipe.seed + 1), index_)
        return update(carry, images, truth, key)

    carry = run_loop(Loop(name, outdir, recipe.steps, start, step))
    return Probe(recipe.config, carry[0])


def r_squared(read: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Coefficient of determination of each column: ``[N, F], [N, F] -> [F]``."""
    residual = np.mean((read - truth) ** 2, axis=0)
    return 1 - residual / np.var(truth, axis=0)


def read_all(probe: Probe, images: np.ndarray, *, batch: int = 100) -> np.ndarray:
    """Factors ``[N, F]`` of uint8 images ``[N, R, R, 3]``, ``batch`` at a time."""
    parts = [images[first : first + batch] for first in range(0, len(images), batch)]
    return np.concatenate(
        [np.asarray(read_factors(probe, part.astype(np.float32) / 127.5 - 1)) for part in parts]
    )
