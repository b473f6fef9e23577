"""Winograd's convolution against the direct one in float64, and where it is chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mm_jax.stylegan2 import winograd
from mm_jax.stylegan2.conv import conv2d


def arrays(x, kernel):
    random = np.random.default_rng(0)
    scale = np.float32(np.sqrt(np.prod(kernel[:-1])))
    return random.standard_normal(x, np.float32), random.standard_normal(kernel, np.float32) / scale


def direct(x, kernel):
    """In float64, by shifted matmuls."""
    x = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    _, height, width, _ = x.shape
    return sum(
        x[:, i : height - 2 + i, j : width - 2 + j] @ kernel[i, j].astype(np.float64)
        for i in range(3)
        for j in range(3)
    )


@pytest.mark.parametrize(
    "x",
    [
        (1, 4, 4, 3),
        (2, 8, 12, 5),
        (1, 64, 8, 2),  # two strips of eight rows of tiles
        (1, 44, 4, 2),  # eleven rows of tiles, which eight do not divide
        (3, 24, 8, 4),  # strips that several pictures share
        (9, 8, 4, 2),
    ],
)
def test_is_the_convolution(x):
    x, kernel = arrays(x, (3, 3, x[-1], 7))
    y = np.asarray(winograd.convolve(x, kernel))
    want = direct(x, kernel)
    assert np.abs(y - want).max() < 3e-5 * want.std()


def test_rounding_errors_are_small():
    x, kernel = arrays((1, 16, 16, 256), (3, 3, 256, 64))
    error = np.asarray(winograd.convolve(x, kernel)) - direct(x, kernel)
    assert np.sqrt(np.mean(error**2)) < 2.5e-6


@pytest.mark.parametrize(
    ("x", "kernel", "pays"),
    [
        ((1, 64, 64, 512), (3, 3, 512, 512), True),
        ((4, 512, 512, 64), (3, 3, 64, 64), True),
        ((1, 1024, 1024, 32), (3, 3, 32, 32), False),
        ((1, 32, 32, 512), (3, 3, 512, 512), True),
        ((1, 16, 16, 512), (3, 3, 512, 512), False),
        ((1, 66, 64, 64), (3, 3, 64, 64), False),
        ((1, 64, 64, 64), (1, 1, 64, 64), False),
    ],
)
def test_where_it_pays(x, kernel, pays):
    assert winograd.pays(x, kernel) is pays


def test_conv2d_takes_it_where_it_pays_in_both_directions():
    x, kernel = arrays((1, 64, 64, 64), (3, 3, 64, 64))

    def gradient(x, kernel):
        return jax.vjp(lambda x: conv2d(x, kernel), x)[1](x)[0]

    for function in (conv2d, gradient):
        assert "while" in jax.jit(function).lower(x, kernel).as_text()
    np.testing.assert_allclose(conv2d(x, kernel), direct(x, kernel), atol=3e-5)
    mirrored = kernel[::-1, ::-1].swapaxes(2, 3)
    np.testing.assert_allclose(gradient(x, kernel), direct(x, mirrored), atol=3e-5)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_keep_the_direct_one(platform):
    x, kernel = arrays((1, 64, 64, 64), (3, 3, 64, 64))
    text = jax.jit(conv2d).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert "convolution" in text and "while" not in text


def test_inside_loops_and_under_vmap():
    x, kernel = arrays((2, 1, 64, 64, 64), (3, 3, 64, 64))

    def looped(x):
        return lax.scan(lambda x, _: (conv2d(x, kernel), None), x, None, length=2)[0]

    want = np.stack([direct(direct(one, kernel), kernel) for one in x])
    np.testing.assert_allclose(jax.jit(jax.vmap(looped))(jnp.asarray(x)), want, atol=1e-4)
