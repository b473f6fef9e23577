"""Options of what is done to videos beside the algorithms of their anchors and edits."""

from __future__ import annotations

import dataclasses

from mm_jax.errors import UsageError
from mm_jax.options import Options, option

__all__ = ["FrameOptions", "VideoOptions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoOptions(Options):
    """How a face is followed through a video.

    Raises:
        UsageError: a number out of range.
    """

    smoothing: float = option(
        0.1,
        "Standard deviation, in seconds, of the smoothing of the crop around a face; 0 is none.",
        minimum=0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameOptions(Options):
    """Which frames of a video are taken.

    Raises:
        UsageError: a number out of range, or both a count and a rate.
    """

    frames_wanted: int | None = option(
        None,
        "Frames taken of a video, evenly; 32, or all of a shorter video, by default.",
        kind=int,
        minimum=2,
    )
    sample_fps: float | None = option(
        None, "Instead of --frames_wanted: frames taken per second.", kind=float, above=0
    )

    def check(self) -> None:
        """Refuse both a count and a rate."""
        if self.frames_wanted is not None and self.sample_fps is not None:
            raise UsageError("give frames_wanted or sample_fps, not both")

    @property
    def count(self) -> int | None:
        """Frames to take where no rate is given."""
        return None if self.sample_fps is not None else self.frames_wanted or 32
