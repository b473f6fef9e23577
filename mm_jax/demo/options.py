"""Options of the demonstration."""

from __future__ import annotations

import dataclasses

from mm_jax import parsers
from mm_jax.anchors.options import AnchorOptions, VideoAnchorOptions
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.editing.options import EditOptions
from mm_jax.errors import UsageError
from mm_jax.options import Options, group, option, seeds_option
from mm_jax.subspace.options import SubspaceOptions

__all__ = ["DemoOptions", "parse_motions"]


def parse_motions(text: str, *, flag: str) -> tuple[str, ...]:
    """Motions that have a prompt of their own: "smile,aging".

    Raises:
        UsageError: another name, or one that is given twice.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in MOTIONS:
            raise UsageError(f"{flag}: unknown motion {name!r}, known are {', '.join(MOTIONS)}")
    if len(set(names)) < len(names):
        raise UsageError(f"{flag}={text!r}: a motion is given twice")
    return names


def _parse_videos(text: str, *, flag: str) -> tuple[str, ...]:
    del flag  # whether there are such videos is found out when they are opened
    if text.strip() in ("", "none"):
        return ()
    return tuple(part.strip() for part in text.split(","))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoOptions(Options):
    """What the demonstration does; no seed is used for two purposes.

    Raises:
        UsageError: a number out of range, or seeds that are used twice.
    """

    motions: tuple[str, ...] = option(tuple(MOTIONS), "Which ones.", parse=parse_motions)
    videos: tuple[str, ...] = option(
        ("head_turn",),
        "Motions learned from a bundled video (head_turn, smile) in place of prompts; or none.",
        parse=_parse_videos,
        alias="clips",
    )
    starts: tuple[int, ...] = seeds_option("0-5", "Seeds of the faces in which motions are found.")
    # People who look at the viewer with a calm face: what a motion does shows best on them.
    faces: tuple[int, ...] = seeds_option(
        "700,617,520,607,128", "Seeds of the faces that are moved and shown."
    )
    identities: tuple[int, ...] = seeds_option("1000-1063", "Seeds of the faces that are measured.")
    population: tuple[int, ...] = seeds_option(
        "2000-2255", "Seeds of the faces that tell how much each factor varies."
    )
    trunc: float = option(0.7, "Truncation psi of all faces.")
    # Gradients of many faces leak less than half of what optimised anchors of six faces do, in less
    # time; refined by sampled faces, less again.
    anchors: AnchorOptions = group(
        AnchorOptions(
            strategy="gradient", degrees=("no", "20%", "40%", "60%", "80%", "100%"), steps=30,
            refine=1024,
        ),
        flags=("strategy", "gradients", "refine", "degrees", "steps", "objective", "augment"),
    )  # fmt: skip
    # The encoder knows these faces well, and the demonstration is short. Frames that are held
    # together more than by default have less else than the motion in them.
    video_anchors: VideoAnchorOptions = group(
        VideoAnchorOptions(steps=0, together_steps=30, temporal_weight=0.3, start="mean")
    )
    # SVD's direction of optimised anchors leaks less than robust PCA's, which takes part of the
    # motion for outliers: 0.04 to 0.07 on average against 0.07 to 0.11.
    subspace: SubspaceOptions = group(SubspaceOptions(method="svd", rank=1), flags=("method",))
    edit: EditOptions = group(EditOptions(formats=("mp4", "gif")))
    low: float = option(-1.0, "Lowest strength.")
    high: float = option(1.0, "Highest strength.")
    frames: int = option(17, "Frames of the videos.", minimum=2)
    measured: int = option(7, "Strengths at which faces are measured.", minimum=2)
    batch: int = option(16, "Images per step; fewer need less memory.", minimum=1)

    def check(self) -> None:
        """Refuse strengths that do not grow, and seeds of two purposes."""
        if not self.low < self.high:
            raise UsageError(f"low must be below high, got {self.low} and {self.high}")
        groups = (self.starts, self.faces, self.identities, self.population)
        seeds = [seed for group in groups for seed in group]
        if len(set(seeds)) < len(seeds):
            raise UsageError("starts, faces, identities and population share a seed")
        if len(self.population) < 2:
            raise UsageError(f"population must be at least two seeds, got {len(self.population)}")

    def strengths(self, count: int) -> tuple[float, ...]:
        """`count` even steps from the lowest strength to the highest."""
        return parsers.parse_strengths(f"{self.low!r}:{self.high!r}", frames=count)

    def edit_options(self) -> EditOptions:
        """How the shown faces are rendered."""
        return self.edit.replace(strengths=(self.strengths(self.frames),), batch=self.batch)
