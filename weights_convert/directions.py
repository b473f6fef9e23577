"""Directions and components of other projects as subspaces, and stored codes.

| source | content |
|---|---|
| micromotion | an array [1, L, D], whose norm is the motion's own |
| InterFaceGAN, as e4e and ReStyle ship it | an array [1, D] or [1, L, D] |
| GANSpace, as e4e and ReStyle ship it | {"comp": [K, 1, D], "mean": [1, D], "std": [K]} |
| the same, as GANSpace caches them | lat_comp, lat_mean and lat_stdev, among others |
| an edit exported by GANSpace's viewer | lat_comp, lat_stdev, edit_start, edit_end (exclusive) |
| rosinality's factors (SeFa) | {"eigvec": [D, D]}, one direction a column |
| HiGAN | {"boundary": [1, D], "meta_data": ..} |
| ReStyle's inversions | {file name: code of every step, [L, D]}; the last one is kept |
| the projector of stylegan2-ada-pytorch | {"w": [N, L, D]} |
| rosinality's projector | {file name: {"latent": [D] or [L, D], ..}} |

A direction for W holds for all rows of W+. The basis is of unit length and the norm is kept as the
scale, so that an edit of strength 1 adds what the file holds; of GANSpace, one standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from mm_jax.artifacts import Latents, Subspace
from mm_jax.errors import DataError
from weights_convert.bare import KEYS, as_rows
from weights_convert.plan import Layout, Part, Plan, Request
from weights_convert.readers.machine import spelled
from weights_convert.structure import arrays

__all__ = [
    "CACHE",
    "CODES",
    "COMPONENTS",
    "DIRECTION",
    "EDIT",
    "HIGAN",
    "SEFA",
    "codes",
    "components",
    "direction",
]

# Directions of a file that are kept, of several.
_MAX_DIRECTIONS = 64
# Largest root mean square of a mean that is one of z, which is 0 but for sampling.
_MEAN_OF_Z = 0.02


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
    ratio = std[0] ** 2 / np.square(std).sum()
    return _of_w(comp, std, mean, rows=rows, ratio=ratio, method="imported principal components")


def _of_w(
    comp: np.ndarray, std: np.ndarray, mean: np.ndarray, *, rows: int, ratio: float, method: str
) -> Subspace:
    """The subspace of directions [K, D] of W: strength 1 adds std[0] times the first to every row.

    Raises:
        DataError: directions that are not orthonormal.
    """
    if np.abs(comp @ comp.T - np.eye(len(comp))).max() > 1e-3:
        raise DataError("the rows of comp are not orthonormal")
    # A component moves all rows: spread over them it keeps its length when they are one vector.
    spread = np.sqrt(rows)
    return Subspace(
        basis=np.repeat(comp[:, None] / spread, rows, axis=1).astype(np.float32),
        scale=np.float32(std[0] * spread),
        singular_values=(std * spread).astype(np.float32),
        mean=np.repeat(mean[None], rows, axis=0).astype(np.float32),
        pc1_ratio=np.float32(ratio),
        mask=np.ones(rows, bool),
        meta={"method": method},
    )


def codes(content: Any, *, rows: int = 18) -> Latents:
    """Latents of W+, of whatever a file holds them in.

    Args:
        content: an array [L, D], [N, L, D], or of W [D], [N, D], [N, 1, D]; under a name such as
            "w"; or {name: latents of every step}, or {name: {"latent": ..}}.
        rows: L, where the latents are of W.

    Raises:
        DataError: other shapes, or names that would be one.
    """
    if isinstance(content, Mapping):
        if (key := next((key for key in KEYS if key in content), None)) is not None:
            return codes(content[key], rows=rows)
        names = [PurePath(str(name)).stem for name in content]
        last = [
            _finite(str(name), held.get("latent") if isinstance(held, Mapping) else held)
            for name, held in content.items()
        ]
        last = [steps.reshape(steps.shape[-2:]) if steps.ndim == 4 else steps for steps in last]
        last = [steps[-1] if steps.ndim == 3 else steps for steps in last]
        if not last or len(set(names)) < len(names) or len({ws.shape for ws in last}) > 1:
            raise DataError("the codes must have one shape, and distinct names")
        return _latents(np.stack(last), tuple(names), rows)
    if isinstance(content, list | tuple):
        content = np.stack([_finite("it", one) for one in content])
    ws = _finite("it", content)
    ws, _ = as_rows(ws, Request(rows=rows))
    return _latents(ws, None, rows)


def _latents(ws: np.ndarray, names: tuple[str, ...] | None, rows: int) -> Latents:
    if ws.ndim == 2:
        ws = ws[:, None]
    if ws.ndim != 3 or 0 in ws.shape:
        raise DataError(f"the codes must be [N, L, D], got {list(ws.shape)}")
    if ws.shape[1] == 1:  # of W
        ws = np.repeat(ws, rows, axis=1)
    return Latents(ws.astype(np.float32), names)


def _finite(what: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"{what} is no array: {error}") from error
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise DataError(f"{what} does not hold finite numbers")
    if not array.size:
        raise DataError(f"{what} must not be empty, got {list(array.shape)}")
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
            "the direction must be [1, L, D] with an even L from 4 to 20, or [1, D], got "
            f"{list(shape)}"
        )
    return value


def _plan_direction(content: Any, request: Request) -> Plan:
    if isinstance(content, list | tuple) and len(content) == 1:
        content = content[0]
    value = _finite("the direction", content)
    if value.ndim in (1, 2):
        many, _ = as_rows(value, request)
        value = many[0] if len(many) == 1 else value
    metadata = {"shape": list(value.shape), "norm": f"{np.linalg.norm(value):.4g}"}
    for_w = value.size == value.shape[-1] if value.shape else False
    notes = (f"one direction for all rows of W+; --rows={request.rows} of them",) if for_w else ()
    return Plan((Part(metadata, lambda: direction(value, rows=request.rows)),), notes)


def _plan_components(content: Any, request: Request) -> Plan:
    values = arrays(content, what="principal components")
    metadata = {name: list(value.shape) for name, value in values.items()}
    note = f"components of W, repeated over --rows={request.rows} of W+"
    return Plan((Part(metadata, lambda: components(values, rows=request.rows)),), (note,))


def _need(content: Any, what: str, *names: str) -> None:
    if not isinstance(content, Mapping) or not all(name in content for name in names):
        raise DataError(f"{what} holds {', '.join(names)}, this file does not")


def _said(value: Any) -> str:
    """A file's own value, fit for one line of a message."""
    return spelled(" ".join(str(value).split()))


def _plan_cache(content: Any, request: Request) -> Plan:
    names = {"comp": "lat_comp", "mean": "lat_mean", "std": "lat_stdev"}
    _need(content, "a cache of components", *names.values())
    values = {ours: _finite(theirs, content[theirs]) for ours, theirs in names.items()}
    mean = values["mean"]
    if mean.size and np.sqrt(np.square(mean).mean()) < _MEAN_OF_Z:
        raise DataError(
            "holds components of Z, whose mean is 0, and edits here are of W: compute them with "
            "GANSpace's --use_w"
        )
    return _plan_components(values, request)


def _plan_edit(content: Any, request: Request) -> Plan:
    """GANSpace's viewer adds strength * lat_stdev * lat_comp to rows edit_start up to edit_end."""
    _need(content, "an exported edit", "lat_comp", "lat_stdev", "edit_start", "edit_end")
    space, kind = content.get("latent_space", "W"), content.get("edit_type", "latent")
    if not isinstance(space, str) or space != "W":
        raise DataError(f"is an edit in {_said(space)}, and edits here are of W")
    if not isinstance(kind, str) or kind not in ("latent", "both"):
        raise DataError(f"is an edit of {_said(kind)}s, and edits here are of latents")
    first, end = content["edit_start"], content["edit_end"]
    deviation = np.asarray(content["lat_stdev"])
    if type(first) is not int or type(end) is not int or not 0 <= first < end <= 64:
        raise DataError(
            f"edits rows {_said(first)} up to {_said(end)}, which is no range of rows of W+"
        )
    if deviation.size != 1 or deviation.dtype.kind not in "fiu" or not deviation.reshape(()) > 0:
        raise DataError("its lat_stdev is not a positive number")
    step = _finite("lat_comp", content["lat_comp"]).reshape(-1) * float(deviation.reshape(()))
    count = max(request.rows, end + end % 2)
    ws = np.zeros((count, step.size))
    ws[first:end] = step
    metadata = {
        "name": _said(content.get("name", "")),
        "rows": f"{first} to {end - 1} of {count}",
        "deviation": float(deviation.reshape(())),
    }
    notes = ("of an edit of both, the part of the latents",) if kind == "both" else ()
    return Plan((Part(metadata, lambda: direction(ws, rows=count)),), notes)


def _plan_sefa(content: Any, request: Request) -> Plan:
    if isinstance(content, Mapping):
        _need(content, "a file of factors", "eigvec")
    # rosinality's file has the directions as columns.
    value = content["eigvec"] if isinstance(content, Mapping) else content
    value = _finite("the directions", np.stack(value) if isinstance(value, list | tuple) else value)
    comp = value.T if isinstance(content, Mapping) else value
    if comp.ndim != 2 or 0 in comp.shape:
        many, _ = as_rows(comp, request)
        if many.shape[1] != 1:
            raise DataError(f"the directions must be [K, D] of W, got {list(comp.shape)}")
        comp = many[:, 0]
    kept = comp[:_MAX_DIRECTIONS]
    metadata = {"directions": len(kept), "width": comp.shape[1]}
    notes = ["strength 1 adds a direction of length 1 to every row; the file holds no strengths"]
    if len(comp) > len(kept):
        notes.append(f"the first {len(kept)} of {len(comp)} directions are kept")
    notes.append("--component=N keeps one of them")

    def build():
        return _of_w(
            kept, np.ones(len(kept)), np.zeros(comp.shape[1]), rows=request.rows,
            ratio=1 / len(kept), method="imported directions",
        )  # fmt: skip

    return Plan((Part(metadata, build),), tuple(notes))


def _plan_higan(content: Any, request: Request) -> Plan:
    _need(content, "a boundary of HiGAN", "boundary", "meta_data")
    metadata = content["meta_data"]
    space = metadata.get("latent_space_type") if isinstance(metadata, Mapping) else None
    if str(space).upper() == "Z":
        raise DataError("is a boundary of Z, and edits here are of W")
    return _plan_direction(content["boundary"], request)


def _plan_codes(content: Any, request: Request) -> Plan:
    found = codes(content, rows=request.rows)
    metadata = {"latents": len(found.ws), "shape": list(found.ws.shape[1:])}
    return Plan((Part(metadata, lambda: found),))


DIRECTION = Layout("a direction of W or W+", _plan_direction)
COMPONENTS = Layout("GANSpace's principal components", _plan_components)
CACHE = Layout("GANSpace's cache of components", _plan_cache)
EDIT = Layout("an edit exported by GANSpace's viewer", _plan_edit)
SEFA = Layout("several directions of W", _plan_sefa)
HIGAN = Layout("a boundary of HiGAN", _plan_higan)
CODES = Layout("latents of W+", _plan_codes)
