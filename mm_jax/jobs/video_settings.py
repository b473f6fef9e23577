"""How clips are read, followed and inverted; see `mm_jax.jobs.settings`."""

from __future__ import annotations

import dataclasses

from mm_jax.errors import UsageError
from mm_jax.jobs.settings import at_least, option

__all__ = ["ClipSettings", "EditVideoSettings", "InvertClipSettings", "VideoAnchorSettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """How faces are followed through a clip.

    Raises:
        UsageError: a number out of range.
    """

    smoothing: float = option(
        0.1, "Deviation in seconds over which the crop about a face is evened out; 0 is none."
    )

    def __post_init__(self):
        if not self.smoothing >= 0:
            raise UsageError(f"smoothing is {self.smoothing}, want a number of at least 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertClipSettings:
    """How the frames of a clip become codes; arguments of `mm_jax.video_anchors`.

    Raises:
        UsageError: a number out of range.
    """

    encoder: str = option(
        "auto",
        "Encoder that guesses codes: a bundled name, a folder, none, or auto (the bundled one for "
        "the bundled generator, else none).",
    )
    clip_steps: int = option(40, "Steps of inversion of every frame by itself.")
    together_steps: int = option(20, "Further steps of the frames of a clip together.")
    temporal_weight: float = option(
        0.1, "What a change of the code from frame to frame costs meanwhile."
    )

    def __post_init__(self):
        at_least(self, 0, "clip_steps", "together_steps", "temporal_weight")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoAnchorSettings(InvertClipSettings):
    """How anchors are found from a clip.

    Raises:
        UsageError: a number out of range, or both a count and a rate of frames.
    """

    frames_wanted: int | None = option(
        None, "Frames taken of a clip, evenly; 32, or all of a shorter clip, by default.", kind=int
    )
    sample_fps: float | None = option(
        None, "Instead of --frames_wanted: frames taken in a second.", kind=float
    )
    degree_by: str = option(
        "time",
        "What tells how far the motion is: the frame's time, or how much has moved.",
        choices=("time", "motion"),
    )
    rest: str = option(
        "first",
        "Where the motion is at rest: at its first tenth, or on the mean.",
        choices=("first", "mean"),
    )
    drop: bool = option(True, "Leave out frames that are blurred or cannot be rebuilt.")

    def __post_init__(self):
        super().__post_init__()
        if self.frames_wanted is not None and self.sample_fps is not None:
            raise UsageError("give frames_wanted or sample_fps, not both")
        if self.frames_wanted is not None and self.frames_wanted < 2:
            raise UsageError(f"frames_wanted is {self.frames_wanted}, a motion wants at least 2")
        if self.sample_fps is not None and not self.sample_fps > 0:
            raise UsageError(f"sample_fps is {self.sample_fps}, want a number above 0")

    @property
    def count(self) -> int | None:
        """Frames to take where no rate is given."""
        return None if self.sample_fps is not None else self.frames_wanted or 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditVideoSettings:
    """What is done to a clip beside moving it along subspaces.

    Raises:
        UsageError: a number out of range.
    """

    amplify: float = option(
        1.0,
        "Times the clip's own motion, along the subspace or else its main direction; 0 is at rest.",
    )
    temporal_weight: float = option(
        0.1, "What a change of the code from frame to frame costs in the inversion of a clip."
    )

    def __post_init__(self):
        if not -10 <= self.amplify <= 10:
            raise UsageError(f"amplify is {self.amplify}, want a number from -10 to 10")
        if not self.temporal_weight >= 0:
            raise UsageError(f"temporal_weight is {self.temporal_weight}, want at least 0")
