"""The latents of every frame of a video, in pieces: memory does not grow with the video's length.

A piece is a run of consecutive frames. Its latents are one file, so that an interrupted run resumes
with the next piece.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mm_jax import rendering
from mm_jax.artifacts import Latents, load_latents, save_latents
from mm_jax.encoders.encoder import Encoder
from mm_jax.inversion.invert import invert
from mm_jax.inversion.judge import InversionVerdict, judge_inversions, reader_for
from mm_jax.inversion.options import InvertOptions
from mm_jax.media.video_reading import VideoInfo
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.video.faces import VideoFace, crops
from mm_jax.video.smoothing import local_lines

__all__ = ["PIECE", "VideoLatents", "judge_frames", "piece_files"]

PIECE = 64
# Frames that are judged.
_JUDGED = 5


def piece_files(frames: int) -> list[str]:
    """Names of the files of the latents of so many frames."""
    return [f"codes/{first:06d}.npz" for first in range(0, frames, PIECE)]


class VideoLatents:
    """The latents of a video's frames, kept in a folder.

    Args:
        gen: the generator.
        encoder: guesses latents, or None.
        info: of the video.
        face: where its face is, in every frame.
        folder: holds the pieces.
        smoothing: standard deviation in seconds of the smoothing of latents when they are read.
    """

    def __init__(
        self,
        gen: Generator,
        encoder: Encoder | None,
        info: VideoInfo,
        face: VideoFace,
        folder: Path,
        *,
        smoothing: float,
    ) -> None:
        self._gen, self._encoder = gen, encoder
        self._info, self._face = info, face
        self._files = [folder / name for name in piece_files(len(face.frames))]
        self._smoothing = smoothing

    def find(self, options: InvertOptions, *, batch: int, progress: ProgressFn = silent) -> None:
        """Invert the frames of the pieces that are missing, each from its neighbour or a guess."""
        total = len(self._face.frames)
        missing = [i for i, file in enumerate(self._files) if not file.exists()]
        places = [p for i in missing for p in range(i * PIECE, min((i + 1) * PIECE, total))]
        stream = crops(self._info, self._face, size=self._gen.config.resolution, only=places)
        for i in missing:
            count = min(PIECE, total - i * PIECE)
            faces = np.stack([crop for _, _, crop in itertools.islice(stream, count)])
            start: str | np.ndarray = "encoder" if self._encoder is not None else "mean"
            if self._encoder is None and i > 0:
                start = np.asarray(load_latents(self._files[i - 1]).ws)[-1]
            found = invert(
                self._gen, faces, options=options, start=start, encoder=self._encoder,
                batch_size=min(batch, count),
            )  # fmt: skip
            save_latents(self._files[i], Latents(found.ws))
            progress("latents", min((i + 1) * PIECE, total), total)

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first frame, latents [n, L, D]), smooth over time, piece after piece."""
        for i in range(len(self._files)):
            around = [j for j in (i - 1, i, i + 1) if 0 <= j < len(self._files)]
            parts = [np.asarray(load_latents(self._files[j]).ws) for j in around]
            whole = np.concatenate(parts)
            before = len(parts[0]) if around[0] < i else 0
            count = len(parts[around.index(i)])
            times = (around[0] * PIECE + np.arange(len(whole))) / self._info.fps
            flat = local_lines(whole.reshape(len(whole), -1), times, self._smoothing)
            whole = flat.reshape(whole.shape).astype(np.float32)
            yield i * PIECE, whole[before : before + count]

    def some(self, maximum: int) -> np.ndarray:
        """At most so many latents [n, L, D], evenly over the video."""
        return self.at(_evenly(range(len(self._face.frames)), maximum))

    def at(self, places: Sequence[int]) -> np.ndarray:
        """The latents [n, L, D] of the frames at some places, which grow."""
        wanted = set(places)
        return np.stack(
            [w for first, ws in self.pieces() for i, w in enumerate(ws) if first + i in wanted]
        )


def _evenly(places: Sequence[int], maximum: int) -> list[int]:
    """At most so many of the places, from the first to the last."""
    count = min(maximum, len(places))
    return [places[i] for i in np.rint(np.linspace(0, len(places) - 1, count)).astype(int)]


def judge_frames(
    gen: Generator,
    info: VideoInfo,
    face: VideoFace,
    latents: VideoLatents,
    *,
    progress: ProgressFn = silent,
) -> InversionVerdict:
    """The verdict on a few frames with a face: are they rebuilt, and as the same person?"""
    places = _evenly(np.flatnonzero(face.found).tolist(), _JUDGED)
    size = gen.config.resolution
    wanted = np.stack([crop for _, _, crop in crops(info, face, size=size, only=places)])
    ws = latents.at(places)
    drawn = rendering.render_all(gen, ws, progress=progress, label="judged frames")
    judged = judge_inversions(gen, wanted, drawn, ws, reader=reader_for(gen))
    names = [f"frame {face.frames[place]}" for place in places]
    return InversionVerdict(dict(zip(names, judged, strict=True)))
