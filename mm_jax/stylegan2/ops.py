"""The arithmetic of StyleGAN2's layers, on NHWC arrays."""

import math

import jax
import jax.numpy as jnp

from mm_jax.stylegan2.conv import conv2d
from mm_jax.stylegan2.resample import up_conv2d

_EPSILON = 1e-8
_SLOPE = 0.2
_GAIN = math.sqrt(2.0)


def normalize_second_moment(x: jax.Array) -> jax.Array:
    """Scales each row of [N, D] to a mean square of one."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + _EPSILON)


def leaky_relu(x: jax.Array) -> jax.Array:
    """Leaky ReLU of slope 0.2 times sqrt 2, which keeps the variance."""
    return jnp.maximum(x, _SLOPE * x) * _GAIN


def equalized(kernel: jax.Array, *, lr_multiplier: float = 1.0) -> jax.Array:
    """The effective kernel of a stored one: scaled by lr_multiplier / sqrt(fan in).

    Weights are stored with unit variance (over lr_multiplier), so that Adam moves all layers at one
    rate. Fan in is all but the last axis.
    """
    fan_in = math.prod(kernel.shape[:-1])
    return kernel * (lr_multiplier / math.sqrt(fan_in))


def modulated_conv(
    x: jax.Array, kernel: jax.Array, style: jax.Array, *, up: bool, demodulate: bool
) -> jax.Array:
    """Convolution whose input channels are scaled per sample (Karras et al. 2020, section 2.2).

    Instead of a kernel per sample, the activations are scaled before the convolution, by the style,
    and after it, by the demodulation: the same function with one kernel for the whole batch, a
    cheaper gradient, and no grouped convolution.

    Args:
      x: [N, H, W, I].
      kernel: [k, k, I, O], already equalised.
      style: [N, I].
      up: double the size of the picture (3x3 kernels only).
      demodulate: scale each output channel to unit expected variance.

    Returns:
      [N, H, W, O], or [N, 2H, 2W, O] if `up`.
    """
    x = x * style[:, None, None, :]
    x = up_conv2d(x, kernel) if up else conv2d(x, kernel)
    if demodulate:
        energy = jnp.sum(jnp.square(kernel), axis=(0, 1))
        scale = jax.lax.rsqrt(jnp.square(style) @ energy + _EPSILON)
        x = x * scale[:, None, None, :]
    return x


def clamp(x: jax.Array, bound: float | None) -> jax.Array:
    """Clips x to [-bound, bound]; None leaves it alone."""
    return x if bound is None else jnp.clip(x, -bound, bound)
