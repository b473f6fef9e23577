"""Catmull-Clark by its definition and its known limits, and MakeHuman's text formats."""

from __future__ import annotations

import gzip

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.errors import DataError
from mm_jax.people.meshes import (
    read_fitting,
    read_obj,
    read_target,
    refine,
    subdivision,
    triangles,
)

# Corners (+-1, +-1, +-1), bits of the index as signs; faces seen anticlockwise from outside.
CUBE = np.array([[2 * (i >> k & 1) - 1 for k in range(3)] for i in range(8)], float)
CUBE_QUADS = np.array(
    [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [0, 2, 3, 1], [4, 5, 7, 6]]
)
# Four by three quads, open.
GRID = np.array([[y, x, 0.0] for y in range(4) for x in range(5)])
GRID_QUADS = np.array(
    [[5 * y + x, 5 * y + x + 1, 5 * y + x + 6, 5 * y + x + 5] for y in range(3) for x in range(4)]
)
points = hnp.arrays(np.float64, (20, 3), elements=st.floats(-5, 5))


def edges_of(quads):
    ends = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    return np.unique(np.sort(ends, axis=1), axis=0)


def test_the_first_step_of_a_cube():
    matrix, quads = subdivision(CUBE_QUADS, 8)
    new = matrix @ CUBE
    assert new.shape == (8 + 12 + 6, 3) and quads.shape == (24, 4)
    np.testing.assert_allclose(new[:8], CUBE * 5 / 9)
    np.testing.assert_allclose(np.sort(np.abs(new[8:20]), axis=1), [[0, 0.75, 0.75]] * 12)
    np.testing.assert_allclose(new[20:], CUBE[CUBE_QUADS].mean(axis=1))
    assert len(new) - len(edges_of(quads)) + len(quads) == 2  # Euler


def test_the_limit_of_a_cube():
    """(n^2 V + 4 sum E + sum F) / (n (n + 5)), of the mesh after one step (Halstead 1993)."""
    matrix, quads = refine(CUBE_QUADS, 8, 5)
    np.testing.assert_allclose((matrix @ CUBE)[:8], CUBE / 2, atol=1e-3)
    assert quads.shape == (6 * 4**5, 4)


def test_two_steps_are_one_after_the_other():
    first, quads = subdivision(GRID_QUADS, 20)
    second, finer = subdivision(quads, first.shape[0])
    matrix, same = refine(GRID_QUADS, 20, 2)
    np.testing.assert_allclose(matrix.toarray(), (second @ first).toarray(), atol=1e-15)
    np.testing.assert_array_equal(same, finer)
    matrix, same = refine(GRID_QUADS, 20, 0)
    np.testing.assert_array_equal(matrix.toarray(), np.eye(20))


@pytest.mark.parametrize("smooth", [True, False])
@settings(max_examples=30, deadline=None)
@given(points, hnp.arrays(np.float64, (4, 3), elements=st.floats(-3, 3)))
def test_affine_maps_and_subdivision_commute(smooth, places, affine):
    matrix, _ = subdivision(GRID_QUADS, 20, smooth=smooth)
    moved = places @ affine[:3] + affine[3]
    np.testing.assert_allclose(
        matrix @ moved, (matrix @ places) @ affine[:3] + affine[3], atol=1e-9
    )
    assert matrix.min() >= 0


@settings(max_examples=30, deadline=None)
@given(points, points)
def test_a_boundary_is_a_cubic_spline_whatever_is_inside(places, others):
    matrix, _ = subdivision(GRID_QUADS, 20)
    ring = [0, 1, 2, 3, 4, 9, 14, 19, 18, 17, 16, 15, 10, 5]
    inside = np.setdiff1d(np.arange(20), ring)
    changed = places.copy()
    changed[inside] = others[inside]
    curve = places[ring]
    before, after = np.roll(curve, 1, axis=0), np.roll(curve, -1, axis=0)
    for positions in (places, changed):
        new = matrix @ positions
        np.testing.assert_allclose(new[ring], (before + 6 * curve + after) / 8, atol=1e-12)
        split = {tuple(edge): 20 + k for k, edge in enumerate(edges_of(GRID_QUADS))}
        for a, b in zip(ring, np.roll(ring, -1), strict=True):
            middle = (places[a] + places[b]) / 2
            np.testing.assert_allclose(new[split[min(a, b), max(a, b)]], middle, atol=1e-12)


def test_the_inside_of_a_plane_stays():
    new = subdivision(GRID_QUADS, 20)[0] @ GRID
    inside = [6, 7, 8, 11, 12, 13]
    np.testing.assert_allclose(new[inside], GRID[inside], atol=1e-12)


def test_splitting_only_keeps_old_points():
    matrix, quads = subdivision(GRID_QUADS, 20, smooth=False)
    new = matrix @ GRID
    np.testing.assert_array_equal(new[:20], GRID)
    np.testing.assert_allclose(new[quads[:, 0]].max(axis=0), GRID.max(axis=0))
    corners = new[quads]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])[:, 2]
    np.testing.assert_allclose(area, -0.25)  # all quads keep their sense


def test_a_vertex_of_no_face_stays():
    matrix, _ = subdivision(GRID_QUADS, 22)
    np.testing.assert_array_equal(matrix.toarray()[20:22, 20:22], np.eye(2))


def test_fans():
    fans = triangles([[0, 1, 2], [3, 4, 5, 6], [7, 8]])
    np.testing.assert_array_equal(fans, [[0, 1, 2], [3, 4, 5], [3, 5, 6]])
    assert triangles([]).shape == (0, 3)


# --- files ----------------------------------------------------------------------------------------

OBJ = """# a mesh
v 0 0 0
v 1.5 0 0
v 1 1 -2e-1
vt 0 0.5
vt 1 1
g first
f 1/1 2/2 3/1
g second
f 3//1 2 1
"""


def written(tmp_path, text, name="file"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_wavefront_file(tmp_path):
    mesh = read_obj(written(tmp_path, OBJ))
    np.testing.assert_array_equal(mesh.positions[2], [1, 1, -0.2])
    np.testing.assert_array_equal(mesh.uv, [[0, 0.5], [1, 1]])
    assert mesh.groups == {
        "first": [[(0, 0), (1, 1), (2, 0)]],
        "second": [[(2, -1), (1, -1), (0, -1)]],
    }
    assert mesh.faces("second") == mesh.groups["second"] and len(mesh.faces()) == 2


@pytest.mark.parametrize(
    "line", ["v 1 2", "v a b c", "vt 1", "f 1 2 x", "f 1 2 4", "f 1/3 2 3", "f 0 1 2", "f -1 1 2"]
)
def test_damaged_wavefront_lines(tmp_path, line):
    with pytest.raises(DataError, match="file"):
        read_obj(written(tmp_path, OBJ + line + "\n"))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_target(tmp_path, zipped):
    text = "# basemesh\n\n2 0.5 -1 0\n7 0 0 .25 trailing\n"
    path = tmp_path / ("a.target.gz" if zipped else "a.target")
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    index, shift = read_target(path, 8)
    np.testing.assert_array_equal(index, [2, 7])
    np.testing.assert_array_equal(shift, [[0.5, -1, 0], [0, 0, 0.25]])
    with pytest.raises(DataError, match="mesh of 7 vertices"):
        read_target(path, 7)


@pytest.mark.parametrize("row", ["1 2 3", "x 0 0 0", "1 0 0 nan", "-1 0 0 0", "1.5 0 0 0"])
def test_damaged_targets(tmp_path, row):
    with pytest.raises(DataError, match=r"a\.target"):
        read_target(written(tmp_path, f"0 0 0 0\n{row}\n", "a.target"), 8)


def test_files_that_are_not_there_or_not_zipped(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_obj(tmp_path / "none.obj")
    with pytest.raises(DataError, match=r"cannot read .*a\.target\.gz"):
        read_target(written(tmp_path, "0 0 0 0", "a.target.gz"), 8)


FITTING = """name hair
x_scale 0 1 2.0
z_scale 0 2 0.5
y_scale 3 4 1.0
verts 0
0 1 2 0.2 0.3 0.5 0.01 -0.02 0.03
5
delete_verts
1 2 3 - 4
"""


def test_a_fitting(tmp_path):
    fitting = read_fitting(written(tmp_path, FITTING), 6)
    np.testing.assert_array_equal(fitting.corners, [[0, 1, 2], [5, 0, 0]])
    np.testing.assert_array_equal(fitting.weights, [[0.2, 0.3, 0.5], [1, 0, 0]])
    np.testing.assert_array_equal(fitting.offsets, [[0.01, -0.02, 0.03], [0, 0, 0]])
    assert fitting.scales == ((0, 1, 2.0), (3, 4, 1.0), (0, 2, 0.5))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x_scale 0 1 2.0\n", ""),
        ("x_scale 0 1 2.0", "x_scale 0"),
        ("x_scale 0 1 2.0", "x_scale 0 9 2.0"),
        ("0 1 2 0.2", "0 1 2 half"),
        ("0 1 2 0.2", "0 1 6 0.2"),
        ("0 1 2 0.2", "-1 1 2 0.2"),
        ("0 1 2 0.2", "0 1 2 nan"),
        ("verts 0\n", ""),
    ],
)
def test_damaged_fittings(tmp_path, old, new):
    assert old in FITTING
    with pytest.raises(DataError, match="file"):
        read_fitting(written(tmp_path, FITTING.replace(old, new)), 6)
