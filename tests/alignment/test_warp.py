"""Crops and the way back: known pictures, the border, and what must not change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.alignment import crop_face, ffhq_quad, paste_face
from mm_jax.errors import DataError, UsageError

FIVE = np.array([[40, 50], [60, 50], [50, 62], [43, 75], [57, 75]], float)


def waves(height, width, low=0.05):
    """A smooth picture whose value at any position is known."""
    y, x = np.mgrid[:height, :width].astype(float)
    return wave_at(x, y, low).astype(np.float32)


def wave_at(x, y, low=0.05):
    parts = [0.6 * np.sin(low * (x * (1 + c) + y * (2 - c)) + c) for c in range(3)]
    return np.stack(parts, axis=-1)


def square(left, top, side):
    right, bottom = left + side, top + side
    return np.array([[left, top], [left, bottom], [right, bottom], [right, top]], float)


def places(quad, size):
    """Positions in the picture of a crop's pixels, [size, size, 2]."""
    share = (np.arange(size) + 0.5) / size
    across, along = quad[3] - quad[0], quad[1] - quad[0]
    return quad[0] + share[None, :, None] * across + share[:, None, None] * along


def leaning(centre, half, angle):
    x = half * np.array([np.cos(angle), np.sin(angle)])
    y = np.array([-x[1], x[0]])
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def test_whole_pixels_are_cut_out_as_they_are():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (20, 30, 3), np.uint8)
    got = crop_face(picture, square(4.5, 3.5, 10), size=10)
    # Two samples a pixel average the interpolated neighbourhood: compare what they should give.
    flat = crop_face(np.full((20, 30, 3), 77, np.uint8), square(4.5, 3.5, 10), size=10)
    np.testing.assert_allclose(flat, 77 / 127.5 - 1, atol=1e-6)
    want = picture[4:14, 5:15] / 127.5 - 1
    assert got.dtype == np.float32
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.95


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(6, 22), st.sampled_from([8, 16, 40, 90]))
def test_the_crop_is_the_picture_seen_through_the_quad(angle, half, size):
    quad = leaning(np.array([41.3, 37.8]), half, angle)
    got = crop_face(waves(80, 90), quad, size=size)
    at = places(quad, 4 * size)
    values = wave_at(at[..., 0], at[..., 1]).reshape(size, 4, size, 4, 3)
    np.testing.assert_allclose(got, values.mean(axis=(1, 3)), atol=0.015)


def test_fine_patterns_do_not_alias():
    picture = np.zeros((256, 256, 3), np.float32)
    picture[:, ::2] = 1
    picture[:, 1::2] = -1
    got = crop_face(picture, leaning(np.array([128.0, 128.0]), 90, 0.3), size=23)
    assert np.abs(got).max() < 0.1


def test_eyes_land_where_ffhq_has_them():
    """An upright face's crop is 90 wide about (50, 52.5): its eyes are at these shares of it."""
    spots = np.zeros((110, 110, 3), np.float32) - 1
    y, x = np.mgrid[:110, :110]
    for eye in FIVE[:2]:
        spots += 2 * np.exp(-((x - eye[0]) ** 2 + (y - eye[1]) ** 2) / 8)[:, :, None]
    got = crop_face(np.clip(spots, -1, 1), ffhq_quad(FIVE), size=180)[..., 0] + 1
    yy, xx = np.mgrid[:180, :180] + 0.5
    for side, share in ((slice(0, 90), (40 - 5) / 90), (slice(90, 180), (60 - 5) / 90)):
        weight = got[:, side]
        assert (weight * xx[:, side]).sum() / weight.sum() == pytest.approx(180 * share, abs=0.1)
        assert (weight * yy[:, side]).sum() / weight.sum() == pytest.approx(
            180 * (50 - 7.5) / 90, abs=0.1
        )


def test_a_turned_picture_gives_the_same_crop():
    picture = waves(70, 90)
    quad = leaning(np.array([44.0, 33.0]), 20, 0.4)
    turned = np.rot90(picture, k=-1)  # clockwise: (x, y) -> (height - 1 - y, x)
    there = np.stack([69 - quad[:, 1], quad[:, 0]], axis=1)
    np.testing.assert_allclose(
        crop_face(turned, there, size=32), crop_face(picture, quad, size=32), atol=1e-4
    )


@pytest.mark.parametrize("centre", [(5.0, 40.0), (84.0, 3.0), (45.0, 79.0), (0.0, 0.0)])
def test_faces_at_the_border(centre):
    picture = waves(80, 90)
    quad = leaning(np.array(centre), 25, 0.3)
    got = crop_face(picture, quad, size=50)
    assert np.isfinite(got).all() and np.abs(got).max() <= 1
    at = places(quad, 50)
    inside = ((at > 2) & (at < [87, 77])).all(axis=-1)
    assert inside.sum() > 200
    # The picture's own pixels are as they are, also next to the border.
    np.testing.assert_allclose(got[inside], wave_at(at[..., 0], at[..., 1])[inside], atol=0.02)
    # No hard edge: neighbours differ little everywhere.
    assert np.abs(np.diff(got, axis=0)).max() < 0.25
    assert np.abs(np.diff(got, axis=1)).max() < 0.25


def test_a_picture_smaller_than_the_crop():
    got = crop_face(np.full((3, 2, 3), 0.25, np.float32), square(-40, -40, 80), size=64)
    np.testing.assert_allclose(got, 0.25, atol=1e-5)
    one = crop_face(np.full((1, 1, 3), 0.5, np.float32), square(-3, -3, 6), size=8)
    np.testing.assert_allclose(one, 0.5, atol=1e-5)


def test_reduced_pictures_are_the_mean_of_their_pixels():
    rng = np.random.default_rng(1)
    picture = rng.uniform(-1, 1, (128, 128, 3)).astype(np.float32)
    got = crop_face(picture, square(-0.5, -0.5, 128), size=8)
    want = picture.reshape(8, 16, 8, 16, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(got[1:-1, 1:-1], want[1:-1, 1:-1], atol=0.03)


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(st.floats(-20, 110), st.floats(-20, 100)),
    st.floats(3, 60),
    st.floats(-3, 3),
    st.sampled_from([4, 32, 100]),
)
def test_an_unedited_crop_changes_nothing(centre, half, angle, size):
    picture = waves(80, 90, low=0.9)
    quad = leaning(np.array(centre), half, angle)
    face = np.random.default_rng(0).uniform(-1, 1, (size, size, 3)).astype(np.float32)
    np.testing.assert_array_equal(paste_face(picture, face, quad, original=face), picture)


def test_crop_and_paste_of_a_smooth_picture_is_nearly_itself():
    picture = waves(120, 120)
    quad = leaning(np.array([61.0, 58.5]), 40, 0.5)
    back = paste_face(picture, crop_face(picture, quad, size=96), quad)
    np.testing.assert_allclose(back, picture, atol=0.003)
    assert back.dtype == np.float32


def test_nothing_changes_outside_of_the_quad():
    picture = waves(90, 80, low=0.7)
    quad = leaning(np.array([40.0, 70.0]), 30, 0.7)
    back = paste_face(picture, np.ones((16, 16, 3), np.float32), quad)
    y, x = np.mgrid[:90, :80]
    axes = np.stack([quad[3] - quad[0], quad[1] - quad[0]], axis=1)
    at = np.linalg.solve(axes, np.stack([x - quad[0, 0], y - quad[0, 1]]).reshape(2, -1))
    outside = ((at < 0) | (at > 1)).any(axis=0).reshape(90, 80)
    assert outside.sum() > 3000
    np.testing.assert_array_equal(back[outside], picture[outside])
    np.testing.assert_allclose(back[70, 40], 1, atol=1e-6)


def test_the_seam_is_soft_and_keeps_colours():
    grey = np.full((100, 100, 3), 0.2, np.float32)
    quad = square(20, 20, 60)
    same = paste_face(grey, np.full((32, 32, 3), 0.2, np.float32), quad)
    np.testing.assert_allclose(same, grey, atol=1e-6)
    other = paste_face(grey, np.full((32, 32, 3), 0.8, np.float32), quad, feather=0.3)
    assert np.abs(np.diff(other, axis=0)).max() < 0.6 / 4
    assert other.max() <= 0.8 + 1e-6 and other.min() >= 0.2 - 1e-6


def test_only_the_change_is_put_on_top():
    picture = waves(100, 100, low=1.5)  # finer than the crop can hold
    quad = square(10, 10, 80)
    crop = crop_face(picture, quad, size=16)
    brighter = paste_face(picture, crop + 0.1, quad, original=crop)
    np.testing.assert_allclose((brighter - picture)[40:60, 40:60], 0.1, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_a_flow_moves_what_the_image_shows(angle):
    """A rendering that knows the image is shown as it is; one of nothing moves the image alone."""
    picture, quad = waves(100, 100), leaning(np.array([50.0, 48.0]), 30, angle)
    crop = crop_face(picture, quad, size=64)
    flow = np.zeros((32, 32, 2), np.float32)
    flow[8:24, 8:24] = (0.1, -0.06)  # of the crop's sides
    nothing = np.zeros_like(crop)
    moved = paste_face(picture, nothing, quad, original=nothing, flow=flow)
    x, y = 50, 48
    at = quad[0] + 0.5 * (quad[2] - quad[0]) - (50, 48)
    np.testing.assert_allclose(at, 0, atol=1e-4)
    shift = 0.1 * (quad[3] - quad[0]) - 0.06 * (quad[1] - quad[0])
    want = crop_face(picture, quad + shift, size=64)[32, 32]
    np.testing.assert_allclose(moved[y, x], want, atol=0.06)
    assert np.abs(moved[y, x] - picture[y, x]).max() > 0.12
    # Where nothing flows and nothing changes every pixel is the image's.
    still = np.zeros_like(flow)
    np.testing.assert_array_equal(
        paste_face(picture, crop, quad, original=crop, flow=still), picture
    )
    # What the rendering shows after the edit is what is seen, however it got there.
    edited = np.roll(crop, 3, axis=1)
    pasted = paste_face(picture, edited, quad, original=crop, flow=flow)
    added = paste_face(picture, edited, quad, original=crop)
    light, want = (some[40:56, 42:58].mean(axis=-1) for some in (pasted, added))
    np.testing.assert_allclose(light, want, atol=0.1)


def test_an_edit_with_a_flow_brings_no_colours_that_the_face_has_not():
    """Grey and reddish skin; an edit that lightens the middle and turns it blue."""
    picture = np.full((60, 60, 3), 0.1, np.float32)
    picture[::2] += (0.2, 0.0, -0.2)
    quad, crop = square(10, 10, 40), np.zeros((16, 16, 3), np.float32)
    blue = crop + np.float32([0.1, 0.1, 0.4])
    still = np.zeros((16, 16, 2), np.float32)
    changed = paste_face(picture, blue, quad, original=crop, flow=still)[28:32, 28:32]
    before = picture[28:32, 28:32]
    np.testing.assert_allclose(changed.mean(-1), before.mean(-1) + 0.2, atol=1e-5)
    # No pixel is bluer than grey, the least red of the face; grey stays as grey as it was.
    bluer = changed[..., 2] - changed.mean(-1)
    assert bluer.max() <= 1e-5 and np.abs(bluer[1::2]).max() < 1e-5
    # What the face has may be brought: red, up to its own.
    red = crop + np.float32([0.2, 0.0, -0.2])
    changed = paste_face(picture, red, quad, original=crop, flow=still)[28:32, 28:32]
    np.testing.assert_allclose(changed[1::2], before[1::2] + red[0, 0], atol=1e-5)
    np.testing.assert_allclose(changed[::2], before[::2], atol=1e-5)


def test_uint8_and_float_are_the_same_picture():
    array = np.random.default_rng(2).integers(0, 256, (40, 40, 3), np.uint8)
    quad = square(5, 5, 20)
    same = array.astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(crop_face(array, quad, size=9), crop_face(same, quad, size=9))


GOOD = square(2, 2, 10)


@pytest.mark.parametrize(
    ("picture", "quad", "message"),
    [
        (np.zeros((20, 20)), GOOD, r"\[\.\.\., H, W, 3\]"),
        (np.zeros((2, 20, 20, 3)), GOOD, r"\[H, W, 3\]"),
        (np.zeros((20, 20, 3), int), GOOD, "float or uint8"),
        (np.full((20, 20, 3), np.inf), GOOD, "NaN or infinity"),
        (np.zeros((20, 20, 3)), GOOD[:3], r"\[4, 2\]"),
        (np.zeros((20, 20, 3)), GOOD * np.nan, "NaN"),
        (np.zeros((20, 20, 3)), GOOD * 0, "area"),
        (np.zeros((20, 20, 3)), GOOD[::-1], "in order"),
        (np.zeros((20, 20, 3)), GOOD * np.array([[1], [1], [2], [1]]), "parallelogram"),
        (np.zeros((20, 20, 3)), GOOD + 50, "outside"),
        (np.zeros((20, 20, 3)), GOOD - 50, "outside"),
    ],
)
def test_what_cannot_be_cropped(picture, quad, message):
    with pytest.raises(DataError, match=message):
        crop_face(picture, quad, size=8)


def test_what_cannot_be_pasted():
    picture, face = np.zeros((20, 20, 3)), np.zeros((8, 8, 3))
    with pytest.raises(UsageError, match="size"):
        crop_face(picture, GOOD, size=0)
    for feather in (0, 1.5, np.nan):
        with pytest.raises(UsageError, match="feather"):
            paste_face(picture, face, GOOD, feather=feather)
    with pytest.raises(DataError, match=r"\[S, S, 3\]"):
        paste_face(picture, face[:4], GOOD)
    with pytest.raises(UsageError, match="together with original"):
        paste_face(picture, face, GOOD, flow=np.zeros((4, 4, 2)))
    with pytest.raises(DataError, match=r"\[F, F, 2\]"):
        paste_face(picture, face, GOOD, original=face, flow=np.zeros((4, 4, 3)))
    with pytest.raises(DataError, match="must have the shape of the face"):
        paste_face(picture, face, GOOD, original=np.zeros((4, 4, 3)))
