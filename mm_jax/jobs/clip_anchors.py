"""Clips to anchors: read, followed, cut, inverted; and what a report shows of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax import media
from mm_jax.alignment import framing_of
from mm_jax.anchors.video import video_anchors
from mm_jax.artifacts import Anchors, load_anchors, save_anchors
from mm_jax.encoders.encoder import Encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.jobs import pictures
from mm_jax.jobs.align_settings import AlignSettings
from mm_jax.jobs.clip_faces import crops, follow_face
from mm_jax.jobs.extract import anchor_file
from mm_jax.jobs.faces import say
from mm_jax.jobs.video_settings import ClipSettings, VideoAnchorSettings
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Columns, Figure, Section, Svg, Table, plots
from mm_jax.report.page import Item
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.video.reading import VideoInfo, sample_frames, video_info

__all__ = [
    "anchors_of_clip",
    "clip_names",
    "clip_section",
    "find_clip_anchors",
    "frames_of",
    "outputs",
]

# Frames that a reconstruction strip shows at most.
SHOWN = 16
# Frames that are inverted at once at most.
FRAMES_AT_ONCE = 8


def clip_names(paths: Sequence[str]) -> tuple[str, ...]:
    """The stems of the clips' files, as names.

    Raises:
        UsageError: two of one stem.
    """
    names = tuple(Path(path).stem for path in paths)
    if len(set(names)) < len(names):
        raise UsageError("two clips have the same name: rename one")
    return names


def outputs(names: Sequence[str]) -> list[str]:
    """Names of the files that `find_clip_anchors` writes beside the anchors."""
    return [_strip(name) for name in names]


def _strip(name: str) -> str:
    return f"clip_{name}.png"


def find_clip_anchors(
    gen: Generator,
    encoder: Encoder | None,
    paths: Sequence[str],
    run: RunFolder,
    align: AlignSettings,
    clip: ClipSettings,
    settings: VideoAnchorSettings,
    *,
    batch: int | None = None,
    tell: Callable[[str], None] = say,
    progress: ProgressFn = silent,
) -> list[Anchors]:
    """The anchors of every clip: read where the folder has them, else found and written.

    Args:
        gen, encoder: as in `mm_jax.video_anchors`.
        paths: files of clips, or folders of pictures.
        run: the open folder; it gets one `anchors_<name>.npz` for each, and a picture of its frames
            above what the codes rebuild.
        align, clip, settings: how.
        batch: frames in work at once.
        tell: is given a line on what was found and dropped.
        progress: told of each step.
    """
    sets = []
    for path, name in zip(paths, clip_names(paths), strict=True):
        if run.missing([anchor_file(name), _strip(name)]):

            def told(label: str, done: int, total: int, /, name: str = name) -> None:
                progress(f"{name}: {label}", done, total)

            anchors, faces = anchors_of_clip(
                gen, encoder, video_info(path), align, clip, settings,
                batch=batch, tell=tell, progress=told,
            )  # fmt: skip
            media.save_png(run.file(_strip(name)), _compared(gen, anchors, faces, batch))
            save_anchors(run.file(anchor_file(name)), anchors)
        sets.append(load_anchors(run.file(anchor_file(name))))
    return sets


def anchors_of_clip(
    gen: Generator,
    encoder: Encoder | None,
    info: VideoInfo,
    align: AlignSettings,
    clip: ClipSettings,
    settings: VideoAnchorSettings,
    *,
    batch: int | None = None,
    tell: Callable[[str], None] = say,
    progress: ProgressFn = silent,
) -> tuple[Anchors, np.ndarray]:
    """The anchors of one clip, and the crops [M, R, R, 3] float32 of the frames that were kept.

    Raises:
        UsageError: flags that do not fit.
        DataError: a clip that cannot be read, of one frame, or without a face.
    """
    frames = frames_of(info, settings)
    face = follow_face(info, frames, align, clip, framing_of(gen), tell=tell, progress=progress)
    seen = np.flatnonzero(face.found)
    if len(seen) < 2:
        raise DataError(f"{info.path}: a face is found in one of {len(frames)} frames only")
    size = gen.config.resolution
    # At the generator's size a few dozen frames are small, whatever the clip's size.
    faces = np.stack([crop for _, _, crop in crops(info, face, size=size, only=seen.tolist())])
    anchors = video_anchors(
        gen,
        faces,
        encoder=encoder,
        degrees=settings.degree_by,
        start=settings.rest,
        numbers=np.array(frames)[seen].tolist(),
        landmarks=face.points(seen, size=size),
        steps=settings.clip_steps,
        together_steps=settings.together_steps,
        temporal_weight=settings.temporal_weight,
        drop=settings.drop,
        batch_size=min(batch or FRAMES_AT_ONCE, FRAMES_AT_ONCE),
        progress=progress,
    )
    unseen = [{"frame": frames[i], "reason": "no face"} for i in np.flatnonzero(~face.found)]
    dropped = sorted([*anchors.meta["dropped"], *unseen], key=lambda d: d["frame"])
    facts: dict[str, Any] = {
        **anchors.meta, "clip": info.path.name, "fps": info.fps, "clip_frames": info.frames,
        "frames": len(frames), "dropped": dropped,
    }  # fmt: skip
    if dropped:
        listed = ", ".join(str(d["frame"]) for d in dropped)
        tell(f"{info.path}: {len(dropped)} of {len(frames)} frames are left out: {listed}")
    places = [frames.index(number) for number in facts["kept"]]
    kept = np.searchsorted(seen, places)
    return dataclasses.replace(anchors, meta=facts), faces[kept]


def frames_of(info: VideoInfo, settings: VideoAnchorSettings) -> tuple[int, ...]:
    """Which frames are taken of a clip.

    Raises:
        DataError: it holds one frame only. UsageError: one only is taken.
    """
    if info.frames < 2:
        raise DataError(f"{info.path} holds one frame, a motion wants two or more")
    frames = sample_frames(info, count=settings.count, fps=settings.sample_fps)
    if len(frames) < 2:
        raise UsageError(f"sample_fps={settings.sample_fps} takes one frame of {info.path}")
    return frames


def _compared(gen: Generator, anchors: Anchors, faces: np.ndarray, batch: int | None) -> np.ndarray:
    """Frames of a clip, and below each what its code rebuilds."""
    count = min(SHOWN, len(faces))
    chosen = np.unique(np.rint(np.linspace(0, len(faces) - 1, count)).astype(int))
    rebuilt = pictures.all_pictures(gen, np.asarray(anchors.ws)[chosen], batch=batch)
    return media.strip(np.stack([faces[chosen], rebuilt]), gap=2)


def clip_section(name: str, anchors: Anchors, folder: Path) -> Section:
    """What a report shows of one clip."""
    meta = anchors.meta
    items: list[Item] = [
        Figure(
            folder / _strip(name),
            caption="frames of the clip, and below each what its code rebuilds",
            title=str(meta["clip"]),
        )
    ]
    quality = plots.line_chart(
        [plots.Series("", meta["kept"], meta["psnr"])],
        title="Likeness of the frames", x_label="frame", y_label="PSNR, dB",
    )  # fmt: skip
    charts = [Svg(quality, caption=f"mean {np.mean(meta['psnr']):.1f} dB", title="Likeness")]
    motion = meta["motion"]
    if motion is not None:
        progress = plots.line_chart(
            [plots.Series("", meta["kept"], motion["progress"])],
            title="Progress of the motion", x_label="frame", y_label="progress",
        )  # fmt: skip
        caption = f"by {motion['measured_by']}; {motion['share']:.0%} of all movement goes this way"
        charts.append(Svg(progress, caption=caption, title="Motion"))
    items.append(Columns(charts))
    if meta["dropped"]:
        rows = [[d["frame"], d["reason"]] for d in meta["dropped"]]
        items.append(Table(["frame", "reason"], rows, title="Frames left out"))
    intro = (
        f"{len(meta['kept'])} of {meta['frames']} frames taken, of {meta['clip_frames']} in all; "
        f"{len(meta['dropped'])} left out."
    )
    return Section(f"Clip {name}", items, intro=intro)
