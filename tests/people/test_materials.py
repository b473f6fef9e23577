"""Skin, eyes, hair, mouth and cloth: what their colours depend on, and what they do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mm_jax.people import fittings
from mm_jax.people.eyes import Eyeball, Iris, shade_eye
from mm_jax.people.fittings import Hair, hair_opacity, shade_hair
from mm_jax.people.light import Light
from mm_jax.people.skin import WRINKLES, Brows, Skin, shade_skin
from mm_jax.people.surface import Lighting, Points

FRONT = Lighting(Light(0.0, 0.5, 0.0, 1.5, 1.0, np.full(3, 0.3)), np.eye(3))
PLAIN = Skin(
    melanin=0.3,
    redness=0.4,
    freckles=0.0,
    spots=0.0,
    shadows=0.4,
    oil=0.8,
    lips=np.array([0.4, 0.15, 0.14]),
    lip_strength=0.6,
    gloss=0.4,
    beard=0.0,
    scalp=1.0,
    hair=np.array([0.05, 0.03, 0.02]),
    brow=np.array([0.05, 0.03, 0.02]),
    brows=Brows(),
    lashes=0.5,
    wrinkles=(0.0,) * len(WRINKLES),
)


def points_at(rest, *, normal=(0, 0, 1), marks=None) -> Points:
    """Open, fully lit points that face the camera."""
    rest = np.asarray(rest, np.float32).reshape(-1, 3)
    n = len(rest)
    ones = np.ones(n, np.float32)
    facing = np.tile(np.array(normal, np.float32), (n, 1))
    view = np.tile(np.array([0, 0, 1], np.float32), (n, 1))
    marks = np.zeros((n, 3), np.float32) if marks is None else np.asarray(marks, np.float32)
    return Points(rest, facing, view, rest, ones, np.ones((n, 3), np.float32), ones, marks)


def face_points(heads):
    """The skin as it is at rest, seen from in front."""
    rest = heads.parts["skin"].place(heads.base)
    rest = rest[(rest[:, 1] > 6.2) & (rest[:, 2] > 0.6)]
    return points_at(rest)


def mirrored(points: Points) -> Points:
    flip = np.array([-1, 1, 1], np.float32)
    return points._replace(
        position=points.position * flip, normal=points.normal * flip, rest=points.rest * flip
    )


def test_skin_is_symmetric(heads):
    points = face_points(heads)
    skin = dataclasses.replace(PLAIN, freckles=1.0, spots=0.7, beard=0.9, wrinkles=(1.0,) * 7)
    radiance = shade_skin(skin, points, FRONT)
    assert radiance.shape == points.rest.shape and np.isfinite(radiance).all()
    assert (radiance > 0).all()
    np.testing.assert_allclose(shade_skin(skin, mirrored(points), FRONT), radiance, atol=2e-5)


def test_colours_move_with_the_surface(heads):
    """Where a point is drawn changes nothing, where it is at rest does."""
    points = face_points(heads)
    skin = dataclasses.replace(PLAIN, freckles=1.0)
    moved = points._replace(position=points.position + 2)
    np.testing.assert_array_equal(shade_skin(skin, moved, FRONT), shade_skin(skin, points, FRONT))
    slid = points._replace(rest=points.rest + np.float32(0.2))
    assert np.abs(shade_skin(skin, slid, FRONT) - shade_skin(skin, points, FRONT)).max() > 0.05


def test_melanin_darkens_every_channel(heads):
    points = face_points(heads)
    shades = [
        shade_skin(dataclasses.replace(PLAIN, melanin=m, oil=0.0), points, FRONT).mean(axis=0)
        for m in (0.0, 0.35, 0.7, 1.0)
    ]
    assert (np.diff(shades, axis=0) < 0).all()


PLACES = {
    "redness": (0.5, 6.98, 1.3),
    "freckles": (0.24, 7.02, 1.45),
    "spots": (0.3, 7.7, 1.3),
    "shadows": (0.3, 7.10, 1.38),
    "beard": (0.1, 6.4, 1.45),
    "scalp": (0.1, 8.3, 0.9),
}


@pytest.mark.parametrize("name", PLACES)
def test_each_paint_has_its_place(name):
    spread = 0.4 if name == "spots" else 0.05
    steps = np.stack(np.meshgrid(*[np.linspace(-spread, spread, 9)] * 2), axis=-1).reshape(-1, 2)
    near = np.array(PLACES[name]) + np.c_[steps, np.zeros(len(steps))]
    points = points_at(np.concatenate([near, [[0.3, 5.7, 0.6]]]))
    without, with_ = (
        shade_skin(dataclasses.replace(PLAIN, **{name: v}), points, FRONT) for v in (0.0, 1.0)
    )
    change = np.abs(with_ - without).max(axis=1)
    assert change[:-1].max() > 0.03
    if name != "spots":  # they are all over
        assert change[-1] < 1e-3  # the neck


def test_marks_are_lips_mouth_and_lids():
    rest = np.array([[0.0, 6.65, 1.58]] * 3 + [[0.35, 7.235, 1.38]] * 2)
    marks = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]
    plain, lips, inside, lid, margin = shade_skin(PLAIN, points_at(rest, marks=marks), FRONT)
    assert lips[1] / lips[0] < 0.9 * plain[1] / plain[0]
    assert inside.max() < 0.7 * plain.max()
    assert margin[1] / margin[0] < 0.9 * lid[1] / lid[0]  # the wet rim of the lower lid


def test_the_upper_lid_ends_in_lashes():
    across = np.linspace(0.22, 0.41, 9)
    arch = 1 - ((across - 0.315) / 0.13) ** 2
    height = 7.292 + 0.068 * arch
    line, above = (
        shade_skin(PLAIN, points_at(np.c_[across, y, np.full(9, 1.4)]), FRONT)
        for y in (height, height + 0.07)
    )
    assert (line.max(axis=1) < 0.5 * above.max(axis=1)).all()


@pytest.mark.parametrize("which", range(len(WRINKLES)))
def test_each_wrinkle_shows(heads, which):
    points = face_points(heads)
    rest = heads.parts["skin"].place(heads.base)
    if WRINKLES[which] == "neck":
        points = points_at(rest[(rest[:, 1] > 5.5) & (rest[:, 1] < 6.3) & (rest[:, 2] > 0.5)])
    depth = tuple(float(k == which) for k in range(len(WRINKLES)))
    old = shade_skin(dataclasses.replace(PLAIN, wrinkles=depth), points, FRONT)
    assert np.abs(old - shade_skin(PLAIN, points, FRONT)).max() > 0.02


def test_brows_rise_and_thicken():
    y = np.linspace(7.3, 7.7, 200)
    points = points_at(np.stack([np.full(200, 0.3), y, np.full(200, 1.4)], axis=1))

    def dark(**changes):
        skin = dataclasses.replace(PLAIN, brows=dataclasses.replace(Brows(), **changes))
        none = dataclasses.replace(PLAIN, brows=dataclasses.replace(Brows(), density=0.0))
        return (shade_skin(none, points, FRONT) - shade_skin(skin, points, FRONT)).mean(axis=1)

    def middle(weight):
        return (weight * y).sum() / weight.sum()

    np.testing.assert_allclose(middle(dark(lift=0.03)) - middle(dark()), 0.03, atol=3e-3)
    np.testing.assert_allclose(dark(thickness=2.0).sum() / dark().sum(), 2, rtol=0.1)


def eye_points(count=4000):
    """A fibre of points on a ball about the origin, seen from in front."""
    i = np.arange(count) + 0.5
    z = 1 - 0.9 * i / count
    angle = i * np.pi * (3 - 5**0.5)
    outward = np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z])
    points = points_at(0.15 * outward.T)
    return points._replace(normal=outward.T.astype(np.float32), key=np.zeros(count, np.float32))


@pytest.mark.parametrize("gaze", [(0.0, 0.0), (0.3, 0.0), (-0.2, -0.25)])
def test_pupil_iris_and_white_follow_the_gaze(gaze):
    forward = np.array([*gaze, 1.0])
    forward /= np.linalg.norm(forward)
    points = eye_points()
    iris = Iris(outer=np.array([0.05, 0.1, 0.2]), inner=np.array([0.1, 0.2, 0.3]))
    radiance = shade_eye(iris, Eyeball(np.zeros(3), forward, 0.15), points, FRONT)
    assert np.isfinite(radiance).all() and (radiance >= 0).all()
    r = np.arccos(np.clip(points.normal @ forward, -1, 1)) / iris.radius
    low = points.normal[:, 1] < 0.05  # below the lid's shadow
    pupil, ring, white = (
        np.median(radiance[low & (r > a) & (r < b)], axis=0)
        for a, b in ((0, 0.25), (0.5, 0.7), (1.3, 1.6))
    )
    assert (pupil < 0.6 * ring).all() and (ring < 0.9 * white).all()
    assert ring[2] > 1.5 * ring[0] and abs(white[2] / white[0] - 1) < 0.3


def test_grey_hair():
    brown = Hair("", np.array([0.12, 0.066, 0.035]), 0.0)
    np.testing.assert_allclose(brown.albedo, brown.colour)
    shades = [dataclasses.replace(brown, grey=g).albedo for g in (0.0, 0.3, 0.6, 1.0)]
    np.testing.assert_allclose(shades[-1], 0.39, rtol=1e-6)
    colourful = [s.max() / s.min() for s in shades]
    assert (np.diff(colourful) < 0).all()
    assert (np.diff([s.mean() for s in shades]) > 0).all()


def test_hair_ends_softly():
    border = np.linspace(0, 0.3, 50, dtype=np.float32)
    rest = np.tile(np.array([0.5, 7.5, 0.0], np.float32), (50, 1))
    opacity = hair_opacity(rest, border, 0.0)
    assert (np.diff(opacity) >= 0).all() and opacity[0] < 0.1 and opacity[-1] == 1
    rest[:, 1] = np.linspace(5, 8, 50)
    full = np.full(50, 1.0, np.float32)
    cut = hair_opacity(rest, full, 6.2)
    assert (cut[rest[:, 1] < 6.15] == 0).all() and (cut[rest[:, 1] > 6.25] == 1).all()


@pytest.mark.parametrize("style", ["hair-long01", "hair-afro01"])
def test_hair_is_symmetric_and_has_its_colour(style):
    rng = np.random.default_rng(0)
    rest = rng.uniform([-0.8, 7.5, -0.5], [0.8, 8.6, 1.0], (300, 3))
    normal = rest - np.array([0, 7.5, 0.2])
    points = points_at(rest, marks=np.full((300, 3), 0.4))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    points = points._replace(normal=normal.astype(np.float32))
    red = Hair(style, np.array([0.3, 0.08, 0.03]), 0.0)
    radiance = shade_hair(red, points, FRONT)
    assert np.isfinite(radiance).all() and (radiance > 0).all()
    assert (radiance[:, 0] > radiance[:, 2]).all()
    np.testing.assert_allclose(shade_hair(red, mirrored(points), FRONT), radiance, atol=2e-5)


def test_mouth_lashes_and_cloth():
    points = points_at(np.tile([0.0, 6.6, 1.3], (2, 1)), marks=[[0, 0, 0], [1, 0, 0]])
    tooth, gum = fittings.shade_mouth(points, FRONT)
    assert tooth[1] > 2 * gum[1] and gum[0] > 1.5 * gum[1]
    colour = np.array([0.1, 0.2, 0.3])
    cloth = fittings.shade_clothes(colour, points, FRONT)
    np.testing.assert_allclose(cloth / cloth[:, :1], np.tile([1, 2, 3], (2, 1)), rtol=1e-4)
    lash = fittings.shade_lashes(points, FRONT)
    assert (lash > 0).all() and lash.max() < 0.2 * cloth.min()
    dark = points._replace(key=np.zeros(2, np.float32))
    assert (fittings.shade_clothes(colour, dark, FRONT) < cloth).all()
