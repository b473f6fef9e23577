"""Square crops of an image for a network's eyes, and points in them back in the image.

Positions are those of pixel edges: the middle of the top left pixel is (0.5, 0.5).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from PIL import Image

from mm_jax.alignment.framing import Framing

__all__ = ["RECOGNISED", "Frame", "cut", "tiles"]

_MAX_FACTOR = 8

RECOGNISED = Framing(scale=0.68, down=0.105)
"""dlib's crop, which its recogniser was trained on, in terms of FFHQ's: measured on faces that dlib
cut out with a padding of 0.25."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """A square of an image, turned about its centre.

    Attributes:
        x, y: the centre in pixels.
        side: length of an edge in pixels.
        angle: of its upper edge to the image's rows, in radians; positive is clockwise as seen.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 2] in fractions of the square to pixels of the image."""
        return (points - 0.5) * self.side @ self._turn + [self.x, self.y]

    def from_image(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `to_image`."""
        return (points - [self.x, self.y]) @ self._turn.T / self.side + 0.5

    @property
    def _turn(self) -> np.ndarray:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cos, sin], [-sin, cos]])


def cut(
    image: Image.Image, frame: Frame, size: int, part: tuple[int, int] | None = None
) -> np.ndarray:
    """The square as [size, size, 3] float32 in [-1, 1]; what lies outside of the image is black.

    An image that is reduced to a half or less is first averaged over blocks of pixels, so that
    nothing aliases, then sampled bilinearly. With `part` only the upper left part of so many rows
    and columns is cut out.
    """
    rows, columns = part or (size, size)
    factor = min(max(round(frame.side / size), 1), _MAX_FACTOR)
    corners = frame.to_image(np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]]) / size)
    origin = np.zeros(2)
    if factor > 1:
        # Only what the square needs, and a block more on each side.
        low = np.maximum(np.floor(corners.min(axis=0) / factor - 1) * factor, 0)
        high = np.minimum(np.ceil(corners.max(axis=0) / factor + 1) * factor, image.size)
        if (low >= high).any():  # beside the image
            return np.full((rows, columns, 3), -1, np.float32)
        image, origin = image.reduce(factor, tuple(np.concatenate([low, high]).astype(int))), low
    corner, right, below, end = (corners - origin) / factor
    if not frame.angle and (corner >= 0).all() and (end <= image.size).all():
        # Takes half of the time of the general case.
        box = (corner[0], corner[1], end[0], end[1])
        sampled = image.resize((columns, rows), Image.Resampling.BILINEAR, box)
        return np.asarray(sampled, np.float32) / 127.5 - 1
    across, down = (right - corner) / columns, (below - corner) / rows
    affine = (across[0], down[0], corner[0], across[1], down[1], corner[1])
    sampled = image.transform(
        (columns, rows), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
    )
    return np.asarray(sampled, np.float32) / 127.5 - 1


def tiles(width: int, height: int, side: float) -> list[Frame]:
    """Squares that cover an image; neighbours share a quarter of their side and more."""

    def centres(length: int) -> np.ndarray:
        if length <= side:
            return np.array([length / 2])
        count = math.ceil((length - side) / (0.75 * side)) + 1
        return np.linspace(side / 2, length - side / 2, count)

    return [Frame(x, y, side) for y in centres(height) for x in centres(width)]
