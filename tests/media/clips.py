"""Clips as other programs make them: of any codec, timing, shape of pixels, rotation and sound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


def flat(count: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Frames of one grey each, growing."""
    values = np.linspace(20, 230, count).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (count, height, width, 3))


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Any = 10,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    aspect: Fraction | None = None,
    rotation: tuple[float, bool] | None = None,
    sound: tuple[str, float, float] | None = None,
    options: dict[str, str] | None = None,
    context: dict[str, Any] | None = None,
) -> Path:
    """Write a clip with PyAV.

    Args:
        path: the file.
        frames: [H, W, 3] or [H, W, 4] uint8, or frames of PyAV.
        codec, pix_fmt, rate, options: of the encoder.
        pts: when frames are shown, in units of `time_base`.
        time_base: 1 / rate unless given.
        aspect: width of a pixel by its height.
        rotation: degrees, and whether left and right are exchanged.
        sound: codec, first second and seconds of a tone.
        context: further attributes of the encoder.
    """
    frames = list(frames)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, options=options or {})
        size = frames[0].shape if isinstance(frames[0], np.ndarray) else None
        stream.height, stream.width = size[:2] if size else (frames[0].height, frames[0].width)
        stream.pix_fmt = pix_fmt
        base = time_base or 1 / Fraction(rate)
        stream.time_base = stream.codec_context.time_base = base
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in (context or {}).items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        tone = None
        if sound is not None:
            tone = output.add_stream(sound[0], rate=48000 if sound[0] == "libopus" else 44100)
            tone.codec_context.layout = "mono"
        for i, frame in enumerate(frames):
            if isinstance(frame, np.ndarray):
                kind = "rgba" if frame.shape[2] == 4 else "rgb24"
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=kind)
            frame.pts, frame.time_base = (i if pts is None else pts[i]), base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None and tone is not None:
            _, first, seconds = sound
            rate = tone.codec_context.sample_rate
            wave = np.sin(np.arange(int(seconds * rate)) * 0.06) * 0.4
            heard = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
            heard.sample_rate, heard.pts, heard.time_base = (
                rate,
                int(first * rate),
                Fraction(1, rate),
            )
            resampler = av.AudioResampler(tone.codec_context.format, "mono", rate)
            for part in resampler.resample(heard):
                output.mux(tone.encode(part))
            output.mux(tone.encode(None))
    return path


def heard(path: Path) -> tuple[float, float, str]:
    """First second, last second and codec of what is louder than a tenth, in a file's sound."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        loud = []
        for frame in container.decode(stream):
            samples = frame.to_ndarray().astype(np.float32)
            samples = samples / (32768 if frame.format.name.startswith("s16") else 1)
            times = frame.time + np.arange(frame.samples) / frame.sample_rate
            loud.extend(times[np.abs(samples).reshape(-1, frame.samples).max(axis=0) > 0.1])
        return float(loud[0]), float(loud[-1]), stream.codec_context.name
