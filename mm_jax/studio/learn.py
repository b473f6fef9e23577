"""A new motion from a prompt or from a video, with what it looks like so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions, VideoAnchorOptions
from mm_jax.anchors.prompts import fill
from mm_jax.anchors.readback import read_back
from mm_jax.anchors.text import text_anchors
from mm_jax.anchors.video_files import anchors_of_video
from mm_jax.artifacts import Anchors, Subspace
from mm_jax.editing.limits import motion_limits
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import sample_latents
from mm_jax.media.video_reading import video_info
from mm_jax.perceptual import clip_words
from mm_jax.progress import ProgressFn, silent
from mm_jax.studio.document import Motion
from mm_jax.studio.world import World
from mm_jax.subspace.decompose import extract_subspace
from mm_jax.subspace.options import SubspaceOptions
from mm_jax.video.options import FrameOptions

__all__ = ["Learnt", "check_prompt", "from_prompt", "from_video"]

#: As in the demonstration: a quarter of the work of the default, and much the same direction.
ANCHORS = AnchorOptions(degrees=("no", "20%", "40%", "60%", "80%", "100%"), steps=30)
SUBSPACE = SubspaceOptions(method="svd", rank=1)
STARTS = 3
LONGEST_PROMPT = 200
LONGEST_VIDEO = 30.0
"""Seconds of a video that a motion is learnt from."""


@dataclasses.dataclass(frozen=True, eq=False)
class Learnt:
    """A motion that was learnt.

    Attributes:
        motion: with its subspace and limits.
        warnings: lines on what did not go well; none where all did.
    """

    motion: Motion
    warnings: tuple[str, ...] = ()


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
    starts: int = STARTS,
    options: AnchorOptions = ANCHORS,
    show: Callable[[Subspace], None] = lambda subspace: None,
    progress: ProgressFn = silent,
) -> Learnt:
    """The motion of a prompt.

    The start faces are taken one after another, which gives the same anchors as all at once, so
    that the motion can be shown when the first one is done.

    Args:
        world: of the session.
        template: a prompt with one `{degree}`.
        name: of the motion.
        starts: how many faces it is found in, those of seeds 0, 1, ..
        options: how anchors are found.
        show: is given the subspace of the faces so far.
        progress: called as ("face 1 of 3", done, steps).

    Raises:
        UsageError: a bad prompt, or no CLIP. DataError: the optimisation diverges.
    """
    check_prompt(template)
    clip = world.clip()
    labels = None
    if world.gen.config.c_dim:
        labels = np.eye(world.gen.config.c_dim, dtype=np.float32)[[0] * starts]
    ws = np.asarray(
        sample_latents(world.gen, seeds=range(starts), truncation_psi=0.7, labels=labels)
    )
    sets: list[Anchors] = []
    for i in range(starts):

        def told(_: str, done: int, total: int, /, i: int = i) -> None:
            progress(f"face {i + 1} of {starts}", i * total + done, starts * total)

        anchors = text_anchors(
            world.gen, clip, template=template, start=ws[i], options=options, progress=told
        )
        assert isinstance(anchors, Anchors)  # as there is one start
        sets.append(anchors)
        if i + 1 < starts:
            show(extract_subspace(sets, options=SUBSPACE))
    subspace = extract_subspace(sets, options=SUBSPACE)
    words = [fill(template, degree) for degree in options.degrees]
    warnings = clip_words.wording_notes(clip, words)
    found = read_back(world.gen, clip, subspace, progress=progress)
    if not found.found:
        warnings.append(
            f"The slider may do something else than the prompt says: {found.describe()}. Try other "
            "words."
        )
    return _learnt(world, subspace, name, {"kind": "prompt", "prompt": template}, warnings)


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
    motion = Motion(name, subspace, source, limits=motion_limits(world.gen, subspace))
    return Learnt(motion, tuple(warnings))
