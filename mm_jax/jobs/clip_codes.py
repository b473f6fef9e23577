"""The codes of every frame of a clip, in pieces: memory is that of a piece, however long the clip.

A piece is some frames that follow each other. Its codes are one file, so that a run that was
stopped goes on with the next piece.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mm_jax.artifacts import Latents, load_latents, save_latents
from mm_jax.encoders.encoder import Encoder
from mm_jax.inversion.invert import invert
from mm_jax.jobs.clip_faces import ClipFace, crops
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.video.reading import VideoInfo
from mm_jax.video.smoothing import local_lines

__all__ = ["PIECE", "ClipCodes", "piece_files"]

PIECE = 64


def piece_files(frames: int) -> list[str]:
    """Names of the files of the codes of so many frames."""
    return [f"codes/{first:06d}.npz" for first in range(0, frames, PIECE)]


class ClipCodes:
    """The codes of a clip's frames, kept in a folder.

    Args:
        gen, encoder: what draws, and what guesses codes (or None).
        info: of the clip.
        face: where its face is, in every frame.
        folder: holds the pieces.
        smoothing: seconds over which codes are evened out when they are read.
    """

    def __init__(
        self,
        gen: Generator,
        encoder: Encoder | None,
        info: VideoInfo,
        face: ClipFace,
        folder: Path,
        *,
        smoothing: float,
    ) -> None:
        self._gen, self._encoder = gen, encoder
        self._info, self._face = info, face
        self._files = [folder / name for name in piece_files(len(face.frames))]
        self._smoothing = smoothing

    def find(
        self,
        *,
        steps: int,
        temporal_weight: float,
        batch: int,
        progress: ProgressFn = silent,
    ) -> None:
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
                self._gen, faces, start=start, encoder=self._encoder, steps=steps,
                temporal_weight=temporal_weight, batch_size=min(batch, count),
            )  # fmt: skip
            save_latents(self._files[i], Latents(found.ws))
            progress("codes", min((i + 1) * PIECE, total), total)

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first frame, codes [n, L, D]), smooth over time, piece after piece."""
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

    def some(self, most: int) -> np.ndarray:
        """At most so many codes [n, L, D], evenly over the clip."""
        total = len(self._face.frames)
        wanted = set(np.rint(np.linspace(0, total - 1, min(most, total))).astype(int).tolist())
        return np.stack(
            [w for first, ws in self.pieces() for i, w in enumerate(ws) if first + i in wanted]
        )
