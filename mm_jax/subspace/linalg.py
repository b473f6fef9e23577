"""Small dense linear algebra for wide matrices: few codes, each of many numbers.

Letters: M rows (codes), P columns (numbers of a code), R = min(M, P).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

__all__ = ["left_singular_vectors", "singular_value_threshold", "thin_svd"]

# The most that a step turns one singular vector towards another, in radians.
_FARTHEST = 0.2

_product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def thin_svd(matrix: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
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


def _orthonormal(basis: jax.Array) -> jax.Array:
    """The orthogonal matrix next to one [M, M] that is nearly so: a step of Newton's method."""
    unit = jnp.eye(len(basis), dtype=basis.dtype)
    return _product(basis, 1.5 * unit - 0.5 * _product(basis.T, basis))


def left_singular_vectors(matrix: jax.Array, near: jax.Array) -> jax.Array:
    """Q [M, M] of a matrix [M, P], M <= P, from the Gram matrix of `nearᵀ M`.

    A Gram matrix squares the singular values, so that in float32 the vectors of those below about
    3e-3 of the largest are vague. Where `near` is orthogonal and close to Q already, rows of
    `nearᵀ M` are nearly orthogonal, and each vector is as good as its own row's rounding.
    """
    turned = _product(near.T, matrix)
    turn = jnp.linalg.eigh(_product(turned, turned.T))[1]
    return _orthonormal(_product(near, turn))


def singular_value_threshold(
    matrix: jax.Array, tau: jax.Array, near: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The proximal map of the nuclear norm: every singular value is lowered by `tau`, at most to 0.

    With the left singular vectors Q and the singular values s, `Q diag(max(1 - tau/s, 0)) Qᵀ M`.
    Q is not looked for anew: a step of Newton's method goes there from vectors that are near,
    `near (1 + K)` with `K_ij = G_ij / (G_jj - G_ii)` of the Gram matrix G of `nearᵀ M`. In a
    fixed-point iteration, where the vectors of one step are near those of the next, it arrives
    together with it, in a third of the time of an eigenproblem in each step, and more exactly in
    float32. Pairs of vectors that it would turn by more than `_FARTHEST` are left as they are, and
    so are those that are not kept; all are turned less where that is too much to stay orthogonal.

    Args:
        matrix: [M, P] with M <= P, float.
        tau: scalar > 0.
        near: [M, M] orthogonal, as of `left_singular_vectors`, or of a matrix close to this one.

    Returns:
        The thresholded matrix [M, P], its nuclear norm, and Q [M, M].
    """
    turned = _product(near.T, matrix)
    gram = _product(turned, turned.T)
    energies = jnp.diagonal(gram)
    apart = energies[None, :] - energies[:, None]
    kept = energies > tau**2
    # What is less than this share of both lengths is rounding.
    rounding = 4.0 * jnp.finfo(gram.dtype).eps * jnp.sqrt(energies[None, :] * energies[:, None])
    turned_by = (
        (jnp.abs(gram) < _FARTHEST * jnp.abs(apart))
        & (jnp.abs(gram) > rounding)
        & (kept[None, :] | kept[:, None])
    )
    turn = jnp.where(turned_by, gram / jnp.where(turned_by, apart, 1.0), 0.0)
    turn = turn / jnp.maximum(1.0, jnp.linalg.norm(turn) / _FARTHEST)
    turn = _orthonormal(_orthonormal(turn + jnp.eye(len(turn), dtype=turn.dtype)))
    singular = jnp.sqrt(jnp.maximum((turn * _product(gram, turn)).sum(axis=0), 0.0))
    kept = jnp.maximum(singular - tau, 0.0)
    factor = kept / jnp.where(kept > 0, singular, 1.0)
    within = _product(turn * factor[None, :], turn.T)
    thresholded = _product(_product(near, within), turned)
    return thresholded, kept.sum(), _orthonormal(_product(near, turn))
