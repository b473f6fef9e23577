"""The renderer: ranges, symmetry, scale, gradients, and that every factor shows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.nn.resize import area_resize
from mm_jax.synthface.factors import (
    FACTORS,
    MOTION_FACTORS,
    NUM_FACTORS,
    index,
    sample_factors,
)
from mm_jax.synthface.renderer import render

COUNT = 2 * NUM_FACTORS  # of all pictures at 32 pixels, so that one program draws them


@pytest.fixture(scope="module")
def factors() -> jax.Array:
    return sample_factors(jax.random.key(0), COUNT)


def test_pictures_are_in_range_and_do_not_depend_on_the_batch(factors):
    pictures = render(factors, resolution=32)
    assert pictures.shape == (COUNT, 32, 32, 3) and pictures.dtype == jnp.float32
    assert float(jnp.abs(pictures).max()) <= 1.0
    others = jnp.roll(factors, 1, axis=0).at[1:].set(0.0)
    np.testing.assert_allclose(render(others, resolution=32)[0], pictures[-1], atol=2e-5)


def test_resolutions_show_the_same_face(factors):
    small = render(factors, resolution=32)[:4]
    reduced = area_resize(render(factors[:4], resolution=64), 32)
    assert float(jnp.mean(jnp.abs(small - reduced))) < 0.03


# A pencil has no colours: what remains to be seen in a sketch are the motions.
@pytest.mark.parametrize(("style", "shown"), [("face", FACTORS), ("sketch", MOTION_FACTORS)])
def test_every_factor_shows(style, shown):
    neutral = jnp.zeros((1, NUM_FACTORS)).at[:, index("eye_open")].set(0.4)
    ends = jnp.concatenate(
        [neutral.at[:, i].set(value) for i in range(NUM_FACTORS) for value in (-1.0, 1.0)]
    )
    pictures = np.asarray(render(ends, resolution=32, style=style)).reshape(NUM_FACTORS, 2, -1)
    change = np.abs(pictures[:, 1] - pictures[:, 0]).max(axis=1)
    faint = [name for name, c in zip(FACTORS, change, strict=True) if name in shown and c < 0.1]
    assert not faint


def _energy(factors):
    return jnp.sum(jnp.square(render(factors, resolution=32)))


def test_derivatives_are_finite_and_reach_every_factor(factors):
    def slope(direction):
        return jax.jvp(_energy, (factors,), (jnp.broadcast_to(direction, factors.shape),))[1]

    slopes = np.asarray([slope(direction) for direction in jnp.eye(NUM_FACTORS)])
    assert np.isfinite(slopes).all()
    assert (np.abs(slopes) > 1e-4).all()


@pytest.mark.slow
def test_gradients_are_finite_and_reach_every_factor(factors):
    gradient = np.asarray(jax.grad(_energy)(factors))
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=0) > 1e-4).all()


def test_turning_the_head_is_mirrored_by_turning_it_back():
    yaws = jnp.asarray([0.7, -0.7, 0.0, 0.0])
    turned = jnp.zeros((4, NUM_FACTORS)).at[:, index("yaw")].set(yaws)
    right, left = render(turned, resolution=64)[:2, 28:60]  # below the fringe, which is uneven
    mirrored = jnp.mean(jnp.abs(right - left[:, ::-1]))
    unmirrored = jnp.mean(jnp.abs(right - left))
    assert float(mirrored) < 0.4 * float(unmirrored)


def test_a_sketch_is_nearly_grey(factors):
    sketch = render(factors, resolution=32, style="sketch")
    assert float(jnp.max(jnp.std(sketch, axis=-1))) < 0.1


@pytest.mark.parametrize(
    ("given", "style", "message"),
    [
        (jnp.zeros((NUM_FACTORS,)), "face", r"factors must be \[N, 21\], got \[21\]"),
        (jnp.zeros((1, 3)), "face", r"factors must be \[N, 21\], got \[1, 3\]"),
        (jnp.zeros((1, NUM_FACTORS)), "fresco", "style must be 'face' or 'sketch', got 'fresco'"),
    ],
)
def test_wrong_arguments_are_named(given, style, message):
    with pytest.raises(ValueError, match=message):
        render(given, style=style)
