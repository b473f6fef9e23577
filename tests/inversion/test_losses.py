"""Distances of pictures, and how white noise is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.inversion.losses import (
    laplacian_distance,
    noise_autocorrelation,
    normalise_noise,
    pixel_distance,
    psnr,
)
from tests.conftest import pattern_image

DISTANCES = (pixel_distance, laplacian_distance)


@pytest.fixture(scope="module")
def pictures():
    return jnp.concatenate([pattern_image(32, k) for k in range(3)])


@pytest.mark.parametrize("distance", DISTANCES)
def test_is_a_distance_of_each_picture(distance, pictures):
    others = jnp.roll(pictures, 1, axis=0)
    far = distance(pictures, others)
    assert far.shape == (3,)
    np.testing.assert_array_equal(distance(pictures, pictures), 0)
    np.testing.assert_allclose(far, distance(others, pictures), rtol=1e-5)
    np.testing.assert_allclose(distance(pictures[1:2], others[1:2]), far[1:2], rtol=1e-5)
    assert (far > 0).all()
    nearer = distance(pictures, 0.5 * (pictures + others))
    assert (nearer < far).all() and (nearer > 0).all()


@pytest.mark.parametrize("distance", DISTANCES)
def test_has_a_gradient_everywhere(distance, pictures):
    slope = jax.grad(lambda x: distance(x, pictures).sum())
    np.testing.assert_array_equal(slope(pictures), 0)
    moved = pictures + 0.1
    assert np.isfinite(slope(moved)).all()
    assert float(distance(moved - 0.01 * jnp.sign(slope(moved)), pictures).sum()) < float(
        distance(moved, pictures).sum()
    )


def test_the_pyramid_sees_every_scale(pictures):
    """A shift in brightness and a fine chequer of one size count, each in a level of its own."""
    side = jnp.arange(32)
    chequer = jnp.where((side[:, None] + side[None, :]) % 2 == 0, 0.1, -0.1)[None, :, :, None]
    flat = laplacian_distance(pictures, pictures + 0.1)
    fine = laplacian_distance(pictures, pictures + chequer)
    # All of the flat change is in the rest; all of the chequer in the first level.
    want = np.sqrt(0.1**2 + 0.01**2) - 0.01
    np.testing.assert_allclose(flat, want, rtol=1e-4)
    np.testing.assert_allclose(fine, want, rtol=0.05)


def test_odd_sizes_have_one_level():
    x = jnp.zeros((1, 15, 15, 3))
    assert float(laplacian_distance(x, x + 0.5)[0]) == pytest.approx(0.49, abs=1e-3)


def test_psnr_is_of_the_range():
    x = jnp.zeros((1, 4, 4, 3))
    np.testing.assert_allclose(psnr(x, x + 0.2), 20.0, atol=1e-4)
    # Values beyond the range are no error: they are shown clipped.
    np.testing.assert_allclose(psnr(x + 1.0, x + 1.5), 100.0)


def test_white_noise_is_told_from_smooth():
    white = {"b16.conv0": jax.random.normal(jax.random.key(0), (2, 16, 16))}
    ramp = jnp.broadcast_to(jnp.linspace(-1, 1, 16), (2, 16, 16))
    smooth = normalise_noise({"b16.conv0": ramp})
    assert (noise_autocorrelation(normalise_noise(white)) < 0.2).all()
    assert (noise_autocorrelation(smooth) > 1.0).all()
    tiny = {"b4.conv1": jnp.ones((2, 4, 4))}
    np.testing.assert_array_equal(noise_autocorrelation(tiny), 0)


def test_halving_keeps_white_noise_white():
    """Fine structure that averages to a ramp is found on a coarser level."""
    coarse = jnp.repeat(jnp.repeat(jax.random.normal(jax.random.key(1), (1, 16, 16)), 2, 1), 2, 2)
    own = normalise_noise({"b32.conv0": coarse})
    white = normalise_noise({"b32.conv0": jax.random.normal(jax.random.key(2), (1, 32, 32))})
    assert float(noise_autocorrelation(own)[0]) > 10 * float(noise_autocorrelation(white)[0])


def test_normalised_noise_has_unit_variance():
    noise = {"b8.conv0": 3.0 + 5.0 * jax.random.normal(jax.random.key(0), (2, 8, 8))}
    one = normalise_noise(noise)["b8.conv0"]
    np.testing.assert_allclose(one.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(jnp.square(one).mean(axis=(1, 2)), 1, atol=1e-4)
