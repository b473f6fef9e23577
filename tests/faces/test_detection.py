"""Faces found in whole images, and what is refused."""

from __future__ import annotations

import functools
import itertools
import json
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from mm_jax.alignment import ffhq_quad, five_points
from mm_jax.errors import UsageError
from mm_jax.faces.boxes import overlaps, suppress
from mm_jax.faces.crops import Frame, cut, tiles
from mm_jax.faces.detection import FaceDetector, _filled_part, box_crop, face_frame


@functools.cache
def detector():
    return FaceDetector()


@pytest.fixture(scope="module")
def two_faces(goldens):
    known = json.loads((goldens / "two_faces.json").read_text())["two_faces.png"]
    return np.asarray(Image.open(goldens / "two_faces.png").convert("RGB")), np.array(known)


@pytest.fixture(scope="module")
def portrait(goldens):
    return np.asarray(Image.open(goldens / "faces" / "astronaut.jpg").convert("RGB"))


def between_eyes(face):
    points = five_points(face.landmarks)
    return float(np.hypot(*(points[1] - points[0])))


def test_a_photograph_and_its_mirror(portrait):
    """The mirrored face is the mirror of the face, left named for right."""
    (face,) = detector()(portrait)
    (mirrored,) = detector()(portrait[:, ::-1].copy())
    left, top, right, bottom = face.box
    assert left < face.landmarks[30, 0] < right and top < face.landmarks[30, 1] < bottom
    swap = five_points(mirrored.landmarks)[[1, 0, 2, 4, 3]]
    swap[:, 0] = portrait.shape[1] - 1 - swap[:, 0]
    gap = np.linalg.norm(swap - five_points(face.landmarks), axis=1).mean()
    assert gap < 0.12 * between_eyes(face)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_an_image_on_its_side(portrait, turns):
    """`np.rot90` turns points (x, y) of a width W to (y, W - 1 - x)."""
    (face,) = detector()(portrait)
    turned = np.ascontiguousarray(np.rot90(portrait, turns))
    (found,) = detector()(turned)
    want, (height, width) = face.landmarks, portrait.shape[:2]
    for _ in range(turns):
        want = np.stack([want[:, 1], width - 1 - want[:, 0]], axis=1)
        width, height = height, width
    np.testing.assert_allclose(found.landmarks, want, atol=0.02 * between_eyes(face))
    assert found.box[0] < found.box[2] and found.box[1] < found.box[3]


def test_a_face_that_leans_and_one_that_fills_the_image(portrait):
    (face,) = detector()(portrait)
    image = Image.fromarray(portrait)
    leaning = image.rotate(25, Image.Resampling.BICUBIC, expand=True)
    (found,) = detector()(np.asarray(leaning))
    edge = ffhq_quad(found.landmarks)[3] - ffhq_quad(found.landmarks)[0]
    upright = ffhq_quad(face.landmarks)[3] - ffhq_quad(face.landmarks)[0]
    turned = math.degrees(math.atan2(*edge[::-1]) - math.atan2(*upright[::-1]))
    assert turned == pytest.approx(-25, abs=4)

    low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
    reach = (high - low).max() * 0.62
    x, y = (low + high) / 2
    close = image.crop((x - reach, y - reach, x + reach, y + reach)).resize((256, 256))
    assert len(detector()(np.asarray(close))) == 1


@pytest.mark.parametrize("spoil", ["blurred", "dimmed", "noised"])
def test_bad_photographs(portrait, spoil):
    (face,) = detector()(portrait)
    pixels = portrait.astype(np.float32)
    if spoil == "blurred":
        pixels = np.asarray(Image.fromarray(portrait).filter(ImageFilter.GaussianBlur(2)))
    elif spoil == "dimmed":
        pixels = pixels * 0.15
    else:
        pixels = pixels + 30 * np.random.default_rng(0).standard_normal(pixels.shape)
    (found,) = detector()(np.clip(pixels, 0, 255).astype(np.uint8))
    gap = np.linalg.norm(found.landmarks - face.landmarks, axis=1).mean()
    assert gap < 0.12 * between_eyes(face)


@pytest.mark.parametrize("tall", [False, True])
def test_of_a_square_the_part_that_the_image_fills_is_looked_at(two_faces, tall):
    pixels = two_faces[0].swapaxes(0, 1) if tall else two_faces[0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    width, height = image.size
    whole = Frame(width / 2, height / 2, max(image.size))
    part, filled = _filled_part(image, whole, 512)
    assert filled == ((512, 320) if tall else (320, 512))
    # What is left out is black: the part lies amid the square, in whole cells of 32 pixels.
    square = cut(image, whole, 512)
    inside = square[:, 96:416] if tall else square[96:416]
    np.testing.assert_allclose(cut(image, part, 512, filled), inside, atol=0.02)
    # With room about the image, all of the square is looked at.
    wider = Frame(width / 2, height / 2, 1.6 * max(image.size))
    assert _filled_part(image, wider, 512) == (wider, (512, 512))
    # The network finds the same in both.
    boxes, scores = detector()._boxes(image, whole)
    found, wanted = detector()._ssd(square[None])
    kept = suppress(np.asarray(found[0]), np.asarray(wanted[0]), threshold=0.3, overlap=0.5)
    assert len(kept) == len(boxes) >= 1
    wholes = whole.to_image(np.asarray(found[0])[kept].reshape(-1, 2, 2)).reshape(-1, 4)
    np.testing.assert_allclose(boxes, wholes, atol=0.02 * max(image.size))
    np.testing.assert_allclose(scores, np.asarray(wanted[0])[kept], atol=0.1)


def test_near_an_exact_box_landmarks_are_those_of_the_search(portrait):
    (face,) = detector()(portrait)
    again = detector().near(portrait, face.box, exact=True)
    rough = detector().near(portrait, face.box + 0.1 * between_eyes(face))
    assert again is not None and rough is not None
    np.testing.assert_allclose(again.landmarks, face.landmarks, atol=1e-3)
    gap = np.linalg.norm(rough.landmarks - face.landmarks, axis=1).mean()
    assert gap < 0.1 * between_eyes(face)
    assert detector().near(portrait, np.array([0, 0, 30, 30])) is None


def test_nothing_is_found_where_nothing_is(goldens):
    rng = np.random.default_rng(0)
    assert detector()(rng.integers(0, 256, (90, 130, 3), np.uint8)) == []
    assert detector()(np.zeros((8, 8, 3), np.uint8)) == []
    assert detector()(np.full((1, 40, 3), 200, np.uint8)) == []


def test_a_model_is_refused():
    with pytest.raises(UsageError, match="brings its own networks"):
        FaceDetector("model.dat")


# --- crops and boxes ------------------------------------------------------------------------------

numbers = st.floats(-50, 50)
frames = st.builds(Frame, numbers, numbers, st.floats(0.5, 90), st.floats(-3, 3))


@hypothesis.given(frame=frames, x=st.floats(-1, 2), y=st.floats(-1, 2))
def test_frames_go_both_ways(frame, x, y):
    there = frame.to_image(np.array([[x, y]]))
    np.testing.assert_allclose(frame.from_image(there), [[x, y]], atol=1e-6)


def test_a_cut_is_the_image_where_its_frame_is():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    image = Image.fromarray(pixels)
    values = pixels.astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(cut(image, Frame(10, 6, 8), 8), values[2:10, 6:14], atol=1e-6)
    # A quarter turn clockwise of the frame shows the image turned the other way.
    quarter = cut(image, Frame(10, 6, 8, math.pi / 2), 8)
    np.testing.assert_allclose(quarter, np.rot90(values[2:10, 6:14], 1), atol=0.01)
    # Halved, a pixel is the mean of four; beyond the image it is black.
    halved = cut(image, Frame(10, 6, 8), 4)
    mean = values[2:10, 6:14].reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(halved, mean, atol=0.01)
    assert (cut(image, Frame(-50, 6, 8), 8) == -1).all()


def test_beside_a_box_a_crop_is_black():
    image = Image.fromarray(np.full((20, 20, 3), 255, np.uint8))
    crop = box_crop(image, Frame(10, 10, 8), 4, 8, 8)
    assert (crop[:, :2] == -1).all() and (crop[:, 6:] == -1).all() and (crop[:, 2:6] == 1).all()


@hypothesis.given(
    width=st.integers(1, 4000), height=st.integers(1, 4000), side=st.floats(200, 2000)
)
def test_tiles_cover_the_image_and_overlap(width, height, side):
    found = tiles(width, height, side)
    for length, centres in ((width, {t.x for t in found}), (height, {t.y for t in found})):
        places = sorted(centres)
        assert places[0] - side / 2 <= 1e-6 and places[-1] + side / 2 >= length - 1e-6
        assert all(b - a <= 0.75 * side + 1e-6 for a, b in itertools.pairwise(places))


@hypothesis.given(seed=st.integers(0, 10_000), overlap=st.floats(0.05, 0.9))
def test_what_is_suppressed_overlaps_something_better(seed, overlap):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 1, (12, 2)), rng.uniform(0.05, 1, (12, 2))
    boxes, scores = np.concatenate([corner, corner + size], axis=1), rng.uniform(0, 1, 12)
    kept = suppress(boxes, scores, threshold=0.3, overlap=overlap)
    assert (np.diff(scores[kept]) <= 0).all() and (scores[kept] > 0.3).all()
    for place, i in enumerate(kept):
        assert (overlaps(boxes[i], boxes[kept[:place]]) <= overlap).all()
    for i in set(np.flatnonzero(scores > 0.3)) - set(kept):
        better = kept[scores[kept] >= scores[i]]
        assert overlaps(boxes[i], boxes[better]).max() > overlap


def test_the_box_about_landmarks_turns_with_them():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (68, 2))
    points[36:42], points[42:48] = [30, 40], [70, 40]
    frame, width, height = face_frame(points)
    assert frame.angle == 0 and frame.side == max(width, height)
    angle = 0.5
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    turned, *sizes = face_frame(points @ turn)
    assert turned.angle == pytest.approx(angle)
    np.testing.assert_allclose(sizes, [width, height])
    np.testing.assert_allclose([turned.x, turned.y], np.array([frame.x, frame.y]) @ turn)
