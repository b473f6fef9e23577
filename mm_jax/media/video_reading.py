"""Videos from files, frame after frame: mp4, webm, gif and whatever else ffmpeg reads, or a folder.

A video is looked through once for its metadata (`video_info`) and then read as a stream
(`read_frames`), so that memory does not depend on its length. Frames are [H, W, 3] uint8, turned
upright as the file says; transparency is laid over white.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO

import imageio_ffmpeg
import numpy as np

from mm_jax.errors import DataError, UsageError
from mm_jax.io import PathLike
from mm_jax.media.image_files import IMAGE_SUFFIXES
from mm_jax.media.images import read_image, to_uint8

__all__ = ["VideoInfo", "natural_order", "read_frames", "sample_frames", "video_info"]

# Frames per second of a folder of images, which does not say.
FOLDER_FPS = 20.0

_FPS = re.compile(r"Video: .*? (\d+(?:\.\d+)?) fps")
_COUNT = re.compile(r"frame=\s*(\d+)")
_TIME = re.compile(r"time=\s*(\d+):(\d+):(\d+(?:\.\d+)?)")
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a video is, before any of its frames is kept.

    Attributes:
        path: the file, or the folder of images.
        frames: T, how many frames can be read.
        fps: frames per second, their mean where the rate varies.
        sound: whether it has a sound track.
        images: of a folder, its images in order.
        decoder: what has to decode it, where ffmpeg's own choice would lose its transparency.
    """

    path: Path
    frames: int
    fps: float
    sound: bool = False
    images: tuple[Path, ...] = ()
    decoder: str | None = None


def natural_order(path: PathLike) -> list[tuple[int, int, str]]:
    """A key that sorts names as people count: frame2 comes before frame10."""
    parts = re.split(r"(\d+)", Path(path).name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def video_info(path: PathLike) -> VideoInfo:
    """Look through a video: how many frames it has, and how fast they follow each other.

    Raises:
        DataError: the file or folder is missing, empty, cannot be decoded, or holds no frame.
    """
    path = Path(path)
    if path.is_dir():
        images = sorted(
            (p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."),
            key=natural_order,
        )
        if not images:
            raise DataError(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
        return VideoInfo(path, len(images), FOLDER_FPS, images=tuple(images))
    _check_file(path)
    command = ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "null", "-"]
    done = subprocess.run(_start(path, None, command, "level+info"), capture_output=True)
    text = done.stderr.decode(errors="replace")
    counts, times, rate = _COUNT.findall(text), _TIME.findall(text), _FPS.search(text)
    frames = int(counts[-1]) if counts else 0
    if frames == 0:
        if "Video:" not in text and "Audio:" in text:
            raise DataError(f"cannot read {path}: it holds sound, but no images")
        if done.returncode == 0:
            raise DataError(f"cannot read {path}: it holds no frame")
        raise DataError(f"cannot read {path}: {_reason(text)}")
    hours, minutes, rest = map(float, times[-1]) if times else (0.0, 0.0, 0.0)
    seconds = 3600 * hours + 60 * minutes + rest
    fps = float(rate[1]) if rate else (frames / seconds if seconds else FOLDER_FPS)
    codec = re.search(r"Video: (\w+)", text)
    alpha = re.search(r"alpha_mode\s*:\s*1", text, re.IGNORECASE)
    decoder = _ALPHA_DECODERS.get(codec[1]) if codec and alpha else None
    return VideoInfo(path, frames, fps, sound="Audio:" in text, decoder=decoder)


def sample_frames(
    info: VideoInfo, *, count: int | None = None, fps: float | None = None
) -> tuple[int, ...]:
    """Which frames to take, as indices in order.

    Args:
        info: of the video.
        count: so many, evenly from the first to the last; all where the video has no more.
        fps: instead of a count: so many in a second; all where the video has no more.

    Raises:
        UsageError: both, or one out of range.
    """
    if count is not None and fps is not None:
        raise UsageError("give a number of frames or a rate, not both")
    if count is not None:
        if count < 1:
            raise UsageError(f"count must be at least 1, got {count}")
        taken = np.linspace(0, info.frames - 1, min(count, info.frames))
        return tuple(np.rint(taken).astype(int).tolist())
    if fps is None or fps >= info.fps:
        return tuple(range(info.frames))
    if not fps > 0:
        raise UsageError(f"fps must be above 0, got {fps}")
    steps = np.arange(int(np.floor((info.frames - 1) * fps / info.fps)) + 1)
    return tuple(np.rint(steps * info.fps / fps).astype(int).tolist())


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
    size: tuple[int, ...] | None = None
    with contextlib.closing(_frames(info, wanted)) as frames:
        for index, frame in frames:
            if size is not None and frame.shape != size:
                raise DataError(
                    f"{info.path}: frame {index} is {frame.shape[1]}x{frame.shape[0]}, those "
                    f"before it are {size[1]}x{size[0]}"
                )
            size = frame.shape
            yield index, frame


def _frames(
    info: VideoInfo, wanted: Sequence[int]
) -> Generator[tuple[int, np.ndarray], None, None]:
    if info.images:
        for index in wanted:
            yield index, to_uint8(read_image(info.images[index]))
        return
    _check_file(info.path)
    command = ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "image2pipe"]
    command += [
        "-c:v",
        "pam",
        "-vf",
        "scale=flags=accurate_rnd+full_chroma_int+bicubic,format=rgba",
        "-",
    ]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            _start(info.path, info.decoder, command, "level+error"),
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert process.stdout is not None
        try:
            stream = enumerate(_read_pam(process.stdout))
            for index in wanted:
                frame = next((frame for place, frame in stream if place == index), None)
                if frame is None:
                    log.seek(0)
                    reason = _reason(log.read().decode(errors="replace"))
                    raise DataError(f"{info.path} ends before frame {index}: {reason}")
                yield index, _over_white(frame)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _start(path: Path, decoder: str | None, command: Sequence[str], level: str) -> list[str]:
    chosen = ["-c:v", decoder] if decoder else []
    # A playlist may name other files and addresses; a video is one file.
    source = ["-protocol_whitelist", "file", "-i", f"file:{path}"]
    options = ["-hide_banner", "-nostdin", "-loglevel", level, *chosen]
    return [imageio_ffmpeg.get_ffmpeg_exe(), *options, *source, *command]


def _check_file(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            if not file.read(1):
                raise DataError(f"cannot read {path}: the file is empty")
    except FileNotFoundError as error:
        raise DataError(f"cannot read {path}: no such file or folder") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _reason(text: str) -> str:
    """The first error that ffmpeg tells of, without the names of its parts."""
    errors = re.findall(r"^(.*)\[(?:error|fatal)\] (.*)$", text, re.MULTILINE)
    return errors[0][1].strip() if errors else "ffmpeg does not say why"


def _read_pam(stream: IO[bytes]) -> Iterator[np.ndarray]:
    """The images [H, W, 4] of a stream of PAM files, whose heads tell the size."""
    header: dict[bytes, bytes] = {}
    while line := stream.readline():
        name, _, value = line.strip().partition(b" ")
        header[name] = value
        if name == b"ENDHDR":
            shape = int(header[b"HEIGHT"]), int(header[b"WIDTH"]), int(header[b"DEPTH"])
            data = stream.read(shape[0] * shape[1] * shape[2])
            if len(data) < shape[0] * shape[1] * shape[2]:
                return
            yield np.frombuffer(data, np.uint8).reshape(shape)


def _over_white(rgba: np.ndarray) -> np.ndarray:
    """Colours [H, W, 3] of a image [H, W, 4] on white."""
    alpha = rgba[:, :, 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[:, :, :3])
    fraction = alpha.astype(np.float32) / 255.0
    return np.rint(rgba[:, :, :3] * fraction + 255.0 * (1.0 - fraction)).astype(np.uint8)
