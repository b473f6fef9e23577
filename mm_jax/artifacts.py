"""Latents, anchors and subspaces, which pass between the steps, and their files.

Shapes: N latents, L rows of W+, D latent width, M anchors, K rank. Every artifact is an `.npz` of
plain arrays; anchors and subspaces have a json sidecar of the same stem that says where they come
from. Arrays are stored and loaded as float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import io
from mm_jax.errors import DataError, UsageError
from mm_jax.meta import Meta

__all__ = [
    "Anchors",
    "Latents",
    "Meta",
    "Subspace",
    "anchors_bytes",
    "check_subspace",
    "fitted_latents",
    "fitted_subspace",
    "load_anchors",
    "load_latents",
    "load_subspace",
    "save_anchors",
    "save_latents",
    "save_subspace",
    "subspace_bytes",
]

Array = jax.Array | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Latents:
    """Latents of W+ with their names and seeds.

    Attributes:
        ws: [N, L, D] float32.
        names: one per latent, or None.
        seeds: the seed that each latent was sampled from, or None.
    """

    ws: Array
    names: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        # Lists are accepted; tuples are stored, because static pytree fields must be hashable.
        for field in ("names", "seeds"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, tuple(value))


@dataclasses.dataclass(frozen=True, eq=False)
class Anchors:
    """Latents of one identity along one micromotion.

    Attributes:
        ws: [M, L, D] float32, one latent for each degree.
        start: [L, D] float32, the identity's own latent.
        degrees: [M] float32, how far along the motion each latent is (time, for a video).
        meta: prompts or the video's name, generator fingerprint, settings.
    """

    ws: Array
    start: Array
    degrees: Array
    meta: Mapping[str, Any] = dataclasses.field(default_factory=Meta)

    def __post_init__(self) -> None:
        if not isinstance(self.meta, Meta):
            object.__setattr__(self, "meta", Meta(self.meta))


@dataclasses.dataclass(frozen=True, eq=False)
class Subspace:
    """The low-dimensional space of one micromotion.

    Attributes:
        basis: [K, L, D] float32, orthonormal as vectors of L*D numbers; the sign is such that
            growing degree is positive; rows of W+ that were left out are zero.
        scale: the natural strength: how far along `basis[0]` the last anchor lies. An edit of
            strength 1 moves by `scale`, so it makes the anchors' own full motion.
        singular_values: descending: [min(M, L*D)] of a joint decomposition, [L, min(M, D)] of one
            that treats each row of W+ by itself.
        mean: [L, D] float32, the latent that the decomposition was centred on.
        pc1_ratio: variance along the first component over total variance, in [0, 1].
        mask: [L] bool, the rows of W+ that an edit may change.
        meta: method, rank, prompts, generator fingerprint.
    """

    basis: Array
    scale: Any
    singular_values: Array
    mean: Array
    pc1_ratio: Any
    mask: Array
    meta: Mapping[str, Any] = dataclasses.field(default_factory=Meta)

    def __post_init__(self) -> None:
        if not isinstance(self.meta, Meta):
            object.__setattr__(self, "meta", Meta(self.meta))

    @property
    def rank(self) -> int:
        """K, the number of basis vectors."""
        return self.basis.shape[0]

    @property
    def direction(self) -> jax.Array:
        """[L, D] float32: the edit of strength 1, `scale * basis[0]` in the rows of the mask."""
        return direction_of(self.basis, self.scale, self.mask)

    def component(self, index: int) -> Subspace:
        """The subspace of rank 1 spanned by one basis vector.

        Its scale is that of the first component times the ratio of their singular values, that is,
        both have the same strength relative to the spread of the data along them.

        Raises:
            UsageError: no such component.
        """
        if not 0 <= index < self.rank:
            raise UsageError(f"component {index} of a subspace of rank {self.rank}")
        squares = jnp.square(jnp.asarray(self.singular_values))
        spread = jnp.sqrt(squares if squares.ndim == 1 else squares.sum(axis=0))
        return dataclasses.replace(
            self,
            basis=self.basis[index : index + 1],
            scale=self.scale * spread[index] / spread[0],
            pc1_ratio=squares[..., index].sum() / squares.sum(),
        )


@jax.jit
def direction_of(basis: Array, scale: Any, mask: Array) -> jax.Array:
    """`Subspace.direction` of these of its parts."""
    moving = jnp.asarray(mask).astype(jnp.float32)[:, None]
    return jnp.asarray(basis)[0] * jnp.asarray(scale, jnp.float32) * moving


jax.tree_util.register_dataclass(Latents, data_fields=["ws"], meta_fields=["names", "seeds"])
jax.tree_util.register_dataclass(
    Anchors, data_fields=["ws", "start", "degrees"], meta_fields=["meta"]
)
jax.tree_util.register_dataclass(
    Subspace,
    data_fields=["basis", "scale", "singular_values", "mean", "pc1_ratio", "mask"],
    meta_fields=["meta"],
)


def fitted_latents(latents: Latents, shape: Sequence[int]) -> Latents:
    """Latents for a generator of another number of rows, (L, D), where that is no question.

    Latents whose rows are all equal are of W, and have as many rows as are wanted; others are
    returned as they are.
    """
    ws = np.asarray(latents.ws)
    rows, width = shape
    if ws.shape[1] == rows or ws.shape[2] != width or not _equal_rows(ws):
        return latents
    return dataclasses.replace(latents, ws=np.repeat(ws[:, :1], rows, axis=1))


def fitted_subspace(subspace: Subspace, shape: Sequence[int]) -> Subspace:
    """A subspace for a generator of another number of rows, (L, D), where that is no question.

    A subspace whose rows are all equal is of W. An edit of one strength moves each row as before.
    Others are returned as they are.
    """
    basis, mean = np.asarray(subspace.basis), np.asarray(subspace.mean)
    rows, width = shape
    if basis.shape[1] == rows or basis.shape[2] != width or not np.all(subspace.mask):
        return subspace
    if not _equal_rows(basis) or not _equal_rows(mean[None]):
        return subspace
    stretch = np.sqrt(rows / basis.shape[1])
    return dataclasses.replace(
        subspace,
        basis=np.repeat(basis[:, :1], rows, axis=1) / np.float32(stretch),
        scale=subspace.scale * stretch,
        singular_values=np.asarray(subspace.singular_values) * np.float32(stretch),
        mean=np.repeat(mean[:1], rows, axis=0),
        mask=np.ones(rows, np.bool_),
    )


def _equal_rows(ws: np.ndarray) -> bool:
    """Whether all rows of each [.., L, D] are one; files of half precision round them alike."""
    return bool((ws == ws[:, :1]).all())


def _sidecar(path: io.PathLike) -> Path:
    return Path(path).with_suffix(".json")


def _check_npz_name(path: io.PathLike) -> Path:
    if Path(path).suffix != ".npz":
        raise UsageError(f"{path}: the file must be named *.npz")
    return Path(path)


def _floats(path: io.PathLike, name: str, value: Any) -> np.ndarray:
    """`value` as finite float32, or a DataError that names the file and the array."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path}: {name!r} must hold numbers, got {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise DataError(f"{path}: {name!r} holds NaN or infinity")
    return array


def _check_equal(path: io.PathLike, name: str, shape: tuple[int, ...], wanted: Sequence[int]):
    if tuple(shape) != tuple(wanted):
        raise DataError(f"{path}: {name!r} must have shape {list(wanted)}, got {list(shape)}")


def _codes(path: io.PathLike, name: str, value: Any, what: str) -> np.ndarray:
    array = _floats(path, name, value)
    if array.ndim != 3 or 0 in array.shape:
        raise DataError(
            f"{path}: {name!r} must have shape {what}, with no empty axis, got {list(array.shape)}"
        )
    return array


def _check_latents(path: io.PathLike, latents: Latents) -> Latents:
    ws = _codes(path, "ws", latents.ws, "[N, L, D]")
    for name, values in (("names", latents.names), ("seeds", latents.seeds)):
        if values is not None and len(values) != len(ws):
            raise DataError(f"{path}: {len(values)} {name} for {len(ws)} latents")
    return Latents(ws, latents.names, latents.seeds)


def save_latents(path: io.PathLike, latents: Latents) -> Path:
    """Write latents; `path` ends in `.npz`.

    Raises:
        DataError: the latents are not finite [N, L, D], or names or seeds are not N.
        UsageError: the file is not named `*.npz`.
    """
    latents = _check_latents(_check_npz_name(path), latents)
    arrays: dict[str, np.ndarray] = {"ws": np.asarray(latents.ws)}
    if latents.names is not None:
        arrays["names"] = np.asarray(latents.names, dtype=np.str_)
    if latents.seeds is not None:
        arrays["seeds"] = np.asarray(latents.seeds, dtype=np.int64)
    return io.save_npz(path, **arrays)


def load_latents(path: io.PathLike) -> Latents:
    """Read latents. `ws` of shape [L, D] is one latent and becomes [1, L, D].

    A `projected_w.npz` of stylegan2-ada-pytorch, whose array is called `w`, is read too.

    Raises:
        DataError: as `save_latents`, and where the file is missing or corrupt.
    """
    arrays = io.load_npz(path, required={}, what="latents", called="latents.npz")
    if "w" in arrays and "ws" not in arrays:
        arrays["ws"] = arrays.pop("w")
    if "ws" not in arrays:
        raise io.lacking(path, "ws", arrays, "latents")
    ws = arrays["ws"]
    names = seeds = None
    if "names" in arrays:
        names = tuple(str(name) for name in np.atleast_1d(arrays["names"]))
    if "seeds" in arrays:
        if arrays["seeds"].dtype.kind not in "iu":
            raise DataError(f"{path}: 'seeds' must hold integers, got {arrays['seeds'].dtype}")
        seeds = tuple(int(seed) for seed in np.atleast_1d(arrays["seeds"]))
    return _check_latents(path, Latents(ws[None] if ws.ndim == 2 else ws, names, seeds))


def _read_meta(path: io.PathLike) -> Meta:
    sidecar = _sidecar(path)
    if not sidecar.exists():
        return Meta()
    values = io.read_json(sidecar)
    if not isinstance(values, dict):
        raise DataError(f"{sidecar} must hold a json object, got {type(values).__name__}")
    return Meta(values)


def _check_anchors(path: io.PathLike, anchors: Anchors) -> Anchors:
    ws = _codes(path, "ws", anchors.ws, "[M, L, D]")
    start = _floats(path, "start", anchors.start)
    degrees = _floats(path, "degrees", anchors.degrees)
    _check_equal(path, "start", start.shape, ws.shape[1:])
    _check_equal(path, "degrees", degrees.shape, ws.shape[:1])
    return Anchors(ws, start, degrees, anchors.meta)


def save_anchors(path: io.PathLike, anchors: Anchors) -> Path:
    """Write anchors as `path` (`*.npz`) and their metadata as `<stem>.json` beside it.

    Raises:
        DataError: shapes do not agree or values are not finite.
        UsageError: the file is not named `*.npz`.
    """
    return _save_pair(path, *anchors_bytes(path, anchors))


def anchors_bytes(path: io.PathLike, anchors: Anchors) -> tuple[bytes, bytes]:
    """The bytes that `save_anchors` writes: `.npz` and sidecar; raises the same errors."""
    checked = _check_anchors(_check_npz_name(path), anchors)
    arrays = {"ws": checked.ws, "start": checked.start, "degrees": checked.degrees}
    return io.npz_bytes(path, **arrays), io.json_bytes(_sidecar(path), dict(checked.meta))


def _save_pair(path: io.PathLike, arrays: bytes, metadata: bytes) -> Path:
    io.write_atomic(_sidecar(path), lambda file: file.write(metadata))
    return io.write_atomic(path, lambda file: file.write(arrays))


def load_anchors(path: io.PathLike) -> Anchors:
    """Read anchors; without a json sidecar their metadata is empty.

    Raises:
        DataError: a file is missing or corrupt, shapes do not agree or values are not finite.
    """
    arrays = io.load_npz(path, required={"ws": 3, "start": 2, "degrees": 1}, what="anchors")
    anchors = Anchors(arrays["ws"], arrays["start"], arrays["degrees"], _read_meta(path))
    return _check_anchors(path, anchors)


def check_subspace(path: io.PathLike, subspace: Subspace) -> Subspace:
    """A subspace with its arrays as float32; `path` is what messages call it.

    Raises:
        DataError: shapes do not agree, values are not finite, the basis is not orthonormal or the
            scale not positive.
    """
    basis = _codes(path, "basis", subspace.basis, "[K, L, D]")
    mean = _floats(path, "mean", subspace.mean)
    values = _floats(path, "singular_values", subspace.singular_values)
    scale = _floats(path, "scale", subspace.scale)
    ratio = _floats(path, "pc1_ratio", subspace.pc1_ratio)
    mask = np.asarray(subspace.mask)
    _check_equal(path, "mean", mean.shape, basis.shape[1:])
    _check_equal(path, "mask", mask.shape, basis.shape[1:2])
    _check_equal(path, "scale", scale.shape, ())
    _check_equal(path, "pc1_ratio", ratio.shape, ())
    if mask.dtype != np.bool_:
        raise DataError(f"{path}: 'mask' must hold bool, got {mask.dtype}")
    if values.ndim not in (1, 2) or (values < 0).any():
        raise DataError(f"{path}: 'singular_values' must be [*] or [L, *], none of them negative")
    if not scale > 0:
        raise DataError(f"{path}: 'scale' must be a positive number, got {scale}")
    flat = basis.reshape(len(basis), -1).astype(np.float64)
    if np.abs(flat @ flat.T - np.eye(len(flat))).max() > 1e-3:
        raise DataError(f"{path}: the rows of 'basis' are not orthonormal")
    return Subspace(basis, float(scale), values, mean, float(ratio), mask, subspace.meta)


def save_subspace(path: io.PathLike, subspace: Subspace) -> Path:
    """Write a subspace as `path` (`*.npz`) and its metadata as `<stem>.json` beside it.

    Raises:
        DataError: shapes do not agree, values are not finite, the basis is not orthonormal or the
            scale not positive.
        UsageError: the file is not named `*.npz`.
    """
    return _save_pair(path, *subspace_bytes(path, subspace))


def subspace_bytes(path: io.PathLike, subspace: Subspace) -> tuple[bytes, bytes]:
    """The bytes that `save_subspace` writes: `.npz` and sidecar; raises the same errors."""
    checked = check_subspace(_check_npz_name(path), subspace)
    names = ("basis", "scale", "singular_values", "mean", "pc1_ratio", "mask")
    arrays = {name: np.asarray(getattr(checked, name)) for name in names}
    arrays["scale"] = arrays["scale"].astype(np.float32)
    arrays["pc1_ratio"] = arrays["pc1_ratio"].astype(np.float32)
    return io.npz_bytes(path, **arrays), io.json_bytes(_sidecar(path), dict(checked.meta))


def load_subspace(path: io.PathLike) -> Subspace:
    """Read a subspace; without a json sidecar its metadata is empty.

    Raises:
        DataError: as `save_subspace`, and where a file is missing or corrupt.
    """
    required = {
        "basis": 3,
        "scale": 0,
        "singular_values": None,
        "mean": 2,
        "pc1_ratio": 0,
        "mask": 1,
    }
    arrays = io.load_npz(path, required=required, what="a subspace", called="subspace.npz")
    fields = {f.name: arrays[f.name] for f in dataclasses.fields(Subspace) if f.name != "meta"}
    return check_subspace(path, Subspace(**fields, meta=_read_meta(path)))
