"""Convolution with gradients that stay quick under XLA on CPU.

XLA:CPU runs an ordinary NHWC convolution near the matmul rate, but falls to a naive kernel for the
gradients that autodiff writes, above all inside loops. So both gradients are spelled out here as
ordinary convolutions. (Weight gradients as one matmul per tap, the other known remedy, took two to
five times as long as this at 16 to 64 channels.)
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from mm_jax.stylegan2 import winograd

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_TILE = 64
_FEW = 4

Padding = tuple[tuple[int, int], tuple[int, int]]


def direct(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int = 1) -> jax.Array:
    """XLA's own convolution in its plain form, with the gradients that autodiff writes."""
    strides = (stride, stride)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_DIMENSIONS)


def _quickest(x, kernel, padding: Padding, precision: str):
    plain = functools.partial(direct, padding=padding)
    if padding == ((1, 1), (1, 1)) and winograd.pays(x.shape, kernel.shape, precision):
        by_winograd = functools.partial(winograd.convolve, precision=precision)
        return lax.platform_dependent(x, kernel, cpu=by_winograd, default=plain)
    return plain(x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x, kernel, padding: Padding, precision: str):
    return _quickest(x, kernel, padding, precision)


def _conv_fwd(x, kernel, padding, precision):
    return _quickest(x, kernel, padding, precision), (x, kernel)


def _conv_bwd(padding, precision, residuals, dy):
    x, kernel = residuals
    dx = _input_gradient(dy, kernel, padding, precision)
    return dx, _kernel_gradient(x, dy, kernel, padding)


def _input_gradient(dy, kernel, padding: Padding, precision: str):
    """The adjoint in x: a convolution with the kernel flipped and its channels exchanged."""
    taps = kernel.shape[:2]
    mirrored = tuple((k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(taps, padding, strict=True))
    return _conv(dy, jnp.swapaxes(kernel[::-1, ::-1], 2, 3), mirrored, precision)


def _kernel_gradient(x, dy, kernel, padding: Padding):
    """The adjoint in the kernel: x correlated with dy over all pixels of the batch."""

    def as_plain_convolution(x, dy):
        # Channels take the place of the batch and the batch that of the channels; written with
        # transposes rather than dimension numbers so that it is quick inside loops too.
        x, dy = _tiles(x, dy, kernel.shape[:2], padding)
        taps = direct(x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3), ((0, 0), (0, 0)))
        return taps.transpose(1, 2, 0, 3)

    def as_autodiff_writes_it(x, dy):
        # The pattern that accelerators' compilers turn into their own weight-gradient kernels.
        return jax.linear_transpose(lambda k: direct(x, k, padding), kernel)(dy)[0]

    return lax.platform_dependent(x, dy, cpu=as_plain_convolution, default=as_autodiff_writes_it)


def _tiles(x, dy, taps: tuple[int, int], padding: Padding):
    """X padded, and both cut into tiles along the batch: x's overlap by the reach of the kernel.

    The gradient's convolution takes dy as its kernel, and XLA:CPU is several times slower with
    kernels of more than 64 x 64 taps (measured at 128 x 128 pixels, 24 channels).
    """
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    if max(dy.shape[1:3]) <= _TILE:
        return x, dy
    # As few tiles as fit, of equal size; zeros fill up the last ones and add nothing.
    counts = [-(-size // _TILE) for size in dy.shape[1:3]]
    tile_h, tile_w = (-(-size // n) for size, n in zip(dy.shape[1:3], counts, strict=True))
    fill = [(0, tile_h * counts[0] - dy.shape[1]), (0, tile_w * counts[1] - dy.shape[2])]
    x, dy = (jnp.pad(y, ((0, 0), *fill, (0, 0))) for y in (x, dy))
    reach_h, reach_w = tile_h + taps[0] - 1, tile_w + taps[1] - 1
    corners = [(tile_h * i, tile_w * j) for i in range(counts[0]) for j in range(counts[1])]
    x = jnp.concatenate([x[:, r : r + reach_h, c : c + reach_w] for r, c in corners])
    dy = jnp.concatenate([dy[:, r : r + tile_h, c : c + tile_w] for r, c in corners])
    return x, dy


_conv.defvjp(_conv_fwd, _conv_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _strided(x, kernel, padding: Padding, stride: int):
    return direct(x, kernel, padding, stride)


def _strided_fwd(x, kernel, padding, stride):
    return direct(x, kernel, padding, stride), (x, kernel)


def _strided_bwd(padding, stride, residuals, dy):
    x, kernel = residuals
    # As in _input_gradient, with zeros put between the pixels of dy; the far side is filled up to
    # the size of x, whose last pixels no window may have reached.
    mirrored = []
    for size, windows, k, (lo, _) in zip(
        x.shape[1:3], dy.shape[1:3], kernel.shape[:2], padding, strict=True
    ):
        mirrored.append((k - 1 - lo, size - 1 + lo - stride * (windows - 1)))
    dx = lax.conv_general_dilated(
        dy,
        jnp.swapaxes(kernel[::-1, ::-1], 2, 3),
        (1, 1),
        mirrored,
        lhs_dilation=(stride, stride),
        dimension_numbers=_DIMENSIONS,
    )
    dkernel = jax.linear_transpose(lambda k: direct(x, k, padding, stride), kernel)(dy)[0]
    return dx, dkernel


_strided.defvjp(_strided_fwd, _strided_bwd)


@jax.custom_vjp
def _pointwise(x, kernel):
    return jnp.einsum("nhwi,io->nhwo", x, kernel)


def _pointwise_fwd(x, kernel):
    return _pointwise(x, kernel), (x, kernel)


def _pointwise_bwd(residuals, dy):
    x, kernel = residuals
    if kernel.shape[1] > _FEW:
        dx = _pointwise(dy, kernel.T)
    else:
        # A matmul over the three colours of an image is slower than sums that fuse with the rest.
        each = (
            dy[..., i : i + 1] * column for i, column in enumerate(kernel.T[:, None, None, None])
        )
        dx = functools.reduce(jnp.add, each)
    return dx, jnp.einsum("nhwi,nhwo->io", x, dy)


_pointwise.defvjp(_pointwise_fwd, _pointwise_bwd)


def conv2d(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: Padding | None = None,
    precision: str = "float32",
) -> jax.Array:
    """Cross-correlation.

    Args:
        x: [N, H, W, I].
        kernel: [kh, kw, I, O].
        stride: from one window to the next, for rows and columns alike.
        padding: zeros before and after, for rows and for columns, at most one less than the kernel;
            by default as much as keeps the size of the image for odd kernels of stride 1.
        precision: of the products where they are Winograd's, in both directions: float32, or
            bfloat16 with sums in float32.

    Returns:
        [N, H', W', O] with H' = (H + padding - kh) // stride + 1. Differentiable in reverse mode,
        to any order.
    """
    kh, kw = kernel.shape[:2]
    if kh == kw == 1 and padding is None:
        return _pointwise(x[:, ::stride, ::stride], kernel[0, 0])
    if padding is None:
        padding = (((kh - 1) // 2, kh // 2), ((kw - 1) // 2, kw // 2))
    if stride == 1:
        return _conv(x, kernel, padding, precision)
    return _strided(x, kernel, padding, stride)
