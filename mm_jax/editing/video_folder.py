"""A video edited into a folder: its face followed, its frames inverted, edited, drawn and judged.

What the folder has is not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mm_jax import io
from mm_jax.alignment.faces import say
from mm_jax.alignment.framing import framing_of
from mm_jax.artifacts import Subspace
from mm_jax.editing.options import EditOptions, EditVideoOptions
from mm_jax.editing.verdict import VERDICT, EditVerdict
from mm_jax.editing.video import VideoEdit, draw_video, files_of
from mm_jax.editing.video_verdict import judge_video
from mm_jax.encoders.encoder import Encoder
from mm_jax.inversion.inputs import batch_for
from mm_jax.inversion.judge import InversionVerdict, Likeness, reader_for
from mm_jax.inversion.video import VideoLatents, judge_frames, piece_files
from mm_jax.media.videos import VideoInfo
from mm_jax.progress import ProgressFn, silent
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.video.editing import fade_in_and_out
from mm_jax.video.faces import follow_face

__all__ = ["EditedVideo", "VideoVerdict", "edit_video", "outputs", "read_verdict"]


class VideoVerdict(NamedTuple):
    """The verdict on some frames of a video.

    Attributes:
        edited: on them as they are written.
        rebuilt: on how the generator rebuilds them; None where that is not to be seen, since what
            the video shows is moved itself.
    """

    edited: EditVerdict
    rebuilt: InversionVerdict | None

    @property
    def usable(self) -> int:
        """How many of the frames are of use, at most."""
        rebuilt = [] if self.rebuilt is None else [self.rebuilt.usable]
        return min([self.edited.usable, *rebuilt])

    @property
    def good(self) -> bool:
        """Whether all of them are."""
        every = self.edited.usable == len(self.edited.faces)
        return every and (self.rebuilt is None or self.rebuilt.good)

    def line(self) -> str:
        """Both in a line."""
        if not self.edited.faces:
            return "no frame is edited: the face is seen too briefly, and edits fade in and out"
        lines = [] if self.rebuilt is None else [self.rebuilt.line("frames")]
        return "; ".join([*lines, self.edited.line()])

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        values = {**self.edited.to_dict(), "line": self.line(), "usable": self.usable}
        if self.rebuilt is not None:
            judged = self.rebuilt.judged.items()
            values["frames"] = {name: one.to_dict() for name, one in judged}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VideoVerdict:
        """Inverse of `to_dict`."""
        rebuilt = None
        if "frames" in values:
            frames = values["frames"].items()
            rebuilt = InversionVerdict({name: Likeness.from_dict(one) for name, one in frames})
        return cls(EditVerdict.from_dict(values), rebuilt)


class EditedVideo(NamedTuple):
    """What became of a video.

    Attributes:
        words: what was done to its latents.
        faces: number of frames with a face.
        verdict: on some of them.
    """

    words: str
    faces: int
    verdict: VideoVerdict


def outputs(info: VideoInfo, formats: Sequence[str]) -> list[str]:
    """Names of the files that `edit_video` writes."""
    return [*piece_files(info), *files_of(info.path.stem, formats, info.frames), VERDICT]


def edit_video(
    run: RunFolder,
    gen: Generator,
    encoder: Encoder | None,
    info: VideoInfo,
    subspaces: Sequence[Subspace],
    options: EditOptions,
    how: EditVideoOptions,
    *,
    tell: Callable[[str], None] = say,
    progress: ProgressFn = silent,
) -> EditedVideo:
    """Write those of `outputs` that the folder lacks.

    Args:
        run: the open folder.
        gen: the generator.
        encoder: guesses latents, or None.
        info: of the video.
        subspaces: E of them.
        options: which formats are written, and which rows of W+ may change; its strengths [E][S]
            are keyframes over the video.
        how: everything else.
        tell: is given a line on a face that is not known.
        progress: called with each step.

    Raises:
        DataError: the video cannot be read or holds no face, or a stored file is damaged.
        UsageError: options that do not fit.
    """
    batch = batch_for(gen, options.batch)
    smoothing = how.follow.smoothing
    face = follow_face(
        info, range(info.frames), how.align, how.follow, framing_of(gen), progress=progress
    )
    latents = VideoLatents(gen, encoder, info, face, run.path, smoothing=smoothing)
    steady = how.invert.replace(temporal_weight=how.temporal_weight)
    # Near the mean a latent's image is a face that moves as sampled ones do. Near W, where images
    # are held, frames would have to be held to the person as well, which takes three times as long.
    pulled = how.pull > steady.mean_weight and latents.missing
    if pulled and not latents.known(steady, batch=batch, progress=progress):
        tell("the generator does not know this face: its frames are inverted near the mean")
        steady = steady.replace(mean_weight=how.pull)
    latents.find(steady, batch=batch, progress=progress)
    edit = VideoEdit(latents, subspaces, options.strengths, how.amplify, options.layers)
    # [T]: where no face is seen, the video stays as it is.
    weights = fade_in_and_out(face.found, face.times, width=smoothing)
    if run.missing(files_of(info.path.stem, options.formats, info.frames)):
        draw_video(
            gen, latents, edit, weights, run, options=options.replace(batch=batch),
            paste=how.paste, progress=progress,
        )  # fmt: skip
    if run.missing([VERDICT]):
        edited = judge_video(
            gen, latents, edit, weights, reader_for(gen), paste=how.paste, progress=progress
        )
        rebuilt = None
        if how.paste.paste != "move":
            rebuilt = judge_frames(gen, latents, progress=progress)
        io.write_json(run.file(VERDICT), VideoVerdict(edited, rebuilt).to_dict())
    return EditedVideo(edit.text, int(face.found.sum()), read_verdict(run))


def read_verdict(run: RunFolder) -> VideoVerdict:
    """The stored verdict on some frames of a video."""
    return VideoVerdict.from_dict(io.read_json(run.file(VERDICT)))
