"""The head: MakeHuman's base mesh, its morph targets and what is fitted to it, in one file.

`mm_jax.people.sources` makes it from public files. Only vertices from the shoulders up are kept.
Lengths are decimetres, x to the head's left, y up, z to the front; the eyes are near
(+-0.31, 7.27, 1.2).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
from scipy import sparse

from mm_jax.errors import DataError
from mm_jax.io import load_npz, save_npz
from mm_jax.people.meshes import refine

__all__ = ["Heads", "Part", "load_heads", "reduced", "save_heads", "subdivided"]

#: What every file holds; all else is optional.
REQUIRED_PARTS = ("skin", "left_eye", "right_eye")
REQUIRED_GROUPS = ("upper_teeth", "lower_teeth")
_STEP = 1000  # to a decimetre: MakeHuman's targets have three decimals
_MOST_LEVELS = 3
_INSIDE = 9.0  # distance from an open edge where there is none


@dataclasses.dataclass(frozen=True)
class Part:
    """A mesh whose vertices follow the base mesh.

    Attributes:
        basis: ``[n, B]`` sparse; rows add up to 1.
        faces: ``[t, 3]`` int32 triangles.
        offset: ``[n, 3]`` float32, added after scaling; zeros for parts of the base mesh.
        scales: ``[3, 3]`` float64: for each axis two base vertices and the length that the offsets
            were made for, or zeros for parts without offsets.
        border: ``[n]`` float32, distance along the mesh from its open edge.
        cage: ``[q, 4]`` int base vertices, the quads that a part of the base mesh is subdivided
            from; no rows for parts that are fitted to it.
        levels: how often it is subdivided.
    """

    basis: sparse.csr_matrix
    faces: np.ndarray
    offset: np.ndarray
    scales: np.ndarray
    border: np.ndarray
    cage: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 4), np.int64))
    levels: int = 0

    @property
    def count(self) -> int:
        """Number of vertices."""
        return len(self.offset)

    def place(self, base: np.ndarray) -> np.ndarray:
        """Vertices ``[n, 3]`` float32 on a base mesh ``[B, 3]``."""
        placed = self.basis @ base
        if self.scales.any():
            first, second = self.scales[:, 0].astype(int), self.scales[:, 1].astype(int)
            axes = np.arange(3)
            length = np.abs(base[first, axes] - base[second, axes]) / self.scales[:, 2]
            placed = placed + self.offset * length
        return placed.astype(np.float32)

    def base_vertices(self) -> np.ndarray:
        """The base vertices, int, that it depends on."""
        scales = self.scales[:, :2].astype(int) if self.scales.any() else np.zeros(0, int)
        return np.union1d(self.basis.indices, scales)


def subdivided(cage: np.ndarray, levels: int, base_count: int) -> Part:
    """A part of the base mesh, made smooth.

    Args:
        cage: ``[q, 4]`` int base vertices.
        levels: steps of subdivision.
        base_count: vertices of the base mesh, B.
    """
    corners, quads = np.unique(cage, return_inverse=True)
    basis, fine = refine(quads.reshape(-1, 4), len(corners), levels)
    chosen = sparse.csr_matrix(
        (np.ones(len(corners)), (np.arange(len(corners)), corners)),
        shape=(len(corners), base_count),
    )
    basis = _sorted(sparse.csr_matrix(basis @ chosen, dtype=np.float32))
    count = len(basis.indptr) - 1
    return Part(
        basis=basis,
        faces=np.concatenate([fine[:, [0, 1, 2]], fine[:, [0, 2, 3]]]).astype(np.int32),
        offset=np.zeros((count, 3), np.float32),
        scales=np.zeros((3, 3)),
        border=np.full(count, _INSIDE, np.float32),
        cage=cage,
        levels=levels,
    )


def _sorted(basis: sparse.csr_matrix) -> sparse.csr_matrix:
    """With the entries of each row in order, so that sums round the same for all who make it."""
    basis.sort_indices()
    return basis


@dataclasses.dataclass(frozen=True)
class Heads:
    """All heads at once: a base mesh, what moves it, and what sits on it.

    Attributes:
        base: ``[B, 3]`` float32.
        follow: ``[B]`` float32, 1 where a vertex turns with the head, 0 where it stays.
        targets: ``[3 B, K]`` sparse, displacements at full strength.
        target_names: the K names.
        parts: by name; ``skin``, ``left_eye`` and ``right_eye``, and where they are there
            ``tongue``, ``teeth``, ``lashes``, ``hair-...`` and ``clothes-...``.
        lips: ``[n_skin]`` float32 in [0, 1], how much of a skin vertex is lip.
        mouth: the same for the inside of the mouth.
        groups: base vertices, int, that stand for the teeth of each jaw (``upper_teeth``,
            ``lower_teeth``): what the teeth are fitted to.
    """

    base: np.ndarray
    follow: np.ndarray
    targets: sparse.csc_matrix
    target_names: tuple[str, ...]
    parts: Mapping[str, Part]
    lips: np.ndarray
    mouth: np.ndarray
    groups: Mapping[str, np.ndarray]

    def morph(self, weights: Mapping[str, float]) -> np.ndarray:
        """The base mesh ``[B, 3]`` with targets added.

        Raises:
            DataError: a target that this file does not have.
        """
        columns = np.zeros(len(self.target_names), np.float32)
        position = {name: k for k, name in enumerate(self.target_names)}
        for name, weight in weights.items():
            if name not in position:
                raise DataError(f"these heads have no target {name!r}")
            columns[position[name]] += weight
        return self.base + (self.targets @ columns).reshape(-1, 3)

    def part(self, name: str) -> Part:
        """The part of that name.

        Raises:
            DataError: these heads don't have it.
        """
        if name not in self.parts:
            raise DataError(f"these heads have no part {name!r}, only {', '.join(self.parts)}")
        return self.parts[name]


def reduced(heads: Heads, parts: Collection[str], targets: Collection[str]) -> Heads:
    """Some parts and targets alone, and the base vertices that they need.

    Raises:
        DataError: a part or target that ``heads`` does not have.
    """
    missing = set(targets) - set(heads.target_names)
    if missing:
        raise DataError(f"these heads have no target {', '.join(sorted(missing))}")
    chosen = {name: heads.part(name) for name in parts}
    used = np.zeros(len(heads.base), bool)
    for index in (*(part.base_vertices() for part in chosen.values()), *heads.groups.values()):
        used[index] = True
    kept = np.flatnonzero(used)
    new = np.full(len(used), -1)
    new[kept] = np.arange(len(kept))
    rows = (3 * kept[:, None] + np.arange(3)).ravel()
    columns = [k for k, name in enumerate(heads.target_names) if name in set(targets)]

    def renumbered(part: Part) -> Part:
        scales = part.scales.copy()
        if scales.any():
            scales[:, :2] = new[scales[:, :2].astype(int)]
        basis = _sorted(sparse.csr_matrix(part.basis[:, kept], dtype=np.float32))
        return dataclasses.replace(part, basis=basis, scales=scales, cage=new[part.cage])

    return dataclasses.replace(
        heads,
        base=heads.base[kept],
        follow=heads.follow[kept],
        targets=sparse.csc_matrix(heads.targets.tocsr()[rows].tocsc()[:, columns]),
        target_names=tuple(heads.target_names[k] for k in columns),
        parts={name: renumbered(part) for name, part in chosen.items()},
        groups={name: new[index] for name, index in heads.groups.items()},
    )


# --- files ----------------------------------------------------------------------------------------


def save_heads(path: str | os.PathLike[str], heads: Heads) -> Path:
    """Write an ``.npz`` that `load_heads` opens.

    Displacements are stored in steps of a thousandth of a decimetre, which is all the precision
    that MakeHuman's have, and subdivided parts as their cages.
    """
    arrays: dict[str, np.ndarray] = {
        "base": heads.base,
        "follow": heads.follow,
        "lips": heads.lips,
        "mouth": heads.mouth,
        **_pack_targets(heads),
        **{f"group/{name}": heads.groups[name].astype(np.int32) for name in sorted(heads.groups)},
    }
    for name, part in sorted(heads.parts.items()):
        if len(part.cage):
            arrays[f"{name}/cage"] = part.cage.astype(np.int32)
            arrays[f"{name}/levels"] = np.array(part.levels)
            continue
        for field in ("faces", "offset", "scales", "border"):
            arrays[f"{name}/{field}"] = getattr(part, field)
        for field in ("data", "indices", "indptr"):
            arrays[f"{name}/basis/{field}"] = getattr(part.basis, field)
    return save_npz(path, **arrays)


def _pack_targets(heads: Heads) -> dict[str, np.ndarray]:
    """Targets as differences from one displaced vertex to the next, which compress well."""
    matrix = sparse.coo_matrix(heads.targets)
    place = matrix.col.astype(np.int64) * len(heads.base) + matrix.row // 3
    steps = np.round(matrix.data.astype(float) * _STEP).astype(np.int64)
    if np.abs(steps).max(initial=0) > np.iinfo(np.int16).max:
        raise DataError("a target moves a vertex farther than 32 decimetres")
    place, which = np.unique(place[steps != 0], return_inverse=True)
    shift = np.zeros((3, len(place)), np.int16)
    shift[matrix.row[steps != 0] % 3, which] = steps[steps != 0]
    # int16 wraps in the differences and wraps back in their sums.
    return {
        "target_names": np.array(heads.target_names),
        "targets/place": np.diff(place, prepend=0).astype(np.uint32),
        "targets/shift": np.diff(shift, axis=1, prepend=np.zeros((3, 1), np.int16)),
    }


def load_heads(path: str | os.PathLike[str]) -> Heads:
    """Open a file of `save_heads`.

    Raises:
        DataError: no such file, or not one of these; the message names the file.
    """
    shapes = {
        "base": (None, 3),
        "follow": (None,),
        "lips": (None,),
        "mouth": (None,),
        "target_names": (None,),
        "targets/place": (None,),
        "targets/shift": (3, None),
    }
    arrays = load_npz(path, required=shapes | {f"group/{n}": (None,) for n in REQUIRED_GROUPS})
    try:
        return _heads_from(arrays)
    except _Bad as error:
        raise DataError(f"{path} is not a file of heads: {error}") from error


class _Bad(ValueError):
    """What is wrong with a file."""


def _heads_from(arrays: Mapping[str, np.ndarray]) -> Heads:
    base = _numbers(arrays, "base", (None, 3)).astype(np.float32)
    names = tuple(str(name) for name in arrays["target_names"])
    _want(arrays["target_names"].dtype.kind == "U", "target_names is not text")
    _want(len(set(names)) == len(names), "two targets have the same name")
    parts = {
        name: read(arrays, name, len(base))
        for suffix, read in _READERS.items()
        for name in sorted(key.removesuffix(suffix) for key in arrays if key.endswith(suffix))
    }
    for name in REQUIRED_PARTS:
        _want(name in parts, f"it has no part {name!r}")
    groups = {
        key.removeprefix("group/"): _indices(arrays, key, (None,), len(base))
        for key in arrays
        if key.startswith("group/")
    }
    return Heads(
        base=base,
        follow=_numbers(arrays, "follow", (len(base),)),
        targets=_unpack_targets(arrays, len(base), len(names)),
        target_names=names,
        parts=parts,
        lips=_numbers(arrays, "lips", (parts["skin"].count,)),
        mouth=_numbers(arrays, "mouth", (parts["skin"].count,)),
        groups=groups,
    )


def _read_subdivided(arrays: Mapping[str, np.ndarray], name: str, base_count: int) -> Part:
    cage = _indices(arrays, f"{name}/cage", (None, 4), base_count)
    levels = _indices(arrays, f"{name}/levels", (), _MOST_LEVELS + 1)
    _want(len(cage) > 0, f"{name}/cage is empty")
    return subdivided(cage, int(levels), base_count)


def _read_fitted(arrays: Mapping[str, np.ndarray], name: str, base_count: int) -> Part:
    offset = _numbers(arrays, f"{name}/offset", (None, 3))
    scales = _numbers(arrays, f"{name}/scales", (3, 3)).astype(float)
    if scales.any():
        ends, length = scales[:, :2], scales[:, 2]
        inside = (ends >= 0) & (ends < base_count) & (ends == np.floor(ends))
        _want(bool(inside.all() and (length > 0).all()), f"{name}/scales is out of range")
    data = _numbers(arrays, f"{name}/basis/data", (None,))
    indices = _indices(arrays, f"{name}/basis/indices", (len(data),), base_count)
    starts = _indices(arrays, f"{name}/basis/indptr", (len(offset) + 1,), len(data) + 1)
    _want(starts[0] == 0 and starts[-1] == len(data), f"{name}/basis/indptr does not fit")
    _want(bool((np.diff(starts) >= 0).all()), f"{name}/basis/indptr does not rise")
    return Part(
        basis=sparse.csr_matrix((data, indices, starts), shape=(len(offset), base_count)),
        faces=_indices(arrays, f"{name}/faces", (None, 3), len(offset)).astype(np.int32),
        offset=offset,
        scales=scales,
        border=_numbers(arrays, f"{name}/border", (len(offset),)),
    )


_READERS: dict[str, Callable[[Mapping[str, np.ndarray], str, int], Part]] = {
    "/cage": _read_subdivided,
    "/faces": _read_fitted,
}


def _unpack_targets(arrays: Mapping[str, np.ndarray], vertices: int, targets: int):
    difference = arrays["targets/place"]
    _want(difference.dtype == np.uint32, "targets/place is not uint32")
    place = np.cumsum(difference, dtype=np.int64)
    _want(not len(place) or int(place[-1]) < vertices * targets, "targets/place is out of range")
    _want(bool((difference[1:] > 0).all()), "targets/place names a vertex twice")
    shift = arrays["targets/shift"]
    _want(
        shift.dtype == np.int16 and shift.shape[1] == len(place),
        f"targets/shift must be int16 [3, {len(place)}], got {shift.dtype} {list(shift.shape)}",
    )
    value = np.cumsum(shift, axis=1, dtype=np.int16).T.astype(float) / _STEP
    rows = 3 * (place % max(vertices, 1))[:, None] + np.arange(3)
    starts = 3 * np.searchsorted(place, vertices * np.arange(targets + 1))
    return sparse.csc_matrix(
        (value.astype(np.float32).ravel(), rows.ravel(), starts), shape=(3 * vertices, targets)
    )


def _want(fact: bool | np.bool_, message: str) -> None:
    if not fact:
        raise _Bad(message)


def _shaped(arrays, name: str, shape: tuple[int | None, ...], kinds: str) -> np.ndarray:
    _want(name in arrays, f"it has no {name}")
    value = arrays[name]
    fits = len(value.shape) == len(shape) and all(
        want in (None, have) for have, want in zip(value.shape, shape, strict=True)
    )
    wanted = ", ".join("*" if side is None else str(side) for side in shape)
    _want(
        fits and value.dtype.kind in kinds,
        f"{name} must be {'integers' if kinds == 'iu' else 'numbers'} [{wanted}], "
        f"got {value.dtype} {list(value.shape)}",
    )
    return value


def _numbers(arrays, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    return _shaped(arrays, name, shape, "f")


def _indices(arrays, name: str, shape: tuple[int | None, ...], below: int) -> np.ndarray:
    """Integers of the shape in [0, below)."""
    value = _shaped(arrays, name, shape, "iu")
    _want(
        not value.size or (value.min() >= 0 and value.max() < below),
        f"{name} must hold indices from 0 to {below - 1}, got others",
    )
    return value.astype(np.int64)
