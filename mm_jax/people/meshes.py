"""MakeHuman's text formats, and Catmull-Clark subdivision as a sparse matrix.

Nothing here knows about faces. Positions are float64 arrays ``[V, 3]`` in decimetres, faces are
rows of vertex indices.
"""

from __future__ import annotations

import dataclasses
import gzip
import zipfile
import zlib
from importlib.resources.abc import Traversable

import numpy as np
from scipy import sparse

from mm_jax.errors import DataError, first_line

__all__ = [
    "Fitting",
    "Obj",
    "read_fitting",
    "read_obj",
    "read_target",
    "refine",
    "subdivision",
    "triangles",
]


@dataclasses.dataclass(frozen=True)
class Obj:
    """A Wavefront mesh.

    Attributes:
        positions: ``[V, 3]`` float64.
        uv: ``[T, 2]`` float64 texture coordinates, ``[0, 2]`` where the file has none.
        groups: for each group its faces, each a list of (vertex, texture coordinate) pairs; the
            texture coordinate is -1 where the file gives none.
    """

    positions: np.ndarray
    uv: np.ndarray
    groups: dict[str, list[list[tuple[int, int]]]]

    def faces(self, *names: str) -> list[list[tuple[int, int]]]:
        """Faces of the named groups, of all groups if none is named."""
        return [face for name in names or self.groups for face in self.groups[name]]


def read_text(path: Traversable) -> str:
    """The text of a file in a folder or an archive, unzipped where it ends in ``.gz``.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.name.endswith(".gz") else data).decode("latin1")
    except FileNotFoundError as error:
        raise DataError(f"cannot read {path}: no such file") from error
    except (OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"cannot read {path}: {first_line(error)}") from error


def read_obj(path: Traversable) -> Obj:
    """Read positions, texture coordinates and faces of a Wavefront file.

    Raises:
        DataError: no such file, a line that is not what its first word promises, or a face of
            vertices that are not there.
    """
    positions, uv, groups, group = [], [], {}, "default"
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        try:
            match words[:1]:
                case ["v"]:
                    x, y, z = words[1:4]
                    positions.append([float(x), float(y), float(z)])
                case ["vt"]:
                    u, v = words[1:3]
                    uv.append([float(u), float(v)])
                case ["g"]:
                    group = words[1] if len(words) > 1 else "default"
                case ["f"]:
                    groups.setdefault(group, []).append([_corner(word) for word in words[1:]])
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{path}, line {number}: not a Wavefront line: {line[:60]!r}"
            ) from error
    corners = np.array([c for faces in groups.values() for face in faces for c in face])
    most = corners.reshape(-1, 2).max(axis=0, initial=-1)
    if most[0] >= len(positions) or most[1] >= len(uv):
        raise DataError(f"{path}: a face has a corner that is not among the file's points")
    return Obj(np.array(positions).reshape(-1, 3), np.array(uv).reshape(-1, 2), groups)


def _corner(word: str) -> tuple[int, int]:
    vertex, _, rest = word.partition("/")
    texture = rest.partition("/")[0]
    if int(vertex) < 1 or (texture and int(texture) < 1):
        raise ValueError("corners are counted from 1")
    return int(vertex) - 1, int(texture) - 1 if texture else -1


def read_target(path: Traversable, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a morph target, gzipped or not, of a mesh of ``count`` vertices.

    Returns:
        Vertex indices ``[n]`` int and their displacements ``[n, 3]`` float64 at full strength.

    Raises:
        DataError: no such file, or not rows of an index and three numbers.
    """
    lines = read_text(path).splitlines()
    rows = [line.split()[:4] for line in lines if line.strip() and not line.startswith("#")]
    try:
        values = np.array(rows, float).reshape(-1, 4)
        index = np.array([row[0] for row in rows], int)
    except ValueError as error:
        raise DataError(f"{path} is not a morph target: {first_line(error)}") from error
    if not np.isfinite(values).all() or index.min(initial=0) < 0 or index.max(initial=0) >= count:
        raise DataError(f"{path} is not a morph target of a mesh of {count} vertices")
    return index, values[:, 1:]


@dataclasses.dataclass(frozen=True)
class Fitting:
    """How a garment, hair or set of teeth hangs on the base mesh (an ``.mhclo`` file).

    A vertex is ``weights @ base[corners] + offset * scale``; along each axis the scale is the
    distance between two base vertices over the distance that the offsets were made for.

    Attributes:
        corners: ``[n, 3]`` int base vertices.
        weights: ``[n, 3]`` float64.
        offsets: ``[n, 3]`` float64.
        scales: for x, y and z the two base vertices and the distance.
    """

    corners: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    scales: tuple[tuple[int, int, float], ...]


def read_fitting(path: Traversable, count: int) -> Fitting:
    """Read an ``.mhclo`` file that fits something to a mesh of ``count`` vertices.

    Raises:
        DataError: no such file, no scale of an axis, no vertices, or rows that are not numbers.
    """
    scales, rows, inside = {}, [], False
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if words[0] in ("x_scale", "y_scale", "z_scale"):
                scales[words[0][0]] = (int(words[1]), int(words[2]), float(words[3]))
            elif words[0] == "verts":
                inside = True
            elif words[0] == "delete_verts":
                inside = False
            elif inside and words[0].lstrip("-").isdigit():
                # A single index is a vertex that sits on a base vertex.
                full = [float(x) for x in words[:9]] if len(words) >= 9 else None
                rows.append(full or [float(words[0]), 0, 0, 1, 0, 0, 0, 0, 0])
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, line {number}: not a fitting: {line[:60]!r}") from error
    if not rows or len(scales) != 3:
        raise DataError(f"{path} has no vertices or no scales: not a fitting of MakeHuman")
    table = np.array(rows)
    ends = [end for scale in scales.values() for end in scale[:2]]
    corners = np.concatenate([table[:, :3].ravel(), ends])
    if not np.isfinite(table).all() or corners.min() < 0 or corners.max() >= count:
        raise DataError(f"{path} is not a fitting to a mesh of {count} vertices")
    return Fitting(
        corners=table[:, :3].astype(int),
        weights=table[:, 3:6],
        offsets=table[:, 6:9],
        scales=tuple(scales[axis] for axis in "xyz"),
    )


def triangles(faces: list[list[int]]) -> np.ndarray:
    """Fans of triangles ``[t, 3]`` of polygons."""
    fans = [(f[0], f[k], f[k + 1]) for f in faces for k in range(1, len(f) - 1)]
    return np.array(fans, np.int64).reshape(-1, 3)


def subdivision(
    quads: np.ndarray, count: int, *, smooth: bool = True
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """One step of Catmull and Clark (1978) on quads; a boundary stays a cubic B-spline.

    Args:
        quads: ``[q, 4]`` int.
        count: number of vertices V.
        smooth: False only splits, leaving old vertices where they are and putting new ones in the
            middle, which is what texture coordinates want.

    Returns:
        A matrix ``[V', V]`` that gives the new vertices from the old ones, and the new quads
        ``[4 q, 4]``.
    """
    faces = len(quads)
    ends = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, which, uses = np.unique(
        np.sort(ends, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    which = which.reshape(-1)
    owner = np.repeat(np.arange(faces), 4)

    def matrix(values, rows, columns, shape):
        return sparse.csr_matrix((values, (rows, columns)), shape=shape)

    n = len(edges)
    face_points = matrix(np.full(4 * faces, 0.25), owner, quads.ravel(), (faces, count))
    middles = matrix(np.full(2 * n, 0.5), np.repeat(np.arange(n), 2), edges.ravel(), (n, count))
    if smooth:
        beside = matrix(1 / uses[which], which, owner, (n, faces)) @ face_points
        inner = sparse.diags((uses == 2).astype(float))
        edge_points = middles + 0.5 * (inner @ (beside - middles))
        vertex_points = _vertex_rule(quads, edges, uses, owner, count, face_points, middles)
    else:
        edge_points, vertex_points = middles, sparse.eye(count, format="csr")
    split = which.reshape(faces, 4) + count
    centre = np.arange(faces) + count + n
    new = np.concatenate(
        [
            np.stack([quads[:, k], split[:, k], centre, split[:, (k - 1) % 4]], axis=1)
            for k in range(4)
        ]
    )
    return sparse.csr_matrix(sparse.vstack([vertex_points, edge_points, face_points])), new


def refine(
    quads: np.ndarray, count: int, levels: int, *, smooth: bool = True
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Several steps of `subdivision`: a matrix ``[n, V]`` and the new quads."""
    matrix = sparse.csr_matrix(sparse.eye(count))
    for _ in range(levels):
        step, quads = subdivision(quads, len(matrix.indptr) - 1, smooth=smooth)
        matrix = sparse.csr_matrix(step @ matrix)
    return matrix, quads


def _vertex_rule(quads, edges, uses, owner, count, face_points, middles):
    """Where old vertices go: (F + 2 E + (n - 3) P) / n inside, (1, 6, 1) / 8 along a boundary."""
    valence = np.bincount(edges.ravel(), minlength=count)
    touching = np.maximum(np.bincount(quads.ravel(), minlength=count), 1)
    n = np.maximum(valence, 1).astype(float)
    to_faces = sparse.csr_matrix(
        (np.ones(quads.size), (quads.ravel(), owner)), shape=(count, len(quads))
    )
    to_edges = sparse.csr_matrix(
        (np.ones(edges.size), (edges.ravel(), np.repeat(np.arange(len(edges)), 2))),
        shape=(count, len(edges)),
    )
    inside = (
        sparse.diags(1 / (n * touching)) @ to_faces @ face_points
        + sparse.diags(2 / n**2) @ to_edges @ middles
        + sparse.diags((n - 3) / n)
    )
    border = edges[uses != 2]
    ends = np.bincount(border.ravel(), minlength=count)
    along = sparse.csr_matrix(
        (np.full(border.size, 1 / 8), (border.ravel(), border[:, ::-1].ravel())),
        shape=(count, count),
    )
    along = along + 0.75 * sparse.eye(count)
    is_border = ends == 2
    is_inside = (ends == 0) & (valence > 0)
    fixed = ~(is_border | is_inside)
    pick = lambda mask: sparse.diags(mask.astype(float))  # noqa: E731
    return pick(is_inside) @ inside + pick(is_border) @ along + pick(fixed)
