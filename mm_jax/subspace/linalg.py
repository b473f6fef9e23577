"""Small dense linear algebra for wide matrices: few codes, each of many numbers.

Letters: M rows (codes), P columns (numbers of a code), R = min(M, P).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ["singular_value_threshold", "thin_svd"]


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


def singular_value_threshold(matrix: jax.Array, tau: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The proximal map of the nuclear norm: every singular value is lowered by `tau`, at most to 0.

    Computed from the Gram matrix `M Mᵀ = Q Λ Qᵀ` as `Q diag(max(1 - tau/√Λ, 0)) Qᵀ M`, an [M, M]
    eigenproblem in place of an [M, P] SVD. In float32 singular values below about 3e-4 of the
    largest one are noise; `tau` should lie above.

    Args:
        matrix: [M, P] with M <= P, float.
        tau: scalar > 0.

    Returns:
        The thresholded matrix [M, P] and its nuclear norm.
    """
    gram = jnp.matmul(matrix, matrix.T, precision=jax.lax.Precision.HIGHEST)
    eigenvalues, q = jnp.linalg.eigh(gram)
    singular = jnp.sqrt(jnp.maximum(eigenvalues, 0.0))
    kept = jnp.maximum(singular - tau, 0.0)
    factor = kept / jnp.where(kept > 0, singular, 1.0)
    projector = jnp.matmul(q * factor[None, :], q.T, precision=jax.lax.Precision.HIGHEST)
    thresholded = jnp.matmul(projector, matrix, precision=jax.lax.Precision.HIGHEST)
    return thresholded, kept.sum()
