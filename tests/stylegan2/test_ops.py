"""Layer arithmetic against its definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.stylegan2 import ops
from mm_jax.stylegan2.conv import conv2d
from mm_jax.stylegan2.resample import up_conv2d


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulation_equals_a_kernel_per_sample(up, demodulate):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (3, 4, 4, 5))
    kernel = jax.random.normal(keys[1], (3, 3, 5, 6))
    style = 1.0 + 0.5 * jax.random.normal(keys[2], (3, 5))

    @jax.jit
    def by_definition(x, style):
        modulated = kernel * style[None, None, :, None]
        if demodulate:
            energy = jnp.sum(modulated**2, axis=(0, 1, 2), keepdims=True)
            modulated = modulated / jnp.sqrt(energy + 1e-8)
        return (up_conv2d if up else conv2d)(x[None], modulated)[0]

    wanted = [by_definition(*one) for one in zip(x, style, strict=True)]
    y = jax.jit(lambda x: ops.modulated_conv(x, kernel, style, up=up, demodulate=demodulate))(x)
    np.testing.assert_allclose(y, np.stack(wanted), rtol=1e-4, atol=1e-4)


def test_demodulated_output_ignores_the_style_scale():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 5))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 5, 6))
    style = jnp.ones((2, 5))

    @jax.jit
    def convolve(style):
        return ops.modulated_conv(x, kernel, style, up=False, demodulate=True)

    np.testing.assert_allclose(convolve(style), convolve(3 * style), rtol=1e-4, atol=1e-5)


def test_activation_and_normalisation():
    x = jnp.array([-2.0, 0.0, 3.0])
    np.testing.assert_allclose(ops.leaky_relu(x), np.sqrt(2) * np.array([-0.4, 0, 3]), rtol=1e-6)
    np.testing.assert_array_equal(ops.clamp(x, 1.5), [-1.5, 0.0, 1.5])
    assert ops.clamp(x, None) is x
    z = jax.random.normal(jax.random.key(0), (4, 16)) * jnp.array([[1e-3], [1.0], [5.0], [1e3]])
    np.testing.assert_allclose(jnp.mean(ops.normalize_second_moment(z) ** 2, -1), 1.0, rtol=2e-2)
    assert np.isfinite(ops.normalize_second_moment(jnp.zeros((1, 4)))).all()


def test_equalised_kernels_keep_the_variance():
    kernel = 100 * jax.random.normal(jax.random.key(0), (256, 256))
    x = jax.random.normal(jax.random.key(1), (64, 256))
    y = x @ ops.equalized(kernel, kernel.shape, lr_multiplier=0.01)
    assert 0.9 < float(y.std()) < 1.1


@pytest.mark.parametrize("height", [5, 16])
def test_scaled_channels_and_their_gradients(height):
    random = np.random.default_rng(0)
    x, dy = random.standard_normal((2, 2, height, 3, 4), np.float32)
    scale = random.standard_normal((2, 4), np.float32)
    y, pull = jax.vjp(ops.scale_channels, x, scale)
    np.testing.assert_allclose(y, x * scale[:, None, None, :], rtol=1e-6)
    dx, dscale = pull(jnp.asarray(dy))
    np.testing.assert_allclose(dx, dy * scale[:, None, None, :], rtol=1e-6)
    np.testing.assert_allclose(dscale, np.einsum("nhwc,nhwc->nc", x, dy), rtol=1e-4, atol=1e-5)


def test_leaky_relu_has_its_slopes():
    x = jnp.array([-2.0, -1e-3, 1e-3, 3.0])
    _, tangent = jax.jvp(ops.leaky_relu, (x,), (jnp.ones(4),))
    np.testing.assert_allclose(tangent, np.sqrt(2) * np.array([0.2, 0.2, 1, 1]), rtol=1e-6)


def test_one_row_is_demodulated_as_several_are():
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 4, 4, 3), np.float32)
    kernel = random.standard_normal((3, 3, 3, 5), np.float32)
    style = random.standard_normal((2, 3), np.float32)
    conv = functools.partial(ops.modulated_conv, kernel=kernel, up=False, demodulate=True)
    both = conv(x, style=style)
    alone = [conv(x[i : i + 1], style=style[i : i + 1])[0] for i in range(2)]
    np.testing.assert_allclose(both, np.stack(alone), rtol=1e-4, atol=1e-5)
