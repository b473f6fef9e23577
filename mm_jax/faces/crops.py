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

_MAX_SAMPLES = 8

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

    Every pixel is the mean of as many bilinear samples as the reduction asks for. With `part` only
    the upper left part of so many rows and columns is cut out.
    """
    samples = min(max(round(frame.side / size), 1), _MAX_SAMPLES)
    fine = size * samples
    rows, columns = part or (size, size)
    corner, right, below = frame.to_image(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    across, down = (right - corner) / fine, (below - corner) / fine
    affine = (across[0], down[0], corner[0], across[1], down[1], corner[1])
    sampled = image.transform(
        (columns * samples, rows * samples),
        Image.Transform.AFFINE,
        affine,
        Image.Resampling.BILINEAR,
    )
    return np.asarray(sampled.reduce(samples), np.float32) / 127.5 - 1


def tiles(width: int, height: int, side: float) -> list[Frame]:
    """Squares that cover an image; neighbours share a quarter of their side and more."""

    def centres(length: int) -> np.ndarray:
        if length <= side:
            return np.array([length / 2])
        count = math.ceil((length - side) / (0.75 * side)) + 1
        return np.linspace(side / 2, length - side / 2, count)

    return [Frame(x, y, side) for y in centres(height) for x in centres(width)]
