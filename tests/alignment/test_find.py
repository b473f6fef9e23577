"""Detectors: the bundled networks for real, dlib through a double of its interface."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from mm_jax import media
from mm_jax.alignment import Face, ffhq_quad, find, find_faces, five_points, open_detector
from mm_jax.alignment.detectors import Dlib
from mm_jax.errors import DataError, UsageError

FIVE = np.array([[40, 50], [60, 50], [50, 62], [43, 75], [57, 75]], float)
PICTURE = np.zeros((100, 120, 3), np.uint8)


@pytest.fixture(scope="module")
def two_faces(goldens):
    """A picture with two rendered faces, the first the larger one, and their landmarks."""
    known = json.loads((goldens / "two_faces.json").read_text())["two_faces.png"]
    return media.read_image(goldens / "two_faces.png"), np.array(known)


# --- what all detectors share ---------------------------------------------------------------------


def test_any_function_is_a_detector():
    got = find_faces(
        PICTURE, lambda picture: [Face(FIVE + np.array([50, 0])), Face(FIVE - np.array([20, 0]))]
    )
    assert [face.box[0] for face in got] == [20, 90]  # from left to right


def test_large_pictures_are_searched_reduced():
    seen = []

    def detect(picture):
        seen.append(picture.shape)
        return [Face(FIVE, np.array([30, 40, 70, 80]))]

    face = find_faces(np.zeros((1600, 3200, 3), np.uint8), detect)[0]
    assert seen == [(800, 1600, 3)]
    np.testing.assert_allclose(face.landmarks, 2 * FIVE + 0.5)
    np.testing.assert_allclose(face.box, [60.5, 80.5, 140.5, 160.5])


def test_faces_that_make_no_sense_are_left_out():
    bad = [Face(FIVE[[1, 0, 2, 4, 3]]), Face(np.zeros((5, 2))), Face(FIVE + 500), Face(FIVE)]
    assert len(find_faces(PICTURE, lambda picture: bad)) == 1
    with pytest.raises(DataError, match="made for another size"):
        find.check_inside(Face(FIVE + 500), 100, 120)


def test_unknown_detectors_and_files(tmp_path):
    with pytest.raises(UsageError, match="known are faces, dlib"):
        find_faces(PICTURE, "magic")
    with pytest.raises(DataError, match="no such file"):
        open_detector("dlib", str(tmp_path / "none.dat"))
    with pytest.raises(DataError, match=r"\[H, W, 3\]"):
        find_faces(np.zeros((2, 4, 4, 3), np.uint8), lambda picture: [])


@pytest.mark.parametrize(("height", "width"), [(900, 8000), (3000, 4000), (1000, 1000)])
def test_faces_too_small_for_the_whole_are_found_in_windows(height, width):
    """A detector that needs a face of 40 pixels, as white squares of a black image."""
    picture = np.zeros((height, width, 3), np.uint8)
    corners = [(0.1, 0.2), (0.45, 0.5), (0.8, 0.7)]
    places = [(int(y * height), int(x * width)) for x, y in corners]
    for top, left in places:
        picture[top : top + 60, left : left + 60] = 255
    inside = (FIVE - [20, 30]) / 60

    def detect(part):
        labels, count = ndimage.label(part[:, :, 0] > 127)
        places = ndimage.find_objects(labels)
        boxes = [(x.start, y.start, x.stop, y.stop) for y, x in places]
        assert max(part.shape) <= 1600 and len(boxes) == count
        return [
            Face(inside * (right - left) + [left, top], np.array([left, top, right, bottom]))
            for left, top, right, bottom in boxes
            if right - left >= 40 and bottom - top >= 40
        ]

    found = [tuple(face.box[:2].round()) for face in find_faces(picture, detect)]
    wanted = sorted((left, top) for top, left in places)
    assert np.abs(np.array(found) - np.array(wanted) + 0.5).max() <= 3


def test_dlib_that_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dlib", None)
    (tmp_path / "model").touch()
    with pytest.raises(UsageError, match=r"mm-jax\[dlib\]"):
        open_detector("dlib", str(tmp_path / "model"))


# --- the bundled networks, see also tests/faces ---------------------------------------------------


def test_the_default_finds_both_faces(two_faces):
    picture, known = two_faces
    faces = find_faces(picture)
    assert len(faces) == 2 and faces[0].area > faces[1].area
    for face, points in zip(faces, known, strict=True):
        assert face.landmarks.shape == (68, 2)
        # The crop is right to a few hundredths of its side.
        quad, want = ffhq_quad(face.landmarks), ffhq_quad(points)
        assert np.abs(quad - want).max() < 0.08 * np.linalg.norm(want[3] - want[0])


def test_the_networks_take_no_model(tmp_path):
    (tmp_path / "model").touch()
    with pytest.raises(UsageError, match="brings its own networks"):
        open_detector("faces", str(tmp_path / "model"))


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").touch()
    return str(tmp_path / "model")


# --- dlib -----------------------------------------------------------------------------------------


def sixty_eight():
    points = np.tile(FIVE.mean(axis=0), (68, 1))
    points[36:42], points[42:48] = FIVE[0], FIVE[1]
    points[30], points[48], points[54] = FIVE[2:]
    return points.round().astype(int)


def dlib_double(count=68):
    points = [SimpleNamespace(x=int(x), y=int(y)) for x, y in sixty_eight()[:count]]
    box = SimpleNamespace(left=lambda: 30, top=lambda: 35, right=lambda: 70, bottom=lambda: 80)
    double = ModuleType("dlib")
    double.__dict__.update(
        shape_predictor=lambda path: lambda picture, where: SimpleNamespace(parts=lambda: points),
        get_frontal_face_detector=lambda: SimpleNamespace(
            run=lambda picture, enlarge, threshold: ([box], [1.5], [0])
        ),
    )
    return double


def test_dlib(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "dlib", dlib_double())
    (face,) = find_faces(PICTURE, "dlib", model=model)
    assert face.landmarks.shape == (68, 2) and face.score == 1.5
    np.testing.assert_allclose(five_points(face.landmarks), FIVE)
    assert face.box.tolist() == [30, 35, 70, 80]
    monkeypatch.setitem(sys.modules, "dlib", dlib_double(count=5))
    with pytest.raises(DataError, match="must give 68 landmarks, got 5"):
        find_faces(PICTURE, "dlib", model=model)


def test_dlib_takes_the_model_of_a_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dlib", dlib_double())
    folder = tmp_path / "face_recognition_models" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise ImportError('never imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="face-recognition-models"):
        open_detector("dlib")
    (folder / Dlib._FILE).touch()
    assert len(find_faces(PICTURE, "dlib")) == 1


def test_dlib_refuses_other_files(monkeypatch, model):
    def refuse(path):
        raise RuntimeError("Error deserializing object\nmore")

    double = dlib_double()
    double.__dict__["shape_predictor"] = refuse
    monkeypatch.setitem(sys.modules, "dlib", double)
    with pytest.raises(DataError, match="no model of dlib's shape predictor: Error deserializing"):
        open_detector("dlib", model)
