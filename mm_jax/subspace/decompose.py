"""Anchors to the subspace of their motion: SVD or robust PCA of the latents.

Shapes: M anchors, L rows of W+, D latent width, K rank, R components.

What is decomposed is a stack of displacements from the start latent (several sets of anchors: each
from its own start), so that the first component is the motion itself rather than the mean latent.
A *joint* decomposition takes all rows of W+ as one vector of L*D numbers: one time course for all
of them. One *by rows* decomposes each row by itself, as the paper does, and joins component k of
the rows by how far each follows the joint time course of component k.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.artifacts import Anchors, Array, Subspace
from mm_jax.checks import layer_mask
from mm_jax.errors import DataError, UsageError
from mm_jax.subspace import measures
from mm_jax.subspace.compat import official_direction
from mm_jax.subspace.linalg import thin_svd
from mm_jax.subspace.options import SubspaceOptions
from mm_jax.subspace.rank import NULL, choose_rank
from mm_jax.subspace.robust_pca import RobustPCA, robust_pca

__all__ = ["extract_subspace", "mirrored", "rpca_subspace", "svd_subspace"]

# A motion that ends within this fraction of its farthest point has come back to its start.
RETURNS = 0.1

_HIGHEST = jax.lax.Precision.HIGHEST


@partial(jax.jit, static_argnames="joint")
def svd_subspace(matrix: Array, *, joint: bool = True) -> tuple[jax.Array, jax.Array]:
    """All principal components of a stack of displacements.

    Works under `jit` and `vmap`. Signs are arbitrary; `extract_subspace` fixes them.

    Args:
        matrix: [M, L, D] float, centred as wanted.
        joint: all rows of W+ as one vector, or each by itself.

    Returns:
        basis [R, L, D] with orthonormal vectors (zero where a component does not exist), and
        singular values, descending: [R], or [L, R] by rows; R = min(M, L*D) or min(M, D).
    """
    matrix = jnp.asarray(matrix)
    anchors, rows, width = matrix.shape
    u, s, vt = thin_svd(matrix.reshape((anchors, rows * width)))
    if joint:
        return vt.reshape((-1, rows, width)), s
    row_u, row_s, row_vt = thin_svd(jnp.swapaxes(matrix, 0, 1))
    components = row_s.shape[-1]
    # How far component k of each row follows the joint course k: [L, R].
    weights = row_s * jnp.einsum("mk,lmk->lk", u[:, :components], row_u, precision=_HIGHEST)
    basis = jnp.swapaxes(weights[:, :, None] * row_vt, 0, 1)
    norms = jnp.sqrt(jnp.square(basis).sum(axis=(1, 2), keepdims=True))
    present = norms > NULL * s[0]
    return jnp.where(present, basis / jnp.where(present, norms, 1.0), 0.0), row_s


def rpca_subspace(
    matrix: jax.Array | np.ndarray, *, joint: bool = True, **settings: Any
) -> tuple[jax.Array, jax.Array, RobustPCA]:
    """All principal components of the low-rank part of a stack of displacements.

    Args:
        matrix: [M, L, D] float, centred as wanted.
        joint: all rows of W+ as one vector, or each by itself, for both robust PCA and SVD.
        **settings: for `robust_pca`.

    Returns:
        As `svd_subspace`, and the `RobustPCA` with arrays of shape [1, M, L*D] or [L, M, D].
    """
    anchors, rows, width = matrix.shape
    if joint:
        parts = robust_pca(matrix.reshape((1, anchors, rows * width)), **settings)
        low_rank = parts.low_rank.reshape(matrix.shape)
    else:
        parts = robust_pca(jnp.swapaxes(matrix, 0, 1), **settings)
        low_rank = jnp.swapaxes(parts.low_rank, 0, 1)
    return (*svd_subspace(low_rank, joint=joint), parts)


def _stack(sets: Sequence[Anchors]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Checked latents [M, L, D], starts [M, L, D], degrees [M] of all sets; which are last [M]."""
    if not sets:
        raise UsageError("extract_subspace needs at least one set of anchors, got none")
    shape = np.shape(sets[0].ws)[1:]
    ends = set()
    latents, starts, degrees = [], [], []
    for anchors in sets:
        ws, start = np.asarray(anchors.ws), np.asarray(anchors.start)
        degree = np.asarray(anchors.degrees, np.float32)
        if ws.ndim != 3 or 0 in ws.shape or start.shape != ws.shape[1:]:
            raise DataError(
                f"anchors must have ws [M, L, D] and start [L, D], got {list(ws.shape)} and "
                f"{list(start.shape)}"
            )
        if ws.shape[1:] != shape:
            raise DataError(f"anchors of different spaces: {list(shape)} and {list(ws.shape[1:])}")
        if degree.shape != ws.shape[:1]:
            raise DataError(f"{len(ws)} anchors with degrees of shape {list(degree.shape)}")
        if not all(np.isfinite(part).all() for part in (ws, start, degree)):
            raise DataError("anchors hold NaN or infinity")
        # A set may have lost its last anchor; what counts is where it was meant to end.
        left_out = [d["value"] for d in anchors.meta.get("dropped", ()) if "value" in d]
        ends.add(float(np.float32(max([float(degree.max()), *left_out]))))
        latents.append(ws.astype(np.float32))
        starts.append(np.broadcast_to(start.astype(np.float32), ws.shape))
        degrees.append(degree)
    if len(ends) > 1:
        raise DataError(f"sets of anchors end at different degrees: {sorted(ends)}")
    farthest = max(degree.max() for degree in degrees)
    last = [degree == farthest for degree in degrees]
    return tuple(map(np.concatenate, (latents, starts, degrees, last)))  # type: ignore[return-value]


@jax.jit
def _orient(basis: jax.Array, moves: jax.Array, degrees: jax.Array, last: jax.Array):
    """Fix the signs of basis [K, L, D], and find the natural scale along its first vector.

    A vector points to where the displacements [M, L, D] go as the degree [M] grows, by their
    correlation; where there is none (the motion comes back), to the farthest displacement. The
    scale is the mean projection of the last anchors [M] bool, or the farthest projection for a
    motion that comes back.
    """
    along = jnp.einsum("mld,kld->km", moves, basis, precision=_HIGHEST)
    centred = degrees - degrees.mean()
    spread = along - along.mean(axis=1, keepdims=True)
    lengths = jnp.linalg.norm(spread, axis=1) * jnp.linalg.norm(centred)
    correlation = (spread * centred[None, :]).sum(axis=1) / jnp.where(lengths > 0, lengths, 1.0)
    farthest = jnp.take_along_axis(along, jnp.abs(along).argmax(axis=1)[:, None], axis=1)[:, 0]
    sign = jnp.where(
        jnp.where(jnp.abs(correlation) > RETURNS, correlation, farthest) < 0, -1.0, 1.0
    )
    reached = sign[0] * jnp.where(last, along[0], 0.0).sum() / last.sum()
    farthest_reach = jnp.abs(farthest[0])
    scale = jnp.where(reached > RETURNS * farthest_reach, reached, farthest_reach)
    return basis * sign[:, None, None], scale


def _energy(array: Array) -> float:
    """The sum of squares."""
    return float(np.square(np.asarray(array, np.float64)).sum())


def mirrored(subspace: Subspace) -> Subspace:
    """The subspace whose first direction points the other way; strength 1 is what -1 was."""
    basis = np.array(subspace.basis)
    basis[0] *= -1.0
    return dataclasses.replace(subspace, basis=jnp.asarray(basis, basis.dtype))


def _shared_meta(sets: Sequence[Anchors]) -> dict[str, Any]:
    """The metadata on which all sets of anchors agree."""
    first = sets[0].meta
    return {k: v for k, v in first.items() if all(s.meta.get(k) == v for s in sets)}


def extract_subspace(
    anchors: Anchors | Sequence[Anchors],
    *,
    options: SubspaceOptions = SubspaceOptions(),
    **changes: Any,
) -> Subspace:
    """The low-dimensional subspace of a micromotion.

    Args:
        anchors: one set or several; their displacements are stacked. Several must share [L, D]
            and the last degree.
        options: how they are decomposed; `SubspaceOptions` explains each.
        **changes: options by name, such as `rank=2`, in place of those in `options`.

    Returns:
        A `Subspace`. Its `pc1_ratio` and `singular_values` are of the decomposed matrix (of the
        low-rank part for "rpca", of the displacements for "compat"); `meta["pc1_ratio_raw"]` is
        the fraction of the displacements' own energy along the first component.

    Raises:
        DataError: anchors of wrong shape, not finite, not moving, or that do not go together.
        UsageError: an option that is unknown, out of range or contradicts another.
    """
    options = options.replace(**changes)
    method, rank, explained = options.method, options.rank, options.explained
    centre, outliers, joint = options.centre, options.outliers, options.joint
    sets = [anchors] if isinstance(anchors, Anchors) else list(anchors)
    videos = all(s.meta.get("source") == "video" for s in sets)
    if method == "auto":
        method = "rpca" if videos else "svd"
    if outliers == "auto":
        outliers = "rows" if videos else "entries"
    # What is done once, to small arrays, is done by NumPy: each operation of JAX would be compiled.
    latents, starts, degrees, last = _stack(sets)
    mask = layer_mask(options.layers, latents.shape[1])
    chosen = np.flatnonzero(mask)
    moves = (latents - starts)[:, chosen]
    magnitude = float(np.abs(latents).max())
    if not float(np.abs(moves).max()) > 1e-6 * magnitude:
        raise DataError("the anchors do not move: all of them equal the start latent")

    mean = starts.mean(axis=0)
    matrix = moves
    if centre == "mean":
        mean = mean + (latents - starts).mean(axis=0)
        matrix = moves - moves.mean(axis=0, keepdims=True)
    elif centre == "none":
        mean = np.zeros_like(mean)
        matrix = latents[:, chosen]

    meta: dict[str, Any] = {**_shared_meta(sets), "method": method}
    if method == "compat":
        if len(sets) != 1 or rank not in (None, 1) or explained is not None:
            raise UsageError("method compat takes one set of anchors and gives rank 1")
        path = np.concatenate([starts[:1], latents])[:, chosen]
        direction = np.asarray(official_direction(path, rank=min(4, *path.shape[::2])))
        scale = np.linalg.norm(direction.ravel())
        basis, singular = (direction / scale)[None], thin_svd(moves.reshape(len(moves), -1))[1]
        singular, mean = np.asarray(singular), np.zeros_like(mean)
    else:
        parts = None
        if method == "rpca":
            basis, singular, parts = rpca_subspace(matrix, joint=joint, outliers=outliers)
        else:
            basis, singular = svd_subspace(matrix, joint=joint)
        basis, singular = np.asarray(basis), np.asarray(singular)
        if not float(singular.max()) > 1e-6 * float(np.linalg.norm(moves.ravel())):
            raise DataError("the anchors have no low-rank motion in common")
        if parts is not None:
            meta["rpca"] = {
                "outliers": outliers,
                "iterations": int(parts.iterations.max()),
                "gap": float(parts.gap.max()),
                "sparse_energy": _energy(parts.sparse) / _energy(matrix),
            }
        count = choose_rank(singular, rank, explained)
        basis, scale = map(np.asarray, _orient(basis[:count], moves, degrees, last))
        meta |= {"centre": centre, "joint": joint}

    along = np.einsum("mld,ld->m", moves, basis[0])
    full = np.zeros((len(basis), *latents.shape[1:]), np.float32)
    full[:, chosen] = basis
    explained_by = np.asarray(measures.explained_variance(singular))
    meta |= {
        "rank": len(basis),
        "layers": chosen.tolist(),
        "anchor_sets": len(sets),
        "anchors": int(latents.shape[0]),
        "explained_variance": explained_by.tolist(),
        "effective_rank": float(measures.effective_rank(singular)),
        "pc1_ratio_raw": _energy(along) / _energy(moves),
    }
    return Subspace(
        basis=jnp.asarray(full, jnp.float32),
        scale=float(scale),
        singular_values=jnp.asarray(singular, jnp.float32),
        mean=jnp.asarray(mean, jnp.float32),
        pc1_ratio=float(explained_by[0]),
        mask=mask,
        meta=meta,
    )
