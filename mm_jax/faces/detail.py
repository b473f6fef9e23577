"""How much of a photo's fine detail is left where an edited face stands in it.

A recogniser looks at the large features of a face, and calls a blurred one the same person. So
blur is measured: a generator that cannot draw what the photo shows replaces it by something smooth.

Shapes: S images, R side.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LEAST_DETAIL", "detail_kept"]

#: A face that keeps less than this share of the photo's detail is blurred. Three photos keep 0.72
#: to 0.88 where `--paste=move` moves their own pixels by the bundled motions at strength 1, and
#: 0.15 to 0.41 where the bundled generator's face replaces theirs, tuned to the photo or not.
LEAST_DETAIL = 0.5

# Faces are compared at this side at most: finer is a camera's noise, which no generator draws.
_SIDE = 128
# A face with less detail than this, in units of [-1, 1], is flat already.
_FLAT = 2 / 255


def detail_kept(photo: np.ndarray, edited: np.ndarray) -> np.ndarray | None:
    """The share of a photo's fine detail that edited images keep.

    Detail is the standard deviation, over the inner face, of what a blur of three by three pixels
    takes away, at 128 pixels a side at most.

    Args:
        photo: [R, R, 3] in [-1, 1] a face cropped as the generator frames faces.
        edited: [S, R, R, 3] the same with the edited face in it.

    Returns:
        [S] float64, 1 where all of it is left; None where the photo itself has hardly any.
    """
    before = _detail(photo[None])[0]
    return _detail(edited) / before if before > _FLAT else None


def _detail(images: np.ndarray) -> np.ndarray:
    """[S] of images [S, R, R, 3], R a power of two."""
    grey = np.asarray(images, np.float64).mean(axis=-1)
    count, side, _ = grey.shape
    block = max(1, side // _SIDE)
    side //= block
    grey = grey.reshape(count, side, block, side, block).mean(axis=(2, 4))
    around = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2)).mean((-1, -2))
    axis = (np.arange(side) + 0.5) * (2 / side) - 1
    inner = (axis[None] / 0.42) ** 2 + ((axis[:, None] - 0.1) / 0.48) ** 2 < 1
    return (grey - smooth)[:, inner].std(axis=1)
