"""What a video is, before its frames are read, and which of them to take."""

from __future__ import annotations

import dataclasses
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from mm_jax.errors import UsageError
from mm_jax.io import PathLike
from mm_jax.media.timing import Timing

__all__ = ["FOLDER_FPS", "VideoInfo", "natural_order", "sample_frames"]

# Frames per second of what does not say: a folder of images, a stream without times.
FOLDER_FPS = 20


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a video is, before any of its frames is kept.

    Attributes:
        path: the file, or the folder of images.
        timing: when each frame is shown.
        size: (H, W) of the frames as they are read.
        sound: whether it has a sound track.
        images: of a folder, its images in order.
        notes: what reading changes or leaves out, sentences for the user.
        cuts: the first frames of all shots but the first; after a dissolve, the first frame that
            shows more of the new shot.
        animated: whether it is an animated image.
        interlaced: whether fields have to be made frames.
    """

    path: Path
    timing: Timing
    size: tuple[int, int]
    sound: bool = False
    images: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    cuts: tuple[int, ...] = ()
    animated: bool = False
    interlaced: bool = False

    @property
    def frames(self) -> int:
        """T, how many frames can be read."""
        return len(self.timing.pts)

    @property
    def fps(self) -> Fraction:
        """Frames per second, their mean where the rate varies."""
        return self.timing.fps

    @property
    def shots(self) -> tuple[range, ...]:
        """The frames of each shot."""
        return tuple(map(range, (0, *self.cuts), (*self.cuts, self.frames)))

    @property
    def times(self) -> np.ndarray:
        """[T] float64: seconds from the first frame."""
        return self.timing.times


def natural_order(path: PathLike) -> list[tuple[int, int, str]]:
    """A key that sorts names as people count: frame2 comes before frame10."""
    parts = re.split(r"(\d+)", Path(path).name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def sample_frames(
    info: VideoInfo,
    *,
    count: int | None = None,
    fps: float | None = None,
    within: range | None = None,
) -> tuple[int, ...]:
    """Which frames to take, as indices in order: those nearest to moments that are evenly apart.

    Args:
        info: of the video.
        count: so many, from the first to the last; all where the video has no more. Fewer where
            its rate varies so much that one frame is the nearest of several moments.
        fps: instead of a count: so many in a second; all where the video has no more.
        within: consecutive frames to take them from; all of the video unless given.

    Raises:
        UsageError: both, or one out of range.
    """
    if count is not None and fps is not None:
        raise UsageError("give a number of frames or a rate, not both")
    within = within or range(info.frames)
    times = info.times[within.start : within.stop] - info.times[within.start]
    last = float(times[-1])
    if count is not None:
        if count < 1:
            raise UsageError(f"count must be at least 1, got {count}")
        if count >= len(within):
            return tuple(within)
        moments = np.linspace(0.0, last, count)
    else:
        if fps is None or fps >= info.fps:
            return tuple(within)
        if not fps > 0:
            raise UsageError(f"fps must be above 0, got {fps}")
        moments = np.arange(math.floor(last * fps + 1e-6) + 1) / fps
    middles = 0.5 * (times[1:] + times[:-1])
    return tuple((within.start + np.unique(np.searchsorted(middles, moments - 1e-9))).tolist())
