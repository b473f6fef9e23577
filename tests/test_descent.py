"""The schedule, chunks and batches of the optimisations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mm_jax.descent import as_argument, chunk_length, full_batches, learning_rates


def test_learning_rates_are_the_projectors():
    def upstream(t: float, initial: float = 0.1, down: float = 0.25, up: float = 0.05) -> float:
        ramp = min(1, (1 - t) / down)
        return initial * (0.5 - 0.5 * math.cos(ramp * math.pi)) * min(1, t / up)

    rates = learning_rates(40, 0.1)
    np.testing.assert_allclose(rates, [upstream(i / 40) for i in range(40)], atol=1e-8)
    assert rates[0] == 0 and rates[1] == np.float32(0.05)
    assert rates[2] == rates[30] == np.float32(0.1) and 0 < rates[39] < 0.01


@given(st.integers(1, 1000))
def test_chunks_divide_the_steps(steps):
    length = chunk_length(steps)
    assert 1 <= length <= 10 and steps % length == 0
    assert not any(steps % longer == 0 for longer in range(length + 1, min(steps, 10) + 1))


@given(st.integers(1, 50), st.none() | st.integers(1, 60))
def test_batches_cover_everything_once_in_one_shape(total, size):
    batches = list(full_batches(total, size))
    assert len({len(indices) for indices, _ in batches}) == 1
    counted = np.concatenate([indices[:count] for indices, count in batches])
    np.testing.assert_array_equal(counted, np.arange(total))


def test_functions_become_arguments():
    @jax.jit
    def call(function, x):
        return function(x)

    assert as_argument(None) is None
    plain = as_argument(jnp.sin)
    assert call(plain, 0.0) == 0
    scaled = jax.tree_util.Partial(jnp.multiply, jnp.float32(3.0))
    assert as_argument(scaled) is scaled
