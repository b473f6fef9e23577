"""3x3 convolution by Winograd's minimal filtering, with a quarter of the multiplications.

F(4x4, 3x3) of Lavin and Gray (arXiv 1509.09308): a tile of 6 x 6 pixels and the kernel are taken to
36 values each, multiplied there (36 matmuls over channels), and brought back to 4 x 4 pixels. A
direct convolution needs 144 multiplications for the same.

The transforms evaluate polynomials at 0, +-P, +-1/P and infinity. With P = 2/3 rounding errors are
less than half of those at the customary 0, +-1, +-2: 1.4e-6 of the result's standard deviation on
average, measured with 256 channels in float32.

The products may be of bfloat16, with sums in float32; the transforms are float32 in any case.

Shapes: N images, H W pixels, I O channels, t tiles, p the 36 points.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["convolve", "pays"]

_P = 2 / 3
_Q = 1 / _P
_P2, _Q2 = _P * _P, _Q * _Q
_TILE, _REACH = 4, 6

# So many rows of tiles are in work at once, of one image or shared by several, so that what is
# between the transforms stays in cache. In bfloat16 half as many where rows are long.
_STRIP, _LONG = 8, 128

# By precision, the fewest channels and pixels for which it is quicker than a direct convolution in
# float32: with fewer channels the transforms cost more than is saved, with fewer pixels that of the
# kernel does.
_FROM = {"float32": (64, 32 * 32), "bfloat16": (24, 16 * 16)}


def pays(x: Sequence[int], kernel: Sequence[int], precision: str = "float32") -> bool:
    """Whether a convolution of these shapes is quicker so on CPU; benchmarks/README.md has figures.

    Args:
        x: [N, H, W, I].
        kernel: [kh, kw, I, O]; padding is taken to keep the size.
        precision: of the products.
    """
    _, height, width, fan_in = x
    kh, kw, _, fan_out = kernel
    if (kh, kw) != (3, 3) or height % _TILE or width % _TILE:
        return False
    channels, pixels = _FROM[precision]
    return min(fan_in, fan_out) >= channels and height * width >= pixels


def convolve(x: jax.Array, kernel: jax.Array, precision: str = "float32") -> jax.Array:
    """Cross-correlation that keeps the size: [N, H, W, I], [3, 3, I, O] -> [N, H, W, O].

    Args:
        x: [N, H, W, I] float32; H and W are multiples of four.
        kernel: [3, 3, I, O] float32.
        precision: of the products, float32 or bfloat16; sums and the result are float32.
    """
    n, height, width, _ = x.shape
    strip = _STRIP // 2 if precision == "bfloat16" and width >= _LONG else _STRIP
    rows = _TILE * max(strip // n, 1)
    while height % rows:
        rows -= _TILE
    x = jnp.pad(x, ((0, 0), (1, _TILE - 1), (1, _TILE - 1), (0, 0)))
    points = _kernel_to_points(kernel)
    if precision == "bfloat16":
        points = points.astype(jnp.bfloat16)
    if rows == height:
        return _strip(x, points)

    def step(_: None, first: jax.Array) -> tuple[None, jax.Array]:
        part = lax.dynamic_slice_in_dim(x, first, rows + _TILE, axis=1)
        return None, _strip(part, points)

    _, y = lax.scan(step, None, jnp.arange(0, height, rows))
    return jnp.moveaxis(y, 0, 1).reshape(n, height, width, -1)


def _strip(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[N, H + 4, W + 4, I] with a margin of one and three, [p, I, O] -> [N, H, W, O].

    The products are of the kernel's type, their sums of that of x.
    """
    n, height, width, _ = x.shape
    sums = x.dtype
    down, across = height // _TILE - 1, width // _TILE - 1

    def offsets(x: jax.Array, axis: int, count: int) -> list[jax.Array]:
        """The six pixels of each tile along an axis that was parted into tiles of four."""
        found = []
        for i in range(_REACH):
            after, offset = divmod(i, _TILE)
            tiles = lax.slice_in_dim(x, after, after + count, axis=axis)
            found.append(lax.index_in_dim(tiles, offset, axis + 1, keepdims=False))
        return found

    # What goes over to the next stage is an array of its own (hence the barriers): XLA would
    # otherwise compute each of its values once for every use.
    tiles = x.reshape(n, down + 1, _TILE, width, -1)
    x = lax.optimization_barrier(jnp.stack(_to_points(offsets(tiles, 1, down))))
    tiles = x.reshape(_REACH, n, down, across + 1, _TILE, -1)
    x = jnp.stack(_to_points(offsets(tiles, 3, across)), axis=1)
    x = x.reshape(_REACH**2, n * down * across, -1).astype(kernel.dtype)
    x = lax.optimization_barrier(x)
    y = jnp.einsum("pti,pio->pto", x, kernel, preferred_element_type=sums)
    y = y.reshape(_REACH, _REACH, n, down, across, -1)
    y = lax.optimization_barrier(jnp.stack(_from_points(list(y))))
    y = jnp.stack(_from_points([y[:, i] for i in range(_REACH)]))
    return y.transpose(2, 3, 1, 4, 0, 5).reshape(n, down * _TILE, across * _TILE, -1)


def _to_points(d: list[jax.Array]) -> list[jax.Array]:
    """Six pixels to six points (B^T d)."""
    p_even, p_odd = d[4] - _Q2 * d[2], _P * (d[3] - _Q2 * d[1])
    q_even, q_odd = d[4] - _P2 * d[2], _Q * (d[3] - _P2 * d[1])
    return [
        d[0] - (_P2 + _Q2) * d[2] + d[4],
        p_even + p_odd,
        p_even - p_odd,
        q_even + q_odd,
        q_even - q_odd,
        d[1] - (_P2 + _Q2) * d[3] + d[5],
    ]


def _from_points(m: list[jax.Array]) -> list[jax.Array]:
    """Six points to four pixels (A^T m)."""
    p_sum, p_difference, q_sum, q_difference = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return [
        m[0] + p_sum + q_sum,
        _P * p_difference + _Q * q_difference,
        _P2 * p_sum + _Q2 * q_sum,
        _P**3 * p_difference + _Q**3 * q_difference + m[5],
    ]


def _points_of_taps() -> np.ndarray:
    """[6, 3]: three taps to six points (G)."""
    p, q = 1 / (2 * _P2 * (_P2 - _Q2)), 1 / (2 * _Q2 * (_Q2 - _P2))
    rows = [[s * a**i for i in range(3)] for s, a in ((p, _P), (p, -_P), (q, _Q), (q, -_Q))]
    return np.array([[1, 0, 0], *rows, [0, 0, 1]])


def _kernel_to_points(kernel: jax.Array) -> jax.Array:
    """[3, 3, I, O] -> [p, I, O]."""
    g = _points_of_taps()
    both = jnp.asarray(np.kron(g, g), kernel.dtype)
    points = jnp.dot(both, kernel.reshape(9, -1), precision=lax.Precision.HIGHEST)
    return points.reshape(_REACH**2, *kernel.shape[2:])
