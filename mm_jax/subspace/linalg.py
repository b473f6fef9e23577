"""Small dense linear algebra for wide matrices: few latents, each of many numbers.

Shapes: M rows (latents), P columns (numbers of a latent), R = min(M, P).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["left_singular_vectors", "singular_value_threshold", "thin_svd"]

# The most that a step turns one singular vector towards another, in radians.
_FARTHEST = 0.2

_product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def thin_svd(matrix: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Economy SVD, `matrix = (u * s) @ vt`.

    A wide matrix goes through the QR decomposition of its transpose: the SVD itself is then of
    [M, M], which is as accurate and spares accelerators the square [P, P] factor.

    Args:
        matrix: [..., M, P], float.

    Returns:
        u [..., M, R], s [..., R] descending, vt [..., R, P].
    """
    rows, columns = matrix.shape[-2:]
    if columns <= rows:
        u, s, vt = jnp.linalg.svd(matrix, full_matrices=False, compute_uv=True)
        return u, s, vt
    q, r = jnp.linalg.qr(jnp.swapaxes(matrix, -1, -2))
    u, s, wt = jnp.linalg.svd(jnp.swapaxes(r, -1, -2), full_matrices=False)
    return u, s, wt @ jnp.swapaxes(q, -1, -2)


def _orthonormal(rows: jax.Array) -> jax.Array:
    """The orthogonal matrix next to one [M, M] that is nearly so: a step of Newton's method."""
    unit = jnp.eye(len(rows), dtype=rows.dtype)
    return _product(1.5 * unit - 0.5 * _product(rows, rows.T), rows)


def left_singular_vectors(matrix: jax.Array, near: jax.Array) -> jax.Array:
    """Left singular vectors of a matrix [M, P], M <= P, as rows: Qᵀ [M, M].

    They are found from the Gram matrix of `near M`. A Gram matrix squares the singular values, so
    that in float32 the vectors of those below about 3e-3 of the largest are vague. Where `near` is
    orthogonal and close to Qᵀ already, rows of the product are nearly orthogonal, and each vector
    is as good as its own row's rounding.
    """
    turned = _product(near, matrix)
    turn = jnp.linalg.eigh(_product(turned, turned.T))[1]
    return _orthonormal(_product(_kept_apart(turn.T), near))


def singular_value_threshold(
    matrix: jax.Array, tau: jax.Array, near: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The proximal map of the nuclear norm: every singular value is lowered by `tau`, at most to 0.

    With the left singular vectors Q and the singular values s, `Q diag(max(1 - tau/s, 0)) Qᵀ M`.
    Q is not looked for anew: a step of Newton's method goes there from vectors that are near,
    `(1 - K) near` with `K_ij = G_ij / (G_jj - G_ii)` of the Gram matrix G of `near M`. In a
    fixed-point iteration, where the vectors of one step are near those of the next, it arrives
    together with it, in a third of the time of an eigenproblem in each step, and more exactly in
    float32. Pairs of vectors that it would turn by more than `_FARTHEST` are left as they are, and
    so are those that are not kept; all are turned less where that is too much to stay orthogonal.

    Args:
        matrix: [M, P] with M <= P, float.
        tau: scalar > 0.
        near: [M, M] orthogonal, as of `left_singular_vectors`, or of a matrix close to this one.

    Returns:
        The thresholded matrix [M, P], its nuclear norm, and Qᵀ [M, M].
    """
    turned = _product(near, matrix)
    gram = _product(turned, turned.T)
    energies = jnp.diagonal(gram)
    apart = energies[None, :] - energies[:, None]
    kept = energies > tau**2
    # What is less than this fraction of both lengths is rounding.
    rounding = 4.0 * jnp.finfo(gram.dtype).eps * jnp.sqrt(energies[None, :] * energies[:, None])
    turned_by = (
        (jnp.abs(gram) < _FARTHEST * jnp.abs(apart))
        & (jnp.abs(gram) > rounding)
        & (kept[None, :] | kept[:, None])
    )
    turn = jnp.where(turned_by, gram / jnp.where(turned_by, apart, 1.0), 0.0)
    turn = turn / jnp.maximum(1.0, jnp.linalg.norm(turn) / _FARTHEST)
    turn = _orthonormal(_orthonormal(jnp.eye(len(turn), dtype=turn.dtype) - turn))
    singular = jnp.sqrt(jnp.maximum((turn * _product(turn, gram)).sum(axis=1), 0.0))
    lowered = jnp.maximum(singular - tau, 0.0)
    factor = lowered / jnp.where(lowered > 0, singular, 1.0)
    vectors = _product(turn, near)
    within = _product(_kept_apart(vectors.T), factor[:, None] * turn)
    return _product(within, turned), lowered.sum(), _orthonormal(vectors)


def _kept_apart(transposed: jax.Array) -> jax.Array:
    """A materialised transpose: a product that reads the matrix the other way is slower."""
    return jax.lax.optimization_barrier(transposed)
