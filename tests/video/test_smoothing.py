"""Crops that follow a face do not tremble, do not lag behind it, and bridge what is missing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.errors import DataError, UsageError
from mm_jax.video.editing import fade_in_and_out, over_time, own_motion
from mm_jax.video.smoothing import points_in_crop, smooth_quads

SQUARE = np.array([[0, 0], [0, 10], [10, 10], [10, 0]], np.float64)
TIMES = np.arange(40) / 20


def moving(speed=(30.0, -10.0)):
    return SQUARE[None] + TIMES[:, None, None] * np.asarray(speed)[None, None]


@settings(max_examples=20, deadline=None)
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.0, 0.5))
def test_an_even_movement_is_kept_up_to_the_ends(across, down, width):
    quads = moving((across, down))
    smooth = smooth_quads(quads, np.ones(40, bool), TIMES, width=width)
    np.testing.assert_allclose(smooth, quads, atol=1e-3)


def test_trembling_is_evened_out():
    noise = np.random.default_rng(0).standard_normal((40, 1, 2))
    smooth = smooth_quads(moving() + noise, np.ones(40, bool), TIMES, width=0.2)
    left = smooth - moving()
    assert np.square(left).mean() < 0.2 * np.square(noise).mean()
    # The crop stays a square of its size: all of its corners move alike.
    np.testing.assert_allclose(
        smooth - smooth[:, :1], np.broadcast_to(SQUARE, smooth.shape), atol=1e-4
    )


@pytest.mark.parametrize("width", [0.0, 0.1])
def test_frames_without_a_face_are_bridged(width):
    found = np.ones(40, bool)
    found[10:14] = False
    quads = moving()
    quads[~found] = 1e6
    smooth = smooth_quads(quads, found, TIMES, width=width)
    np.testing.assert_allclose(smooth, moving(), atol=1e-3)


def test_what_cannot_be_smoothed():
    with pytest.raises(DataError, match="no face"):
        smooth_quads(moving(), np.zeros(40, bool), TIMES, width=0.1)
    with pytest.raises(UsageError, match="width must be at least 0, got -1"):
        smooth_quads(moving(), np.ones(40, bool), TIMES, width=-1)
    with pytest.raises(UsageError, match=r"\[T, 4, 2\]"):
        smooth_quads(moving()[:, :3], np.ones(40, bool), TIMES, width=0)


def test_points_move_into_the_crop_with_the_picture():
    turned = np.array([[10, 0], [0, 0], [0, 10], [10, 10]], np.float64)  # a quarter to the left
    points = [[5, 5], [10, 0]]
    np.testing.assert_allclose(points_in_crop(points, SQUARE, size=20), [[9.5, 9.5], [19.5, -0.5]])
    np.testing.assert_allclose(points_in_crop(points, turned, size=20), [[9.5, 9.5], [-0.5, -0.5]])


def test_strengths_are_keyframes():
    np.testing.assert_allclose(over_time([[1.0]], 3), [[1, 1, 1]])
    np.testing.assert_allclose(over_time([[0, 1], [1, 0]], 3), [[0, 0.5, 1], [1, 0.5, 0]])
    np.testing.assert_allclose(over_time([[0, 1, 0]], 5), [[0, 0.5, 1, 0.5, 0]])
    with pytest.raises(UsageError, match="at least one strength"):
        over_time([[]], 3)


def test_own_motion_is_a_projection():
    rng = np.random.default_rng(0)
    ws, middle = rng.normal(size=(6, 3, 4)), rng.normal(size=(3, 4))
    basis = np.linalg.qr(rng.normal(size=(12, 2)))[0].T.reshape(2, 3, 4)
    part = own_motion(ws, middle, basis)
    np.testing.assert_allclose(own_motion(middle + part, middle, basis), part, atol=1e-5)
    rest = (ws - middle - part).reshape(6, -1)
    np.testing.assert_allclose(rest @ basis.reshape(2, -1).T, 0, atol=1e-5)


def test_an_edit_fades_where_the_face_goes():
    found = np.ones(40, bool)
    found[20:25] = False
    share = fade_in_and_out(found, TIMES, width=0.1)
    assert (share[20:25] == 0).all() and share[0] == share[-1] == share[10] == 1
    assert 0 < share[18] < 1 and np.abs(np.diff(share[:20])).max() < 0.5
    np.testing.assert_array_equal(fade_in_and_out(found, TIMES, width=0), found)
