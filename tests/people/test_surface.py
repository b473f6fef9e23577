"""The functions that paint surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.people.surface import bump, ggx, half_vector, noise, smoothstep


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def test_steps_and_bumps():
    x = np.linspace(-1, 3, 401)
    step = smoothstep(0.0, 2.0, x)
    assert (step[x <= 0] == 0).all() and (step[x >= 2] == 1).all() and (np.diff(step) >= 0).all()
    np.testing.assert_allclose(step + smoothstep(0.0, 2.0, 2 - x), 1, atol=1e-12)
    # High to low is a step down.
    np.testing.assert_allclose(smoothstep(2.0, 0.0, x), 1 - step, atol=1e-12)
    assert bump(np.zeros(1), 0.3)[0] == 1
    np.testing.assert_allclose(bump(np.array([0.3, -0.3]), 0.3), np.exp(-1))


@pytest.mark.parametrize("frequency", [1.6, (4.0, 2.0, 1.0)])
def test_noise_is_symmetric_and_of_unit_deviation(frequency):
    rng = np.random.default_rng(0)
    rest = rng.uniform([-8, 0, -8], [8, 16, 8], (20_000, 3)).astype(np.float32)
    value = noise(rest, frequency, 3)
    mirrored = noise(rest * np.array([-1, 1, 1], np.float32), frequency, 3)
    np.testing.assert_array_equal(value, mirrored)
    assert abs(value.mean()) < 0.05 and 0.6 < value.std() < 1.1  # interpolation smooths a little
    assert abs(np.corrcoef(value, noise(rest, frequency, 4))[0, 1]) < 0.05


def test_noise_is_finer_at_higher_frequency():
    line = np.stack([np.zeros(2000), np.linspace(0, 10, 2000), np.zeros(2000)], axis=1)
    steps = [np.abs(np.diff(noise(line.astype(np.float32), f))).mean() for f in (1.0, 2.0, 4.0)]
    assert steps[0] < 0.7 * steps[1] < 0.5 * steps[2]


@pytest.mark.parametrize("roughness", [0.3, 0.5, 0.8])
def test_microfacets_cover_the_surface_once(roughness):
    """The distribution times the cosine integrates to 1 over the hemisphere."""
    cosine = (np.arange(200_000) + 0.5) / 200_000
    total = 2 * np.pi * np.mean(ggx(cosine, roughness) * cosine)
    np.testing.assert_allclose(total, 1, rtol=2e-3)


def test_half_vectors():
    rng = np.random.default_rng(1)
    direction, views = unit(rng.normal(size=3)), unit(rng.normal(size=(20, 3)))
    half = half_vector(direction, views)
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(half @ direction, (half * views).sum(axis=1), atol=1e-5)
