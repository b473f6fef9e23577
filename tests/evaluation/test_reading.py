"""Readings of factors."""

import numpy as np

from mm_jax.evaluation.reading import r_squared


def test_r_squared():
    truth = np.random.RandomState(0).randn(500, 3)
    off = truth[:, 2] + 0.5 * truth[:, 2].std()
    read = np.stack([truth[:, 0], np.full(500, truth[:, 1].mean()), off], axis=1)
    np.testing.assert_allclose(r_squared(read, truth), [1, 0, 0.75], atol=1e-6)
