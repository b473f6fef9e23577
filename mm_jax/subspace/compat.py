"""The decomposition as the paper's released code computes it, for comparison only.

It differs from principal component pursuit (`robust_pca`) in its penalty, numel/(4 ‖D‖_F²) rather
than a norm's inverse, and in its stopping rule, which compares a relative error with a tolerance
that grows with the data: on latents it stops after about two iterations. The data is not
centred, and a truncation to rank 4 follows.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mm_jax.artifacts import Array
from mm_jax.errors import UsageError
from mm_jax.subspace.linalg import (
    left_singular_vectors,
    singular_value_threshold,
    thin_svd,
)
from mm_jax.subspace.robust_pca import soft_threshold

__all__ = ["OfficialRPCA", "official_direction", "official_rpca"]


class OfficialRPCA(NamedTuple):
    """The result of `official_rpca`.

    Attributes:
        low_rank: [B, M, P].
        sparse: [B, M, P].
        errors: [B] ‖D - L - S‖²/‖D‖² at the end.
        iterations: [B] int32.
    """

    low_rank: jax.Array
    sparse: jax.Array
    errors: jax.Array
    iterations: jax.Array


@partial(jax.jit, static_argnames="max_iterations")
@partial(jax.vmap, in_axes=(0, None))
def _solve(data: jax.Array, max_iterations: int) -> OfficialRPCA:
    energy = jnp.square(data).sum()
    safe_energy = jnp.where(energy > 0, energy, 1.0)
    mu = data.size / (4.0 * safe_energy)
    weight = 1.0 / math.sqrt(max(data.shape))

    def unfinished(state: tuple) -> jax.Array:
        error, iterations = state[4:]
        return (error > 1e-7 * energy) & (iterations < max_iterations)

    def step(state: tuple) -> tuple:
        _, sparse, dual, basis, _, iterations = state
        point = data - sparse + dual / mu
        basis = left_singular_vectors(point, basis)
        low_rank, _, basis = singular_value_threshold(point, 1.0 / mu, basis)
        sparse = soft_threshold(data - low_rank + dual / mu, weight / mu)
        residual = data - low_rank - sparse
        error = jnp.square(residual).sum() / safe_energy
        return low_rank, sparse, dual + mu * residual, basis, error, iterations + 1

    zeros = jnp.zeros_like(data)
    basis = jnp.eye(len(data), dtype=data.dtype)
    start = (zeros, zeros, zeros, basis, jnp.inf + 0 * energy, jnp.zeros((), jnp.int32))
    low_rank, sparse, _, _, error, iterations = jax.lax.while_loop(unfinished, step, start)
    return OfficialRPCA(low_rank, sparse, error, iterations)


def official_rpca(data: Array, *, max_iterations: int = 1000) -> OfficialRPCA:
    """The released code's robust PCA of a batch of matrices.

    Args:
        data: [B, M, P] float, M <= P.
        max_iterations: per matrix.

    Raises:
        UsageError: another shape.
    """
    data = jnp.asarray(data)
    if data.ndim != 3 or 0 in data.shape or data.shape[1] > data.shape[2]:
        raise UsageError(f"official_rpca needs [B, M, P] with M <= P, got {list(data.shape)}")
    return _solve(data, max_iterations)


def official_direction(
    latents: Array, *, rank: int = 4, first: int = 0, last: int = -2
) -> jax.Array:
    """The released code's edit direction.

    Each row of W+ is decomposed by itself, the low-rank part truncated to `rank`, uncentred; the
    direction is the difference of two of the truncated latents.

    Args:
        latents: [M, L, D] float: the start latent, then one for each degree.
        rank: of the truncation. The released code uses a randomised SVD; this one is exact.
        first: index of the latent at which the motion begins.
        last: index at which it ends. The released code stops one short of the last degree.

    Returns:
        [L, D].

    Raises:
        UsageError: another shape, or a rank out of range.
    """
    latents = jnp.asarray(latents)
    if latents.ndim != 3:
        raise UsageError(f"official_direction needs latents [M, L, D], got {list(latents.shape)}")
    if not 1 <= rank <= min(latents.shape[0], latents.shape[2]):
        raise UsageError(f"rank {rank} for {latents.shape[0]} latents of width {latents.shape[2]}")
    low_rank = official_rpca(jnp.swapaxes(latents, 0, 1)).low_rank
    u, s, vt = thin_svd(low_rank)
    ends = u[:, jnp.array([first, last]), :rank] * s[:, None, :rank]
    step = jnp.matmul(ends, vt[:, :rank], precision=jax.lax.Precision.HIGHEST)
    return step[:, 1] - step[:, 0]
