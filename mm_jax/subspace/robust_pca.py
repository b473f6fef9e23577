"""Robust PCA: a matrix as low rank plus sparse, exactly.

Principal component pursuit (Candès, Li, Ma, Wright 2011, arXiv:0912.3599):

    minimise ‖L‖_* + λ ‖S‖_1  subject to  L + S = D,    λ = 1/√max(M, P),

for single entries that are off, and outlier pursuit (Xu, Caramanis, Sanghavi 2010, arXiv:1010.4237)
for whole rows that are, such as the latents of bad frames of a clip:

    minimise ‖L‖_* + λ Σ_m ‖S_m‖_2  subject to  L + S = D,    λ = 2/√M.

Its authors choose λ by the fraction of bad rows. One direction that all rows follow stays in L
whole if λ > 1/√M, and rows that share nothing with the others leave it if λ < 1; the value here
keeps a distance from both for some ten rows and more, whatever their number of bad ones is.

Solved by the augmented Lagrangian with alternating steps (Lin, Chen, Ma 2010, arXiv:1009.5055),
over-relaxed, written in one variable as the Douglas-Rachford iteration that it is (Eckstein and
Bertsekas 1992): with the threshold τ and the relaxation r,

    L = SVT(Z, τ),   S = shrink(D - 2L + Z, λτ),   Z <- Z + r (D - L - S).

τ stays fixed at a fraction of ‖D‖₂: schedules in which it falls stop near the optimum rather than
at it. So the result does not depend on the scale of the data. What shrinking takes off, over τ, is
a point of the dual problem, maximise <Y, D> subject to ‖Y‖₂ <= 1 and ‖Y‖_∞ <= λ (for rows: their
2-norms <= λ), once it is scaled into the first constraint; so the distance from the optimum is
known, and ends the work.

Shapes: B matrices, M rows (latents), P columns.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mm_jax.artifacts import Array
from mm_jax.descent import chunk_length
from mm_jax.errors import UsageError
from mm_jax.subspace.linalg import left_singular_vectors, singular_value_threshold

__all__ = ["Outliers", "RobustPCA", "robust_pca", "row_threshold", "soft_threshold"]

Outliers = Literal["entries", "rows"]

# ‖D‖₂ over τ, and r: chosen on matrices of 11 and 12 latents, one row of W+ or all.
PENALTY = 40.0
RELAXATION = 1.9
# So many looks at the gap, none of them below the least so far, show that following the singular
# vectors does not do, and that they must be found anew in every step; so many more, that rounding
# leaves nothing to be had.
_FOLLOWED, _PATIENCE = 5, 60


class RobustPCA(NamedTuple):
    """The result of `robust_pca`; leading axes as in the data.

    Attributes:
        low_rank: [..., M, P].
        sparse: [..., M, P]. With the low rank part it makes the data up to the tolerance.
        gap: [...] relative duality gap: the objective of `low_rank` (and of the data less it) is at
            most this fraction of itself above the optimum.
        iterations: [...] int32.
        objective: [...] what is minimised.
    """

    low_rank: jax.Array
    sparse: jax.Array
    gap: jax.Array
    iterations: jax.Array
    objective: jax.Array


class _State(NamedTuple):
    """The iteration on one matrix."""

    point: jax.Array  # [M, P], Z
    basis: jax.Array  # [M, M], its left singular vectors as rows
    idle: jax.Array  # [] int32, evaluations of the gap since the lowest one
    result: RobustPCA  # that of the lowest gap so far, without a leading axis


def soft_threshold(values: jax.Array, tau: jax.Array | float) -> jax.Array:
    """The proximal map of the 1-norm: every entry moves towards 0 by `tau`, at most to 0."""
    return jnp.sign(values) * jnp.maximum(jnp.abs(values) - tau, 0.0)


def row_threshold(values: jax.Array, tau: jax.Array | float, *, axis: int = -1) -> jax.Array:
    """The proximal map of the sum of the 2-norms along `axis`: each vector is `tau` shorter."""
    norms = jnp.linalg.norm(values, axis=axis, keepdims=True)
    return values * jnp.maximum(1.0 - tau / jnp.where(norms > 0, norms, 1.0), 0.0)


def _spectral_norm(matrix: jax.Array) -> jax.Array:
    """The largest singular value [] of a matrix [M, P], M <= P, from its Gram matrix [M, M]."""
    gram = jnp.matmul(matrix, matrix.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.sqrt(jnp.linalg.eigvalsh(gram)[-1])


# Compiled once for each shape and setting, also where the caller does not use `jit`.
@partial(jax.jit, static_argnames=("weight", "tolerance", "max_iterations", "axis"))
@partial(jax.vmap, in_axes=(0, None, None, None, None))
def _pursue(
    data: jax.Array, weight: float, tolerance: float, max_iterations: int, axis: int | None
) -> RobustPCA:
    """Pursuit of matrices [B, M, P], M <= P; written for one of them.

    What is sparse are entries, or the vectors along an axis.
    """
    # Under vmap data is one matrix [M, P], and what is not said to have a shape is a scalar.
    # Steps between two evaluations of the gap:
    count = chunk_length(max_iterations)
    spectral = _spectral_norm(data)  # ‖D‖₂
    # A matrix of zeros is its own decomposition; any scale will do for it.
    tau = jnp.where(spectral > 0, spectral, 1.0) / PENALTY
    shrink = soft_threshold if axis is None else partial(row_threshold, axis=axis)

    def total(matrix: jax.Array) -> jax.Array:
        """Each entry's, or vector's, contribution to the second norm: [M, P], or [M] or [P]."""
        return weight * (jnp.abs(matrix) if axis is None else jnp.linalg.norm(matrix, axis=axis))

    def halves(point: jax.Array, basis: jax.Array):
        # Douglas-Rachford's two proximal maps: low rank [M, P] of the point (its left singular
        # vectors, basis [M, M], warm-started), then what is sparse of the reflection.
        low_rank, nuclear, basis = singular_value_threshold(point, tau, basis)  # [M, P], [], [M, M]
        rest = data - 2.0 * low_rank + point  # D - 2L + Z, [M, P]
        return low_rank, nuclear, basis, rest, shrink(rest, weight * tau)

    def onward(point: jax.Array, low_rank: jax.Array, sparse: jax.Array) -> jax.Array:
        # Z <- Z + r (D - L - S), [M, P]
        return point + RELAXATION * (data - low_rank - sparse)

    def step(anew: bool, _: object, carry: tuple[jax.Array, jax.Array]):
        point, basis = carry
        # The basis is followed from step to step (Newton); in the second loop it is computed anew.
        if anew:
            basis = left_singular_vectors(point, basis)
        low_rank, _, basis, _, sparse = halves(point, basis)
        return onward(point, low_rank, sparse), basis

    def unfinished(patience: int, state: _State) -> jax.Array:
        going = (state.result.gap > tolerance) & (state.idle < patience)
        return going & (state.result.iterations < max_iterations)

    def some_steps(anew: bool, state: _State) -> _State:
        # All steps of the chunk but the last, then the last one with its gap.
        carry = jax.lax.fori_loop(1, count, partial(step, anew), (state.point, state.basis))
        point, basis = carry
        basis = left_singular_vectors(point, basis)
        low_rank, nuclear, basis, rest, sparse = halves(point, basis)
        # A feasible dual point [M, P]: what shrinking took off, scaled into both constraints.
        dual = (rest - sparse) / tau
        # Within its bounds but for rounding, which the division by tau has enlarged.
        dual = dual - shrink(dual, weight)
        dual = dual / jnp.maximum(1.0, _spectral_norm(dual))
        # The gap as two small positive differences: that of the large objectives would round.
        left = data - low_rank  # [M, P], of which `low_rank` leaves the second norm
        # Like `total`: [M, P] for entries, [M] or [P] for vectors along an axis.
        paired = (dual * left).sum(axis=axis) if axis is not None else dual * left
        gap = (nuclear - (dual * low_rank).sum()) + (total(left) - paired).sum()
        objective = nuclear + total(left).sum()
        gap = gap / jnp.where(objective > 0, objective, 1.0)
        done = state.result.iterations + count
        # Near the limit of rounding the gap goes up and down: the best is kept. One that is not a
        # number ends the work, and shows.
        better = ~(gap >= state.result.gap)
        now = RobustPCA(low_rank, sparse, gap, done, objective)
        best = jax.tree.map(partial(jnp.where, better), now, state.result)
        idle = jnp.where(better, 0, state.idle + 1)
        return _State(onward(point, low_rank, sparse), basis, idle, best._replace(iterations=done))

    # First with followed bases, as long as they make progress; then with bases computed anew.
    zeros, nothing = jnp.zeros_like(data), jnp.zeros((), data.dtype)
    far, none = nothing + jnp.inf, jnp.zeros((), jnp.int32)
    first = RobustPCA(zeros, zeros, far, none, nothing)
    basis = left_singular_vectors(data, jnp.eye(len(data), dtype=data.dtype))  # [M, M]
    state = _State(zeros, basis, none, first)
    for anew, patience in ((False, _FOLLOWED), (True, _PATIENCE)):
        state = jax.lax.while_loop(
            partial(unfinished, patience), partial(some_steps, anew), state._replace(idle=none)
        )
    return state.result


def robust_pca(
    data: Array,
    *,
    outliers: Outliers = "entries",
    weight: float | None = None,
    tolerance: float = 4e-6,
    max_iterations: int = 1000,
) -> RobustPCA:
    """Principal component pursuit, or outlier pursuit, of one matrix or of many at once.

    All matrices run in one `lax.while_loop`; one that has converged stays as it is while the others
    go on, so the result equals that of one call each. Works under `jit` and `vmap`.

    Args:
        data: [..., M, P], float.
        outliers: what is off, "entries" or whole "rows".
        weight: λ; 1/√max(M, P), or 2/√M for rows, unless given.
        tolerance: the relative duality gap ends below it, unless rounding keeps it above: float32
            reaches 3e-6 on matrices of some thousand entries, 1e-4 on the smallest.
        max_iterations: the loop ends here at the latest; look at `gap`.

    Returns:
        A `RobustPCA`, arrays in the dtype of the data.

    Raises:
        UsageError: fewer than two axes, an empty matrix, or a setting out of range.
    """
    data = jnp.asarray(data)
    if data.ndim < 2 or 0 in data.shape:
        raise UsageError(f"robust_pca needs [..., M, P] with no empty axis, got {list(data.shape)}")
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
            "robust_pca needs weight > 0, tolerance > 0 and max_iterations >= 1, got "
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
