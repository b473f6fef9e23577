"""The convolution against XLA's own, in value, gradients of both kinds, and inside loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mm_jax.stylegan2.conv import conv2d


def plain(x, kernel, padding):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def arrays(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(
    ("taps", "padding", "size"),
    [
        ((3, 3), None, (5, 6)),
        ((1, 1), None, (4, 4)),
        ((2, 1), ((1, 1), (0, 0)), (5, 6)),
        ((2, 2), ((1, 1), (1, 1)), (4, 3)),
        ((3, 3), ((0, 0), (0, 2)), (5, 6)),
        ((3, 3), None, (65, 130)),  # more than one tile of the weight gradient, with a remainder
    ],
)
def test_value_and_gradients(taps, padding, size):
    x, kernel = arrays((2, *size, 3), (*taps, 3, 4))
    same = padding or tuple(((k - 1) // 2, k // 2) for k in taps)
    y, pull = jax.vjp(lambda x, k: conv2d(x, k, padding=padding), x, kernel)
    y_plain, pull_plain = jax.vjp(lambda x, k: plain(x, k, same), x, kernel)
    np.testing.assert_allclose(y, y_plain, atol=1e-4)
    (dy,) = arrays(y.shape)
    for ours, theirs in zip(pull(dy), pull_plain(dy), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_gradients_inside_a_loop_and_under_vmap():
    x, kernel = arrays((3, 2, 4, 4, 2), (3, 3, 2, 2))

    def loss(convolve, x, kernel):
        def step(y, _):
            return jnp.tanh(convolve(y, kernel)), None

        return jnp.sum(jax.lax.scan(step, x, None, length=2)[0] ** 2)

    def gradients(convolve):
        gradient = jax.grad(loss, argnums=(1, 2))
        return jax.jit(jax.vmap(lambda x: gradient(convolve, x, kernel)))(x)

    ours = gradients(conv2d)
    theirs = gradients(lambda x, k: plain(x, k, "SAME"))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_second_order():
    x, kernel = arrays((1, 4, 4, 2), (3, 3, 2, 2))

    def penalty(convolve, x):
        return jnp.sum(jax.grad(lambda x: jnp.sum(convolve(x, kernel) ** 3))(x) ** 2)

    ours = jax.grad(lambda x: penalty(conv2d, x))(x)
    theirs = jax.grad(lambda x: penalty(lambda x, k: plain(x, k, "SAME"), x))(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
