"""The libraries that find faces, each asked in its own way; imported when they are asked for.

Each class is a factory and a detector: made from a model's file (or ""), called with an image
[H, W, 3] uint8 RGB, it returns `Face`s. Left and right are the image's throughout.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax.alignment.face import Face
from mm_jax.errors import DataError, UsageError, first_line

__all__ = ["Dlib", "MediaPipe", "OpenCvCascades", "YuNet", "networks"]


def _library(name: str, hint: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"{hint} ({error})") from error


def _opencv(what: str) -> Any:
    return _library("cv2", f"{what} needs OpenCV: pip install 'mm-jax[faces]'")


def networks(model: str = "") -> Any:
    """The bundled face networks, `mm_jax.faces`: 68 landmarks, no extra.

    JAX is imported here, for the other detectors do without.
    """
    from mm_jax.faces.detection import FaceDetector

    return FaceDetector(model)


class OpenCvCascades:
    """Haar cascades of OpenCV 4, which come with its wheel: no further file is needed.

    Finds faces that look into the camera and stand upright. Of the five landmarks only the eyes are
    looked for, and where an eye is not found it is taken from the box's usual proportions; nose and
    mouth always follow from the eyes. So the crop is roughly right, not to the pixel: for a better
    one use another detector or landmarks from a file.

    Raises:
        UsageError: no OpenCV, or OpenCV 5, which has no cascades; or a model is given.
    """

    # The second, which finds more, faces or not, is asked where the first finds none; its scores
    # are those of true faces above the limit.
    _FACES = (
        ("haarcascade_frontalface_alt2.xml", 0.0),
        ("haarcascade_frontalface_default.xml", 3.0),
    )
    _EYES = ("haarcascade_eye_tree_eyeglasses.xml", "haarcascade_eye.xml")
    # Of the box: where the eyes are, and how far each may be from there.
    _EYE_X, _EYE_Y, _EYE_REACH = 0.31, 0.38, 0.14
    # Of the distance between the eyes: how far down nose and mouth are, half the mouth's width.
    _NOSE, _MOUTH, _MOUTH_HALF = 0.62, 1.06, 0.41

    def __init__(self, model: str = "") -> None:
        if model:
            raise UsageError("the detector opencv brings its own model: want no detector_model")
        self._cv2 = cv2 = _opencv("the detector opencv")
        if not hasattr(cv2, "CascadeClassifier"):
            raise UsageError(
                f"OpenCV {cv2.__version__} has no cascades: pip install 'mm-jax[faces]' gets "
                "OpenCV 4, or use the detector yunet"
            )
        self._faces = [(self._cascade(name), limit) for name, limit in self._FACES]
        self._eyes = [self._cascade(name) for name in self._EYES]

    def _cascade(self, name: str) -> Any:
        path = Path(self._cv2.data.haarcascades) / name
        cascade = self._cv2.CascadeClassifier(str(path))
        if cascade.empty():
            raise UsageError(f"this OpenCV lacks {name}: pip install 'mm-jax[faces]'")
        return cascade

    def __call__(self, picture: np.ndarray) -> list[Face]:
        """Faces of an image [H, W, 3] uint8."""
        grey = self._cv2.equalizeHist(self._cv2.cvtColor(picture, self._cv2.COLOR_RGB2GRAY))
        least = max(min(grey.shape) // 20, 24)
        for cascade, limit in self._faces:
            boxes = _outermost(self._detect(cascade, grey, 1.1, 4, least))
            found = [(box, score) for box, score in boxes if score >= limit]
            if found:
                return [self._face(grey, box, score) for box, score in found]
        return []

    def _detect(
        self, cascade: Any, grey: np.ndarray, factor: float, neighbours: int, least: int
    ) -> list[tuple[np.ndarray, float]]:
        """Boxes (left, top, width, height) and scores."""
        boxes, _, scores = cascade.detectMultiScale3(
            grey, factor, neighbours, minSize=(least, least), outputRejectLevels=True
        )
        return [
            (np.asarray(box, float), float(score))
            for box, score in zip(boxes, np.ravel(scores), strict=True)
        ]

    def _face(self, grey: np.ndarray, box: np.ndarray, score: float) -> Face:
        left, top, side, height = box
        eyes = self._find_eyes(grey, box)
        across = eyes[1] - eyes[0]
        down = np.array([-across[1], across[0]])
        middle = eyes.mean(axis=0)
        mouth = middle + self._MOUTH * down
        points = [
            *eyes,
            middle + self._NOSE * down,
            mouth - self._MOUTH_HALF * across,
            mouth + self._MOUTH_HALF * across,
        ]
        edges = np.array([left, top, left + side, top + height])
        return Face(np.stack(points), edges, score)

    def _find_eyes(self, grey: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Both eyes [2, 2]; what is not found, or unlikely, has the box's proportions."""
        left, top, side, _ = box
        usual = np.array([[self._EYE_X, self._EYE_Y], [1 - self._EYE_X, self._EYE_Y]])
        corner = np.array([int(left), int(top)])
        rows = grey[corner[1] : corner[1] + int(0.6 * side), corner[0] : corner[0] + int(side)]
        found: list[np.ndarray | None] = [None, None]
        for cascade in self._eyes:
            boxes = self._detect(cascade, rows, 1.05, 3, max(int(side) // 8, 8))
            places = [((b[:2] + b[2:] / 2) / side, score) for b, score in boxes]
            for i in range(2):
                near = [
                    (score, place)
                    for place, score in places
                    if np.abs(place - usual[i]).max() < self._EYE_REACH
                ]
                if found[i] is None and near:
                    found[i] = max(near, key=lambda pair: pair[0])[1]
        eyes = usual.copy()
        for i, place in enumerate(found):
            if place is not None:
                eyes[i] = place
                if found[1 - i] is None:
                    eyes[1 - i, 1] = place[1]
        return corner + eyes * side


def _outermost(found: list[tuple[np.ndarray, float]]) -> list[tuple[np.ndarray, float]]:
    """Without boxes whose middle lies within a larger one: parts of a face taken for a face."""
    kept: list[tuple[np.ndarray, float]] = []
    for box, score in sorted(found, key=lambda pair: -pair[0][2]):
        middle = box[:2] + box[2:] / 2
        if not any(((middle > b[:2]) & (middle < b[:2] + b[2:])).all() for b, _ in kept):
            kept.append((box, score))
    return kept


class YuNet:
    """OpenCV's YuNet (`cv2.FaceDetectorYN`): five landmarks, also of faces that lean or turn.

    Args:
        model: face_detection_yunet_*.onnx of OpenCV's model zoo.

    Raises:
        UsageError: no OpenCV, or no model. DataError: OpenCV cannot use the file.
    """

    def __init__(self, model: str = "") -> None:
        if not model:
            raise UsageError(
                "the detector yunet needs detector_model: face_detection_yunet_2023mar.onnx of "
                "OpenCV's model zoo"
            )
        self._cv2 = _opencv("the detector yunet")
        try:
            self._detector = self._cv2.FaceDetectorYN.create(model, "", (320, 320), 0.7)
        except self._cv2.error as error:
            raise DataError(f"{model} is no model of YuNet: {first_line(error)}") from error

    def __call__(self, picture: np.ndarray) -> list[Face]:
        """Faces of an image [H, W, 3] uint8."""
        self._detector.setInputSize((picture.shape[1], picture.shape[0]))
        _, rows = self._detector.detect(np.ascontiguousarray(picture[:, :, ::-1]))
        faces = []
        for row in () if rows is None else np.asarray(rows):
            # Box, then eyes, nose and corners of the mouth, the image's left before its right.
            left, top, width, height = row[:4]
            edges = np.array([left, top, left + width, top + height])
            faces.append(Face(row[4:14].reshape(5, 2), edges, float(row[14])))
        return faces


class Dlib:
    """dlib's frontal detector and its predictor of 68 landmarks: the pair that FFHQ was cut with.

    Args:
        model: shape_predictor_68_face_landmarks.dat; by default that of the package
            face-recognition-models, if it is installed.

    Raises:
        UsageError: no dlib, or no model. DataError: dlib cannot use the file.
    """

    _FILE = "shape_predictor_68_face_landmarks.dat"

    def __init__(self, model: str = "") -> None:
        dlib = _library("dlib", "the detector dlib needs dlib: pip install 'mm-jax[dlib]'")
        model = model or self._installed()
        if not model:
            raise UsageError(
                f"the detector dlib needs detector_model: {self._FILE}, or the package "
                "face-recognition-models, which holds it"
            )
        self._model = model
        try:
            self._predictor = dlib.shape_predictor(model)
        except RuntimeError as error:
            raise DataError(
                f"{model} is no model of dlib's shape predictor: {first_line(error)}"
            ) from error
        self._detector = dlib.get_frontal_face_detector()

    def _installed(self) -> str:
        """The model of an installed package, which is not imported for it."""
        spec = importlib.util.find_spec("face_recognition_models")
        folders = (spec.submodule_search_locations or []) if spec else []
        files = [Path(folder) / "models" / self._FILE for folder in folders]
        return next((str(path) for path in files if path.is_file()), "")

    def __call__(self, picture: np.ndarray) -> list[Face]:
        """Faces of an image [H, W, 3] uint8."""
        # The detector's faces are of 80 pixels or more; enlarged once, of 40.
        enlarge = 1 if max(picture.shape) <= 1000 else 0
        boxes, scores, _ = self._detector.run(picture, enlarge, 0.0)
        faces = []
        for box, score in zip(boxes, scores, strict=True):
            points = [(point.x, point.y) for point in self._predictor(picture, box).parts()]
            if len(points) != 68:
                raise DataError(f"{self._model} gives {len(points)} landmarks, want those with 68")
            edges = np.array([box.left(), box.top(), box.right(), box.bottom()])
            faces.append(Face(np.array(points), edges, float(score)))
        return faces


class MediaPipe:
    """MediaPipe's face landmarker; five landmarks are taken from its 478.

    Args:
        model: face_landmarker.task.

    Raises:
        UsageError: no MediaPipe, or no model. DataError: MediaPipe cannot use the file.
    """

    _LEFT_EYE = (33, 160, 158, 133, 153, 144)
    _RIGHT_EYE = (362, 385, 387, 263, 373, 380)
    _NOSE, _LEFT_MOUTH, _RIGHT_MOUTH = 1, 61, 291
    _MOST_FACES = 20

    def __init__(self, model: str = "") -> None:
        if not model:
            raise UsageError("the detector mediapipe needs detector_model: face_landmarker.task")
        hint = "the detector mediapipe needs MediaPipe: pip install mediapipe"
        self._mediapipe = _library("mediapipe", hint)
        tasks = _library("mediapipe.tasks.python", hint)
        vision = _library("mediapipe.tasks.python.vision", hint)
        options = vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=model), num_faces=self._MOST_FACES
        )
        try:
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise DataError(
                f"{model} is no model of MediaPipe's face landmarker: {first_line(error)}"
            ) from error

    def __call__(self, picture: np.ndarray) -> list[Face]:
        """Faces of an image [H, W, 3] uint8."""
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture)
        )
        size = np.array([picture.shape[1], picture.shape[0]])
        faces = []
        for found in self._landmarker.detect(image).face_landmarks:
            mesh = np.array([(point.x, point.y) for point in found]) * size - 0.5
            eyes = [mesh[list(eye)].mean(axis=0) for eye in (self._LEFT_EYE, self._RIGHT_EYE)]
            rest = mesh[[self._NOSE, self._LEFT_MOUTH, self._RIGHT_MOUTH]]
            edges = np.concatenate([mesh.min(axis=0), mesh.max(axis=0)])
            faces.append(Face(np.stack([*eyes, *rest]), edges))
        return faces
