"""Light: directions and energy of the sky, occlusion, shadows, and light under the skin."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mm_jax.people.light import Light, Occluder, ShadowMap, SkyMaps, diffusion, sky_directions
from mm_jax.people.meshes import refine
from tests.people.test_meshes import CUBE, CUBE_QUADS

LIGHT = Light(0.0, 0.5, 0.0, 1.5, 1.0, np.array([0.2, 0.3, 0.4]))
CENTRE = np.zeros(3, np.float32)
UP = np.array([[0, 1, 0]], np.float32)
SOLID = np.zeros(1, bool)


def plate(y, half=2.0, left=-2.0):
    """A horizontal square."""
    points = [(left, y, -half), (half, y, -half), (half, y, half), (left, y, half)]
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Occluder(np.array(points, np.float32), faces, np.ones(4, np.float32))


def ball(radius=0.8):
    """A sphere and its normals."""
    matrix, quads = refine(CUBE_QUADS, 8, 4)
    points = matrix @ CUBE
    normals = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return Occluder(radius * normals, faces, np.ones(len(normals), np.float32)), normals


def test_the_key_light():
    for azimuth, elevation in ((0.0, 0.0), (0.7, 0.3), (-1.2, 0.8)):
        light = dataclasses.replace(LIGHT, azimuth=azimuth, elevation=elevation)
        np.testing.assert_allclose(np.linalg.norm(light.key), 1, rtol=1e-6)
        np.testing.assert_allclose(light.key[1], np.sin(elevation), rtol=1e-6)
        assert np.sign(light.key[0]) == np.sign(azimuth)
        for direction, colour in (light.fill(), light.rim()):
            np.testing.assert_allclose(np.linalg.norm(direction), 1, rtol=1e-6)
            assert direction[0] * azimuth <= 0 and (colour > 0).all()
    warm, cool = (dataclasses.replace(LIGHT, warmth=w) for w in (0.2, -0.2))
    assert warm.key_colour[0] > cool.key_colour[0] and warm.key_colour[2] < cool.key_colour[2]
    assert warm.sky_tint[0] < cool.sky_tint[0] and warm.sky_tint[2] > cool.sky_tint[2]


def test_the_skys_energy():
    """Colours in directions add up to the same however many directions there are."""
    few, many = sky_directions(14), sky_directions(4000)
    np.testing.assert_allclose(np.linalg.norm(few, axis=1), 1, rtol=1e-5)
    total = LIGHT.sky(few).sum(axis=0)
    np.testing.assert_allclose(total, LIGHT.sky(many).sum(axis=0), rtol=0.1)
    black = dataclasses.replace(LIGHT, behind=np.zeros(3))
    double = dataclasses.replace(black, ambient=2.0)
    np.testing.assert_allclose(double.sky(few), 2 * black.sky(few), rtol=1e-5)
    added = (LIGHT.sky(few) - black.sky(few)).sum(axis=0)
    np.testing.assert_allclose(added / added[0], [1, 1.5, 2], rtol=1e-3)  # as `behind`


def test_an_open_point_sees_all_the_sky():
    sky = SkyMaps([], CENTRE)
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(50, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = rng.uniform(-1, 1, (50, 3)).astype(np.float32)
    out = sky.irradiance(LIGHT, points, normals, np.zeros(50, bool))
    assert out.shape == (50, 4) and out.dtype == np.float32
    np.testing.assert_allclose(out[:, 3], 1, atol=1e-4)
    # Irradiance is the sky weighed by the wrapped cosine, wherever the point is.
    cosine = normals @ sky.directions.T
    want = np.maximum(0, (cosine + 0.15) / 1.15) @ LIGHT.sky(sky.directions)
    np.testing.assert_allclose(out[:, :3], want, rtol=1e-4, atol=1e-5)


def test_a_roof_hides_the_sky():
    sky = SkyMaps([plate(0.4)], CENTRE)
    below, above = np.array([[0, 0, 0]], np.float32), np.array([[0, 0.8, 0]], np.float32)
    dark, bright = (sky.irradiance(LIGHT, p, UP, SOLID)[0] for p in (below, above))
    assert dark[3] < 0.3 and bright[3] == pytest.approx(1, abs=1e-4)
    assert (dark[:3] < 0.4 * bright[:3]).all()
    # Half a roof hides about half of it, and hair takes light from below, too.
    half = SkyMaps([plate(0.4, left=0.0)], CENTRE).irradiance(LIGHT, below, UP, SOLID)[0]
    assert dark[3] + 0.15 < half[3] < 0.85
    hair = sky.irradiance(LIGHT, below, UP, ~SOLID)[0]
    assert hair[3] > dark[3]


def test_what_is_transparent_hides_nothing():
    glass = dataclasses.replace(plate(0.4), alpha=np.full(4, 0.3, np.float32))
    below = np.array([[0, 0, 0]], np.float32)
    sky = SkyMaps([glass], CENTRE).irradiance(LIGHT, below, UP, SOLID)
    np.testing.assert_allclose(sky[0, 3], 1, atol=1e-4)
    assert ShadowMap(LIGHT, [glass], CENTRE).lit(below, UP)[0] == 1


def test_lit_and_in_shadow():
    light = dataclasses.replace(LIGHT, elevation=1.2)
    shadow = ShadowMap(light, [plate(0.4, half=0.8, left=-0.8)], CENTRE)
    points = np.array([[0, 0, 0], [1.6, 0, 0], [0, 0.9, 0], [0, -9, 0]], np.float32)
    lit = shadow.lit(points, np.repeat(UP, 4, axis=0))
    np.testing.assert_array_equal(lit[:3], [0, 1, 1])
    assert lit[3] == 1  # outside the map there is light
    across = np.stack([np.linspace(0.5, 1.1, 25), *np.zeros((2, 25))], axis=1).astype(np.float32)
    edge = shadow.lit(across, np.repeat(UP, 25, axis=0))
    assert (np.diff(edge) >= -0.07).all() and edge[0] == 0 and edge[-1] == 1
    assert 0 < edge[(across[:, 0] > 0.78) & (across[:, 0] < 0.82)].mean() < 1


@pytest.mark.parametrize("azimuth", [-0.8, 0.0, 0.5])
def test_a_ball_shades_its_far_side_only(azimuth):
    mesh, normals = ball()
    light = dataclasses.replace(LIGHT, azimuth=azimuth)
    lit = ShadowMap(light, [mesh], CENTRE).lit(mesh.points, normals)
    cosine = normals @ light.key
    assert lit[cosine > 0.9].min() == 1
    assert lit[cosine > 0].min() > 0.5  # soft shadows begin before the light grazes
    assert lit[cosine < -0.5].max() == 0
    sky = SkyMaps([mesh], CENTRE).irradiance(light, mesh.points, normals, np.zeros(len(lit), bool))
    assert sky[:, 3].min() > 0.85  # a convex body hides none of its own sky


def test_light_spreads_under_the_skin():
    mesh, normals = ball()
    count = len(normals)
    matrix = diffusion(mesh.faces, count)
    np.testing.assert_allclose(matrix @ np.ones(count), 1, rtol=1e-5)
    assert matrix.dtype == np.float32 and matrix.min() >= 0
    spot = np.zeros(count, np.float32)
    spot[7] = 1
    spread = matrix @ spot
    neighbours = np.unique(mesh.faces[(mesh.faces == 7).any(axis=1)])
    np.testing.assert_array_equal(np.flatnonzero(spread), neighbours)
    np.testing.assert_allclose(spread[7], 1 / len(neighbours), rtol=1e-5)
