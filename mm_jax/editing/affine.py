"""Affine edits of latents: `w' = w + strength * scale * direction`.

Shapes: N latents, S strengths, E subspaces, L rows of W+, D latent width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from mm_jax.artifacts import Array, Subspace, direction_of
from mm_jax.checks import layer_mask
from mm_jax.errors import DataError, UsageError
from mm_jax.words import counted

__all__ = ["apply_edit"]


def _is_traced(value: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def _as_strengths(strengths: Any, count: int) -> jax.Array | np.ndarray:
    """Strengths as [E, S] float32, checked."""
    array: jax.Array | np.ndarray
    if _is_traced(strengths):
        array = jnp.asarray(strengths).astype(jnp.float32)
    else:
        try:
            values = np.asarray(strengths)
        except (TypeError, ValueError) as error:
            raise UsageError(f"strengths must be numbers, got {strengths!r}") from error
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise UsageError(f"strengths must be finite numbers, got {strengths!r}")
        array = values.astype(np.float32)
    given = list(array.shape)
    if array.ndim == 0:
        array = array[None]
    if array.ndim == 1:
        xp = jnp if isinstance(array, jax.Array) else np
        array = xp.broadcast_to(array[None], (count, *array.shape))
    if array.ndim != 2 or array.shape[0] != count or array.shape[1] == 0:
        raise UsageError(
            f"strengths must be one number, [S] or [{count}, S] for {counted(count, 'subspace')}, "
            f"got shape {given}"
        )
    return array


def apply_edit(
    ws: Array,
    subspaces: Subspace | Sequence[Subspace],
    strengths: Any,
    *,
    layers: Sequence[int] | None = None,
) -> jax.Array:
    """Move latents along one micromotion or several at once.

    Works under `jit`, `vmap` and `grad`; values are checked where they are concrete.

    Args:
        ws: [N, L, D] float.
        subspaces: one, or E of them whose edits add up.
        strengths: a number, [S], or [E, S] for each subspace its own. 1 is the anchors' own full
            motion, -1 its opposite.
        layers: rows of W+ that may change, beside each subspace's own mask; all unless given.

    Returns:
        [N, S, L, D] float32; S is 1 for a single number.

    Raises:
        DataError: latents that are not finite, or a subspace of another shape.
        UsageError: latents that are not [N, L, D], strengths of wrong shape or not finite, layers
            out of range, no subspace.
    """
    edits = [subspaces] if isinstance(subspaces, Subspace) else list(subspaces)
    if not edits:
        raise UsageError("apply_edit needs at least one subspace, got none")
    if not _is_traced(ws) and not np.isfinite(np.asarray(ws, np.float32)).all():
        raise DataError("the latents hold NaN or infinity")
    shape = np.shape(ws)
    if len(shape) == 2:
        raise UsageError(
            f"latents must be [N, L, D], got {list(shape)}: one latent needs a leading axis, "
            "ws[None]"
        )
    if len(shape) != 3:
        raise UsageError(f"latents must be [N, L, D], got {list(shape)}")
    for edit in edits:
        if edit.basis.shape[1:] != shape[1:]:
            raise DataError(
                f"the latents are {list(shape[1:])} each, the subspace is for "
                f"{list(edit.basis.shape[1:])}"
            )
    amounts = _as_strengths(strengths, len(edits))
    rows = np.ones(shape[1], np.float32)
    if layers is not None:
        rows = np.asarray(layer_mask(layers, shape[1]), np.float32)
    parts = [(edit.basis, edit.scale, edit.mask) for edit in edits]
    return _moved(ws, parts, amounts, rows)


# Jitted, since each of these operations would else be a program of its own.
@jax.jit
def _moved(
    ws: Array, parts: list[tuple[Array, Any, Array]], amounts: Array, rows: Array
) -> jax.Array:
    """Latents [N, L, D] moved by amounts [E, S] along subspaces, in the rows [L] of weight 1."""
    directions = jnp.stack([direction_of(*part) for part in parts]) * rows[None, :, None]
    # [E, S, 1, 1] * [E, 1, L, D], summed over subspaces: [S, L, D]. A matrix product would round to
    # a lower precision on accelerators.
    moves = (amounts[:, :, None, None] * directions[:, None]).sum(axis=0)
    return jnp.asarray(ws, jnp.float32)[:, None] + moves[None]
