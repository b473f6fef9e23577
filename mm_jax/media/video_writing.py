"""Videos to files, one frame after another: memory does not grow with the length of a video.

Frames are [H, W, 3] uint8, all of one size. Files appear whole.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.filter import Graph
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.io import PathLike, whole_file
from mm_jax.media.sound import Sound
from mm_jax.media.timing import Timing, as_fraction, as_rate
from mm_jax.words import how_to_install

__all__ = ["VIDEO_SUFFIXES", "check_encoder", "padding_note", "video_writer"]

VIDEO_SUFFIXES = (".mp4", ".gif")
# Viewers take shorter delays between the frames of a GIF for a mistake, and play it slowly.
_GIF_DELAY = Fraction(1, 50)
MP4_CODEC = "libx264"
_SPOOL_CODEC = "libx264rgb"
_BT709 = 1
_LIMITED = 1

AddFrame = Callable[[np.ndarray], None]


@contextlib.contextmanager
def video_writer(
    path: PathLike,
    *,
    fps: float | Fraction = 20,
    timing: Timing | None = None,
    crf: int = 18,
    loop: bool = True,
    sound: PathLike | None = None,
) -> Iterator[AddFrame]:
    """Write a video, frame by frame.

        with video_writer("a.mp4", fps=25) as add:
            add(frame)

    A file `*.mp4` is H.264 in yuv420p, which every browser plays; an odd height or width is padded
    by repeating the last line, since the codec needs even sizes. A file `*.gif` has one palette for
    all of its frames and a dither that stands still, so that colours do not flicker; of more than
    50 frames a second, which viewers do not show, some are left out.

    Args:
        path: the file, of one of `VIDEO_SUFFIXES`; it appears when the block ends without an error.
        fps: frames per second.
        timing: in place of `fps`, when each frame is shown.
        crf: the rate factor of H.264, 0 (lossless) to 51 (worst).
        loop: whether a GIF starts again at its end.
        sound: a video whose sound, if it has any, is put beside the frames of an mp4, as it is.

    Raises:
        UsageError: another kind of file, or a setting out of range.
        DataError: no frame was added, frames differ in size or are not uint8, there are more than
            `timing` has, or the encoder or the sound fails.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in VIDEO_SUFFIXES:
        raise UsageError(f"{path}: videos are written as {' or '.join(VIDEO_SUFFIXES)}")
    if not 0 <= crf <= 51:
        raise UsageError(f"crf must be in [0, 51], got {crf}")
    clock = _Clock(fps, timing)
    with whole_file(path) as temporary, contextlib.ExitStack() as stack:
        writer: _Mp4 | _Gif | None = None
        size: tuple[int, ...] | None = None

        def add(frame: np.ndarray) -> None:
            nonlocal writer, size
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
            with _one_line(path):
                if writer is None:
                    made = (
                        _Mp4(temporary, size, clock, crf, sound)
                        if kind == ".mp4"
                        else _Gif(temporary, size, clock, loop)
                    )
                    writer = stack.enter_context(contextlib.closing(made))
                writer.add(frame)

        yield add
        if writer is None:
            raise DataError(f"cannot write {path}: it would hold no frame")
        with _one_line(path):
            writer.finish()


def check_encoder(path: PathLike, size: tuple[int, int], *, sound: PathLike | None = None) -> None:
    """See that a video of this size and sound can be written, before the work that makes it.

    Args:
        path: the file that is to be written; nothing is written.
        size: (H, W) of the frames.
        sound: a video whose sound is to be kept.

    Raises:
        DataError: the encoder is missing or refuses the size, or the sound cannot be kept.
    """
    with _one_line(path), tempfile.TemporaryDirectory() as folder:
        target, clock = Path(folder) / "trial", _Clock(20, None)
        if Path(path).suffix.lower() == ".mp4":
            writer: _Mp4 | _Gif = _Mp4(target, size, clock, 18, sound)
        else:
            writer = _Gif(target, size, clock, loop=True)
        with contextlib.closing(writer):
            writer.add(np.zeros((*size, 3), np.uint8))
            if sound is None:
                writer.finish()


def padding_note(size: tuple[int, int]) -> str | None:
    """What an mp4 does to frames of an odd size (H, W); None where it does nothing."""
    height, width = size
    if not (height % 2 or width % 2):
        return None
    padded = f"{width + width % 2} x {height + height % 2}"
    return f"an mp4 has even sizes: {width} x {height} is written as {padded}, its edge repeated"


@contextlib.contextmanager
def _one_line(path: PathLike) -> Iterator[None]:
    """What goes wrong in the encoder, as a `DataError`."""
    try:
        yield
    except FFmpegError as error:
        reason = error.strerror or first_line(error)
        raise DataError(f"cannot encode {path}: {reason}") from error
    except UnknownCodecError as error:
        raise DataError(
            f"cannot encode {path}: this installation of PyAV has no encoder {error}; the wheels "
            f"on PyPI have it ({how_to_install('--force-reinstall', 'av')})"
        ) from error


class _Clock:
    """The presentation time of frame after frame, in units of `base`."""

    def __init__(self, fps: float | Fraction, timing: Timing | None) -> None:
        self.rate = as_rate(fps) if timing is None else timing.fps
        self.base = 1 / self.rate if timing is None else timing.time_base
        self._timing = timing

    def at(self, index: int) -> int:
        """When a frame is shown."""
        if self._timing is None:
            return index
        if index >= len(self._timing.pts):
            raise DataError(f"there are more frames than the {len(self._timing.pts)} of the timing")
        return self._timing.pts[index]

    def length(self, index: int) -> int:
        """How long a frame is shown."""
        if self._timing is None:
            return 1
        if index + 1 < len(self._timing.pts):
            return self._timing.pts[index + 1] - self.at(index)
        return self._timing.end - self.at(index)


class _Mp4:
    """H.264 beside the sound of another file."""

    def __init__(
        self, target: Path, size: Sequence[int], clock: _Clock, crf: int, sound: PathLike | None
    ) -> None:
        self._clock, self._count = clock, 0
        self._reformatter = VideoReformatter()
        # How long frames are shown, by their time: the encoder does not say.
        self._lengths: dict[int, int] = {}
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            options = {"movflags": "+faststart"}
            self._output = av.open(f"file:{target}", "w", format="mp4", options=options)
            stack.callback(self._output.close)
            self._stream = _h264(self._output, MP4_CODEC, size, clock, {"crf": str(int(crf))})
            self._sound = None
            if sound is not None and _has_sound(sound):
                self._sound = stack.enter_context(Sound(sound, self._output))
            self._stack = stack.pop_all()

    def add(self, frame: np.ndarray) -> None:
        height, width, _ = frame.shape
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        # The matrix is named, since players guess it from the size otherwise, and colours shift.
        picture = self._reformatter.reformat(
            picture, format="yuv420p",
            dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        )  # fmt: skip
        self._lengths[self._clock.at(self._count)] = self._clock.length(self._count)
        self._write(self._stream.encode(_at(picture, self._clock, self._count)))
        self._count += 1

    def finish(self) -> None:
        self._write(self._stream.encode(None))
        if self._sound is not None:
            self._sound.rest()
        self._output.close()

    def _write(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            packet.duration = self._lengths.pop(packet.pts)
            if self._sound is not None:
                self._sound.until(packet.pts * as_fraction(packet.time_base))
            self._output.mux(packet)

    def close(self) -> None:
        self._stack.close()


class _Gif:
    """One palette for all frames, which is known at the end only: they are kept without loss."""

    def __init__(self, target: Path, size: Sequence[int], clock: _Clock, loop: bool) -> None:
        self._target, self._clock, self._loop = target, clock, loop
        self._count = 0
        self._times: list[Fraction] = []
        self._end = Fraction(0)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            self._spool = str(Path(folder) / "spool.mkv")
            self._output = av.open(self._spool, "w")
            stack.callback(self._output.close)
            lossless = {"qp": "0", "preset": "ultrafast"}
            self._stream = _h264(self._output, _SPOOL_CODEC, size, clock, lossless)
            self._palette = Graph()
            self._palette.link_nodes(
                self._palette.add_buffer(
                    width=size[1], height=size[0], format=av.VideoFormat("rgb24"),
                    time_base=clock.base,
                ),
                self._palette.add("palettegen", "max_colors=255:reserve_transparent=0"),
                self._palette.add("buffersink"),
            ).configure()  # fmt: skip
            self._stack = stack.pop_all()

    def add(self, frame: np.ndarray) -> None:
        index, self._count = self._count, self._count + 1
        time = self._clock.at(index) * self._clock.base
        self._end = time + self._clock.length(index) * self._clock.base
        if self._times and time < self._times[-1] + _GIF_DELAY:
            return
        self._times.append(time)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = _at(picture, self._clock, index)
        self._palette.push(picture)
        self._output.mux(self._stream.encode(picture))

    def finish(self) -> None:
        self._output.mux(self._stream.encode(None))
        self._output.close()
        self._palette.push(None)
        palette = self._palette.vpull()
        options = {"loop": "0" if self._loop else "-1"}
        with (
            av.open(self._spool) as spool,
            av.open(f"file:{self._target}", "w", format="gif", options=options) as output,
        ):
            source = spool.streams.video[0]
            stream = output.add_stream("gif", rate=100)
            stream.width, stream.height, stream.pix_fmt = source.width, source.height, "pal8"
            graph, frames, colours = _with_palette(source, palette)
            colours.push(palette)
            colours.push(None)
            ticks = [round(time * 100) for time in (*self._times, self._end)]
            for index, frame in enumerate(spool.decode(source)):
                frames.push(frame)
                picture = graph.vpull()
                picture.pts, picture.time_base = ticks[index], Fraction(1, 100)
                for packet in stream.encode(picture):
                    packet.duration = max(ticks[index + 1] - ticks[index], 2)
                    output.mux(packet)
            output.mux(stream.encode(None))

    def close(self) -> None:
        self._stack.close()


def _with_palette(source: Any, palette: Any) -> tuple[Graph, Any, Any]:
    """A graph that dithers frames to a palette, and its two inputs."""
    graph = Graph()
    frames = graph.add_buffer(template=source)
    colours = graph.add_buffer(
        width=palette.width, height=palette.height, format=palette.format,
        time_base=source.time_base,
    )  # fmt: skip
    use = graph.add("paletteuse", "dither=bayer:bayer_scale=3")
    frames.link_to(use, 0, 0)
    colours.link_to(use, 0, 1)
    use.link_to(graph.add("buffersink"))
    graph.configure()
    return graph, frames, colours


def _h264(
    output: Any, codec: str, size: Sequence[int], clock: _Clock, options: dict[str, str]
) -> Any:
    stream = output.add_stream(codec, rate=clock.rate, options=options)
    height, width = size[:2]
    if codec == MP4_CODEC:
        height, width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
    else:
        stream.pix_fmt = "rgb24"
    stream.width, stream.height = width, height
    stream.time_base = stream.codec_context.time_base = clock.base
    return stream


def _at(picture: Any, clock: _Clock, index: int) -> Any:
    picture.pts, picture.time_base = clock.at(index), clock.base
    return picture


def _has_sound(path: PathLike) -> bool:
    with av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        return bool(container.streams.audio)
