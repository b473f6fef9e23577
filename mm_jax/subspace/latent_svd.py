"""The global low-rank space of a generator: SVD of sampled latents.

Shapes: N sampled latents, L rows of W+, D latent width, K rank.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from mm_jax.artifacts import Array, Subspace
from mm_jax.errors import DataError
from mm_jax.subspace import measures
from mm_jax.subspace.decompose import svd_subspace
from mm_jax.subspace.rank import choose_rank

__all__ = ["latent_svd"]


def latent_svd(ws: Array, *, rank: int | None = None, explained: float | None = None) -> Subspace:
    """Principal components of sampled latents about their mean.

    Args:
        ws: [N, L, D] float, N >= 2 latents. Where all rows of W+ are equal, as for latents mapped
            from z without a truncation cutoff, one of them is decomposed and repeated, which is
            exact.
        rank: K, 1 unless given.
        explained: instead of a rank: as many components as hold this fraction of the variance.

    Returns:
        A `Subspace` whose scale is the standard deviation of the latents along its first vector. A
        vector's sign is such that its largest entry is positive.

    Raises:
        DataError: wrong shape, not finite, or all latents equal.
        UsageError: rank or fraction out of range.
    """
    latents = np.asarray(ws)
    if latents.ndim != 3 or 0 in latents.shape or len(latents) < 2:
        raise DataError(f"latent_svd needs [N, L, D] with N >= 2, got {list(latents.shape)}")
    if not np.isfinite(latents).all():
        raise DataError("the latents hold NaN or infinity")
    rows = latents.shape[1]
    repeated = bool((latents == latents[:, :1]).all())
    used = jnp.asarray(latents[:, :1] if repeated else latents, jnp.float32)
    mean = used.mean(axis=0, keepdims=True)
    matrix = used - mean
    if not float(jnp.abs(matrix).max()) > 1e-6 * float(jnp.abs(used).max()):
        raise DataError("the latents are all equal")
    basis, singular = svd_subspace(matrix)
    if repeated:
        basis = jnp.repeat(basis, rows, axis=1) / np.sqrt(rows)
        singular = singular * np.sqrt(rows)
    count = choose_rank(singular, rank, explained)
    flat = basis[:count].reshape((count, -1))
    largest = jnp.take_along_axis(flat, jnp.abs(flat).argmax(axis=1)[:, None], axis=1)
    basis = basis[:count] * jnp.where(largest < 0, -1.0, 1.0)[:, :, None]
    return Subspace(
        basis=basis,
        scale=float(singular[0] / np.sqrt(len(latents) - 1)),
        singular_values=singular,
        mean=jnp.broadcast_to(mean[0], latents.shape[1:]),
        pc1_ratio=float(measures.pc1_ratio(singular)),
        mask=np.ones(rows, bool),
        meta={
            "method": "latent_svd",
            "rank": count,
            "samples": len(latents),
            "effective_rank": float(measures.effective_rank(singular)),
        },
    )
