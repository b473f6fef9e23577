"""Options of edits: of latents, and of videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mm_jax import parsers, zoo
from mm_jax.alignment.options import AlignOptions, PasteOptions
from mm_jax.anchors.options import layers_option
from mm_jax.errors import UsageError
from mm_jax.inversion.options import InvertOptions, TuneOptions
from mm_jax.options import Options, option
from mm_jax.video.options import VideoOptions

__all__ = ["FORMATS", "EditOptions", "EditVideoOptions", "strengths_of", "strengths_text"]

FORMATS = ("mp4", "gif", "png", "npy")


def _formats(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in FORMATS:
            raise UsageError(f"unknown format {name!r}, known are {', '.join(FORMATS)}")
    return tuple(names)


def _parse_formats(text: str, *, flag: str) -> tuple[str, ...]:
    del flag  # the message names the format
    return tuple(text.split(","))


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditOptions(Options):
    """What is rendered and written of an edit.

    Attributes:
        strengths: E tuples of S numbers, for each subspace its strength in every frame.
        formats: some of `FORMATS`: videos, one image per frame, one float32 array per latent.
        layers: rows of W+ that may change; None for all.
        columns: images in a strip.
        fps: frames per second of videos.
        noise_seed, noise_mode: const, none or random; random noise is the same in all frames of a
            latent.
        batch: images per step; by default as many as fit in about 2 GiB, at most 16.

    Raises:
        UsageError: an unknown format, or a number out of range.
    """

    strengths: tuple[tuple[float, ...], ...] = option(((0.0,),), "Strengths.", flag=False)
    formats: tuple[str, ...] = option(
        ("mp4",),
        "Some of mp4,gif,png,npy: videos, frames, one float32 array.",
        parse=_parse_formats,
        convert=_formats,
        flag="format",
    )
    layers: tuple[int, ...] | None = layers_option()
    columns: int = option(7, "Images in a strip, evenly taken from the frames.", minimum=1)
    fps: float = option(
        20.0, "Frames per second of videos, which run forth and back.", above=0, maximum=120
    )
    noise_seed: int = option(0, "Seed of --noise_mode=random.", minimum=0)
    noise_mode: str = option("const", "Per-pixel noise.", flag=False)
    batch: int | None = option(None, "Images per step.", kind=int, minimum=1, flag=False)

    def check(self) -> None:
        """Refuse subspaces with different numbers of strengths."""
        if len({len(row) for row in self.strengths}) != 1:
            raise UsageError("each subspace needs the same number of strengths")

    @property
    def frames(self) -> int:
        """S, the number of frames."""
        return len(self.strengths[0])

    @property
    def strip_frames(self) -> list[int]:
        """Indices of the frames that a strip shows."""
        count = min(self.columns, self.frames)
        return [round(i * (self.frames - 1) / max(count - 1, 1)) for i in range(count)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditVideoOptions(Options):
    """What is done to a video beside moving it along subspaces.

    Attributes:
        amplify, temporal_weight: of the video's own motion, and of the latents of its frames.
        align: how faces are found.
        follow: how the face is followed.
        invert: how frames are inverted.
        pull: `InvertOptions.mean_weight`, at least, where the generator does not know the face.
        paste: how faces are put back.

    Raises:
        UsageError: a number out of range.
    """

    amplify: float = option(
        1.0,
        "Scales the video's own motion, along the subspace or else its main direction; 0 rests.",
        minimum=-10,
        maximum=10,
    )
    temporal_weight: float = option(
        0.1,
        "Cost of a change of the latent from frame to frame in the inversion of a video.",
        minimum=0,
    )
    align: AlignOptions = AlignOptions()
    follow: VideoOptions = VideoOptions()
    invert: InvertOptions = InvertOptions()
    pull: float = option(TuneOptions().pull, "As for images.", minimum=0, flag=False)
    paste: PasteOptions = PasteOptions()


def strengths_of(
    texts: Sequence[str], *, subspaces: int, frames: int
) -> tuple[tuple[float, ...], ...]:
    """[E][S]: for each subspace its strength in every frame.

    Args:
        texts: one text for all subspaces, or one for each: "LOW:HIGH" or a list.
        subspaces: E.
        frames: of a LOW:HIGH range.

    Raises:
        UsageError: no subspace, or as many strengths as fit neither one nor all of them.
    """
    if not subspaces:
        raise UsageError(
            "--subspace is missing: a file that mm_extract wrote, or a bundled one's name: "
            f"{', '.join(zoo.motion_names())}"
        )
    if len(texts) not in (1, subspaces):
        raise UsageError(f"{len(texts)} --strength for {subspaces} --subspace")
    repeated = list(texts) * (subspaces // len(texts))
    return tuple(parsers.parse_strengths(text, frames=frames) for text in repeated)


def strengths_text(strengths: Sequence[float]) -> str:
    """Strengths [S] in words: "strength 0.5", "strength 0 to 1" or "strength 0, 1, 0"."""
    steps = np.diff(strengths)
    if not steps.any():
        return f"strength {strengths[0]:g}"
    if len(strengths) > 8 or (len(strengths) == 2):
        low, high = (strengths[0], strengths[-1])
        if not ((steps >= 0).all() or (steps <= 0).all()):
            low, high = min(strengths), max(strengths)
        return f"strength {low:g} to {high:g}"
    return "strength " + ", ".join(f"{strength:g}" for strength in strengths)
