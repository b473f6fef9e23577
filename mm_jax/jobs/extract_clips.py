"""mm_extract --video: flags to a subspace that was found from clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mm_jax import cli
from mm_jax.jobs import clip_anchors, extract
from mm_jax.jobs.align_settings import AlignSettings
from mm_jax.jobs.encoders import open_encoder
from mm_jax.jobs.settings import SubspaceSettings, check_layers
from mm_jax.jobs.video_settings import ClipSettings, VideoAnchorSettings
from mm_jax.progress import shown
from mm_jax.video.reading import video_info
from mm_jax.zoo import load_generator

if TYPE_CHECKING:
    from mm_jax.artifacts import Subspace

__all__ = ["input_files", "work"]


def input_files(paths: Sequence[str]) -> list[str]:
    """The files of clips, of a folder its pictures."""
    files = []
    for path in paths:
        info = video_info(path)
        files += [str(picture) for picture in info.pictures] or [str(info.path)]
    return files


def work(values: cli.Flags, how: SubspaceSettings) -> tuple[Subspace, Path] | None:
    """Find the subspace of the clips that --video names; None after a --dry_run.

    Raises:
        UsageError: bad flags. DataError: bad clips.
    """
    align, clip = cli.read_settings(values, AlignSettings), cli.read_settings(values, ClipSettings)
    settings = cli.read_settings(values, VideoAnchorSettings)
    names = clip_anchors.clip_names(values.video)
    files = input_files(values.video)
    for path in values.video:
        clip_anchors.frames_of(video_info(path), settings)
    gen = load_generator(values.generator)
    check_layers(how.layers, gen.config.num_ws)
    encoder = open_encoder(values.encoder, values.generator, gen)
    outputs = [*extract.outputs(names, from_prompts=True), *clip_anchors.outputs(names)]
    facts = cli.inputs(gen, *files, align.landmarks, align.detector_model, encoder=encoder)
    run = cli.open_run(values, "mm_extract", outputs, **facts)
    if run is None:
        return None
    with shown() as progress:
        sets = clip_anchors.find_clip_anchors(
            gen, encoder, values.video, run, align, clip, settings,
            batch=values.batch, progress=progress,
        )  # fmt: skip
        sections = [
            clip_anchors.clip_section(name, anchors, run.path)
            for name, anchors in zip(names, sets, strict=True)
        ]
        subspace = extract.extract(
            gen, names, sets, run, how, further=sections, batch=values.batch, progress=progress
        )
    return subspace, run.path
