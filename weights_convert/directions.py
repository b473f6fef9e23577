"""Directions and components of other projects as subspaces, and stored codes.

| source | content |
|---|---|
| micromotion | an array [1, L, D], whose norm is the motion's own |
| InterFaceGAN, as e4e and ReStyle ship it | an array [1, D] or [1, L, D] |
| GANSpace, as e4e and ReStyle ship it | {"comp": [K, 1, D], "mean": [1, D], "std": [K]} |
| ReStyle's inversions | {file name: code of every step, [L, D]}; the last one is kept |

A direction for W holds for all rows of W+. The basis is of unit length and the norm is kept as the
scale, so that an edit of strength 1 adds what the file holds; of GANSpace, one standard deviation.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from mm_jax.artifacts import Latents, Subspace
from mm_jax.errors import DataError
from weights_convert.plan import Layout, Part, Plan, Request
from weights_convert.structure import arrays

__all__ = ["CODES", "COMPONENTS", "DIRECTION", "codes", "components", "direction"]


def direction(value: Any, *, rows: int) -> Subspace:
    """The subspace of rank 1 along a direction.

    Args:
        value: [D], [1, D], [L, D] or [1, L, D].
        rows: L, where the direction is one for W.

    Raises:
        DataError: another shape, not finite, or of length 0.
    """
    ws = _over_rows(_finite("the direction", value), rows)
    norm = np.linalg.norm(ws)
    if not norm > 0:
        raise DataError("the direction has length 0")
    return Subspace(
        basis=(ws / norm)[None].astype(np.float32),
        scale=np.float32(norm),
        singular_values=np.array([norm], np.float32),
        mean=np.zeros(ws.shape, np.float32),
        pc1_ratio=np.float32(1),
        mask=np.any(ws != 0, axis=1),
        meta={"method": "imported direction"},
    )


def components(content: Mapping[str, Any], *, rows: int) -> Subspace:
    """The subspace of GANSpace's principal components of W; see the module.

    Raises:
        DataError: other names or shapes, components that are not orthonormal, not finite.
    """
    if set(content) != {"comp", "mean", "std"}:
        raise DataError(f"principal components are comp, mean and std, not {sorted(content)}")
    comp = _finite("comp", content["comp"])
    std = _finite("std", content["std"]).reshape(-1)
    mean = _finite("mean", content["mean"]).reshape(-1)
    comp = comp.reshape(len(std), -1) if comp.size == std.size * mean.size else np.zeros((0, 0))
    if comp.shape != (len(std), len(mean)) or 0 in comp.shape:
        raise DataError("comp, mean and std are not [K, D], [D] and [K]")
    if not (std > 0).all():
        raise DataError("std holds numbers that are not positive")
    if np.abs(comp @ comp.T - np.eye(len(comp))).max() > 1e-3:
        raise DataError("the rows of comp are not orthonormal")
    # A component moves all rows: spread over them it keeps its length when they are one vector.
    spread = np.sqrt(rows)
    return Subspace(
        basis=np.repeat(comp[:, None] / spread, rows, axis=1).astype(np.float32),
        scale=np.float32(std[0] * spread),
        singular_values=(std * spread).astype(np.float32),
        mean=np.repeat(mean[None], rows, axis=0).astype(np.float32),
        pc1_ratio=np.float32(std[0] ** 2 / np.square(std).sum()),
        mask=np.ones(rows, bool),
        meta={"method": "imported principal components"},
    )


def codes(content: Any) -> Latents:
    """Codes of W+: an array [L, D] or [N, L, D], or {name: codes of every step}.

    Raises:
        DataError: other shapes, or names that would be one.
    """
    if not isinstance(content, Mapping):
        ws = _finite("the codes", content)
        return _latents(ws[None] if ws.ndim == 2 else ws, None)
    names = [PurePath(str(name)).stem for name in content]
    last = [_finite(str(name), steps).squeeze() for name, steps in content.items()]
    last = [steps[-1] if steps.ndim == 3 else steps for steps in last]
    if not last or len(set(names)) < len(names) or len({ws.shape for ws in last}) > 1:
        raise DataError("want codes of one shape, under distinct names")
    return _latents(np.stack(last), tuple(names))


def _latents(ws: np.ndarray, names: tuple[str, ...] | None) -> Latents:
    if ws.ndim != 3 or 0 in ws.shape:
        raise DataError(f"the codes have shape {list(ws.shape)}, want [N, L, D]")
    return Latents(ws.astype(np.float32), names)


def _finite(what: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"{what} is no array: {error}") from error
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise DataError(f"{what} does not hold finite numbers")
    return array.astype(np.float64)


def _over_rows(value: np.ndarray, rows: int) -> np.ndarray:
    """[L, D] of any of the shapes that directions come in."""
    shape = value.shape
    if value.ndim == 3 and shape[0] == 1:
        value = value[0]
    if value.ndim == 1 or (value.ndim == 2 and len(value) == 1):
        value = np.repeat(value.reshape(1, -1), rows, axis=0)
    if value.ndim != 2 or 0 in value.shape or len(value) % 2 or not 4 <= len(value) <= 20:
        raise DataError(
            f"the direction has shape {list(shape)}, want [1, L, D] with an even L from 4 to 20, "
            "or [1, D]"
        )
    return value


def _plan_direction(content: Any, request: Request) -> Plan:
    value = np.asarray(content)
    facts = {"shape": list(value.shape), "norm": f"{np.linalg.norm(_finite('it', value)):.4g}"}
    for_w = value.size == value.shape[-1] if value.shape else False
    notes = (f"one direction for all rows of W+; --rows={request.rows} of them",) if for_w else ()
    return Plan((Part(facts, lambda: direction(value, rows=request.rows)),), notes)


def _plan_components(content: Any, request: Request) -> Plan:
    values = arrays(content, what="principal components")
    facts = {name: list(value.shape) for name, value in values.items()}
    note = f"components of W, repeated over --rows={request.rows} of W+"
    return Plan((Part(facts, lambda: components(values, rows=request.rows)),), (note,))


def _plan_codes(content: Any, request: Request) -> Plan:
    count = len(content) if isinstance(content, Mapping | np.ndarray) else 0
    return Plan((Part({"entries": count}, functools.partial(codes, content)),))


DIRECTION = Layout("a direction of W or W+", _plan_direction)
COMPONENTS = Layout("GANSpace's principal components", _plan_components)
CODES = Layout("codes of W+", _plan_codes)
