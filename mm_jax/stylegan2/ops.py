"""The arithmetic of StyleGAN2's layers, on NHWC arrays."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mm_jax.stylegan2.conv import conv2d
from mm_jax.stylegan2.resample import up_conv2d

_EPSILON = 1e-8
_SLOPE = 0.2
_GAIN = math.sqrt(2.0)
_PARTS = 8


def normalize_second_moment(x: jax.Array) -> jax.Array:
    """Scales each row of [N, D] to a mean square of one."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + _EPSILON)


@jax.custom_jvp
def leaky_relu(x: jax.Array) -> jax.Array:
    """Leaky ReLU of slope 0.2 times sqrt 2, which keeps the variance."""
    return jnp.maximum(x, _SLOPE * x) * _GAIN


@leaky_relu.defjvp
def _leaky_relu_jvp(primals, tangents):
    # The slope is read off the result, which the next layer keeps anyway.
    (x,), (dx,) = primals, tangents
    y = leaky_relu(x)
    return y, dx * jnp.where(y < 0, _SLOPE * _GAIN, _GAIN)


@jax.custom_vjp
def scale_channels(x: jax.Array, scale: jax.Array) -> jax.Array:
    """X [N, H, W, C] times scale [N, C]; its gradient is quick on CPU."""
    return x * scale[:, None, None, :]


def _scale_channels_fwd(x, scale):
    return scale_channels(x, scale), (x, scale)


def _scale_channels_bwd(residuals, dy):
    x, scale = residuals
    return scale_channels(dy, scale), _sum_of_products(x, dy)


scale_channels.defvjp(_scale_channels_fwd, _scale_channels_bwd)


def _sum_of_products(x: jax.Array, y: jax.Array) -> jax.Array:
    """Two [N, H, W, C] to [N, C], the sums of their products over pixels."""

    def plain(x, y):
        return jnp.sum(x * y, axis=(1, 2))

    def in_parts(x, y):
        # XLA:CPU sums over leading axes value by value, but adds arrays by vectors: so most is
        # done by adding parts of the image (a sixth of the time at 1024 px).
        pairs = zip(*(jnp.split(z, _PARTS, axis=1) for z in (x, y)), strict=True)
        sums = functools.reduce(jnp.add, (a * b for a, b in pairs))
        return jnp.sum(jax.lax.optimization_barrier(sums), axis=(1, 2))

    if x.shape[1] % _PARTS:
        return plain(x, y)
    return jax.lax.platform_dependent(x, y, cpu=in_parts, default=plain)


def equalized(
    x: jax.Array, kernel_shape: Sequence[int], *, lr_multiplier: float = 1.0
) -> jax.Array:
    """A stored kernel, or what it is applied to, scaled by lr_multiplier / sqrt(fan in).

    Weights are stored with unit variance (over lr_multiplier), so that Adam moves all layers at one
    rate. Fan in is all but the last axis of the kernel's shape.
    """
    return x * (lr_multiplier / math.sqrt(math.prod(kernel_shape[:-1])))


def modulated_conv(
    x: jax.Array,
    kernel: jax.Array,
    style: jax.Array,
    *,
    up: bool,
    demodulate: bool,
    precision: str = "float32",
) -> jax.Array:
    """Convolution whose input channels are scaled per sample (Karras et al. 2020, section 2.2).

    Instead of a kernel per sample, the activations are scaled before the convolution, by the style,
    and after it, by the demodulation: the same function with one kernel for the whole batch, a
    cheaper gradient, and no grouped convolution.

    Args:
        x: [N, H, W, I].
        kernel: [k, k, I, O], as it is stored.
        style: [N, I], in which the kernel's equalisation is.
        up: double the size of the image (3x3 kernels only).
        demodulate: scale each output channel to unit expected variance.
        precision: of the convolution's products where the size is kept, see `conv2d`.

    Returns:
        [N, H, W, O], or [N, 2H, 2W, O] if `up`.
    """
    x = scale_channels(x, style)
    x = up_conv2d(x, kernel) if up else conv2d(x, kernel, precision=precision)
    if demodulate:
        # Tap by tap: a sum over leading axes is slow on CPU.
        taps = jnp.square(kernel).reshape(-1, *kernel.shape[2:])
        energy = functools.reduce(jnp.add, list(taps))
        square = jnp.square(style)
        # XLA:CPU is slow at the matmul of one row with a matrix that is not an argument.
        variance = (
            jnp.sum(square[0, :, None] * energy, 0)[None] if len(square) == 1 else square @ energy
        )
        x = scale_channels(x, jax.lax.rsqrt(variance + _EPSILON))
    return x


def clamp(x: jax.Array, bound: float | None) -> jax.Array:
    """Clip x to [-bound, bound]; None leaves it unchanged."""
    return x if bound is None else jnp.clip(x, -bound, bound)
