"""The rasteriser against one that tries every triangle at every sample."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.people.raster import BAYER, choose_samples, depth_map, visible

SQUARE = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def square(low, high, depth):
    corners = [(low, low), (high, low), (high, high), (low, high)]
    return np.array([(x, y, depth) for x, y in corners], np.float32)


def barycentric(points, faces, across):
    """Weights ``[t, A, A, 3]`` of all triangles at all samples."""
    y, x = np.mgrid[:across, :across].astype(float)
    a, b, c = (points[faces[:, k], :2].astype(float) for k in range(3))
    sample = np.stack([x, y], axis=-1)[None]

    def cross(p, q):
        return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]

    area = cross(b - a, c - a)[:, None, None]
    first, second, third = (corner[:, None, None] for corner in (a, b, c))
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = [
            cross(second - sample, third - sample) / area,
            cross(third - sample, first - sample) / area,
            cross(first - sample, second - sample) / area,
        ]
    return np.stack(weights, axis=-1)


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_triangle_is_seen(seed):
    rng = np.random.default_rng(seed)
    across, count = 24, 12
    points = rng.uniform([-4, -4, 0.05], [28, 28, 0.5], (3 * count, 3)).astype(np.float32)
    faces = rng.permutation(3 * count).reshape(-1, 3).astype(np.int32)
    seen = visible(points, faces, np.ones(len(points), np.float32), across)
    weights = barycentric(points, faces, across)
    inverse = (weights * points[faces][:, None, None, :, 2]).sum(axis=-1)
    inverse[(weights < 0).any(axis=-1)] = 0
    # Where an edge or another triangle is close by, rounding decides.
    two = np.sort(inverse, axis=0)[-2:]
    clear = (np.abs(weights).min(axis=(0, -1)) > 1e-4) & (two[1] - two[0] > 1e-5)
    assert clear.mean() > 0.5 and (inverse.max(axis=0) > 0)[clear].mean() > 0.3
    want = np.where(inverse.max(axis=0) > 0, inverse.argmax(axis=0), -1)
    np.testing.assert_array_equal(seen.triangle[clear], want[clear])
    np.testing.assert_allclose(seen.depth[clear], inverse.max(axis=0)[clear], rtol=1e-3)
    hit = np.argwhere(clear & (want >= 0))
    for y, x in hit:
        t = want[y, x]
        scene = weights[t, y, x] * points[faces[t], 2] / inverse[t, y, x]
        np.testing.assert_allclose(seen.weights[y, x], scene[1:], atol=2e-3)


def test_weights_are_those_of_the_scene():
    """The middle of an edge in the image is nearer to its far end in the scene."""
    points = np.array([(0, 0, 1.0), (8, 0, 1 / 3), (0, 8, 1.0)], np.float32)
    seen = visible(points, np.array([[0, 1, 2]], np.int32), np.ones(3, np.float32), 9)
    np.testing.assert_allclose(seen.depth[0, 4], (1 + 1 / 3) / 2, rtol=1e-6)
    np.testing.assert_allclose(seen.weights[0, 4], [0.25, 0], atol=1e-6)
    # A linear attribute of the scene, its distance, is one over the depth everywhere.
    inside = seen.triangle >= 0
    distance = 1 + 2 * seen.weights[..., 0]
    np.testing.assert_allclose(distance[inside], 1 / seen.depth[inside], rtol=1e-5)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_order_of_drawing_does_not_matter(order):
    squares = [square(0, 20, 0.1), square(5, 10, 0.2)]
    points = np.concatenate([squares[k] for k in order])
    faces = np.concatenate([SQUARE, SQUARE + 4]).astype(np.int32)
    seen = visible(points, faces, np.ones(8, np.float32), 16)
    near = np.zeros((16, 16), bool)
    near[5:11, 5:11] = True
    np.testing.assert_array_equal(seen.depth, np.where(near, np.float32(0.2), np.float32(0.1)))


def test_nothing_is_nothing():
    seen = visible(square(30, 40, 0.5), SQUARE, np.ones(4, np.float32), 16)
    assert (seen.triangle == -1).all() and (seen.depth == 0).all()
    flat = np.zeros((3, 3), np.float32)
    one = visible(flat, np.array([[0, 1, 2]], np.int32), np.ones(3, np.float32), 4)
    assert (one.triangle == -1).all()


@pytest.mark.parametrize("sixteenths", range(17))
def test_dither_covers_so_many_sixteenths(sixteenths):
    alpha = np.full(4, sixteenths / 16, np.float32)
    seen = visible(square(-1, 40, 0.5), SQUARE, alpha, 32)
    covered = (seen.triangle >= 0).reshape(8, 4, 8, 4)
    np.testing.assert_array_equal(covered.sum(axis=(1, 3)), sixteenths)
    assert len(np.unique(BAYER)) == 16 and BAYER.mean() == 0.5


def test_soft_edges_fade():
    points = np.array([(0, 0, 0.5), (31, 0, 0.5), (31, 31, 0.5), (0, 31, 0.5)], np.float32)
    seen = visible(points, SQUARE, np.array([0, 1, 1, 0], np.float32), 32)
    covered = (seen.triangle >= 0).reshape(8, 4, 8, 4).mean(axis=(1, 3)).mean(axis=0)
    np.testing.assert_allclose(covered, (np.arange(8) * 4 + 1.5) / 31, atol=0.08)
    assert (np.diff(covered) > 0).all()


def test_a_map_of_depth():
    points = np.concatenate([square(-1, 20, -2.0), square(4, 8, 1.0), square(10, 14, 3.0)])
    faces = np.concatenate([SQUARE, SQUARE + 4, SQUARE + 8]).astype(np.int32)
    alpha = np.repeat(np.array([1, 1, 0.4], np.float32), 4)
    depth = depth_map(points, faces, alpha, 16)
    want = np.full((16, 16), -2.0)
    want[4:9, 4:9] = 1  # what is less than half opaque is left out
    np.testing.assert_array_equal(depth, want)
    assert (depth_map(points + 50, faces, alpha, 16) == -9).all()


def test_samples_stand_for_those_left_out():
    rng = np.random.default_rng(0)
    triangle = rng.integers(-1, 6, (12, 12)).astype(np.int32)
    material = np.array([0, 0, 1, 1, 2, 2], np.int8)
    wanted = np.array([2, 16, 1])
    weight = np.zeros((12, 12), np.float32)
    choose_samples(triangle, material, wanted, 3, weight)
    kind = np.where(triangle >= 0, material[triangle], -1)
    for row in range(3):
        for column in range(3):
            pixel = np.s_[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            for m in range(3):
                mine = kind[pixel] == m
                chosen = weight[pixel][mine]
                assert chosen.sum() == pytest.approx(mine.sum())
                assert (chosen > 0).sum() == min(wanted[m], mine.sum())
    assert (weight[kind == -1] == 0).all()
