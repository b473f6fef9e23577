"""Doubling against the definition: zeros between the pixels, then the filter."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mm_jax.stylegan2 import resample
from mm_jax.stylegan2.resample import fir, interleave, up_conv2d, upsample_picture

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def blur(x, padding):
    """The [4, 4] filter of gain 4 as a depthwise convolution."""
    taps = jnp.outer(jnp.array([1.0, 3, 3, 1]), jnp.array([1.0, 3, 3, 1])) / 16
    channels = x.shape[-1]
    kernel = jnp.broadcast_to(taps[:, :, None, None], (4, 4, 1, channels))
    return lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        (padding, padding),
        dimension_numbers=DIMENSIONS,
        feature_group_count=channels,
    )


def up_conv_by_definition(x, kernel):
    flipped = kernel[::-1, ::-1]
    y = lax.conv_general_dilated(
        x, flipped, (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2), dimension_numbers=DIMENSIONS
    )
    return blur(y, (1, 1))


def random(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 5)])
def test_up_convolution_and_its_gradients(size):
    x, kernel = random(2, *size, 3), random(3, 3, 3, 4, seed=1)
    y, pull = jax.vjp(jax.jit(up_conv2d), x, kernel)
    y_wanted, pull_wanted = jax.vjp(jax.jit(up_conv_by_definition), x, kernel)
    assert y.shape == (2, 2 * size[0], 2 * size[1], 4)
    np.testing.assert_allclose(y, y_wanted, atol=2e-5)
    dy = random(*y.shape, seed=2)
    for ours, theirs in zip(pull(dy), pull_wanted(dy), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_folded_into_one_convolution_it_is_the_same(monkeypatch):
    x, kernel = random(2, 3, 5, 3), random(3, 3, 3, 4, seed=1)
    phases, pull = jax.vjp(jax.jit(up_conv2d), x, kernel)
    monkeypatch.setattr(resample, "_FOLDED_UP_TO", {"cpu": 4})
    folded, pull_folded = jax.vjp(jax.jit(lambda x, k: up_conv2d(x, k)), x, kernel)
    np.testing.assert_allclose(folded, phases, atol=2e-5)
    dy = random(*folded.shape, seed=2)
    for ours, theirs in zip(pull_folded(dy), pull(dy), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("platform", "channels", "convolutions"),
    [("cpu", 32, 4), ("cuda", 32, 1), ("cuda", 64, 4), ("tpu", 64, 1), ("tpu", 128, 4)],
)
def test_each_platform_has_its_form(platform, channels, convolutions):
    x, kernel = jnp.zeros((1, 4, 4, 8)), jnp.zeros((3, 3, 8, channels))
    text = jax.jit(up_conv2d).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution") == convolutions


def test_no_convolution_outgrows_what_it_reads_on_cpu():
    # XLA:CPU runs those at half the rate, and folds margins into convolutions if it may.
    x, kernel = jnp.zeros((1, 8, 8, 32)), jnp.zeros((3, 3, 32, 32))
    text = jax.jit(up_conv2d).lower(x, kernel).compile().as_text()
    sizes = {
        name: [int(size) for size in shape.split(",")[1:3]]
        for name, shape in re.findall(r"(%\S+) = f32\[([\d,]+)\]", text)
    }
    found = re.findall(r"(%\S+) = \S+ convolution\((%[^,]+),", text)
    assert len(found) == 4
    for made, read in found:
        assert max(np.subtract(sizes[made], sizes[read])) <= 0


def test_picture_upsampling():
    x = random(2, 3, 4, 3)
    zeros = jnp.zeros((2, 6, 8, 3)).at[:, ::2, ::2].set(x)
    np.testing.assert_allclose(
        jax.jit(upsample_picture)(x), jax.jit(lambda x: blur(x, (2, 1)))(zeros), atol=1e-6
    )


@pytest.mark.parametrize("size", [(1, 1), (4, 3)])
def test_picture_upsampling_gradient_is_its_adjoint(size):
    x = random(2, *size, 3)
    y, pull = jax.vjp(jax.jit(upsample_picture), x)
    dy = random(*y.shape, seed=1)
    (dx,) = pull(dy)
    # It is linear, so that its matrix is its values for the unit images.
    units = jnp.eye(x[0, ..., 0].size).reshape(-1, *size, 1)
    matrix = upsample_picture(units).reshape(len(units), -1)
    wanted = jnp.einsum("io,noc->nic", matrix, dy.reshape(2, -1, 3)).reshape(x.shape)
    np.testing.assert_allclose(dx, wanted, atol=1e-5)


def test_picture_upsampling_keeps_a_flat_picture_flat_inside():
    y = np.asarray(jax.jit(upsample_picture)(jnp.ones((1, 5, 5, 1))))
    np.testing.assert_allclose(y[:, 1:-1, 1:-1], 1.0)
    np.testing.assert_allclose(y[0, 0, 1:-1, 0], 0.75)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("padding", [(1, 0), (2, 1), (3, 3), (0, 0)])
def test_filter_gradient_is_its_adjoint(axis, padding):
    @jax.jit
    def products(x, key):
        def along(x) -> Any:
            return fir(x, axis, padding)

        y, pull = jax.vjp(along, x)
        dy = jax.random.normal(key, y.shape)
        return jnp.vdot(y, dy), jnp.vdot(x, pull(dy)[0])

    forward, backward = products(random(2, 5, 6, 2), jax.random.key(1))
    np.testing.assert_allclose(forward, backward, rtol=1e-4)


def test_interleave():
    a, b = np.arange(6.0).reshape(2, 3), -np.arange(6.0).reshape(2, 3)
    for axis in (0, 1):
        y = np.asarray(interleave(jnp.asarray(a), jnp.asarray(b), axis))
        np.testing.assert_array_equal(y.take([0, 2, 4][: a.shape[axis]], axis), a)
        np.testing.assert_array_equal(y.take([1, 3, 5][: a.shape[axis]], axis), b)
