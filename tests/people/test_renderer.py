"""The renderer: pictures, masks, depth and landmarks of people drawn from the committed heads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mm_jax.alignment import ffhq_quad, five_points
from mm_jax.errors import DataError
from mm_jax.people.factors import FACTORS, MIRRORED, MOTION_FACTORS, index
from mm_jax.people.framing import framing
from mm_jax.people.landmarks import REST_LANDMARKS
from mm_jax.people.looks import person_of
from mm_jax.people.renderer import Background, Renderer
from tests.people.conftest import bare, face, factors_of

SIDE = 48
# Where each landmark is in a mirrored picture.
PARTNER = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *range(27, 31),
        *range(35, 30, -1),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *range(54, 47, -1),
        *range(59, 54, -1),
        *range(64, 59, -1),
        *range(67, 64, -1),
    ]
)


@pytest.fixture(scope="module")
def plain(dressed):
    return dressed.draw(person_of(factors_of()), SIDE)


def test_a_picture(plain):
    assert plain.image.shape == (SIDE, SIDE, 3) and plain.image.dtype == np.uint8
    assert set(plain.masks) == {"skin", "hair", "eyes", "mouth", "brows"}
    for mask in plain.masks.values():
        assert mask.shape == (SIDE, SIDE) and mask.dtype == np.float32
        assert mask.min() >= 0 and mask.max() <= 1 + 1e-5 and mask.max() > 0.5
    assert plain.masks["skin"].sum() > plain.masks["hair"].sum() > plain.masks["eyes"].sum()
    # Materials cover a pixel at most once.
    assert (plain.masks["skin"] + plain.masks["hair"]).max() <= 1 + 1e-5
    nobody = plain.depth == -9
    corner = np.s_[:4, :4]
    assert nobody[corner].all() and not nobody[SIDE // 2].all()
    assert (plain.normals[nobody] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(plain.normals[~nobody], axis=-1), 1, atol=1e-3)
    assert plain.depth.argmax() % SIDE in (SIDE // 2 - 1, SIDE // 2)  # the nose, in the middle
    assert plain.depth.max() < 2.5


def test_the_same_person_looks_the_same(heads, dressed_heads, plain):
    again = Renderer(dressed_heads).draw(person_of(factors_of()), SIDE)
    np.testing.assert_array_equal(again.image, plain.image)
    np.testing.assert_array_equal(again.depth, plain.depth)
    for name, mask in plain.masks.items():
        np.testing.assert_array_equal(again.masks[name], mask)


@pytest.mark.parametrize("name", FACTORS)
def test_each_factor_changes_the_picture(dressed, plain, name):
    changed = dressed.draw(person_of(factors_of(**{name: 0.9})), SIDE).image
    change = np.abs(changed.astype(float) - plain.image)
    assert change.max() >= 4 and (change.max(axis=-1) > 1).sum() >= 4


def test_a_mirrored_person_is_a_mirrored_picture(dressed):
    values = factors_of(
        yaw=0.5, roll=-0.6, pitch=0.2, gaze_x=0.7, light_azimuth=0.6, smile=0.8, freckles=0.5
    )
    other = values.copy()
    other[[index(name) for name in MIRRORED]] *= -1
    one, two = (dressed.draw(person_of(v), 96) for v in (values, other))
    error = np.abs(one.image.astype(float) - two.image[:, ::-1])
    assert error.mean() < 2.0  # the sky's directions are not quite symmetric
    assert np.abs(one.image.astype(float) - two.image).mean() > 10
    for name, mask in one.masks.items():
        assert np.abs(mask - two.masks[name][:, ::-1]).mean() < 0.01, name
    points, other_points = (dressed.landmarks(person_of(v), 96) for v in (values, other))
    flipped = other_points[PARTNER] * [-1, 1] + [95, 0]
    np.testing.assert_allclose(flipped, points, atol=0.05)


def test_the_background_is_behind(dressed, plain):
    person = person_of(factors_of())
    light = dataclasses.replace(person, background=Background(np.array([0.9, 0.1, 0.1]), 0.0))
    image = dressed.draw(light, SIDE).image
    nobody = plain.depth == -9
    assert (image[nobody] == image[0, 0]).all() and image[0, 0, 0] > 2 * image[0, 0, 1]
    inside = plain.masks["skin"] > 0.999
    np.testing.assert_array_equal(image[inside], plain.image[inside])
    graded = dataclasses.replace(person, background=Background(np.full(3, 0.3), 0.5))
    column = dressed.draw(graded, SIDE).image[:, 0, 0].astype(int)
    assert column[10] < column[SIDE // 4]  # lighter below


def test_resolutions_show_the_same(renderer):
    person = face(yaw=0.3)
    small, large = (renderer.draw(person, r).image.astype(float) for r in (32, 64))
    shrunk = large.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - shrunk).mean() < 2.5


# --- heads that lack parts ------------------------------------------------------------------------


def test_bare_people_are_drawn_from_the_committed_heads(renderer):
    picture = renderer.draw(face(), SIDE)
    assert picture.masks["hair"].max() == 0 and picture.masks["mouth"].max() > 0.5
    assert picture.masks["skin"].sum() > 300


def test_what_a_person_asks_for_and_is_not_there_is_an_error(renderer):
    person = person_of(factors_of(hair_style=-0.9))
    with pytest.raises(DataError, match="no part 'clothes-male_casualsuit02'"):
        renderer.draw(person, SIDE)
    hairy = dataclasses.replace(bare(person), hair=person.hair)
    with pytest.raises(DataError, match="no part 'hair-long01', only left_eye, right_eye"):
        renderer.draw(hairy, SIDE)
    wrong = dataclasses.replace(face(), expression={"grin": 1.0})
    with pytest.raises(DataError, match="no target 'unit-grin'"):
        renderer.draw(wrong, SIDE)


# --- landmarks ------------------------------------------------------------------------------------


def test_landmarks_are_symmetric_and_on_the_skin(heads, renderer):
    assert REST_LANDMARKS.shape == (68, 3)
    np.testing.assert_array_equal(REST_LANDMARKS[PARTNER] * [-1, 1, 1], REST_LANDMARKS)
    rest = heads.parts["skin"].place(heads.base)
    distance = np.linalg.norm(rest[:, None] - REST_LANDMARKS[None, ::4], axis=-1).min(axis=0)
    assert distance.max() < 2e-3
    assert len(np.unique(renderer._landmarks)) == 68


@pytest.mark.parametrize("pose", [{}, {"yaw": 0.6}, {"yaw": -0.5, "pitch": 0.8, "roll": 0.7}])
def test_landmarks_are_in_the_masks(renderer, pose):
    person = face(mouth_open=0.3, **pose)
    picture, points = renderer.draw(person, 96), renderer.landmarks(person, 96)
    assert points.shape == (68, 2) and points.dtype == np.float32
    assert points.min() > 0 and points.max() < 95
    at = np.round(points).astype(int)
    seen = {name: mask[at[:, 1], at[:, 0]] > 0 for name, mask in picture.masks.items()}
    turned = slice(0, 68) if pose.get("yaw", 0) == 0 else slice(36, 68)
    shown = np.zeros(68, bool)
    shown[turned] = True
    assert seen["eyes"][36:48][shown[36:48]].mean() > 0.9
    assert seen["mouth"][48:][shown[48:]].mean() > 0.9
    if not pose:
        assert seen["brows"][17:27].all() and (seen["skin"][:36] | seen["eyes"][:36]).mean() > 0.9
    if "pitch" not in pose:  # the tip of the nose is nearest to the viewer
        nearest = np.unravel_index(picture.depth.argmax(), picture.depth.shape)
        assert np.hypot(*(points[30] - nearest[::-1])) < 6


def test_landmarks_say_what_the_face_does(renderer):
    def lids(points):
        return (points[[40, 41, 46, 47], 1] - points[[38, 37, 44, 43], 1]).mean()

    def gap(points):
        return points[65:, 1].mean() - points[61:64, 1].mean()

    rest, shut, wide = (
        renderer.landmarks(face(**f)) for f in ({}, {"eye_close": 1.0}, {"mouth_open": 1.0})
    )
    assert lids(shut) < 0.35 * lids(rest) and abs(gap(rest)) < 2.5 and gap(wide) > 6
    smile, frown = (renderer.landmarks(face(smile=s)) for s in (1.0, -1.0))
    assert (smile[[48, 54], 1] < frown[[48, 54], 1] - 1).all()
    assert smile[54, 0] - smile[48, 0] > frown[54, 0] - frown[48, 0] + 2
    left, right = (renderer.landmarks(face(yaw=y)) for y in (-0.5, 0.5))
    middle = [p[30, 0] - p[[0, 16], 0].mean() for p in (left, right)]
    assert middle[0] < -5 and middle[1] > 5
    double = renderer.landmarks(face(), 256)
    np.testing.assert_allclose((double + 0.5) / 2, rest + 0.5, atol=1e-3)


def test_five_points_and_framing(renderer):
    points = renderer.landmarks(face())
    left, right, nose, *corners = five_points(points)
    assert left[0] < corners[0][0] < nose[0] < corners[1][0] < right[0]
    assert left[1] < nose[1] < corners[0][1]
    found = framing(renderer)
    assert 1.0 < found.scale < 1.2 and found.right == 0 and abs(found.down) < 0.05
    # Of a plain face it gives nearly the picture itself.
    quad = found.apply(ffhq_quad(points)) + 0.5
    np.testing.assert_allclose(quad, [[0, 0], [0, 128], [128, 128], [128, 0]], atol=10)


def test_turning_the_head_moves_it_as_a_whole(renderer):
    """Seen from the head, landmarks stay in place whatever the pose."""
    rest = renderer.landmarks(face(), 1024) - 511.5
    rolled = renderer.landmarks(face(roll=1.0), 1024) - 511.5
    angle = np.radians(8)  # anticlockwise in the image, where y is down
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    face_only = slice(17, 68)
    want = rest[face_only] @ turn.T
    got = rolled[face_only]
    np.testing.assert_allclose(got - got.mean(axis=0), want - want.mean(axis=0), atol=6)
    assert set(MOTION_FACTORS) <= set(FACTORS)
