"""Doubling the size of feature maps and images with StyleGAN2's [1, 3, 3, 1] filter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.stylegan2.conv import conv2d

# The binomial filter with gain 2 per axis, which makes up for the zeros that upsampling inserts.
TAPS = (0.25, 0.75, 0.75, 0.25)

_ROWS, _COLUMNS = 1, 2


def _shift_and_add(x, axis: int, padding: tuple[int, int]):
    pads = [(0, 0)] * x.ndim
    pads[axis] = padding
    size = x.shape[axis] + sum(padding) - len(TAPS) + 1
    x = jnp.pad(x, pads)
    parts = (
        jnp.asarray(tap, x.dtype) * jax.lax.slice_in_dim(x, t, t + size, axis=axis)
        for t, tap in enumerate(TAPS)
    )
    return functools.reduce(jnp.add, parts)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def fir(x: jax.Array, axis: int, padding: tuple[int, int]) -> jax.Array:
    """Filters one axis of x with `TAPS` after zero padding.

    A depthwise convolution would do the same many times slower on CPU. The filter is symmetric, so
    its adjoint is the filter itself with the complementary padding.
    """
    return _shift_and_add(x, axis, padding)


def _fir_fwd(x, axis, padding):
    return fir(x, axis, padding), None


def _fir_bwd(axis, padding, _, dy):
    lo, hi = padding
    return (fir(dy, axis, (len(TAPS) - 1 - lo, len(TAPS) - 1 - hi)),)


fir.defvjp(_fir_fwd, _fir_bwd)


def interleave(even: jax.Array, odd: jax.Array, axis: int) -> jax.Array:
    """even[0], odd[0], even[1], odd[1], .. along `axis`, for two arrays of one shape."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)


@jax.custom_vjp
def upsample_picture(x: jax.Array) -> jax.Array:
    """Doubles an image [N, H, W, C] -> [N, 2H, 2W, C]; new pixels mix two, 3 : 1, per axis."""
    _, height, width, _ = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def both(x: jax.Array, axis: int, size: int) -> tuple[jax.Array, jax.Array]:
        before, own, after = (
            jax.lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(len(TAPS) - 1)
        )
        return TAPS[0] * before + TAPS[1] * own, TAPS[2] * own + TAPS[3] * after

    even, odd = (
        interleave(*both(part, _COLUMNS, width), _COLUMNS) for part in both(x, _ROWS, height)
    )
    return interleave(even, odd, _ROWS)


def _upsample_picture_fwd(x):
    return upsample_picture(x), None


def _upsample_picture_bwd(_, dy):
    # Autodiff would write a sum of many padded images.
    _, height, width, _ = dy.shape
    dy = jnp.pad(dy, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for axis, size in ((_ROWS, height), (_COLUMNS, width)):
        parts = (
            tap * jax.lax.slice_in_dim(dy, t, t + size - 1, stride=2, axis=axis)
            for t, tap in enumerate(TAPS)
        )
        dy = functools.reduce(jnp.add, parts)
    return (dy,)


upsample_picture.defvjp(_upsample_picture_fwd, _upsample_picture_bwd)


def _filtered(even: jax.Array, odd: jax.Array, axis: int, size: int) -> tuple[jax.Array, jax.Array]:
    """Even and odd places of one axis after the filter, which is told apart by parity too.

    Interleaving last writes each result once; filtering what is interleaved reads and writes the
    large array three times more.

    Args:
        even: of length ``size + 1`` along ``axis``.
        odd: of length ``size + 2``, between zeros at both ends.
        axis: that is filtered.
        size: of both results.
    """
    before, own, after = (jax.lax.slice_in_dim(odd, i, i + size, axis=axis) for i in range(3))
    this, following = (jax.lax.slice_in_dim(even, i, i + size, axis=axis) for i in range(2))
    first, second, third, fourth = TAPS
    return (
        first * before + second * this + third * own + fourth * following,
        first * this + second * own + third * following + fourth * after,
    )


def _with_margin(x: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _written_with_margin(x: jax.Array) -> jax.Array:
    # XLA:CPU would fold the margin into the convolutions again, and gives a convolution to YNNPACK
    # only if its result is no larger than what it reads: the others are up to half as quick.
    return jax.lax.optimization_barrier(_with_margin(x))


def in_phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`up_conv2d`, decomposed by the parity of the output pixel.

    Even rows see the kernel's outer two rows, odd rows its middle one, and columns likewise: four
    small dense convolutions with nine taps in all, none of which touches an inserted zero.
    """
    _, height, width, _ = x.shape
    outer, middle = slice(None, None, -2), slice(1, 2)
    # One pixel of padding gives even phases their last one, and odd ones their zeros.
    x = jax.lax.platform_dependent(x, cpu=_written_with_margin, default=_with_margin)

    def rows(columns: slice) -> tuple[jax.Array, jax.Array]:
        even, odd = (
            conv2d(x, kernel[taps, columns], padding=((0, 0), (0, 0))) for taps in (outer, middle)
        )
        return _filtered(even, odd, _ROWS, height)

    even, odd = (
        interleave(*_filtered(*columns, _COLUMNS, width), _COLUMNS)
        for columns in zip(rows(outer), rows(middle), strict=True)
    )
    return interleave(even, odd, _ROWS)


def _taps_with_filter() -> np.ndarray:
    """[2, 3, 3]: for both parities, the part of kernel tap [s] in tap [d] of kernel and filter."""
    parts = np.zeros((2, 3, 3), np.float32)
    for parity in range(2):
        for t, tap in enumerate(TAPS):
            for s in range(3):
                pixel, inserted = divmod(parity - 1 + t - s, 2)
                if not inserted:
                    parts[parity, pixel + 1, s] += tap
    return parts


def folded(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`up_conv2d` as one 3x3 convolution to four times as many channels, one for each parity.

    Four times the multiplications, but no filter and nothing between.
    """
    parts = jnp.asarray(_taps_with_filter(), kernel.dtype)
    whole = jnp.einsum("ads,bet,stio->deiabo", parts, parts, kernel)
    y = conv2d(x, whole.reshape(3, 3, kernel.shape[2], -1))
    n, height, width, _ = y.shape
    y = y.reshape(n, height, width, 2, 2, -1).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, 2 * height, 2 * width, -1)


# The widest output for which `folded` is quicker than `in_phases`. On CPU it is for none, which was
# measured; on these it is derived (benchmarks/README.md), and nothing was measured yet.
_FOLDED_UP_TO = {"cuda": 32, "rocm": 32, "tpu": 64}


def _quickest(x, kernel):
    # Each form that is named here is traced, whatever the platform.
    width = kernel.shape[-1]
    forms = {platform: folded for platform, widest in _FOLDED_UP_TO.items() if width <= widest}
    if not forms:
        return in_phases(x, kernel)
    return jax.lax.platform_dependent(x, kernel, default=in_phases, **forms)


@jax.custom_vjp
def up_conv2d(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed 3x3 convolution of stride 2, then the FIR filter: [N, H, W, I] -> [N, 2H, 2W, O].

    Args:
        x: [N, H, W, I].
        kernel: [3, 3, I, O], in the orientation of an ordinary (not flipped) upstream weight: input
            pixel i adds kernel tap t to pixel 2i + t of the unfiltered output.
    """
    return _quickest(x, kernel)


def _up_conv2d_fwd(x, kernel):
    return _quickest(x, kernel), (x, kernel)


def _up_conv2d_bwd(residuals, dy):
    x, kernel = residuals

    def strided(dy, kernel):
        # What this is the transpose of: the filter, and a convolution of stride 2, in one piece.
        far = (2, 3)  # what (1, 0) leaves of the filter's reach, and a last pixel that no tap gave
        y: jax.Array = fir(fir(dy, _COLUMNS, far), _ROWS, far)
        dx = conv2d(y, jnp.swapaxes(kernel, 2, 3), stride=2, padding=((0, 0), (0, 0)))
        return dx[:, : x.shape[1], : x.shape[2]]

    def of_its_form(dy, kernel):
        return jax.vjp(lambda x: _quickest(x, kernel), x)[1](dy)[0]

    dx = jax.lax.platform_dependent(dy, kernel, cpu=strided, default=of_its_form)
    # <up(x, k), dy> = <x, strided(dy, k)>, whose gradient in k needs no sum of padded phases.
    return dx, jax.vjp(lambda kernel: strided(dy, kernel), kernel)[1](x)[0]


up_conv2d.defvjp(_up_conv2d_fwd, _up_conv2d_bwd)
