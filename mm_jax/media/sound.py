"""The sound of one video put beside the frames of another: as it is, early, late, short or long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
from av.error import FFmpegError, InvalidDataError

from mm_jax.errors import DataError, first_line
from mm_jax.io import PathLike
from mm_jax.media.timing import as_fraction

__all__ = ["Sound"]

# What every player of mp4 plays is copied, anything else is encoded anew.
_COPIED = ("aac", "mp3")


class Sound:
    """The first sound track of a file, packet by packet for an mp4.

        with Sound(source, output) as sound:
            sound.until(seconds)
            sound.rest()

    Args:
        source: a file with a sound track.
        output: the open mp4; it gets one more stream.

    Raises:
        DataError: the sound can neither be copied nor decoded.
    """

    def __init__(self, source: PathLike, output: Any) -> None:
        self._path, self._output = Path(source), output
        try:
            self._input: Any = av.open(f"file:{source}", options={"protocol_whitelist": "file"})
        except FFmpegError as error:
            raise self._failed(error) from error
        with contextlib.ExitStack() as stack:
            stack.callback(self._input.close)
            self._stream = self._input.streams.audio[0]
            self._start = Fraction(self._input.start_time or 0, av.time_base)
            codec = self._stream.codec_context
            if codec is None:
                raise DataError(
                    f"the sound of {source} cannot be kept, no decoder is known for it: make a "
                    f"silent copy first (ffmpeg -i {self._path.name} -an -c copy silent.mp4)"
                )
            if codec.name in _COPIED:
                self._target = output.add_stream_from_template(self._stream)
                packets = self._copied()
            else:
                self._target = output.add_stream("aac", rate=_aac_rate(codec.sample_rate))
                self._target.codec_context.layout = codec.layout
                packets = self._encoded()
            self._packets = packets
            self._next = self._take()
            stack.pop_all()

    def until(self, seconds: float | Fraction) -> None:
        """Write what is heard up to a time."""
        while self._next is not None and _time_of(self._next) <= seconds:
            self._output.mux(self._next)
            self._next = self._take()

    def rest(self) -> None:
        """Write what is left."""
        while self._next is not None:
            self._output.mux(self._next)
            self._next = self._take()

    def _take(self) -> Any:
        try:
            return next(self._packets, None)
        except FFmpegError as error:
            raise self._failed(error) from error

    def _failed(self, error: FFmpegError) -> DataError:
        return DataError(
            f"cannot read the sound of {self._path}: {error.strerror or first_line(error)}"
        )

    def _copied(self) -> Iterator[Any]:
        shift = round(self._start / as_fraction(self._stream.time_base))
        last = None
        for packet in self._input.demux(self._stream):
            if packet.pts is None or packet.dts is None:
                continue
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            # Streams that were joined may step back in time, which an mp4 cannot.
            if last is not None and packet.dts <= last:
                continue
            last = packet.dts
            packet.stream = self._target
            yield packet

    def _encoded(self) -> Iterator[Any]:
        for packet in self._input.demux(self._stream):
            try:
                frames = packet.decode()
            except InvalidDataError:
                continue  # as players do: a damaged packet is silence
            for frame in frames:
                if frame.pts is not None:
                    frame.pts -= round(self._start / as_fraction(frame.time_base))
                yield from self._target.encode(frame)
        yield from self._target.encode(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._input.close()


def _time_of(packet: Any) -> Fraction:
    return packet.pts * as_fraction(packet.time_base)


def _aac_rate(rate: int) -> int:
    """The sample rate of AAC that is nearest."""
    known = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
    return min(known, key=lambda one: abs(one - rate))
