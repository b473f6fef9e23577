"""The convolution against XLA's own, in value, gradients of both kinds, and inside loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mm_jax.stylegan2 import conv
from mm_jax.stylegan2.conv import conv2d


def plain(x, kernel, padding, stride=1):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def arrays(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(
    ("taps", "padding", "size", "stride"),
    [
        ((3, 3), None, (5, 6), 1),
        ((1, 1), None, (4, 4), 1),
        ((2, 1), ((1, 1), (0, 0)), (5, 6), 1),
        ((2, 2), ((1, 1), (1, 1)), (4, 3), 1),
        ((3, 3), ((0, 0), (0, 2)), (5, 6), 1),
        ((3, 3), ((2, 0), (0, 2)), (5, 6), 1),
        ((3, 3), None, (65, 130), 1),
        ((3, 3), None, (5, 6), 2),
        ((1, 1), None, (5, 6), 2),
        ((5, 4), ((2, 1), (0, 2)), (9, 12), 4),
    ],
)
def test_value_and_gradients(taps, padding, size, stride):
    x, kernel = arrays((2, *size, 3), (*taps, 3, 4))
    same = padding or tuple(((k - 1) // 2, k // 2) for k in taps)
    y, pull = jax.vjp(lambda x, k: conv2d(x, k, stride=stride, padding=padding), x, kernel)
    y_plain, pull_plain = jax.vjp(lambda x, k: plain(x, k, same, stride), x, kernel)
    np.testing.assert_allclose(y, y_plain, atol=1e-4)
    (dy,) = arrays(y.shape)
    for ours, theirs in zip(pull(dy), pull_plain(dy), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(("stride", "rows"), [(1, 12), (1, 10), (2, 12), (1, 7)])
def test_kernel_gradient_in_strips(monkeypatch, stride, rows):
    # Of the rows, as far as they can be halved.
    x, kernel = arrays((3, rows, 9, 4), (3, 3, 4, 5))

    def gradient():
        return jax.grad(lambda k: jnp.sum(jnp.sin(conv2d(x, k, stride=stride))))(kernel)

    whole = gradient()
    monkeypatch.setattr(conv, "_PIXELS", 60)
    np.testing.assert_allclose(gradient(), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_inside_a_loop_and_under_vmap(stride):
    x, kernel = arrays((3, 2, 4, 4, 2), (3, 3, 2, 2))

    def loss(convolve, x, kernel):
        def step(y, _):
            z = convolve(y, kernel)
            return jnp.tanh(y + z.repeat(stride, 1).repeat(stride, 2)), None

        return jnp.sum(jax.lax.scan(step, x, None, length=2)[0] ** 2)

    def gradients(convolve):
        gradient = jax.grad(loss, argnums=(1, 2))
        return jax.jit(jax.vmap(lambda x: gradient(convolve, x, kernel)))(x)

    ours = gradients(lambda x, k: conv2d(x, k, stride=stride))
    theirs = gradients(lambda x, k: plain(x, k, ((1, 1), (1, 1)), stride))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_second_order(stride):
    x, kernel = arrays((1, 4, 4, 2), (3, 3, 2, 2))

    def penalty(convolve, x):
        return jnp.sum(jax.grad(lambda x: jnp.sum(convolve(x, kernel) ** 3))(x) ** 2)

    def ours(x, k):
        return conv2d(x, k, stride=stride)

    def theirs(x, k):
        return plain(x, k, ((1, 1), (1, 1)), stride)

    ours, theirs = (jax.grad(penalty, argnums=1)(convolve, x) for convolve in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
