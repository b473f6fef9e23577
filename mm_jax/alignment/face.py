"""A face in an image, and FFHQ's crop about it (Karras et al., arXiv 1812.04948, appendix C).

The crop is a square that leans as the face does. With e the step from the left eye to the right one
(left in the image) and m the step from between the eyes to the middle of the mouth's corners, its
x axis points along e - rot90(m), half its side is max(2 |e|, 1.8 |m|), and its centre lies 0.1 m
below the eyes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_jax.errors import DataError

__all__ = ["Face", "face_yaw", "ffhq_quad", "five_points"]


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """A face in an image.

    Attributes:
        landmarks: [P, 2] float32, x to the right, y down, in pixels of the upright image. P = 68
            in the order of iBUG (dlib), or P = 5: left eye, right eye, tip of the nose, left and
            right corner of the mouth; left is the image's.
        box: [4] float32: left, top, right, bottom; that of the landmarks unless given.
        score: how sure the detector is, on a scale of its own; 1 for landmarks from a file.

    Raises:
        DataError: landmarks of another shape, or not finite.
    """

    landmarks: np.ndarray
    box: np.ndarray = None  # type: ignore[assignment]
    score: float = 1.0

    def __post_init__(self) -> None:
        points = _checked(self.landmarks)
        box = np.r_[points.min(axis=0), points.max(axis=0)] if self.box is None else self.box
        object.__setattr__(self, "landmarks", points.astype(np.float32))
        object.__setattr__(self, "box", np.asarray(box, np.float32).reshape(4))

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return float(np.prod(self.box[2:] - self.box[:2]))


def _checked(landmarks: np.ndarray) -> np.ndarray:
    points = np.asarray(landmarks)
    if points.dtype.kind not in "fiu" or points.shape not in ((5, 2), (68, 2)):
        raise DataError(
            f"landmarks must be numbers [68, 2] or [5, 2], got {points.dtype} {list(points.shape)}"
        )
    points = points.astype(np.float64)
    if not np.isfinite(points).all():
        raise DataError("landmarks hold NaN or infinity")
    return points


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Left eye, right eye, tip of the nose, corners of the mouth: [5, 2] of [68, 2] or [5, 2]."""
    points = _checked(landmarks)
    if len(points) == 5:
        return points
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return np.stack([*eyes, points[30], points[48], points[54]])


def face_yaw(landmarks: np.ndarray) -> float:
    """How far a face is turned, of landmarks [68, 2]: -1 to the image's left, 1 to its right.

    It is where the tip of the nose is between the two ends of the jaw, along the eyes' line.
    """
    points = np.asarray(landmarks, np.float64)
    along = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    left, right, tip = points[[0, 16, 30]] @ (along / max(np.hypot(*along), 1e-6))
    return float((2 * tip - left - right) / max(right - left, 1e-6))


def ffhq_quad(landmarks: np.ndarray) -> np.ndarray:
    """The corners of FFHQ's crop.

    Args:
        landmarks: [68, 2] or [5, 2], see `Face`. An image that is turned, moved or enlarged
            together with its landmarks gives the same crop; mirrored landmarks have to be named
            anew, left for right.

    Returns:
        [4, 2] float32: top left, bottom left, bottom right, top right. They may lie outside the
        image.

    Raises:
        DataError: landmarks of another shape, not finite, without extent, or of a face with left
            and right exchanged or its mouth above its eyes.
    """
    points = five_points(landmarks)
    left_eye, right_eye, _, left_mouth, right_mouth = points
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across, down = right_eye - left_eye, mouth - eyes
    extent = max(np.hypot(*across), np.hypot(*down))
    # Twice the area of the triangle eye, eye, mouth: negative if the three run the wrong way round.
    area = across[0] * down[1] - across[1] * down[0]
    if extent < 1e-3 or abs(area) < 0.02 * extent**2:
        raise DataError("the landmarks' eyes and mouth lie on one line or at one point: no face")
    if area < 0:
        raise DataError(
            "the landmarks have the mouth above the eyes, or left and right exchanged: left is the "
            "left side of the image"
        )
    x = across + np.array([down[1], -down[0]])
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    corners = [centre - x - y, centre - x + y, centre + x + y, centre + x - y]
    return np.stack(corners).astype(np.float32)
