"""The factors and the fixed map that draws them from z."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.synthface.factors import (
    FACTORS,
    NUM_FACTORS,
    Z_DIM,
    factors_from_z,
    index,
    sample_factors,
    shift_one_score,
)


@pytest.fixture(scope="module")
def z() -> jax.Array:
    return jax.random.normal(jax.random.key(0), (4000, Z_DIM))


def test_factors_fill_their_range_and_are_independent(z):
    factors = np.asarray(factors_from_z(z))
    assert factors.shape == (4000, NUM_FACTORS)
    assert np.abs(factors).max() <= 1
    assert (factors.min(0) < -0.95).all() and (factors.max(0) > 0.95).all()
    correlation = np.corrcoef(factors.T) - np.eye(NUM_FACTORS)
    assert np.abs(correlation).max() < 0.08


def test_only_the_direction_of_z_matters(z):
    np.testing.assert_allclose(factors_from_z(3 * z), factors_from_z(z), atol=1e-5)


def test_the_map_is_smooth(z):
    step = 1e-3 * jax.random.normal(jax.random.key(1), z.shape)
    moved = jnp.abs(factors_from_z(z + step) - factors_from_z(z))
    assert float(moved.max()) < 0.02


def test_a_shift_moves_one_factor_and_keeps_the_length(z):
    which = jax.random.randint(jax.random.key(2), (len(z),), 0, NUM_FACTORS)
    amount = jax.random.uniform(jax.random.key(3), (len(z),), minval=-1.2, maxval=1.2)
    shifted = shift_one_score(z, which, amount)
    np.testing.assert_allclose(
        jnp.linalg.norm(shifted, axis=1), jnp.linalg.norm(z, axis=1), rtol=1e-4
    )
    change = np.asarray(factors_from_z(shifted) - factors_from_z(z))
    others = np.where(np.arange(NUM_FACTORS)[None] == np.asarray(which)[:, None], 0, change)
    assert np.abs(others).max() < 1e-4
    own = np.take_along_axis(change, np.asarray(which)[:, None], 1)[:, 0]
    assert np.median(np.abs(own)) > 0.1


def test_sampled_factors_have_the_distribution_of_the_map(z):
    sampled = np.sort(np.asarray(sample_factors(jax.random.key(4), 4000)), axis=0)
    mapped = np.sort(np.asarray(factors_from_z(z)), axis=0)
    assert np.abs(sampled - mapped).mean() < 0.05


def test_index_names_the_known_factors():
    assert FACTORS[index("yaw")] == "yaw"
    with pytest.raises(KeyError, match="unknown factor 'nostril'; known: smile"):
        index("nostril")
