"""Videos from files, frame after frame: mp4, webm, gif and whatever else FFmpeg reads, or a folder.

A video is decoded once for its number of frames, their times and size (`video_info`), and then read
as a stream (`read_frames`), so that memory does not depend on its length. Frames are [H, W, 3]
uint8 as a player shows them: turned upright as the file says, in square pixels, deinterlaced, high
dynamic range in an ordinary screen's colours, transparency laid over white.

Videos are decoded by PyAV (`video_streams`), animated images by imageio (`animations`), which knows
the disposal and the delays of every kind of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from mm_jax.errors import DataError
from mm_jax.io import PathLike
from mm_jax.kinds import described
from mm_jax.media.animations import animation_frames, animation_info
from mm_jax.media.cuts import CutFinder, thumbnail
from mm_jax.media.image_files import IMAGE_SUFFIXES
from mm_jax.media.images import read_image, to_uint8
from mm_jax.media.timing import Timing
from mm_jax.media.video_streams import stream_frames, stream_info
from mm_jax.media.videos import FOLDER_FPS, VideoInfo, natural_order

__all__ = ["read_frames", "video_info"]


def video_info(path: PathLike) -> VideoInfo:
    """Look through a video: how many frames it has, and when each of them is shown.

    Every frame is decoded once, so that damage shows here and not after an hour of work.

    Raises:
        DataError: the file or folder is missing, empty, cannot be decoded, holds no frame, or is
            one image.
    """
    path = Path(path)
    if path.is_dir():
        return _folder_info(path)
    _check_file(path)
    info = animation_info(path) or stream_info(path)
    what = described(path)
    if info.frames == 1 and what.endswith(" image"):
        raise DataError(f"{path} is {what}, not a video: images are for --image")
    return info


def read_frames(
    info: VideoInfo, indices: Sequence[int] | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, frame [H, W, 3] uint8), one frame held at a time.

    Args:
        info: of the video.
        indices: frames to take, growing; all by default.

    Raises:
        DataError: the video ends early, cannot be decoded, or a folder's images differ in size.
    """
    wanted = range(info.frames) if indices is None else indices
    with contextlib.closing(_frames(info, wanted)) as frames:
        for index, frame in frames:
            if frame.shape[:2] != info.size:
                (height, width), (first_height, first_width) = frame.shape[:2], info.size
                raise DataError(
                    f"{info.path}: frame {index} is {width}x{height}, those before it are "
                    f"{first_width}x{first_height}"
                )
            yield index, frame


def _frames(
    info: VideoInfo, wanted: Sequence[int]
) -> Generator[tuple[int, np.ndarray], None, None]:
    if info.images:
        for index in wanted:
            yield index, to_uint8(read_image(info.images[index]))
        return
    _check_file(info.path)
    read = animation_frames if info.animated else stream_frames
    missing = iter(wanted)
    for index, frame in read(info, wanted):
        next(missing)
        yield index, frame
    if (index := next(missing, None)) is not None:
        raise DataError(f"{info.path} ends before frame {index}: was it changed meanwhile?")


def _check_file(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            if not file.read(1):
                raise DataError(f"cannot read {path}: the file is empty")
    except FileNotFoundError as error:
        raise DataError(f"cannot read {path}: no such file or folder") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _folder_info(path: Path) -> VideoInfo:
    images = sorted(
        (p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."),
        key=natural_order,
    )
    if not images:
        raise DataError(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    finder = CutFinder()
    size = None
    for image in images:
        frame = to_uint8(read_image(image))
        size = size or frame.shape[:2]
        finder.add(thumbnail(frame))
    assert size is not None
    timing = Timing.constant(FOLDER_FPS, len(images))
    return VideoInfo(path, timing, size, images=tuple(images), cuts=finder.cuts())
