"""Blurred frames and values that stand out are found; sound ones are left alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_jax.errors import UsageError
from mm_jax.video.quality import blurred, grey, sharpness, stands_out


def test_brightness_of_bytes_and_floats():
    bytes_ = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    floats = bytes_.astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(grey(bytes_), grey(floats), atol=1e-6)
    white = np.full((1, 3, 3, 3), 255, np.uint8)
    np.testing.assert_allclose(grey(white), 1.0, atol=1e-6)


def test_a_blurred_frame_is_found():
    frames = np.random.default_rng(0).uniform(-1, 1, (6, 32, 32, 3)).astype(np.float32)
    for _ in range(4):
        frames[3] = (frames[3] + np.roll(frames[3], 1, 0) + np.roll(frames[3], 1, 1)) / 3
    values = sharpness(frames)
    assert blurred(values).tolist() == [i == 3 for i in range(6)]
    np.testing.assert_allclose(sharpness(frames * 0.5), np.asarray(values) / 4, rtol=1e-4)
    for shape in ((1, 2, 9, 3), (1, 9, 9)):
        with pytest.raises(UsageError):
            sharpness(np.zeros(shape))


@given(
    st.lists(st.floats(0.01, 0.0149), min_size=9, max_size=30),
    st.lists(st.floats(0.2, 5.0), max_size=4),
    st.floats(1e-3, 1e3),
)
def test_what_stands_out_is_what_is_far_above(good, bad, scale):
    flags = stands_out(scale * np.array(good + bad))
    assert not flags[: len(good)].any()
    assert flags[len(good) :].all()


def test_equal_values_and_low_ones_do_not_stand_out():
    assert not stands_out(np.ones(5)).any()
    assert not stands_out([1.0, 1.0, 1.0, 1.2, 0.001]).any()
