"""Anchors from the file of a video: frames are read, the face is followed, cropped and inverted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax.alignment.faces import say
from mm_jax.alignment.framing import Framing, framing_of
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.folder import anchor_file
from mm_jax.anchors.images import save_comparison
from mm_jax.anchors.options import VideoAnchorOptions
from mm_jax.anchors.video import video_anchors
from mm_jax.artifacts import Anchors, load_anchors, save_anchors
from mm_jax.encoders.encoder import Encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.media.video_reading import video_info
from mm_jax.media.videos import VideoInfo, sample_frames
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.video.faces import NoFaceError, VideoFace, crops, follow_face
from mm_jax.video.options import FrameOptions, VideoOptions
from mm_jax.video.tracking import spans_text
from mm_jax.video.verdict import judge_motion

__all__ = [
    "anchors_of_video",
    "comparison_file",
    "find_video_anchors",
    "frames_of",
    "input_files",
    "open_videos",
    "still",
]

# Frames that are inverted at once at most.
_BATCH = 8


def input_files(paths: Sequence[str]) -> list[str]:
    """The files of videos; of a folder, its images."""
    files = []
    for path in paths:
        info = video_info(path)
        files += [str(image) for image in info.images] or [str(info.path)]
    return files


def open_videos(
    paths: Sequence[str], options: FrameOptions, *, tell: Callable[[str], None] = say
) -> dict[str, VideoInfo]:
    """Videos by the stems of their names.

    Args:
        paths: files, or folders of frames.
        options: which frames will be taken.
        tell: is given a line on what reading a video changes.

    Raises:
        UsageError: two of one name, or one frame only would be taken.
        DataError: one cannot be read, or holds one frame only.
    """
    names = [Path(path).stem for path in paths]
    if len(set(names)) < len(names):
        raise UsageError("two videos have the same name: rename one")
    infos = {name: video_info(path) for name, path in zip(names, paths, strict=True)}
    for info in infos.values():
        frames_of(info, options)
        for note in info.notes:
            tell(f"{info.path}: {note}")
    return infos


def frames_of(
    info: VideoInfo, options: FrameOptions, *, shot: range | None = None
) -> tuple[int, ...]:
    """Which frames are taken of a video: of one shot, since a motion is not cut.

    Args:
        info: of the video.
        options: how many.
        shot: one of `info.shots`; the longest unless given.

    Raises:
        DataError: it holds one frame only. UsageError: one only is taken.
    """
    if info.frames < 2:
        raise DataError(f"{info.path} must hold at least two frames, got one")
    shot = shot or _by_length(info)[0]
    frames = sample_frames(info, count=options.count, fps=options.sample_fps, within=shot)
    if len(frames) < 2 and options.sample_fps is not None:
        raise UsageError(f"sample_fps={options.sample_fps} takes one frame of {info.path}")
    return frames


def _by_length(info: VideoInfo) -> list[range]:
    """The shots of two frames and more, the longest first; all of it where there is none."""
    shots = [shot for shot in info.shots if len(shot) > 1]
    lasting = info.times
    shots.sort(key=lambda shot: lasting[shot[-1]] - lasting[shot[0]], reverse=True)
    return shots or [range(info.frames)]


def anchors_of_video(
    gen: Generator,
    encoder: Encoder | None,
    info: VideoInfo,
    *,
    align: AlignOptions = AlignOptions(),
    video: VideoOptions = VideoOptions(),
    frames: FrameOptions = FrameOptions(),
    options: VideoAnchorOptions = VideoAnchorOptions(),
    batch: int | None = None,
    tell: Callable[[str], None] = say,
    progress: ProgressFn = silent,
) -> tuple[Anchors, np.ndarray]:
    """The anchors of one video, and the crops [M, R, R, 3] float32 of the frames that were kept.

    Args:
        gen: the generator.
        encoder: guesses each frame's latent, or None.
        info: of the video.
        align: how faces are found.
        video: how they are followed.
        frames: which frames are taken.
        options: how anchors are found in them.
        batch: frames in work at once, at most eight.
        tell: is given a line on what was found and dropped.
        progress: called with each step.

    Raises:
        UsageError: options that do not fit.
        DataError: a video that cannot be read, of one frame, or without a face.
    """
    taken, face = _shot_with_face(
        info, frames, align, video, framing_of(gen), tell=tell, progress=progress
    )
    seen = np.flatnonzero(face.found)
    size = gen.config.resolution
    # At the generator's size a few dozen frames are small, whatever the video's size.
    faces = np.stack([crop for _, _, crop in crops(info, face, size=size, only=seen.tolist())])
    anchors = video_anchors(
        gen,
        faces,
        options=options,
        encoder=encoder,
        frame_indices=np.array(taken)[seen].tolist(),
        times=info.times[np.array(taken)[seen]],
        landmarks=face.points(seen, size=size),
        batch_size=min(batch or _BATCH, _BATCH),
        progress=progress,
    )
    unseen = [{"frame": taken[i], "reason": "no face"} for i in np.flatnonzero(~face.found)]
    dropped = sorted([*anchors.meta["dropped"], *unseen], key=lambda d: d["frame"])
    metadata: dict[str, Any] = {
        **anchors.meta,
        "clip": info.path.name,
        "fps": float(info.fps),
        "clip_frames": info.frames,
        "frames": len(taken),
        "shots": len(info.shots),
        "dropped": dropped,
    }
    if dropped:
        listed = spans_text([d["frame"] for d in dropped])
        tell(f"{info.path}: {len(dropped)} of {len(taken)} frames are left out: {listed}")
    psnr = np.array(metadata["psnr"])
    worst = metadata["kept"][int(psnr.argmin())]
    tell(
        f"{info.path}: {len(psnr)} frames are rebuilt at {np.median(psnr):.1f} dB (median; the "
        f"worst, frame {worst}, at {psnr.min():.1f})"
    )
    kept = np.searchsorted(seen, [taken.index(number) for number in metadata["kept"]])
    points = face.points(seen[kept], size=size)
    if points is not None and len(kept) >= 4:
        verdict = judge_motion(points, anchors.ws, size=size)
        metadata["verdict"] = {**dataclasses.asdict(verdict), "reason": verdict.reason}
    return dataclasses.replace(anchors, meta=metadata), faces[kept]


def comparison_file(name: str) -> str:
    """Name of the image of a video's frames above what their latents reconstruct."""
    return f"clip_{name}.png"


def find_video_anchors(
    gen: Generator,
    encoder: Encoder | None,
    info: VideoInfo,
    name: str,
    folder: Path,
    *,
    batch: int | None = None,
    progress: ProgressFn = silent,
    **how: Any,
) -> Anchors:
    """The anchors of one video: read from `folder`, or else found and written there.

    Written are `anchor_file(name)` with its metadata, and `comparison_file(name)`.

    Args:
        gen: the generator.
        encoder: guesses each frame's latent, or None.
        info: of the video.
        name: of the files.
        folder: of the files.
        batch: frames in work at once.
        progress: called with each step.
        **how: further arguments of `anchors_of_video`.

    Raises:
        UsageError, DataError: as `anchors_of_video`, or a damaged file.
    """
    file, compared = folder / anchor_file(name), folder / comparison_file(name)
    if file.exists() and compared.exists():
        return load_anchors(file)
    anchors, faces = anchors_of_video(gen, encoder, info, batch=batch, progress=progress, **how)
    save_comparison(compared, gen, faces, np.asarray(anchors.ws), batch=batch)
    save_anchors(file, anchors)
    progress("comparison", 1, 1)
    return anchors


def still(sets: Sequence[Anchors]) -> str | None:
    """Why the anchors of some video show no motion, as far as that could be judged; else None."""
    for anchors in sets:
        if reason := anchors.meta.get("verdict", {}).get("reason"):
            return f"{anchors.meta['clip']}: {reason}"
    return None


def _shot_with_face(
    info: VideoInfo,
    frames: FrameOptions,
    align: AlignOptions,
    video: VideoOptions,
    framing: Framing,
    *,
    tell: Callable[[str], None],
    progress: ProgressFn,
) -> tuple[tuple[int, ...], VideoFace]:
    """The frames that are taken, and the face in them: of the longest shot that shows one."""
    seen = 0
    for shot in _by_length(info):
        taken = frames_of(info, frames, shot=shot)
        try:
            face = follow_face(info, taken, align, video, framing, tell=tell, progress=progress)
        except NoFaceError:
            continue
        seen = max(seen, int(face.found.sum()))
        if face.found.sum() > 1:
            if len(info.shots) > 1:
                tell(
                    f"{info.path}: {len(info.shots)} shots; the motion is learned from one of "
                    f"them, frames {shot[0]} to {shot[-1]} (cut the video to choose another)"
                )
            return taken, face
    found = "a face is found in one frame only" if seen else "no face is found"
    raise DataError(
        f"{info.path}: {found}: try another --detector, give --landmarks, or --aligned if the "
        "video is a crop already"
    )
