"""How low-dimensional a motion is, and how alike two subspaces are.

Shapes: R singular values, K and J ranks, L rows of W+, D latent width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mm_jax.artifacts import Array
from mm_jax.errors import UsageError

__all__ = [
    "direction_cosine",
    "effective_rank",
    "explained_variance",
    "pc1_ratio",
    "principal_angles",
    "subspace_cosine",
]


def _variances(singular_values: Array) -> jax.Array:
    """[R] variances by component; those of several rows of W+ ([L, R]) are added up."""
    squares = jnp.square(jnp.asarray(singular_values))
    if squares.ndim not in (1, 2):
        raise UsageError(f"singular values must be [R] or [L, R], got {list(squares.shape)}")
    return squares if squares.ndim == 1 else squares.sum(axis=0)


@jax.jit
def explained_variance(singular_values: Array) -> jax.Array:
    """Share of the total variance that the first 1, 2, ... components hold.

    Args:
        singular_values: [R], or [L, R] for a decomposition row by row.

    Returns:
        [R], rising to 1; zeros where there is no variance at all.
    """
    variances = _variances(singular_values)
    total = variances.sum()
    return jnp.cumsum(variances) / jnp.where(total > 0, total, 1.0)


def pc1_ratio(singular_values: Array) -> jax.Array:
    """Variance of the first component over total variance, in [0, 1]; 1 is a straight motion."""
    return explained_variance(singular_values)[0]


@jax.jit
def effective_rank(singular_values: Array) -> jax.Array:
    """The number of components that matter, in [1, R].

    The exponential of the entropy of the fractions of variance: 1 where one component holds all, R
    where all are equal. (Roy and Vetterli 2007 take the fractions of the singular values
    themselves; those of variance agree with the PC1 ratio.) 0 where there is no variance.
    """
    variances = _variances(singular_values)
    total = variances.sum()
    fractions = variances / jnp.where(total > 0, total, 1.0)
    logs = jnp.log(jnp.where(fractions > 0, fractions, 1.0))
    return jnp.where(total > 0, jnp.exp(-(fractions * logs).sum()), 0.0)


def _orthonormal_columns(basis: Array) -> jax.Array:
    array = jnp.asarray(basis)
    if array.ndim < 2:
        raise UsageError(f"a basis must be [K, ...], got {list(array.shape)}")
    flat = array.reshape((array.shape[0], -1))
    if flat.shape[0] > flat.shape[1]:
        raise UsageError(f"{flat.shape[0]} basis vectors of only {flat.shape[1]} numbers")
    return jnp.linalg.qr(flat.T)[0]


def principal_angles(first: Array, second: Array) -> jax.Array:
    """Angles between two subspaces, the smallest first.

    After Björck and Golub 1973: cosines and sines are both computed, so that small angles are as
    accurate as large ones.

    Args:
        first: [K, ...] linearly independent basis vectors.
        second: [J, ...] the same, of the same width.

    Returns:
        [min(K, J)] radians in [0, π/2], ascending.

    Raises:
        UsageError: the widths differ, or there are more vectors than numbers.
    """
    a, b = _orthonormal_columns(first), _orthonormal_columns(second)
    if a.shape[0] != b.shape[0]:
        raise UsageError(f"bases of different width: {a.shape[0]} and {b.shape[0]} numbers")
    if a.shape[1] < b.shape[1]:
        a, b = b, a
    precision = jax.lax.Precision.HIGHEST
    overlap = jnp.matmul(a.T, b, precision=precision)
    outside = b - jnp.matmul(a, overlap, precision=precision)
    cosines = jnp.linalg.svd(overlap, compute_uv=False)
    sines = jnp.linalg.svd(outside, compute_uv=False)[::-1]
    return jnp.arctan2(sines, cosines)


def subspace_cosine(first: Array, second: Array) -> jax.Array:
    """How alike two subspaces are, in [0, 1]: root mean square cosine of their principal angles.

    For single directions it is the absolute cosine between them.
    """
    return jnp.sqrt(jnp.mean(jnp.square(jnp.cos(principal_angles(first, second)))))


def direction_cosine(first: Array, second: Array) -> jax.Array:
    """Signed cosine between two directions of the same shape, in [-1, 1]; 0 if one is zero."""
    a, b = jnp.asarray(first), jnp.asarray(second)
    if a.shape != b.shape:
        raise UsageError(f"directions of different shape: {list(a.shape)} and {list(b.shape)}")
    product = jnp.linalg.norm(a.ravel()) * jnp.linalg.norm(b.ravel())
    return (a * b).sum() / jnp.where(product > 0, product, 1.0)
