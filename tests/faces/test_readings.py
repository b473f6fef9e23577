"""What is read from faces: the right way round, and alike for one face however it is shown."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from PIL import Image

from mm_jax.errors import DataError
from mm_jax.faces import FaceDetector, FaceReader, identity_distance
from mm_jax.faces.architectures import EXPRESSIONS
from mm_jax.faces.readings import eye_contrast, landmark_readings


@functools.cache
def reader():
    return FaceReader()


def square(path, side=256):
    return np.asarray(Image.open(path).convert("RGB").resize((side, side)))


@pytest.fixture(scope="module")
def images(goldens):
    folder = goldens / "faces"
    first = square(folder / "astronaut.jpg")
    tilted = np.asarray(Image.fromarray(first).rotate(12, Image.Resampling.BICUBIC))
    return np.stack([first, tilted, first[:, ::-1], square(folder / "mona_lisa.jpg"), first * 0])


@pytest.fixture(scope="module")
def readings(images):
    return reader()(images)


def test_one_value_for_each_image(readings):
    assert readings.found.tolist() == [True, True, True, True, False]
    assert readings.descriptors.shape == (5, 128)
    for name, values in readings.values.items():
        assert values.shape == (5,) and np.isfinite(values[:4]).all(), name
        assert np.isnan(values[4]), name
    assert np.isnan(readings.descriptors[4]).all()
    total = sum(readings.values[name] for name in EXPRESSIONS)
    np.testing.assert_allclose(total[:4], 1, atol=1e-5)
    assert (readings.values["happy"][:3] > 0.9).all()
    assert (readings.values["male"][:3] < 0.3).all()
    assert (np.abs(readings.values["age"][:3] - 32) < 10).all()


def test_identity_is_the_person_not_the_picture(readings):
    first, tilted, mirrored, other, _ = readings.descriptors
    assert identity_distance(first, first) == 0
    assert identity_distance(first, tilted) < 0.35
    assert identity_distance(first, mirrored) < 0.45
    assert identity_distance(first, other) > 0.6
    both = identity_distance(readings.descriptors[:2], readings.descriptors[2:4])
    assert both.shape == (2,)


def test_float_images_are_read_as_bytes_are(images, readings):
    as_float = images[:1].astype(np.float32) / 127.5 - 1
    values = reader()(as_float).values
    for name, value in values.items():
        np.testing.assert_allclose(value, readings.values[name][:1], atol=1e-4)
    with pytest.raises(DataError):
        reader()(images[..., :1])


def upright():
    """A simple face that looks straight ahead, eyes at (-30, 0) and (30, 0)."""
    points = np.zeros((68, 2))
    points[:17] = np.stack([np.linspace(-60, 60, 17), 70 - np.linspace(-8, 8, 17) ** 2], axis=1)
    points[17:27] = np.stack([np.linspace(-45, 45, 10), np.full(10, -20.0)], axis=1)
    points[27:31] = [[0, y] for y in (0, 12, 24, 36)]
    points[31:36] = [[x, 40] for x in (-10, -5, 0, 5, 10)]
    points[36:42], points[42:48] = [-30, 0], [30, 0]
    points[48:60] = np.stack([np.linspace(-22, 22, 12), np.full(12, 60.0)], axis=1)
    points[48], points[54] = [-22, 60], [22, 60]
    points[60:68] = [0, 60]
    return points


def test_landmark_readings_of_a_face_that_moves():
    calm = landmark_readings(upright())
    assert calm["yaw"] == pytest.approx(0) and calm["mouth_open"] == pytest.approx(0)
    assert calm["brow_height"] == pytest.approx(0.5) and calm["mouth_width"] == pytest.approx(1.1)

    def changed(index, step):
        points = upright()
        points[index] += step
        return landmark_readings(points)

    assert changed([30], [12, 0])["yaw"] > 0.15 > -0.15 > changed([30], [-12, 0])["yaw"]
    assert changed([65, 66, 67], [0, 8])["mouth_open"] == pytest.approx(0.2)
    assert changed(range(17, 27), [0, -4])["brow_height"] == pytest.approx(0.6)
    assert changed([54], [8, 0])["mouth_width"] == pytest.approx(1.3)
    assert changed([30], [0, 6])["pitch"] > calm["pitch"]


def test_landmark_readings_do_not_depend_on_place_size_and_tilt():
    points = upright() + np.random.default_rng(0).normal(0, 2, (68, 2))
    turn = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    moved = landmark_readings(3 * points @ turn + [100, -40])
    for name, value in landmark_readings(points).items():
        assert moved[name] == pytest.approx(value, abs=1e-9), name


def test_covered_eyes_have_less_contrast(images):
    """The lids of the first image's face, painted over in the colour of the skin below them."""
    pixels = images[0]
    face = max(FaceDetector()(pixels), key=lambda face: face.area)
    points = face.landmarks.astype(np.float64) + 0.5
    covered = pixels.copy()
    for first in (36, 42):
        low = np.floor(points[first : first + 6].min(axis=0)).astype(int) - 3
        high = np.ceil(points[first : first + 6].max(axis=0)).astype(int) + 3
        skin = pixels[high[1] : high[1] + 4, low[0] : high[0]].mean(axis=(0, 1))
        covered[low[1] : high[1], low[0] : high[0]] = skin
    shown, hidden = (eye_contrast(Image.fromarray(it), points) for it in (pixels, covered))
    assert hidden < 0.5 * shown
