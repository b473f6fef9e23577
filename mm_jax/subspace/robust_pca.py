"""Robust PCA: a matrix as low rank plus sparse, exactly.

Principal component pursuit (Candès, Li, Ma, Wright 2011, arXiv:0912.3599):

    minimise ‖L‖_* + λ ‖S‖_1  subject to  L + S = D,    λ = 1/√max(M, P),

for single entries that are off, and outlier pursuit (Xu, Caramanis, Sanghavi 2010, arXiv:1010.4237)
for whole rows that are, such as the codes of bad frames of a clip:

    minimise ‖L‖_* + λ Σ_m ‖S_m‖_2  subject to  L + S = D,    λ = 2/√M.

Its authors choose λ by the share of bad rows. One direction that all rows follow stays in L whole
if λ > 1/√M, and rows that share nothing with the others leave it if λ < 1; the value here keeps a
distance from both for some ten rows and more, whatever their number of bad ones is.

Solved by the augmented Lagrangian with alternating steps (Lin, Chen, Ma 2010, arXiv:1009.5055),
over-relaxed. The penalty μ stays fixed at a multiple of 1/‖D‖₂: schedules in which it grows stop
near the optimum rather than at it. So the result does not depend on the scale of the data.

Letters: B matrices, M rows (codes), P columns.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mm_jax.artifacts import Array
from mm_jax.errors import UsageError
from mm_jax.subspace.linalg import singular_value_threshold

__all__ = ["Outliers", "RobustPCA", "robust_pca", "row_threshold", "soft_threshold"]

Outliers = Literal["entries", "rows"]

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
        objective: [...] what is minimised.
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


def row_threshold(values: jax.Array, tau: jax.Array | float, *, axis: int = -1) -> jax.Array:
    """The proximal map of the sum of the 2-norms along `axis`: each vector is `tau` shorter."""
    norms = jnp.linalg.norm(values, axis=axis, keepdims=True)
    return values * jnp.maximum(1.0 - tau / jnp.where(norms > 0, norms, 1.0), 0.0)


# Compiled once for each shape and setting, also where the caller does not use `jit`.
@partial(jax.jit, static_argnames=("weight", "tolerance", "max_iterations", "axis"))
@partial(jax.vmap, in_axes=(0, None, None, None, None))
def _pursue(
    data: jax.Array, weight: float, tolerance: float, max_iterations: int, axis: int | None
) -> RobustPCA:
    """Pursuit of matrices [B, M, P], M <= P; written for one of them.

    What is sparse are entries, or the vectors along an axis.
    """
    norm = jnp.linalg.norm(data)
    # A matrix of zeros is its own decomposition; any scale will do for it.
    safe_norm = jnp.where(norm > 0, norm, 1.0)
    spectral = jnp.sqrt(
        jnp.linalg.eigvalsh(jnp.matmul(data, data.T, precision=jax.lax.Precision.HIGHEST))[-1]
    )
    mu = PENALTY / jnp.where(norm > 0, spectral, 1.0)

    shrink = soft_threshold if axis is None else partial(row_threshold, axis=axis)

    def unfinished(state: _State) -> jax.Array:
        return (state.iterations < max_iterations) & (state.residuals.max() > tolerance)

    def step(state: _State) -> _State:
        low_rank, nuclear = singular_value_threshold(
            data - state.sparse + state.dual / mu, 1.0 / mu
        )
        relaxed = RELAXATION * low_rank + (1.0 - RELAXATION) * (data - state.sparse)
        sparse = shrink(data - relaxed + state.dual / mu, weight / mu)
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
    size = jnp.abs(last.sparse) if axis is None else jnp.linalg.norm(last.sparse, axis=axis)
    objective = last.nuclear + weight * size.sum()
    return RobustPCA(last.low_rank, last.sparse, last.residuals, last.iterations, objective)


def robust_pca(
    data: Array,
    *,
    outliers: Outliers = "entries",
    weight: float | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
) -> RobustPCA:
    """Principal component pursuit, or outlier pursuit, of one matrix or of many at once.

    All matrices run in one `lax.while_loop`; one that has converged stays as it is while the others
    go on, so the result equals that of one call each. Works under `jit` and `vmap`.

    Args:
        data: [..., M, P], float.
        outliers: what is off, "entries" or whole "rows".
        weight: λ; 1/√max(M, P), or 2/√M for rows, unless given.
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
    if outliers not in ("entries", "rows"):
        raise UsageError(f"outliers must be entries or rows, got {outliers!r}")
    by_rows = outliers == "rows"
    if weight is None:
        weight = 2.0 / math.sqrt(rows) if by_rows else 1.0 / math.sqrt(max(rows, columns))
    if not weight > 0 or not tolerance > 0 or max_iterations < 1:
        raise UsageError(
            "robust_pca wants weight > 0, tolerance > 0 and max_iterations >= 1, got "
            f"{weight}, {tolerance} and {max_iterations}"
        )
    tall = rows > columns
    matrices = data.reshape((-1, rows, columns))
    matrices = jnp.swapaxes(matrices, -1, -2) if tall else matrices

    axis = (0 if tall else 1) if by_rows else None
    result = _pursue(matrices, weight, tolerance, max_iterations, axis)
    if tall:
        result = result._replace(
            low_rank=jnp.swapaxes(result.low_rank, -1, -2),
            sparse=jnp.swapaxes(result.sparse, -1, -2),
        )
    leading = data.shape[:-2]
    return RobustPCA(*(value.reshape(leading + value.shape[1:]) for value in result))
