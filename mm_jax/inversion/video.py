"""The latents of every frame of a video, in pieces: memory does not grow with the video's length.

A piece is a run of consecutive frames of one shot. Its latents are one file, so that an
interrupted run resumes with the next piece. Only frames with a face are inverted: the others, which
stay as they are, get the latent of the nearest frame of the piece that has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mm_jax import rendering
from mm_jax.artifacts import Latents, load_latents, save_latents
from mm_jax.encoders.encoder import Encoder
from mm_jax.inversion.invert import invert
from mm_jax.inversion.judge import InversionVerdict, Likeness, judge_inversions, reader_for
from mm_jax.inversion.options import InvertOptions
from mm_jax.latents import mean_latent
from mm_jax.media.videos import VideoInfo
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.video.faces import VideoFace, crops
from mm_jax.video.smoothing import local_lines

__all__ = ["PIECE", "VideoLatents", "judge_frames", "piece_files"]

PIECE = 64
# Frames that are judged.
_JUDGED = 5


def piece_files(info: VideoInfo) -> list[str]:
    """Names of the files of a video's latents."""
    return [f"codes/{piece[0]:06d}.npz" for piece in _pieces(info)]


def _pieces(info: VideoInfo) -> list[range]:
    """The frames of each piece."""
    return [
        range(first, min(first + PIECE, shot.stop))
        for shot in info.shots
        for first in range(shot.start, shot.stop, PIECE)
    ]


class VideoLatents:
    """The latents of a video's frames, kept in a folder.

    Args:
        gen: the generator.
        encoder: guesses latents, or None.
        info: of the video.
        face: where its face is, in every frame.
        folder: holds the pieces.
        smoothing: standard deviation in seconds of the smoothing of latents when they are read.

    Attributes:
        info, face: as given.
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
        self.info, self.face = info, face
        self._pieces = _pieces(info)
        self._files = [folder / name for name in piece_files(info)]
        self._smoothing = smoothing

    @property
    def missing(self) -> list[int]:
        """The pieces whose latents are not there yet."""
        return [i for i, file in enumerate(self._files) if not file.exists()]

    def known(self, options: InvertOptions, *, batch: int, progress: ProgressFn = silent) -> bool:
        """Whether the generator knows the face: the first frames with it are inverted and judged.

        Args:
            options: as for `find`.
            batch: frames that are inverted together, of which some are judged.
            progress: called with the steps.
        """
        first = next(p for p in self._pieces if self.face.found[p].any())
        places = [p for p in first if self.face.found[p]][:batch]
        size = self._gen.config.resolution
        wanted = np.stack(
            [crop for _, _, crop in crops(self.info, self.face, size=size, only=places)]
        )
        start = "mean" if self._encoder is None else "encoder"
        found = invert(
            self._gen, wanted, options=options, start=start, encoder=self._encoder,
            batch_size=len(places), progress=progress,
        )  # fmt: skip
        some = _evenly(range(len(places)), _JUDGED)
        judged = _judged(self._gen, wanted[some], np.asarray(found.ws)[some])
        # Where no face can be read, nothing tells who it is.
        unknown = [one for one in judged if one.face is not None and not one.known]
        return 2 * len(unknown) <= len(judged)

    def find(self, options: InvertOptions, *, batch: int, progress: ProgressFn = silent) -> None:
        """Invert the frames of the pieces that are missing, each from its neighbour or a guess."""
        total = self.info.frames
        missing = self.missing
        seen = {i: [p for p in self._pieces[i] if self.face.found[p]] for i in missing}
        places = [p for i in missing for p in seen[i]]
        stream = crops(self.info, self.face, size=self._gen.config.resolution, only=places)
        before: np.ndarray | None = None  # the last latent [L, D] of the piece before
        for i in missing:
            piece = self._pieces[i]

            def inner(label: str, done: int, steps: int, /, piece: range = piece) -> None:
                progress("latents", piece.start + len(piece) * done // max(steps, 1), total)

            if self._encoder is None and i > 0:
                before = np.asarray(load_latents(self._files[i - 1]).ws)[-1]
            if seen[i]:
                faces = np.stack([next(stream)[2] for _ in seen[i]])
                start: str | np.ndarray = "encoder" if self._encoder is not None else "mean"
                if before is not None:
                    start = before
                found = invert(
                    self._gen, faces, options=options, start=start, encoder=self._encoder,
                    batch_size=min(batch, len(faces)), progress=inner,
                )  # fmt: skip
                nearest = np.abs(np.subtract.outer(np.array(piece), seen[i])).argmin(axis=1)
                ws = np.asarray(found.ws)[nearest]
            else:
                # Nobody is there: as before, or as nobody in particular.
                rest = np.asarray(mean_latent(self._gen)) if before is None else before
                ws = np.broadcast_to(rest, (len(piece), *rest.shape[-2:])).astype(np.float32)
            save_latents(self._files[i], Latents(ws))
            progress("latents", piece.stop, total)

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first frame, latents [n, L, D]), smooth over time, piece after piece."""
        for i, piece in enumerate(self._pieces):
            around = [j for j in (i - 1, i, i + 1) if 0 <= j < len(self._files)]
            parts = [np.asarray(load_latents(self._files[j]).ws) for j in around]
            whole = np.concatenate(parts)
            first = self._pieces[around[0]].start
            # Times of the shots are far apart, so that each is smoothed by itself.
            times = self.face.times[first : first + len(whole)]
            flat = local_lines(whole.reshape(len(whole), -1), times, self._smoothing)
            whole = flat.reshape(whole.shape).astype(np.float32)
            yield piece.start, whole[piece.start - first : piece.stop - first]

    def some(self, maximum: int) -> np.ndarray:
        """At most so many latents [n, L, D], evenly over the video."""
        return self.at(_evenly(range(self.info.frames), maximum))

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


def _judged(gen: Generator, wanted: np.ndarray, ws: np.ndarray) -> list[Likeness]:
    """How like crops [n, R, R, 3] are to what is rendered for their latents [n, L, D]."""
    drawn = rendering.render_all(gen, ws)
    return judge_inversions(gen, wanted, drawn, ws, reader=reader_for(gen))


def judge_frames(
    gen: Generator, latents: VideoLatents, *, progress: ProgressFn = silent
) -> InversionVerdict:
    """The verdict on a few frames with a face: are they rebuilt, and as the same person?"""
    info, face = latents.info, latents.face
    places = _evenly(np.flatnonzero(face.found).tolist(), _JUDGED)
    size = gen.config.resolution
    wanted = np.stack([crop for _, _, crop in crops(info, face, size=size, only=places)])
    judged = _judged(gen, wanted, latents.at(places))
    progress("judging frames", len(places), len(places))
    names = [f"frame {face.frames[place]}" for place in places]
    return InversionVerdict(dict(zip(names, judged, strict=True)))
