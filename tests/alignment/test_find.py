"""Detectors: OpenCV's cascades for real, the other libraries through doubles of their interface."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from mm_jax import media
from mm_jax.alignment import Face, ffhq_quad, find, find_faces, five_points, open_detector
from mm_jax.alignment.detectors import Dlib, OpenCvCascades
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
    with pytest.raises(UsageError, match="known are opencv, yunet, dlib, mediapipe"):
        find_faces(PICTURE, "magic")
    with pytest.raises(DataError, match="no such file"):
        open_detector("yunet", str(tmp_path / "none.onnx"))
    with pytest.raises(DataError, match=r"\[H, W, 3\]"):
        find_faces(np.zeros((2, 4, 4, 3), np.uint8), lambda picture: [])


@pytest.mark.parametrize(
    ("name", "library", "words"),
    [
        ("opencv", "cv2", "mm-jax.faces."),
        ("yunet", "cv2", "mm-jax.faces."),
        ("dlib", "dlib", "mm-jax.dlib."),
        ("mediapipe", "mediapipe", "pip install mediapipe"),
    ],
)
def test_a_library_that_is_missing(monkeypatch, tmp_path, name, library, words):
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / "model").touch()
    with pytest.raises(UsageError, match=words):
        open_detector(name, "" if name == "opencv" else str(tmp_path / "model"))


# --- OpenCV ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cascades():
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    if not hasattr(cv2, "CascadeClassifier"):
        pytest.skip("OpenCV without cascades")
    return OpenCvCascades()


def test_cascades_find_both_faces(cascades, two_faces):
    picture, known = two_faces
    faces = find_faces(picture, cascades)
    assert len(faces) == 2 and faces[0].area > faces[1].area
    for face, points in zip(faces, known, strict=True):
        between = np.linalg.norm(points[1] - points[0])
        np.testing.assert_allclose(face.landmarks[:2], points[:2], atol=0.08 * between)
        # The crop is right to a few hundredths of its side.
        quad, want = ffhq_quad(face.landmarks), ffhq_quad(points)
        assert np.abs(quad - want).max() < 0.08 * np.linalg.norm(want[3] - want[0])


def test_cascades_find_nothing_where_nothing_is(cascades):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    assert find_faces(noise, cascades) == []
    assert find_faces(np.zeros((8, 8, 3), np.uint8), cascades) == []


def test_cascades_take_no_model_and_want_opencv_4(monkeypatch, tmp_path):
    (tmp_path / "model").touch()
    with pytest.raises(UsageError, match="brings its own model"):
        open_detector("opencv", str(tmp_path / "model"))
    five = ModuleType("cv2")
    five.__dict__["__version__"] = "5.0.0"
    monkeypatch.setitem(sys.modules, "cv2", five)
    with pytest.raises(UsageError, match=r"OpenCV 5\.0\.0 has no cascades.*yunet"):
        open_detector("opencv")


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").touch()
    return str(tmp_path / "model")


def test_yunet(monkeypatch, model):
    """`detect` gives rows of box, five points and score, or None for no face."""
    calls = []

    class Detector:
        rows = np.array([[30, 40, 45, 50, *FIVE.ravel(), 0.9]], np.float32)

        @classmethod
        def create(cls, path, config, size, threshold):
            calls.append((path, config))
            return cls()

        def setInputSize(self, size):
            calls.append(size)

        def detect(self, picture):
            calls.append(picture[0, 0].tolist())
            return 1, self.rows

    double = ModuleType("cv2")
    double.__dict__.update(FaceDetectorYN=Detector, error=RuntimeError, __version__="4")
    monkeypatch.setitem(sys.modules, "cv2", double)
    picture = PICTURE.copy()
    picture[0, 0] = 1, 2, 3
    detect = open_detector("yunet", model)
    (face,) = find_faces(picture, detect)
    assert calls == [(model, ""), (120, 100), [3, 2, 1]]  # width first, and blue first
    np.testing.assert_allclose(face.landmarks, FIVE)
    assert face.box.tolist() == [30, 40, 75, 90] and face.score == pytest.approx(0.9)
    monkeypatch.setattr(Detector, "rows", None)
    assert find_faces(picture, detect) == []
    with pytest.raises(UsageError, match="onnx"):
        open_detector("yunet")


def test_yunet_refuses_other_files(tmp_path):
    pytest.importorskip("cv2", exc_type=ImportError)
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(DataError, match="no model of YuNet"):
        open_detector("yunet", str(tmp_path / "a.onnx"))


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
    with pytest.raises(DataError, match="gives 5 landmarks"):
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


# --- MediaPipe ------------------------------------------------------------------------------------


def test_mediapipe(monkeypatch, model):
    """478 points relative to the picture's size; (0, 0) is its corner, not a pixel's middle."""
    mesh = np.tile(FIVE.mean(axis=0), (478, 1))
    for indices, place in (((33, 160, 158, 133, 153, 144), 0), ((362, 385, 387, 263, 373, 380), 1)):
        mesh[list(indices)] = FIVE[place]
    mesh[[1, 61, 291]] = FIVE[2:]
    points = [SimpleNamespace(x=x, y=y) for x, y in (mesh + 0.5) / [120, 100]]
    options = []

    class Landmarker:
        @staticmethod
        def create_from_options(given):
            options.append(given)
            return Landmarker()

        def detect(self, image):
            assert image["data"].shape == (100, 120, 3) and image["image_format"] == "srgb"
            return SimpleNamespace(face_landmarks=[points])

    package, tasks, vision = (ModuleType(name) for name in ("mediapipe", "python", "vision"))
    package.__dict__.update(Image=dict, ImageFormat=SimpleNamespace(SRGB="srgb"))
    tasks.__dict__.update(BaseOptions=dict)
    vision.__dict__.update(FaceLandmarkerOptions=dict, FaceLandmarker=Landmarker)
    monkeypatch.setitem(sys.modules, "mediapipe", package)
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", tasks)
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python.vision", vision)
    (face,) = find_faces(PICTURE, "mediapipe", model=model)
    np.testing.assert_allclose(face.landmarks, FIVE, atol=1e-4)
    assert options[0]["base_options"] == {"model_asset_path": model}
    with pytest.raises(UsageError, match=r"face_landmarker\.task"):
        open_detector("mediapipe")

    def refuse(given):
        raise RuntimeError("Unable to open zip archive.")

    monkeypatch.setattr(Landmarker, "create_from_options", refuse)
    with pytest.raises(DataError, match="Unable to open zip"):
        open_detector("mediapipe", model)
