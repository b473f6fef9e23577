"""A new motion from a prompt or from a video, with what it looks like so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.calibrate import calibrate, calibrated, uncalibrated
from mm_jax.anchors.options import AnchorOptions, VideoAnchorOptions
from mm_jax.anchors.prompts import fill
from mm_jax.anchors.readback import read_back
from mm_jax.anchors.text import text_anchors
from mm_jax.anchors.video_files import anchors_of_video
from mm_jax.artifacts import Anchors, Subspace
from mm_jax.editing.limits import motion_limits
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import mean_latent
from mm_jax.media.video_reading import video_info
from mm_jax.perceptual import clip_words
from mm_jax.progress import ProgressFn, silent
from mm_jax.studio.document import StudioMotion
from mm_jax.studio.world import World
from mm_jax.subspace.decompose import extract_subspace
from mm_jax.subspace.options import SubspaceOptions
from mm_jax.video.options import FrameOptions

__all__ = ["Learnt", "check_prompt", "from_prompt", "from_video"]

ANCHORS = AnchorOptions(strategy="gradient")
SUBSPACE = SubspaceOptions(method="svd", rank=1)
FIRST_LOOK = 16
"""Faces whose gradients show what a motion will look like."""
#: Faces in work at once: after each batch a job may be cancelled.
BATCH = 16
LONGEST_PROMPT = 200
LONGEST_VIDEO = 30.0
"""Seconds of a video that a motion is learnt from."""


@dataclasses.dataclass(frozen=True, eq=False)
class Learnt:
    """A motion that was learnt.

    Attributes:
        motion: with its subspace and limits.
        warnings: lines on what did not go well; none where all did.
        read: (strength, degree) that CLIP reads of other faces along it, mean over them; none where
            there is no prompt.
    """

    motion: StudioMotion
    warnings: tuple[str, ...] = ()
    read: tuple[tuple[float, float], ...] = ()


def check_prompt(template: str) -> None:
    """Refuse a prompt that no motion can be learnt from.

    Raises:
        UsageError: it is too long, or does not hold `{degree}` once.
    """
    if len(template) > LONGEST_PROMPT:
        raise UsageError(f"a prompt must be at most {LONGEST_PROMPT} characters long")
    fill(template, ANCHORS.degrees[0])


def from_prompt(
    world: World,
    template: str,
    name: str,
    *,
    options: AnchorOptions = ANCHORS,
    show: Callable[[Subspace], None] = lambda subspace: None,
    progress: ProgressFn = silent,
) -> Learnt:
    """The motion of a prompt, by the gradients of many faces (`mm_jax.anchors.gradient`).

    What does what the prompt says is calibrated (`mm_jax.anchors.calibrate`) if it can be, as
    bundled motions are. The gradients of the first faces are taken twice: by themselves they
    show early what it will look like.

    Args:
        world: of the session.
        template: a prompt with one `{degree}`.
        name: of the motion.
        options: how it is found.
        show: is given the subspace of the first faces.
        progress: called with each step.

    Raises:
        UsageError: a bad prompt, or no CLIP. DataError: a prompt that CLIP reads nothing of.
    """
    check_prompt(template)
    clip = world.clip()
    start = np.asarray(mean_latent(world.gen))[0]
    first = min(FIRST_LOOK, options.gradients)

    def find(count: int, begin: int, end: int) -> Subspace:
        anchors = text_anchors(
            world.gen, clip, template=template, start=start, batch_size=BATCH,
            options=options.replace(gradients=count), progress=_part(progress, begin, end),
        )  # fmt: skip
        assert isinstance(anchors, Anchors)  # as there is one start
        return extract_subspace(anchors, options=SUBSPACE)

    if first < options.gradients:
        show(find(first, 0, 15))
    subspace = find(options.gradients, 15, 75)
    warnings = clip_words.wording_notes(clip, [fill(template, one) for one in options.degrees])
    found = read_back(world.gen, clip, subspace, progress=_part(progress, 75, 85))
    if found.found:
        try:
            curve = calibrate(world.gen, clip, subspace, progress=_part(progress, 85, 100))
            subspace = calibrated(subspace, curve)
        except DataError as error:
            subspace = uncalibrated(subspace, why=str(error))
    else:
        warnings.append(
            f"The slider may do something else than the prompt says: {found.describe()}. Try other "
            "words."
        )
    figures = {key: found.to_dict()[key] for key in ("degree_read_back", "spearman", "found")}
    subspace = dataclasses.replace(subspace, meta={**subspace.meta, "read_back": figures})
    learnt = _learnt(world, subspace, name, {"kind": "prompt", "prompt": template}, warnings)
    read = zip(found.strengths.tolist(), found.readings.mean(axis=0).tolist(), strict=True)
    return dataclasses.replace(learnt, read=tuple(read))


def _part(progress: ProgressFn, begin: int, end: int) -> ProgressFn:
    """Progress of a part of the work, told as hundredths of the whole."""

    def told(label: str, done: int, total: int, /) -> None:
        progress(label, round(begin + (end - begin) * done / max(total, 1)), 100)

    return told


def from_video(
    world: World,
    path: Path,
    name: str,
    *,
    aligned: bool = False,
    progress: ProgressFn = silent,
) -> Learnt:
    """The motion of a face in a video.

    Args:
        world: of the session.
        path: of the video.
        name: of the motion.
        aligned: its frames are crops like the generator's own already.
        progress: called with each step.

    Raises:
        DataError: a video that cannot be read, is too long, or shows no face.
    """
    info = video_info(path)
    seconds = float(info.timing.duration)
    if seconds > LONGEST_VIDEO:
        raise DataError(
            f"the video must be at most {LONGEST_VIDEO:.0f} seconds long, got {seconds:.0f}"
        )
    told: list[str] = []
    anchors, _ = anchors_of_video(
        world.gen, world.encoder, info, align=AlignOptions(aligned=aligned),
        frames=FrameOptions(frames_wanted=16),
        options=VideoAnchorOptions(
            steps=0 if world.encoder is not None else 40, together_steps=30, temporal_weight=0.3,
            start="mean",
        ),
        tell=told.append, progress=progress,
    )  # fmt: skip
    subspace = extract_subspace(anchors, options=SUBSPACE)
    warnings = [line.replace(f"{path}: ", "") for line in told if "left out" in line]
    if float(subspace.pc1_ratio) < 0.5:
        warnings.append(
            f"The video holds more than one motion (PC1 holds {subspace.pc1_ratio:.0%}): a shorter "
            "piece of it may do better."
        )
    return _learnt(world, subspace, name, {"kind": "video", "video": name}, warnings)


def _learnt(
    world: World, subspace: Subspace, name: str, source: dict[str, str], warnings: list[str]
) -> Learnt:
    motion = StudioMotion(name, subspace, source, limits=motion_limits(world.gen, subspace))
    return Learnt(motion, tuple(warnings))
