"""Area resizing against upstream's preprocessing, and its invariants."""

from __future__ import annotations

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.errors import UsageError
from mm_jax.nn.resize import adaptive_resize, adaptive_weights, area_resize, area_weights
from tests.conftest import pattern_image


def golden_input(name: str) -> np.ndarray:
    if name == "prep_tiled64x16_1024_every4":
        return np.tile(pattern_image(64), (1, 16, 16, 1))
    if name == "prep_pattern64_every4":
        return pattern_image(64)
    noise = np.random.RandomState(70).uniform(-1, 1, (3, 256, 256)).astype(np.float32)
    return noise.transpose(1, 2, 0)[None]


@pytest.mark.parametrize(
    "name", ["prep_tiled64x16_1024_every4", "prep_noise256_every2", "prep_pattern64_every4"]
)
def test_equals_styleclip(goldens: Path, name: str) -> None:
    with np.load(goldens / "styleclip_preprocess.npz") as archive:
        expected = archive[name].transpose(0, 2, 3, 1)
    every = int(name[-1])
    resized = np.asarray(area_resize(jnp.asarray(golden_input(name)), 224))
    # Upstream enlarges sevenfold and averages in float32, which is good to a few 1e-6.
    np.testing.assert_allclose(resized[:, ::every, ::every], expected, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 0.5), st.floats(0.05, 0.5))
@settings(max_examples=30, deadline=None)
def test_rows_are_means_over_the_window(
    source: int, target: int, start: float, extent: float
) -> None:
    weights = np.asarray(area_weights(source, target, start=start, extent=extent))
    assert weights.shape == (target, source)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
    # The centre of mass of the whole window is where the window lies.
    uniform = np.full(target, 1 / target) @ weights
    share = np.interp((np.arange(source) + 1) / source, [start, start + extent], [0, 1])
    np.testing.assert_allclose(np.cumsum(uniform), share, atol=1e-4)


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_adaptive_pooling_takes_whole_pixels(source: int, target: int) -> None:
    column = np.random.RandomState(source).standard_normal(source)
    bounds = [(i * source / target, (i + 1) * source / target) for i in range(target)]
    means = [column[math.floor(low) : math.ceil(high - 1e-9)].mean() for low, high in bounds]
    np.testing.assert_allclose(adaptive_weights(source, target) @ column, means, atol=1e-12)


def test_is_pooling_where_sides_divide_and_identity_where_equal() -> None:
    images = jax.random.normal(jax.random.key(0), (2, 12, 12, 3))
    pooled = images.reshape(2, 4, 3, 4, 3, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(area_resize(images, 4), pooled, atol=1e-6)
    np.testing.assert_allclose(adaptive_resize(images, 4), pooled, atol=1e-6)
    np.testing.assert_array_equal(area_resize(images, 12), images)
    np.testing.assert_array_equal(
        area_resize(images, 24), images.repeat(2, axis=1).repeat(2, axis=2)
    )


def test_the_gradient_keeps_the_mean() -> None:
    gradient = jax.grad(lambda x: area_resize(x, 5).mean())(jnp.ones((1, 7, 7, 3)))
    np.testing.assert_allclose(gradient, np.full((1, 7, 7, 3), 1 / 147), rtol=1e-5)


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match=r"\[N, H, W, C\], got shape \[4, 4, 3\]"):
        area_resize(jnp.zeros((4, 4, 3)), 2)
    with pytest.raises(UsageError, match="at least 1, got 0"):
        area_resize(jnp.zeros((1, 4, 4, 3)), 0)
