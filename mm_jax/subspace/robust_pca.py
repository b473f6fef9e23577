"""Robust PCA: a matrix as low rank plus sparse, exactly.

Principal component pursuit (Candès, Li, Ma, Wright 2011, arXiv:0912.3599):

    minimise ‖L‖_* + λ ‖S‖_1  subject to  L + S = D,    λ = 1/√max(M, P).

Solved by the augmented Lagrangian with alternating steps (Lin, Chen, Ma 2010, arXiv:1009.5055),
over-relaxed. The penalty μ stays fixed at a multiple of 1/‖D‖₂: schedules in which it grows stop
near the optimum rather than at it. So the result does not depend on the scale of the data.

Letters: B matrices, M rows (codes), P columns.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mm_jax.artifacts import Array
from mm_jax.errors import UsageError
from mm_jax.subspace.linalg import singular_value_threshold

__all__ = ["RobustPCA", "robust_pca", "soft_threshold"]

# Chosen on matrices of 11 codes, centred and not, one row of W+ or all: 230-330 iterations to 3e-5.
PENALTY = 20.0
RELAXATION = 1.6


class RobustPCA(NamedTuple):
    """The result of `robust_pca`; leading axes as in the data.

    Attributes:
        low_rank: [..., M, P].
        sparse: [..., M, P].
        residuals: [..., 2] relative residuals at the end: ‖D - L - S‖/‖D‖ and the dual one.
        iterations: [...] int32.
        objective: [...] ‖L‖_* + λ ‖S‖_1.
    """

    low_rank: jax.Array
    sparse: jax.Array
    residuals: jax.Array
    iterations: jax.Array
    objective: jax.Array


class _State(NamedTuple):
    low_rank: jax.Array
    sparse: jax.Array
    dual: jax.Array
    nuclear: jax.Array
    residuals: jax.Array
    iterations: jax.Array


def soft_threshold(values: jax.Array, tau: jax.Array | float) -> jax.Array:
    """The proximal map of the 1-norm: every entry moves towards 0 by `tau`, at most to 0."""
    return jnp.sign(values) * jnp.maximum(jnp.abs(values) - tau, 0.0)


# Compiled once for each shape and setting, also where the caller does not use `jit`.
@partial(jax.jit, static_argnames=("weight", "tolerance", "max_iterations"))
@partial(jax.vmap, in_axes=(0, None, None, None))
def _pursue(data: jax.Array, weight: float, tolerance: float, max_iterations: int) -> RobustPCA:
    """Principal component pursuit of matrices [B, M, P], M <= P; written for one of them."""
    norm = jnp.linalg.norm(data)
    # A matrix of zeros is its own decomposition; any scale will do for it.
    safe_norm = jnp.where(norm > 0, norm, 1.0)
    spectral = jnp.sqrt(
        jnp.linalg.eigvalsh(jnp.matmul(data, data.T, precision=jax.lax.Precision.HIGHEST))[-1]
    )
    mu = PENALTY / jnp.where(norm > 0, spectral, 1.0)

    def unfinished(state: _State) -> jax.Array:
        return (state.iterations < max_iterations) & (state.residuals.max() > tolerance)

    def step(state: _State) -> _State:
        low_rank, nuclear = singular_value_threshold(
            data - state.sparse + state.dual / mu, 1.0 / mu
        )
        relaxed = RELAXATION * low_rank + (1.0 - RELAXATION) * (data - state.sparse)
        sparse = soft_threshold(data - relaxed + state.dual / mu, weight / mu)
        dual = state.dual + mu * (data - relaxed - sparse)
        primal_residual = jnp.linalg.norm(data - low_rank - sparse) / safe_norm
        dual_norm = jnp.linalg.norm(dual)
        dual_residual = mu * jnp.linalg.norm(sparse - state.sparse)
        dual_residual = dual_residual / jnp.where(dual_norm > 0, dual_norm, 1.0)
        residuals = jnp.stack([primal_residual, dual_residual])
        return _State(low_rank, sparse, dual, nuclear, residuals, state.iterations + 1)

    zeros = jnp.zeros_like(data)
    first = _State(
        zeros,
        zeros,
        zeros,
        jnp.zeros((), data.dtype),
        jnp.full((2,), jnp.inf, data.dtype),
        jnp.zeros((), jnp.int32),
    )
    last = jax.lax.while_loop(unfinished, step, first)
    objective = last.nuclear + weight * jnp.abs(last.sparse).sum()
    return RobustPCA(last.low_rank, last.sparse, last.residuals, last.iterations, objective)


def robust_pca(
    data: Array,
    *,
    weight: float | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
) -> RobustPCA:
    """Principal component pursuit of one matrix or of many at once.

    All matrices run in one `lax.while_loop`; one that has converged stays as it is while the others
    go on, so the result equals that of one call each. Works under `jit` and `vmap`.

    Args:
        data: [..., M, P], float.
        weight: λ; 1/√max(M, P) unless given.
        tolerance: both relative residuals end below it. float32 reaches about 1e-5.
        max_iterations: the loop ends here at the latest; look at `residuals`.

    Returns:
        A `RobustPCA`, arrays in the dtype of the data.

    Raises:
        UsageError: fewer than two axes, an empty matrix, or a setting out of range.
    """
    data = jnp.asarray(data)
    if data.ndim < 2 or 0 in data.shape:
        raise UsageError(f"robust_pca wants [..., M, P], none of them 0, got {list(data.shape)}")
    if not jnp.issubdtype(data.dtype, jnp.floating):
        data = data.astype(jnp.float32)
    rows, columns = data.shape[-2:]
    weight = 1.0 / math.sqrt(max(rows, columns)) if weight is None else weight
    if not weight > 0 or not tolerance > 0 or max_iterations < 1:
        raise UsageError(
            "robust_pca wants weight > 0, tolerance > 0 and max_iterations >= 1, got "
            f"{weight}, {tolerance} and {max_iterations}"
        )
    tall = rows > columns
    matrices = data.reshape((-1, rows, columns))
    matrices = jnp.swapaxes(matrices, -1, -2) if tall else matrices

    result = _pursue(matrices, weight, tolerance, max_iterations)
    if tall:
        result = result._replace(
            low_rank=jnp.swapaxes(result.low_rank, -1, -2),
            sparse=jnp.swapaxes(result.sparse, -1, -2),
        )
    leading = data.shape[:-2]
    return RobustPCA(*(value.reshape(leading + value.shape[1:]) for value in result))
