"""Batches of rendered pairs, whose second face repeats the first with one factor changed."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.synthface.factors import (
    FACTORS,
    MOTION_FACTORS,
    NUM_FACTORS,
    Z_DIM,
    factors_from_scores,
    scores_from_z,
    shift_one_score,
)
from mm_jax.synthface.renderer import Style, render

TRUNCATED_SHARE = 0.25
# Small features are drawn more often as the changed factor of a pair.
_PAIR_WEIGHTS = np.asarray([2.0 if n in MOTION_FACTORS else 1.0 for n in FACTORS], np.float32)


class Batch(NamedTuple):
    """Training pictures; the second half repeats the first with one factor changed."""

    z: jax.Array  # [2P, 64]
    psi: jax.Array  # [2P], truncation of the codes and scale of the scores
    target: jax.Array  # [2P, R, R, 3]


def make_batch(
    key: jax.Array, pairs: int, resolution: int, reach: float = 1.0, *, style: Style = "face"
) -> Batch:
    """A random batch; ``reach`` bounds psi from above."""
    z, psi, factors = _pairs(key, pairs, reach)
    return Batch(z, psi, render(factors, resolution=resolution, style=style))


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
    return z, psi, factors_from_scores(psi[:, None] * scores_from_z(z))
