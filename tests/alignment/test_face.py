"""FFHQ's crop from landmarks: the recipe's own numbers, its symmetries, what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.alignment import FFHQ, Face, Framing, ffhq_quad, five_points, framing_of
from mm_jax.errors import DataError

FIVE = np.array([[40, 50], [60, 50], [50, 62], [43, 75], [57, 75]], float)


def sixty_eight(five, seed=0):
    """Landmarks of iBUG's order that have the given five, and noise for the others."""
    rng = np.random.default_rng(seed)
    points = five.mean(axis=0) + rng.normal(0, 15, (68, 2))
    for first, eye in ((36, five[0]), (42, five[1])):
        around = rng.normal(0, 2, (6, 2))
        points[first : first + 6] = eye + around - around.mean(axis=0)
    points[30], points[48], points[54] = five[2:]
    return points


def test_upright_face():
    # Eyes 20 apart, mouth 25 below: half a side is max(2 * 20, 1.8 * 25) = 45 and the centre lies
    # 2.5 below the eyes, at (50, 52.5).
    quad = ffhq_quad(FIVE)
    np.testing.assert_allclose(quad, [[5, 7.5], [5, 97.5], [95, 97.5], [95, 7.5]], atol=1e-5)
    assert quad.dtype == np.float32
    # Wide eyes: now they decide.
    wide = FIVE.copy()
    wide[:2, 0] = 35, 65
    np.testing.assert_allclose(ffhq_quad(wide)[0], [50 - 60, 52.5 - 60], atol=1e-5)


def test_the_axes_are_the_mean_of_the_eyes_line_and_the_mouths():
    # The mouth is shifted to the side: the crop leans half way, weighted by the two lengths.
    shifted = FIVE + np.array([[0, 0], [0, 0], [0, 0], [10, 0], [10, 0]])
    quad = ffhq_quad(shifted).astype(float)
    across = quad[3] - quad[0]
    want = np.array([20 + 25, -10])
    assert np.cross([*across, 0], [*want, 0])[2] == pytest.approx(0, abs=1e-3)
    assert np.linalg.norm(across) == pytest.approx(2 * 1.8 * np.hypot(10, 25), rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 1000),
    st.floats(-np.pi, np.pi),
    st.floats(0.1, 30),
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_turns_moves_and_enlarges_with_the_landmarks(seed, angle, scale, move):
    points = sixty_eight(FIVE, seed)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    there = ffhq_quad(points @ turn.T + move)
    np.testing.assert_allclose(there, ffhq_quad(points) @ turn.T + move, atol=2e-3 * scale)


def test_mirrored_pictures_have_mirrored_crops():
    leaning = FIVE + np.array([[0, 4], [1, 0], [0, 0], [3, 1], [2, 0]])
    mirrored = (leaning * [-1, 1])[[1, 0, 2, 4, 3]]
    np.testing.assert_allclose(
        ffhq_quad(mirrored), (ffhq_quad(leaning) * [-1, 1])[[3, 2, 1, 0]], atol=1e-4
    )


def test_five_landmarks_are_as_good_as_sixty_eight():
    points = sixty_eight(FIVE)
    np.testing.assert_allclose(five_points(points), FIVE, atol=1e-9)
    np.testing.assert_allclose(ffhq_quad(points), ffhq_quad(FIVE), atol=1e-5)


def test_a_face_has_a_box():
    face = Face(FIVE)
    assert face.box.tolist() == [40, 50, 60, 75] and face.area == 20 * 25
    assert face.landmarks.dtype == np.float32
    assert Face(FIVE, box=np.array([0, 0, 10, 20])).area == 200


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((4, 2)), r"\[68, 2\] or \[5, 2\]"),
        (np.full((5, 2), "a"), "must be numbers"),
        (np.full((5, 2), np.nan), "NaN"),
        (np.zeros((5, 2)), "one line or at one point"),
        (np.stack([np.arange(5.0), np.arange(5.0)], axis=1), "one line"),
        (FIVE[[1, 0, 2, 4, 3]], "left and right exchanged"),
        (FIVE * [1, -1], "mouth above the eyes"),
    ],
)
def test_landmarks_of_no_face_are_refused(points, message):
    with pytest.raises(DataError, match=message):
        ffhq_quad(points)


def test_framings():
    quad = ffhq_quad(FIVE)
    np.testing.assert_array_equal(FFHQ.apply(quad), quad)
    closer = Framing(scale=0.5, right=0.1, down=-0.2).apply(quad)
    np.testing.assert_allclose(closer.mean(axis=0), [50 + 9, 52.5 - 18], atol=1e-4)
    assert closer[3, 0] - closer[0, 0] == pytest.approx(45)
    # A framing turns with the quad.
    turned = quad[[3, 0, 1, 2]]
    moved = Framing(right=0.1).apply(turned)
    np.testing.assert_allclose(moved - turned, 0.1 * (turned[3] - turned[0]) + 0 * quad, atol=1e-4)
    for bad in ({"scale": 0.0}, {"scale": np.inf}, {"right": 9.0}, {"scale": "1"}):
        with pytest.raises(DataError, match="a framing needs"):
            Framing(**bad)


class Named:
    name = "mine"

    def __init__(self, meta):
        self.meta = meta


def test_generators_carry_their_framing():
    assert framing_of(Named({})) is FFHQ
    assert framing_of(Named({"framing": {"scale": 0.9}})) == Framing(scale=0.9)
    for bad in ({"zoom": 1.0}, [1, 2], {"scale": -1}):
        with pytest.raises(DataError, match="framing"):
            framing_of(Named({"framing": bad}))
