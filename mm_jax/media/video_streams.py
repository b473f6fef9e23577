"""Streams of video files, decoded by PyAV: what they hold, and their frames."""

from __future__ import annotations

import collections
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError
from av.video.reformatter import VideoReformatter

from mm_jax.errors import DataError, first_line
from mm_jax.kinds import described
from mm_jax.media import colour
from mm_jax.media.cuts import CutFinder
from mm_jax.media.frame_conversion import FrameConverter, Look
from mm_jax.media.timing import Timing, as_fraction
from mm_jax.media.videos import FOLDER_FPS, VideoInfo

__all__ = ["stream_frames", "stream_info"]

# Only these decoders of VP8 and VP9 know transparency.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# The first boxes of mp4 and mov files.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")


def stream_info(path: Path) -> VideoInfo:
    """What a video file holds; every frame is decoded once.

    Raises:
        DataError: it is no video, or holds no frame that can be decoded.
    """
    shown: list[tuple[int | None, int]] = []  # (presentation time, duration) of each frame
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    interlaced, first = 0, None
    finder, reformatter = CutFinder(), VideoReformatter()
    with _open(path) as container:
        stream = _video_stream(container, path)
        decoder = _Decoder(container, stream)
        for frame in decoder:
            first = first or Look.of(frame, stream)
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


def stream_frames(info: VideoInfo, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, frame [H, W, 3] uint8) for the wanted frames, in growing order.

    Raises:
        DataError: it cannot be decoded.
    """
    chosen, last = set(wanted), max(wanted, default=-1)
    with _open(info.path) as container, tempfile.TemporaryDirectory() as folder:
        stream = _video_stream(container, info.path)
        converter = FrameConverter(stream, info, Path(folder))
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
    """The video that a file is about: no cover image of a song."""
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
