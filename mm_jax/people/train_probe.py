"""Training of the probes on renders, and their figures on unseen ones."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.errors import DataError
from mm_jax.nn.trunk import TrunkConfig
from mm_jax.people.drawing import pencil
from mm_jax.people.factors import FACTORS
from mm_jax.people.labelled import Labelled, Store
from mm_jax.people.training import Loop, descended, linear_decay, muon, run_loop
from mm_jax.perceptual.probe import Probe, ProbeConfig, read_factors

__all__ = ["RECIPES", "ProbeRecipe", "augment", "train_probe"]


_SHIFT = 2


@dataclasses.dataclass(frozen=True)
class ProbeRecipe:
    """How one probe is trained; ``drawn`` is whether it reads pencil drawings."""

    trunk: TrunkConfig
    seed: int
    steps: int = 3000
    batch: int = 48
    drawn: bool = False


RECIPES = {
    "people-probe": ProbeRecipe(
        TrunkConfig(
            resolution=128, fold=2, channels=(32, 64, 96, 128), activation="gelu", hidden=384
        ),
        seed=10,
        steps=2600,
    ),
    "people-judge": ProbeRecipe(
        TrunkConfig(
            resolution=128,
            fold=2,
            channels=(40, 72, 96, 112),
            activation="gelu",
            hidden=320,
            residual=True,
        ),
        seed=20,
        steps=8000,
    ),
    "people-sketch-judge": ProbeRecipe(
        TrunkConfig(
            resolution=128, fold=2, channels=(40, 72, 96, 112), activation="gelu", hidden=320
        ),
        seed=50,
        steps=800,
        drawn=True,
    ),
}


def augment(images: jax.Array, key: jax.Array) -> jax.Array:
    """Slight noise and blur: a probe must not live on the exact pixels of the renderer."""
    ka, kb, kc, kd = jax.random.split(key, 4)
    n, r = images.shape[:2]
    near = images.reshape(n, r // 2, 2, r // 2, 2, 3).mean((2, 4))
    blurred = jnp.repeat(jnp.repeat(near, 2, 1), 2, 2)
    mix = jax.random.uniform(ka, (n, 1, 1, 1)) * jax.random.bernoulli(kd, 0.5, (n, 1, 1, 1))
    level = jax.random.uniform(kb, (n, 1, 1, 1), maxval=0.06)
    return images + mix * (blurred - images) + level * jax.random.normal(kc, images.shape)


def shifted(images: jax.Array, key: jax.Array) -> jax.Array:
    """Images ``[N, R, R, C]``, each moved by up to two pixels either way; edges are repeated.

    Where a face is to the pixel says nothing of it, but is enough to know a render again by.
    """
    n, r, _, c = images.shape
    padded = jnp.pad(images, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (n, 2), 0, 2 * _SHIFT + 1)
    return jax.vmap(lambda x, at: jax.lax.dynamic_slice(x, (at[0], at[1], 0), (r, r, c)))(
        padded, corners
    )


def _overlaid(params: Any, known: Any) -> Any:
    """``params`` with copies of what is ``known``; a training step gives its arguments away."""
    if not isinstance(known, Mapping):
        return jnp.copy(known)
    return {**params, **{name: _overlaid(params.get(name), of) for name, of in known.items()}}


def train_probe(
    name: str, outdir: Path, data: Sequence[Store], *, first: Probe | None = None
) -> Probe:
    """Train or resume one probe in ``outdir`` on all of ``data``; half of it is mirrored.

    Args:
        name: of the recipe, and of the checkpoint.
        outdir: for the checkpoint and the log.
        data: what it learns from.
        first: a trained probe of the same recipe to begin with, in place of a fresh one; it may
            lack the residual convolutions, which begin as nothing.

    Raises:
        DataError: ``first`` is another network, or reads other factors.
    """
    recipe = RECIPES[name]
    config = ProbeConfig(trunk=recipe.trunk, factors=FACTORS)
    if first is not None:
        grown = dataclasses.replace(first.config.trunk, residual=recipe.trunk.residual)
        if dataclasses.replace(first.config, trunk=grown) != config:
            raise DataError(f"{name}: the probe to go on from is not built as this version's")
    tx = muon(linear_decay(2e-3, recipe.steps), kernel_rate=1.0)
    labelled = Labelled(data)
    scale = labelled.factors().std(axis=0)

    def start():
        key = jax.random.key(recipe.seed)
        params = Probe.init(config, key)
        if first is not None:
            params = _overlaid(params, first.params)
        return (params, tx.init(params))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry, images, truth, key):
        images = images.astype(jnp.float32) / 127.5 - 1
        images = pencil(images) if recipe.drawn else images
        images = shifted(images, jax.random.fold_in(key, 1))

        def loss(params):
            read = read_factors(Probe(config, params), augment(images, key))
            value = jnp.mean(jnp.square((read - truth) / jnp.asarray(scale)[None]))
            return value, {"unexplained": value}

        return descended(tx, loss, carry)

    def step(carry, index_):
        rng = np.random.default_rng((recipe.seed, index_))
        images, truth = labelled.batch(rng, recipe.batch)
        key = jax.random.fold_in(jax.random.key(recipe.seed + 1), index_)
        return update(carry, images, truth, key)

    carry = run_loop(Loop(name, outdir, recipe.steps, start, step))
    return Probe(config, carry[0])
