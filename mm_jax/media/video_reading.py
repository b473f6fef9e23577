"""Videos from files, frame after frame: mp4, webm, gif and whatever else FFmpeg reads, or a folder.

A video is looked through once for its facts (`video_info`) and then read as a stream
(`read_frames`), so that memory does not depend on its length. Frames are [H, W, 3] uint8 as a
player shows them: turned upright as the file says, in square pixels, fields made full frames, high
dynamic range in an ordinary screen's colours, transparency laid over white.

Videos are decoded by PyAV, animated images by imageio, which knows the disposal and the delays of
every kind of them.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import math
import re
import tempfile
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio.v3 as iio
import numpy as np
from av.error import BlockingIOError as NotYetError
from av.error import EOFError as StreamEndError
from av.error import FFmpegError, InvalidDataError
from av.filter import Graph
from av.video.reformatter import VideoReformatter
from PIL import Image

from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.io import PathLike
from mm_jax.kinds import described
from mm_jax.media import colour
from mm_jax.media.cuts import CutFinder, thumbnail
from mm_jax.media.image_files import IMAGE_SUFFIXES
from mm_jax.media.images import ANIMATED, over_white, read_image, to_uint8
from mm_jax.media.timing import Timing, as_fraction

__all__ = ["VideoInfo", "natural_order", "read_frames", "sample_frames", "video_info"]

# Frames per second of a folder of images, which does not say.
FOLDER_FPS = 20

# Only these decoders of VP8 and VP9 know transparency.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_SCALER = "accurate_rnd+full_chroma_int+full_chroma_inp+bicubic"
# Matrices between R'G'B' and Y'CbCr, by their numbers in ISO/IEC 23091-2, as FFmpeg calls them.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
_BT2020 = 9
# Of a stream that names no matrix, players take that of high definition from this height on.
_HD_HEIGHT = 576
# Browsers take a shorter delay between the frames of an animation for a mistake, and wait longer.
_SHORTEST_DELAY, _USUAL_DELAY = 20, 100
# The first boxes of mp4 and mov files.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a video is, before any of its frames is kept.

    Attributes:
        path: the file, or the folder of images.
        timing: when each frame is shown.
        size: (H, W) of the frames as they are read.
        sound: whether it has a sound track.
        images: of a folder, its images in order.
        notes: what reading changes or leaves out, sentences for the user.
        cuts: the first frames of all shots but the first.
        animated: whether it is an animated image.
        interlaced: whether fields have to be made frames.
    """

    path: Path
    timing: Timing
    size: tuple[int, int]
    sound: bool = False
    images: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    cuts: tuple[int, ...] = ()
    animated: bool = False
    interlaced: bool = False

    @property
    def frames(self) -> int:
        """T, how many frames can be read."""
        return len(self.timing.pts)

    @property
    def fps(self) -> Fraction:
        """Frames per second, their mean where the rate varies."""
        return self.timing.fps

    @property
    def shots(self) -> tuple[range, ...]:
        """The frames of each shot."""
        return tuple(map(range, (0, *self.cuts), (*self.cuts, self.frames)))

    @property
    def times(self) -> np.ndarray:
        """[T] float64: seconds from the first frame."""
        return self.timing.times


def natural_order(path: PathLike) -> list[tuple[int, int, str]]:
    """A key that sorts names as people count: frame2 comes before frame10."""
    parts = re.split(r"(\d+)", Path(path).name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def video_info(path: PathLike) -> VideoInfo:
    """Look through a video: how many frames it has, and when each of them is shown.

    Every frame is decoded once, so that damage shows here and not after an hour of work.

    Raises:
        DataError: the file or folder is missing, empty, cannot be decoded, or holds no frame.
    """
    path = Path(path)
    if path.is_dir():
        return _folder_info(path)
    _check_file(path)
    return _animation_info(path) or _stream_info(path)


def sample_frames(
    info: VideoInfo,
    *,
    count: int | None = None,
    fps: float | None = None,
    within: range | None = None,
) -> tuple[int, ...]:
    """Which frames to take, as indices in order: those nearest to moments that are evenly apart.

    Args:
        info: of the video.
        count: so many, from the first to the last; all where the video has no more. Fewer where
            its rate varies so much that one frame is the nearest of several moments.
        fps: instead of a count: so many in a second; all where the video has no more.
        within: consecutive frames to take them from; all of the video unless given.

    Raises:
        UsageError: both, or one out of range.
    """
    if count is not None and fps is not None:
        raise UsageError("give a number of frames or a rate, not both")
    within = within or range(info.frames)
    times = info.times[within.start : within.stop] - info.times[within.start]
    last = float(times[-1])
    if count is not None:
        if count < 1:
            raise UsageError(f"count must be at least 1, got {count}")
        if count >= len(within):
            return tuple(within)
        moments = np.linspace(0.0, last, count)
    else:
        if fps is None or fps >= info.fps:
            return tuple(within)
        if not fps > 0:
            raise UsageError(f"fps must be above 0, got {fps}")
        moments = np.arange(math.floor(last * fps + 1e-6) + 1) / fps
    middles = 0.5 * (times[1:] + times[:-1])
    return tuple((within.start + np.unique(np.searchsorted(middles, moments - 1e-9))).tolist())


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
    read = _animation_frames if info.animated else _stream_frames
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


# Animated images.


def _animation_info(path: Path) -> VideoInfo | None:
    """Facts about an animated image; None where the file is something else."""
    try:
        with Image.open(path, formats=ANIMATED) as image:
            if not getattr(image, "is_animated", False):
                return None
            width, height = image.size
        with iio.imopen(path, "r", plugin="pillow") as file:
            delays, finder = [], CutFinder()
            whole: Any = file  # the type of all plugins knows no mode
            for index, frame in enumerate(whole.iter(mode="RGB")):
                # A frame's delay is known once it is decoded.
                delays.append(file.metadata(index=index).get("duration", 0))
                finder.add(thumbnail(frame))
    except (OSError, ValueError, SyntaxError, EOFError):
        return None
    delays = [d if d >= _SHORTEST_DELAY else _USUAL_DELAY for d in map(round, delays)]
    pts = [0, *itertools.accumulate(delays)]
    timing = Timing(tuple(pts[:-1]), Fraction(1, 1000), pts[-1])
    return VideoInfo(path, timing, (height, width), cuts=finder.cuts(), animated=True)


def _animation_frames(info: VideoInfo, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    chosen = set(wanted)
    try:
        with iio.imopen(info.path, "r", plugin="pillow") as file:
            whole: Any = file  # the type of all plugins knows no mode
            for index, frame in enumerate(whole.iter(mode="RGBA")):
                if index in chosen:
                    yield index, over_white(frame)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"cannot read {info.path}: {first_line(error)}") from error


# Videos.


def _stream_info(path: Path) -> VideoInfo:
    shown: list[tuple[int | None, int]] = []  # (presentation time, duration) of each frame
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    interlaced, first = 0, None
    finder, reformatter = CutFinder(), VideoReformatter()
    with _open(path) as container:
        stream = _video_stream(container, path)
        decoder = _Decoder(container, stream)
        for frame in decoder:
            first = first or _Look.of(frame, stream)
            shown.append((frame.pts, frame.duration or 0))
            sizes[frame.width, frame.height] += 1
            interlaced += frame.interlaced_frame
            side = finder.SIDE
            small = reformatter.reformat(frame, side, side, "rgb24", interpolation="AREA")
            finder.add(small.to_ndarray())
        if first is None:
            reason = decoder.reason and f" that can be decoded: {decoder.reason}"
            raise DataError(f"cannot read {path}: it holds no frame{reason}")
        _check_sizes(path, sizes)
        notes = list(first.notes)
        if len(sizes) > 1:
            notes.append(f"its frames have {len(sizes)} sizes; all are read at that of the first")
        if interlaced:
            notes.append("it is interlaced: its fields are made full frames")
        if decoder.damaged:
            notes.append(f"{decoder.damaged} of its packets are damaged and left out")
        start = Fraction(container.start_time or 0, av.time_base)
        timing = _timing(shown, stream, start)
        sound = bool(container.streams.audio)
    return VideoInfo(
        path, timing, first.size, sound=sound, notes=tuple(notes), cuts=finder.cuts(),
        interlaced=bool(interlaced),
    )  # fmt: skip


def _stream_frames(info: VideoInfo, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    chosen, last = set(wanted), max(wanted, default=-1)
    with _open(info.path) as container, tempfile.TemporaryDirectory() as folder:
        stream = _video_stream(container, info.path)
        converter = _Converter(stream, info, Path(folder))
        decoded = enumerate(_Decoder(container, stream))
        # Fields are made frames with the help of the neighbours, so that all of them go through.
        frames = (
            (index, frame)
            for index, frame in itertools.takewhile(lambda item: item[0] <= last + 2, decoded)
            if info.interlaced or index in chosen
        )
        try:
            for index, frame in converter(frames):
                if index in chosen:
                    yield index, frame
        except FFmpegError as error:
            raise DataError(f"cannot read {info.path}: {error.strerror}") from error


def _open(path: Path) -> Any:
    try:
        # A playlist may name other files and addresses; a video is one file.
        return av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except FFmpegError as error:
        raise DataError(f"cannot read {path}: {_why_not(path, error)}") from error


def _why_not(path: Path, error: FFmpegError) -> str:
    if not isinstance(error, InvalidDataError):
        return error.strerror or first_line(error)
    with open(path, "rb") as file:
        start = file.read(8)
    if start[4:] in _MP4_BOXES:
        return (
            "the recording was not finished or the copy was cut short (its index, the moov atom, "
            "is missing): copy it again"
        )
    what = described(path)
    return f"it is {what}, not a video" if what else "it is not a video in a known format"


def _video_stream(container: Any, path: Path) -> Any:
    """The video that a file is about: no cover picture of a song."""
    found = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not found:
        if container.streams.audio:
            raise DataError(f"cannot read {path}: it holds sound, but no images")
        raise DataError(f"cannot read {path}: it holds no video")
    stream = found[0]
    if stream.codec_context is None:
        raise DataError(f"cannot read {path}: no decoder is known for its video")
    # Dolby Vision of profile 5 has colours of its own, and names no transfer that others could use.
    if stream.codec_tag in ("dvh1", "dvhe") and stream.color_trc not in (colour.HLG, colour.PQ):
        raise DataError(
            f"cannot read {path}: it is Dolby Vision without colours for other players: export it "
            "as HDR10, HLG or SDR"
        )
    return stream


class _Decoder:
    """The frames of a stream in order of time; what is damaged is left out and counted."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self.damaged, self.reason = 0, ""
        name = stream.codec_context.name
        self._codec: Any = stream.codec_context
        alpha = stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"
        if alpha and name in _ALPHA_DECODERS:
            self._codec = av.CodecContext.create(_ALPHA_DECODERS[name], "r")
        self._codec.thread_type = "AUTO"

    def __iter__(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                # The last packet is empty, and brings out what the decoder still holds.
                yield from self._codec.decode(packet if packet.size else None)
            except FFmpegError as error:
                self.damaged += 1
                self.reason = self.reason or (error.strerror or first_line(error))
                if packet is None or not packet.size:
                    return


@dataclasses.dataclass(frozen=True)
class _Look:
    """How the frames of a stream are to be shown.

    Attributes:
        size: (H, W) in square pixels, upright.
        scaled: (H, W) in square pixels, as stored.
        swap, left_right, top_bottom: what makes a frame upright: first axes exchanged, then flips.
        notes: what is worth saying.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]
    swap: bool
    left_right: bool
    top_bottom: bool
    notes: tuple[str, ...]

    @classmethod
    def of(cls, frame: Any, stream: Any) -> _Look:
        """From a decoded frame and its stream."""
        notes = []
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        aspect = as_fraction(aspect or 1)
        height, width = frame.height, frame.width
        scaled = (height, round(width * aspect)) if aspect >= 1 else (round(height / aspect), width)
        if scaled != (height, width):
            notes.append(
                f"its pixels are not square ({aspect.numerator}:{aspect.denominator}): "
                f"{width} x {height} are read as {scaled[1]} x {scaled[0]}"
            )
        if frame.color_trc in (colour.HLG, colour.PQ):
            name = "HLG" if frame.color_trc == colour.HLG else "PQ"
            notes.append(f"it is high dynamic range ({name}): read in an ordinary screen's colours")
        swap, left_right, top_bottom = _orientation(frame)
        size = scaled[::-1] if swap else scaled
        return cls(size, scaled, swap, left_right, top_bottom, tuple(notes))

    def upright(self, image: np.ndarray) -> np.ndarray:
        """An image [H, W, C] as it is stored, upright."""
        if self.swap:
            image = image.swapaxes(0, 1)
        image = image[:: -1 if self.top_bottom else 1, :: -1 if self.left_right else 1]
        return np.ascontiguousarray(image)


def _orientation(frame: Any) -> tuple[bool, bool, bool]:
    """Whether axes are exchanged, left and right, top and bottom, by the frame's display matrix."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    values = np.frombuffer(bytes(matrix), "<i4").reshape(3, 3)
    # A point (x, y) is shown at (a x + c y, b x + d y); y grows downwards.
    (a, b), (c, d) = values[:2, :2].tolist()
    if abs(b) > abs(a):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


class _Converter:
    """Decoded frames to arrays [H, W, 3] uint8 as a player shows them.

    Args:
        stream: where the frames come from.
        info: of the video.
        folder: for files that filters read.
    """

    def __init__(self, stream: Any, info: VideoInfo, folder: Path) -> None:
        self._stream, self._interlaced, self._folder = stream, info.interlaced, folder
        self._look: _Look | None = None
        self._graphs: dict[tuple[Any, ...], Graph] = {}

    def __call__(self, frames: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, np.ndarray]]:
        waiting: collections.deque[int] = collections.deque()
        graph = None
        for index, frame in frames:
            chosen = self._graph(frame)
            if graph is not None and graph is not chosen:
                yield from self._rest(graph, waiting)
            graph = chosen
            waiting.append(index)
            graph.push(frame)
            yield from self._pulled(graph, waiting)
        if graph is not None:
            yield from self._rest(graph, waiting)

    def _rest(
        self, graph: Graph, waiting: collections.deque[int]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """What a filter that looks ahead still holds; the graph is of no use afterwards."""
        if waiting:
            graph.push(None)
            yield from self._pulled(graph, waiting)
            self._graphs.clear()

    def _pulled(
        self, graph: Graph, waiting: collections.deque[int]
    ) -> Iterator[tuple[int, np.ndarray]]:
        while waiting:
            try:
                frame = graph.vpull()
            except (NotYetError, StreamEndError):
                return
            assert self._look is not None
            image = frame.to_ndarray()
            image = over_white(image) if image.shape[2] == 4 else image
            yield waiting.popleft(), self._look.upright(image)

    def _graph(self, frame: Any) -> Graph:
        """The filters for frames such as this one."""
        self._look = self._look or _Look.of(frame, self._stream)
        matrix, transfer = frame.colorspace, frame.color_trc
        key = (frame.width, frame.height, frame.format.name, matrix, transfer, frame.color_range)
        if key not in self._graphs:
            self._graphs[key] = self._new_graph(frame, self._look.scaled)
        return self._graphs[key]

    def _new_graph(self, frame: Any, scaled: tuple[int, int]) -> Graph:
        alpha = any(component.is_alpha for component in frame.format.components)
        wide = not alpha and (
            frame.color_trc in (colour.HLG, colour.PQ) or frame.color_primaries == _BT2020
        )
        graph = Graph()
        nodes = [
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format,
                time_base=self._stream.time_base,
            )
        ]  # fmt: skip
        if self._interlaced:
            nodes.append(graph.add("bwdif", "mode=send_frame:deint=interlaced"))
        scale = {"w": str(scaled[1]), "h": str(scaled[0]), "flags": _SCALER}
        if not frame.format.is_rgb:
            usual = "bt709" if frame.height > _HD_HEIGHT else "bt601"
            scale["in_color_matrix"] = _MATRICES.get(frame.colorspace, usual)
        nodes.append(graph.add("scale", **scale))
        if wide:
            nodes.append(graph.add("format", "rgb48le"))
            cube = self._folder / f"{frame.color_trc}.cube"
            cube.write_text(colour.cube_file(frame.color_trc))
            nodes.append(graph.add("lut3d", file=str(cube)))
        nodes.append(graph.add("format", "rgba" if alpha else "rgb24"))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph


def _check_sizes(path: Path, sizes: collections.Counter[tuple[int, int]]) -> None:
    """Refuse a change of shape; a change of resolution alone can be undone."""
    (width, height), *others = sizes
    for other_width, other_height in others:
        if abs(other_width * height / (other_height * width) - 1.0) > 0.05:
            raise DataError(
                f"{path}: its frames change from {width}x{height} to "
                f"{other_width}x{other_height}: cut it there first"
            )


def _timing(shown: Sequence[tuple[int | None, int]], stream: Any, start: Fraction) -> Timing:
    """Presentation times from the file's start.

    Containers that count in milliseconds round the times of a constant rate; these are made exact.
    """
    base = as_fraction(stream.time_base)
    named = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    rates = [as_fraction(rate) for rate in named if rate]
    rate = rates[0] if rates else None
    usual = max(round(1 / (rate or FOLDER_FPS) / base), 1)
    pts: list[int] = []
    for time, _ in shown:
        expected = pts[-1] + usual if pts else 0
        # A frame without a time, or with that of an earlier one, comes when it would be due.
        pts.append(expected if time is None or (pts and time <= pts[-1]) else time)
    first = max(pts[0] * base - start, Fraction(0))
    for guess in rates if len(pts) > 1 else rates[:1]:
        if all(abs(p - pts[0] - i / (guess * base)) <= 1 for i, p in enumerate(pts)):
            return Timing.constant(guess, len(pts), first=first)
    last = shown[-1][1] or (pts[-1] - pts[-2] if len(pts) > 1 else usual)
    offset = round(first / base) - pts[0]
    return Timing(tuple(p + offset for p in pts), base, pts[-1] + offset + last)
