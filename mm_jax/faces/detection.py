"""Faces in an image and their 68 landmarks, by the bundled networks.

An SSD looks at the whole image, and at tiles of a larger one. In each of its boxes the landmarks
are looked for twice: as the image is, and again along the line of the eyes then found. A face is
believed if a smaller detector, or else the same, finds it again in a crop about these landmarks,
and finds it best when the crop stands upright. An image in which no face is believed is searched
again on each of its sides, and then with more care, sharpened and smoothed: the networks know
neither blurred nor noisy photographs.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import numpy as np
from PIL import Image, ImageFilter

from mm_jax.alignment.face import Face
from mm_jax.errors import UsageError
from mm_jax.faces.boxes import overlaps, suppress
from mm_jax.faces.crops import Frame, cut, tiles
from mm_jax.faces.network import FaceNetwork, load_face_network

__all__ = ["FaceDetector", "box_crop", "face_frame"]

# A detector's box about a face, from the extent of its landmarks: so many widths across; and of its
# height, how much lies above the brows. The landmark network was trained on such boxes.
_ACROSS, _ABOVE = 0.95, 0.22
_CHECK_SIDE = 224
# Sides of the part of an image's square that is looked at, beside the square's own: few, as each
# has a program of its own, and such that boxes keep their places among the network's cells.
_SIDES = (320, 384)


class _Side:
    """An image [H, W, 3] after so many quarter turns, with the boxes found in its views."""

    def __init__(self, image: np.ndarray, turns: int):
        self.image = Image.fromarray(np.ascontiguousarray(np.rot90(image, turns)))
        self.boxes: dict[Frame, tuple[np.ndarray, np.ndarray]] = {}


_Mend = Callable[[np.ndarray, float], np.ndarray]
"""A crop [S, S, 3] in [-1, 1], and the pixels across the face in it, to a clearer crop."""


def _filtered(crop: np.ndarray, kernel: ImageFilter.Filter) -> np.ndarray:
    pixels = Image.fromarray(((crop + 1) * 127.5).round().astype(np.uint8))
    return np.asarray(pixels.filter(kernel), np.float32) / 127.5 - 1


def _as_it_is(crop: np.ndarray, face: float) -> np.ndarray:
    return crop


def _sharpened(crop: np.ndarray, face: float) -> np.ndarray:
    return _filtered(crop, ImageFilter.UnsharpMask(0.08 * face, 400, 0))


def _smoothed(crop: np.ndarray, face: float) -> np.ndarray:
    smooth = _filtered(crop, ImageFilter.GaussianBlur(0.02 * face))
    return _filtered(smooth, ImageFilter.UnsharpMask(0.06 * face, 200, 0))


class FaceDetector:
    """The default detector of `mm_jax.alignment`; made once, for many images.

    Args:
        model: must be "": its networks are bundled.

    Raises:
        UsageError: a model is given. DataError: a bundled network is missing or damaged.
    """

    # Scores from which on a box is looked at, and found again.
    candidate: float = 0.3
    believed: float = 0.3
    # A face that is found again with this score stands upright: its other sides are not looked at.
    sure: float = 0.7
    # How much better than upright a face may be found on another side: drawings, and faces upside
    # down, are told by less than photographs on their side.
    slack: float = 0.1
    # How far the second look may move the landmarks, in distances between the eyes: 0.01 to 0.16
    # for faces, 0.37 and more where there is none.
    moved: float = 0.25

    def __init__(self, model: str = "") -> None:
        if model:
            raise UsageError(
                "detector_model must not be given, the detector faces brings its own networks"
            )
        self._ssd = load_face_network("faces/ssd_detector")
        self._tiny = load_face_network("faces/tiny_detector")
        self._landmarks = load_face_network("faces/landmarks")

    def __call__(self, image: np.ndarray, *, upright: bool = False) -> list[Face]:
        """Faces of an image [H, W, 3] uint8, with 68 landmarks in its pixels.

        An image that is known to be `upright` is not searched on its other sides.
        """
        height, width = image.shape[:2]
        image = _brightened(image)
        side = functools.cache(functools.partial(_Side, image))
        for careful in (False, True):
            best: list[Face] = []
            for turns in (0,) if upright else (0, 1, 3, 2):
                faces = self._upright(side(turns), careful=careful)
                if faces and not turns:
                    return faces
                if sum(face.score for face in faces) > sum(face.score for face in best):
                    best = [_turned_back(face, turns, width, height) for face in faces]
            if best:
                return best
        return []

    def glance(self, image: np.ndarray) -> list[Face]:
        """The faces of an image [H, W, 3] uint8 that are seen at once: upright, and not blurred.

        Where there is none that takes a twentieth of the time of the whole search.
        """
        return self._upright(_Side(_brightened(image), 0), careful=False)

    def near(self, image: np.ndarray, box: np.ndarray, *, exact: bool = False) -> Face | None:
        """The face upright about a box [4] of an image [H, W, 3] uint8, if there is one.

        Nothing else of the image is searched, which takes a quarter of the time, and of a large
        image's a thirtieth.

        Args:
            image: of any size.
            box: about where the face is: landmarks are looked for in it, and then in their own.
            exact: whether the box is about the face as those of faces are that were found. It is
                then the face's own, and its landmarks are what a search of the image would find.
        """
        bright = Image.fromarray(_brightened(image))
        guess = np.asarray(box, np.float64) + 0.5
        for mend in (_as_it_is, _sharpened, _smoothed):
            own = guess
            if not exact:
                width, height = guess[2:] - guess[:2]
                rough = self._look(bright, _frame_of(guess), width, height, mend)
                frame, width, height = face_frame(rough)
                half, middle = np.array([width, height]) / 2, np.array([frame.x, frame.y])
                own = np.concatenate([middle - half, middle + half])
            points = self._points(bright, own, mend)
            if points is not None:
                return Face(points - 0.5, guess - 0.5)
        return None

    def _upright(self, side: _Side, *, careful: bool) -> list[Face]:
        """Faces that stand upright in a turned image; `careful` also finds them in a bad one."""
        image = side.image
        long = max(image.size)
        whole = Frame(image.width / 2, image.height / 2, long)
        views = [whole]
        if long > 2 * self._ssd.config.side:
            views += tiles(*image.size, long / 2)
        elif careful:
            # Heads that fill the image are found when there is something about them, and blurred
            # and noisy ones when they are smaller.
            views += [dataclasses.replace(whole, side=factor * long) for factor in (1.6, 2.2)]
        boxes, scores = self._candidates(side, views)
        found = [self._points(image, box, _as_it_is) for box in boxes]
        # Only where it is known which side is up, or nothing else helps, are images mended.
        if careful or any(points is not None for points in found):
            for mend in (_sharpened, _smoothed):
                found = [
                    self._points(image, box, mend) if points is None else points
                    for box, points in zip(boxes, found, strict=True)
                ]
        return _distinct(
            [
                Face(points - 0.5, box - 0.5, float(score))
                for points, box, score in zip(found, boxes, scores, strict=True)
                if points is not None
            ]
        )

    def _points(self, image: Image.Image, box: np.ndarray, mend: _Mend) -> np.ndarray | None:
        """Landmarks [68, 2] in a box [4], in pixels of the image; None if there is no face."""
        width, height = box[2:] - box[:2]
        first = self._look(image, _frame_of(box), width, height, mend)
        points = self._look(image, *face_frame(first), mend)
        step = np.linalg.norm(points - first, axis=1).mean()
        if step > self.moved * np.linalg.norm(_eyes(points)[1] - _eyes(points)[0]):
            return None
        return points if self._is_found_again(image, points, mend) else None

    def _candidates(self, side: _Side, views: list[Frame]) -> tuple[np.ndarray, np.ndarray]:
        """Boxes [N, 4] in pixels, and their scores [N], best first."""
        for view in views:
            if view not in side.boxes:
                side.boxes[view] = self._boxes(side.image, view)
        found = [side.boxes[view] for view in views]
        boxes = np.concatenate([boxes for boxes, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        kept = suppress(boxes, scores, threshold=self.candidate, overlap=0.4)
        return boxes[kept], scores[kept]

    def _boxes(self, image: Image.Image, view: Frame) -> tuple[np.ndarray, np.ndarray]:
        size = self._ssd.config.side
        view, part = _filled_part(image, view, size)
        boxes, scores = (
            np.asarray(value[0]) for value in self._ssd(cut(image, view, size, part)[None])
        )
        kept = suppress(boxes, scores, threshold=self.candidate, overlap=0.5)
        corners = view.to_image(boxes[kept].reshape(-1, 2, 2))
        return corners.reshape(-1, 4), scores[kept]

    def _look(
        self, image: Image.Image, frame: Frame, width: float, height: float, mend: _Mend
    ) -> np.ndarray:
        """Landmarks [68, 2] in a box amid a square, in pixels of the image."""
        size = self._landmarks.config.side
        crop = _beside_box(mend(cut(image, frame, size), size), frame.side, width, height)
        points = np.asarray(self._landmarks(crop[None])[0], np.float64)
        return frame.to_image(points)

    def _is_found_again(self, image: Image.Image, points: np.ndarray, mend: _Mend) -> bool:
        """Whether a face is found in a crop about its landmarks, and best as it stands there."""
        frame, width, height = face_frame(points)
        wider = dataclasses.replace(frame, side=2 * frame.side)
        half = np.array([width, height]) / wider.side / 2
        for network in (self._tiny, self._ssd):
            size = _CHECK_SIDE if network is self._tiny else network.config.side
            crop = mend(cut(image, wider, size), size / 2)
            upright = _score_amid(network, crop, half)
            if upright > self.sure:
                return True
            turned = [
                _score_amid(network, np.rot90(crop, turns), half if turns == 2 else half[::-1])
                for turns in (1, 2, 3)
            ]
            if max(upright, *turned) > self.believed:
                return upright > self.believed and upright >= max(turned) - self.slack
        return False


def _score_amid(network: FaceNetwork, crop: np.ndarray, half: np.ndarray) -> float:
    """How well a face is found amid a crop [S, S, 3], where its box has half these sides [2]."""
    boxes, scores = jax.device_get(network(crop[None]))
    near = overlaps(np.concatenate([0.5 - half, 0.5 + half]), boxes[0]) > 0.4
    return float(scores[0][near].max(initial=0))


def box_crop(
    image: Image.Image, frame: Frame, width: float, height: float, size: int
) -> np.ndarray:
    """The square about a box, as [size, size, 3] in [-1, 1]; what is beside the box is black.

    So the networks that read a face were shown it in training.
    """
    return _beside_box(cut(image, frame, size), frame.side, width, height)


def _beside_box(crop: np.ndarray, side: float, width: float, height: float) -> np.ndarray:
    """A crop of `side` pixels of the image, black beside the box amid it."""
    size = len(crop)
    away = np.abs(np.arange(size) + 0.5 - size / 2) / size * side
    crop = crop.copy()
    crop[:, away > width / 2] = -1
    crop[away > height / 2] = -1
    return crop


def face_frame(points: np.ndarray) -> tuple[Frame, float, float]:
    """The box that a detector would draw about a face that stands upright along its eyes' line.

    Args:
        points: landmarks [68, 2].

    Returns:
        The square about the box, and the box's width and height, in the points' unit.
    """
    left, right = _eyes(points)
    angle = math.atan2(*(right - left)[::-1])
    upright = Frame(0.0, 0.0, 1.0, angle)
    turned = upright.from_image(points)
    low, high = turned.min(axis=0), turned.max(axis=0)
    width = _ACROSS * (high[0] - low[0])
    height = (high[1] - low[1]) / (1 - _ABOVE)
    centre = np.array([(low[0] + high[0]) / 2, high[1] - height / 2])
    x, y = upright.to_image(centre)
    return Frame(x, y, max(width, height), angle), width, height


def _brightened(image: np.ndarray) -> np.ndarray:
    """A dark image as if it had been exposed as photographs are, which the networks know."""
    white = float(np.percentile(image[::4, ::4], 99))
    if not 0 < white < 128:
        return image
    return np.minimum(image * np.float32(230 / white), 255).astype(np.uint8)


def _eyes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points[36:42].mean(axis=0), points[42:48].mean(axis=0)


def _filled_part(image: Image.Image, view: Frame, size: int) -> tuple[Frame, tuple[int, int]]:
    """The middle of a square that an image fills: with it in the corner, and its rows and columns.

    A square that is larger than the image is left as it is: it has room about the image.
    """
    middle = np.array([view.x, view.y])
    reach = np.maximum(middle, image.size - middle).clip(max=view.side / 2)
    if reach.max() < view.side / 2 - 1:
        return view, (size, size)
    columns, rows = (
        next((side for side in _SIDES if 2 * n / view.side * size <= side + 0.1), size)
        for n in reach
    )
    x, y = middle + np.array([size - columns, size - rows]) / 2 / size * view.side
    return dataclasses.replace(view, x=x, y=y), (rows, columns)


def _frame_of(box: np.ndarray) -> Frame:
    x, y = (box[:2] + box[2:]) / 2
    return Frame(x, y, (box[2:] - box[:2]).max())


def _distinct(faces: list[Face]) -> list[Face]:
    """Without faces whose landmarks are those of a better one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        extent = np.concatenate([face.landmarks.min(axis=0), face.landmarks.max(axis=0)])
        others = [np.concatenate([f.landmarks.min(axis=0), f.landmarks.max(axis=0)]) for f in kept]
        if not others or overlaps(extent, np.stack(others)).max() < 0.4:
            kept.append(face)
    return kept


def _turned_back(face: Face, turns: int, width: int, height: int) -> Face:
    """A face of `np.rot90(image, turns)` in the image [height, width] itself."""

    def back(points: np.ndarray) -> np.ndarray:
        x, y = points[..., 0], points[..., 1]
        if turns == 1:
            return np.stack([width - 1 - y, x], axis=-1)
        if turns == 2:
            return np.stack([width - 1 - x, height - 1 - y], axis=-1)
        return np.stack([y, height - 1 - x], axis=-1)

    corners = back(face.box.reshape(2, 2))
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return Face(back(face.landmarks), box, face.score)
