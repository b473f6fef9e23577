"""Convolution with gradients that stay quick under XLA on CPU.

XLA:CPU runs an ordinary NHWC convolution near the matmul rate, but falls to a naive kernel for the
gradients that autodiff writes, above all inside loops. So both gradients are spelled out here: that
in x as an ordinary convolution, that in the kernel as one matmul over all pixels.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from mm_jax.stylegan2 import winograd

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# So many pixels are in work at once in a kernel's gradient: their copies take memory.
_PIXELS = 1 << 18
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


def _kernel_gradient(x, dy, kernel, padding: Padding, stride: int = 1):
    """The adjoint in the kernel: x correlated with dy over all pixels of the batch."""

    def as_products(x, dy):
        return _summed_products(x, dy, kernel.shape[:2], padding, stride)

    def as_autodiff_writes_it(x, dy):
        # The pattern that accelerators' compilers turn into their own weight-gradient kernels.
        return jax.linear_transpose(lambda k: direct(x, k, padding, stride), kernel)(dy)[0]

    return lax.platform_dependent(x, dy, cpu=as_products, default=as_autodiff_writes_it)


def _summed_products(x, dy, taps: tuple[int, int], padding: Padding, stride: int):
    """The kernel's gradient as one matmul over the pixels of the batch.

    The taps of a column are copies of x that are shifted by rows, those of a row copies of dy that
    are shifted by columns, so that 3 I by 3 O sums hold all nine. With a stride all nine are copies
    of x. As a convolution whose kernel is dy it took XLA:CPU 1.3 to 7 times as long.
    """
    (kh, kw), (rows, columns) = taps, padding
    n, height, width, _ = dy.shape
    if stride == 1:
        # x [N, H' + kh - 1, W, I] and dy [N, H', W + kw - 1, O].
        x = _padded(x, rows, (0, 0))
        dy = _padded(dy, (0, 0), (kw - 1 - columns[0], kw - 1 - columns[1]))
        width = x.shape[2]
    else:
        x = _padded(x, rows, columns)
    strip = height
    while n * strip * width > _PIXELS and strip % 2 == 0:
        strip //= 2

    def taken(x, row: int, column: int):
        """Every ``stride``-th pixel from one on."""
        last = row + stride * (strip - 1) + 1, column + stride * (width - 1) + 1
        return x[:, row : last[0] : stride, column : last[1] : stride]

    def of_strip(first):
        reach = stride * (strip - 1) + kh
        xs = lax.dynamic_slice_in_dim(x, stride * first, reach, axis=1)
        ys = lax.dynamic_slice_in_dim(dy, first, strip, axis=1)
        if stride == 1:
            xs = [taken(xs, i, 0) for i in range(kh)]
            ys = [taken(ys, 0, kw - 1 - j) for j in range(kw)]
        else:
            xs = [taken(xs, i, j) for i in range(kh) for j in range(kw)]
            ys = [ys]
        # [N, strip, W, kh I] and [N, strip, W, kw O], or [N, strip, W', kh kw I] and [.., O].
        xs, ys = lax.optimization_barrier([jnp.concatenate(parts, axis=-1) for parts in (xs, ys)])
        # Two halves of the pixels: one for each core at least, however few sums there are.
        halves = 2 if (n * strip * width) % 2 == 0 else 1
        xs, ys = (z.reshape(halves, -1, z.shape[-1]) for z in (xs, ys))
        return jnp.einsum("tpi,tpo->tio", xs, ys).sum(axis=0)

    if strip == height:
        sums = of_strip(0)
    else:
        nothing = jnp.zeros(jax.eval_shape(of_strip, 0).shape, x.dtype)
        firsts = jnp.arange(0, height, strip)
        sums, _ = lax.scan(lambda sums, first: (sums + of_strip(first), None), nothing, firsts)
    if stride == 1:
        return sums.reshape(kh, x.shape[3], kw, dy.shape[3]).transpose(0, 2, 1, 3)
    return sums.reshape(kh, kw, x.shape[3], dy.shape[3])


def _padded(x, rows: tuple[int, int], columns: tuple[int, int]):
    """X [N, H, W, C] with zeros about it, or with rows and columns taken away where negative."""
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)))


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
    return dx, _kernel_gradient(x, dy, kernel, padding, stride)


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
