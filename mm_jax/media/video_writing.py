"""Videos to files, one frame after another: memory does not grow with the length of a video.

Frames are [H, W, 3] uint8, all of one size. Files appear whole.
"""

from __future__ import annotations

import contextlib
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from mm_jax.errors import DataError, UsageError
from mm_jax.io import PathLike, whole_file

__all__ = ["VIDEO_SUFFIXES", "check_fps", "video_writer"]

VIDEO_SUFFIXES = (".mp4", ".gif")
# Viewers take shorter delays between the frames of a GIF for a mistake, and play it slowly.
_MAX_GIF_FPS = 50

AddFrame = Callable[[np.ndarray], None]


def check_fps(fps: float) -> float:
    """The rate as it is.

    Raises:
        UsageError: not a number above 0 and at most 120.
    """
    if not (math.isfinite(fps) and 0 < fps <= 120):
        raise UsageError(f"frames per second must be above 0 and at most 120, got {fps}")
    return fps


@contextlib.contextmanager
def video_writer(
    path: PathLike,
    *,
    fps: float = 20,
    crf: int = 18,
    loop: bool = True,
    sound: PathLike | None = None,
) -> Iterator[AddFrame]:
    """Write a video, frame by frame.

        with video_writer("a.mp4", fps=25) as add:
            add(frame)

    A file `*.mp4` is H.264 in yuv420p, which every browser plays; an odd height or width is padded
    by repeating the last line, since the codec needs even sizes. A file `*.gif` has one palette for
    all of its frames and a dither that stands still, so that colours do not flicker.

    Args:
        path: the file, of one of `VIDEO_SUFFIXES`; it appears when the block ends without an error.
        fps: frames per second; a GIF plays at most 50.
        crf: the rate factor of H.264, 0 (lossless) to 51 (worst).
        loop: whether a GIF starts again at its end.
        sound: a video whose sound, if it has any, is put beside the frames of an mp4.

    Raises:
        UsageError: another kind of file, or a setting out of range.
        DataError: no frame was added, frames differ in size or are not uint8, or the encoder fails.
    """
    path = Path(path)
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise UsageError(f"{path}: videos are written as {' or '.join(VIDEO_SUFFIXES)}")
    check_fps(fps)
    if not 0 <= crf <= 51:
        raise UsageError(f"crf must be in [0, 51], got {crf}")
    with whole_file(path) as temporary:
        if path.suffix.lower() == ".mp4":
            with _encoder(path, _h264(temporary, crf, sound), fps, even=True) as add:
                yield add
            return
        with tempfile.TemporaryDirectory() as folder:
            # One palette for all frames is known at the end only: they are kept without loss.
            spool, palette = Path(folder) / "spool.mkv", Path(folder) / "palette.png"
            rate = min(fps, _MAX_GIF_FPS)
            lossless = ["-c:v", "libx264rgb", "-qp", "0", "-preset", "ultrafast", str(spool)]
            with _encoder(path, lossless, rate) as add:
                yield add
            choose = "palettegen=max_colors=255:reserve_transparent=0"
            _ffmpeg(path, ["-i", str(spool), "-vf", choose, str(palette)])
            both = ["-i", str(spool), "-i", str(palette)]
            use = ["-lavfi", "paletteuse=dither=bayer:bayer_scale=3"]
            again = ["-loop", "0" if loop else "-1", "-f", "gif"]
            _ffmpeg(path, [*both, *use, *again, str(temporary)])


def _h264(target: Path, crf: int, sound: PathLike | None) -> list[str]:
    command = ["-c:v", "libx264", "-crf", str(int(crf))]
    # The matrix is named, since players guess it from the size otherwise, and colours shift.
    command += [
        "-vf",
        "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+bicubic,format=yuv420p",
    ]
    command += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    if sound is not None:
        command = ["-i", f"file:{sound}", "-map", "0:v:0", "-map", "1:a:0?", *command]
        command += ["-c:a", "aac", "-shortest"]
    return [*command, "-movflags", "+faststart", "-f", "mp4", str(target)]


def _start(arguments: Sequence[str]) -> list[str]:
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *arguments]


def _failed(path: Path, text: bytes) -> DataError:
    lines = text.decode(errors="replace").strip().splitlines()
    return DataError(f"cannot encode {path}: {lines[-1] if lines else 'ffmpeg failed'}")


def _ffmpeg(path: Path, arguments: Sequence[str]) -> None:
    done = subprocess.run(_start(["-nostdin", *arguments]), capture_output=True)
    if done.returncode != 0:
        raise _failed(path, done.stderr)


@contextlib.contextmanager
def _encoder(
    path: Path, command: Sequence[str], fps: float, *, even: bool = False
) -> Iterator[AddFrame]:
    """An ffmpeg that is fed frames; it starts with the first one, whose size it has to know."""
    process: subprocess.Popen[bytes] | None = None
    size: tuple[int, ...] | None = None
    with tempfile.TemporaryFile() as log:

        def said() -> bytes:
            log.seek(0)
            return log.read()

        def add(frame: np.ndarray) -> None:
            nonlocal process, size
            frame = np.asarray(frame)
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
                raise DataError(
                    f"a frame must be [H, W, 3] uint8, got {list(frame.shape)} {frame.dtype}"
                )
            if size is not None and frame.shape != size:
                raise DataError(
                    f"the frames of {path} differ in size: {list(size)} and {list(frame.shape)}"
                )
            size = frame.shape
            if even:
                frame = np.pad(frame, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
            if process is None:
                shape = f"{frame.shape[1]}x{frame.shape[0]}"
                raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", shape, "-r", str(fps)]
                process = subprocess.Popen(
                    _start([*raw, "-i", "-", *command]), stdin=subprocess.PIPE, stderr=log
                )
            assert process.stdin is not None
            try:
                process.stdin.write(np.ascontiguousarray(frame).data)
            except BrokenPipeError:
                process.wait()
                raise _failed(path, said()) from None

        try:
            yield add
            if process is None:
                raise DataError(f"cannot write {path}: it would hold no frame")
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            if process.wait() != 0:
                raise _failed(path, said())
        finally:
            if process is not None:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Leave no process and no open pipe behind, whatever went wrong."""
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
