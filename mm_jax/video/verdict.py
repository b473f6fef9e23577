"""Whether a video's anchors show a motion: does the face move, and do the latents move with it?

The camera is not in question: points are those of the crop, which follows the face. A detector's
points tremble from frame to frame also on a face that is still; a motion is what is more than that,
and goes somewhere. Shapes: T frames, P points, L rows of W+, D latent width.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

__all__ = ["MotionVerdict", "judge_motion"]

# How many times the trembling of its points a face must move, and how closely the latents' first
# component must go with it (Spearman's correlation).
MIN_MOVED, MIN_FOLLOWED = 3.0, 0.5


@dataclasses.dataclass(frozen=True)
class MotionVerdict:
    """The result of `judge_motion`.

    Attributes:
        moved: how far the face moves, in units of the trembling of its points.
        fraction: the same as a fraction of the crop's side: standard deviation of the points along
            the motion, root mean square over points.
        followed: in [0, 1], Spearman's correlation, without its sign, of that motion with the first
            principal component of the latents.
    """

    moved: float
    fraction: float
    followed: float

    @property
    def reason(self) -> str | None:
        """Why there is no motion; None where there is one."""
        if self.moved < MIN_MOVED:
            return (
                f"the face does not move: its points must move by at least {MIN_MOVED:g} times "
                f"what they tremble by, got {self.moved:.1f} ({self.fraction:.1%} of the crop)"
            )
        if self.followed < MIN_FOLLOWED:
            return (
                "the face moves, but the generator's images of it do not move with it: the "
                f"correlation must be at least {MIN_FOLLOWED:g}, got {self.followed:.2f}. It may "
                "not know such faces"
            )
        return None


def judge_motion(points: Any, ws: Any, *, size: int) -> MotionVerdict:
    """Judge a motion by the points of the face and the latents found for it.

    Args:
        points: [T, P, 2] in pixels of the crops, in order of time, T >= 4.
        ws: [T, L, D].
        size: side of the crops.
    """
    points = np.asarray(points, np.float64)
    left, values, _ = np.linalg.svd(_centred(points), full_matrices=False)
    along = left[:, 0] * values[0]  # [T]
    # A second difference cancels whatever is even; of independent errors it has 6 times the
    # variance of one.
    tremble = np.sqrt(np.mean(np.square(np.diff(along, n=2))) / 6.0)
    scale = np.sqrt(points.shape[1]) * size
    codes, code_values, _ = np.linalg.svd(_centred(np.asarray(ws, np.float64)), full_matrices=False)
    followed = 0.0
    if values[0] > 0 and code_values[0] > 1e-6:
        followed = abs(float(np.corrcoef(_ranks(along), _ranks(codes[:, 0]))[0, 1]))
    return MotionVerdict(
        moved=float(along.std() / max(tremble, 1e-9 * size)),
        fraction=float(along.std() / scale),
        followed=followed,
    )


def _centred(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), -1)
    return flat - flat.mean(axis=0)


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(np.float64)
