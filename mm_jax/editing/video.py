"""A video in, the same video with a micromotion, out.

The video is read three times: for where the face is, for the latents of its frames, and to render.
Only the latents are kept, and those in files. Shapes: T frames, n frames of a piece, E subspaces,
K directions, L rows of W+, D latent width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mm_jax import media, rendering
from mm_jax.alignment.faces import say
from mm_jax.alignment.options import PasteOptions
from mm_jax.artifacts import Anchors, Subspace
from mm_jax.editing.affine import apply_edit
from mm_jax.editing.options import EditOptions, strengths_text
from mm_jax.editing.paste_back import put_back
from mm_jax.errors import UsageError
from mm_jax.inversion.video import VideoLatents
from mm_jax.media.video_reading import read_frames
from mm_jax.media.video_writing import check_encoder, padding_note, video_writer
from mm_jax.media.videos import VideoInfo
from mm_jax.progress import ProgressFn
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.decompose import extract_subspace
from mm_jax.video.editing import over_time, own_motion

__all__ = ["FORMATS", "VideoEdit", "check_formats", "draw_video", "files_of"]

FORMATS = ("mp4", "gif", "png")
# Latents from which a video's own direction is taken, at most.
_OWN_LATENTS = 256
# Pixels of the longer side of a frame in the strip.
_STRIP_SIDE = 256


def files_of(name: str, formats: Sequence[str], frames: int) -> list[str]:
    """Names of the files that `draw_video` writes of a video of so many frames."""
    files = [f"{name}_strip.png"]
    for suffix in formats:
        if suffix == "png":
            files += [f"{name}/frame{i:06d}.png" for i in range(frames)]
        else:
            files.append(f"{name}_edited.{suffix}")
    return files


def check_formats(
    info: VideoInfo, formats: Sequence[str], *, tell: Callable[[str], None] = say
) -> None:
    """See that the results of a video can be written, and tell what reading and writing change.

    Args:
        info: of the video.
        formats: of the results.
        tell: is given each line.

    Raises:
        UsageError: a format that videos are not written in.
        DataError: an encoder is missing or refuses the size, or the sound cannot be kept.
    """
    if not set(formats) <= set(FORMATS):
        known = ", ".join(FORMATS)
        raise UsageError(f"--format={','.join(formats)}: videos are written as {known}")
    notes = list(info.notes)
    if "mp4" in formats:
        check_encoder(f"{info.path.stem}_edited.mp4", info.size, sound=_sound(info))
        notes += filter(None, [padding_note(info.size)])
    if "gif" in formats:
        check_encoder(f"{info.path.stem}_edited.gif", info.size)
    for note in notes:
        tell(f"{info.path}: {note}")


def _sound(info: VideoInfo) -> Path | None:
    return info.path if info.sound else None


class VideoEdit:
    """What is added to the latents of a piece, and how a report says it.

    Args:
        latents: of the video.
        subspaces: E of them; their edits add up.
        strengths: [E][S] keyframes over the video.
        amplify: scales the video's own motion; 1 leaves it.
        layers: rows of W+ that may change; None for all.

    Attributes:
        subspaces: as given.
        strengths: [E, T] of each subspace in every frame.
        text: what is done, in words.
    """

    def __init__(
        self,
        latents: VideoLatents,
        subspaces: Sequence[Subspace],
        strengths: Sequence[Sequence[float]],
        amplify: float,
        layers: Sequence[int] | None,
    ) -> None:
        self.subspaces, self._layers, self._amplify = list(subspaces), layers, amplify
        rows = strengths if subspaces else []
        self.strengths = over_time(rows, latents.info.frames)
        words = []
        # A video whose own motion is amplified need not be moved along the subspaces as well.
        if subspaces and (amplify == 1 or np.any(strengths)):
            words += [strengths_text(row) for row in strengths]
        if amplify != 1:
            some = latents.some(_OWN_LATENTS)
            self._mean = some.mean(axis=0)
            self._basis = self._span(some)
            words.append(f"its own motion {amplify:g} times")
        self.text = ", ".join(words)

    def _span(self, some: np.ndarray) -> np.ndarray:
        """[K, L, D]: the subspaces' first directions, or else the video's own."""
        directions = [np.asarray(s.direction) for s in self.subspaces]
        if not directions:
            times = np.linspace(0.0, 1.0, len(some)).astype(np.float32)
            own = Anchors(some, self._mean, times, {"source": "video"})
            directions = [np.asarray(extract_subspace(own, rank=1).basis)[0]]
        flat = np.stack(directions).reshape(len(directions), -1)  # [K, L D]
        basis = np.linalg.svd(flat, full_matrices=False)[2].reshape(-1, *directions[0].shape)
        if self._layers is not None:
            basis = basis * np.isin(np.arange(basis.shape[1]), self._layers)[None, :, None]
        return basis

    def __call__(self, first: int, ws: np.ndarray) -> np.ndarray:
        """Edited latents of a piece [n, L, D] that begins at frame `first`."""
        edited = ws
        if self.subspaces:
            amounts = self.strengths[:, first : first + len(ws)]  # [E, n]
            # An edit does not depend on the latent: that of zeros is what is added to any.
            zero = np.zeros((1, *ws.shape[1:]), np.float32)
            added = apply_edit(zero, self.subspaces, amounts, layers=self._layers)  # [1, n, L, D]
            edited = edited + np.asarray(added)[0]
        if self._amplify != 1:
            edited = edited + (self._amplify - 1) * own_motion(ws, self._mean, self._basis)
        return edited

    def beside(self, first: int, ws: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Each latent of a piece [n, L, D], followed by its edited one: [2n, L, D].

        Args:
            first: the frame that the piece begins at.
            ws: its latents.
            weight: [n] in [0, 1], how much of the edit each frame gets.
        """
        edited = ws + weight[:, None, None] * (self(first, ws) - ws)
        return np.stack([ws, edited], axis=1).reshape(-1, *ws.shape[1:])


def draw_video(
    gen: Generator,
    latents: VideoLatents,
    edit: VideoEdit,
    weights: np.ndarray,
    run: RunFolder,
    *,
    options: EditOptions,
    paste: PasteOptions,
    progress: ProgressFn,
) -> None:
    """Write the edited video in all formats, and a strip of frames before and after.

    Args:
        gen: the generator.
        latents: of the video.
        edit: what is added to them.
        weights: [T] in [0, 1], how much of the edit each frame gets.
        run: the open folder.
        options: what is written.
        paste: how faces are pasted.
        progress: called with the frames.
    """
    info, face = latents.info, latents.face
    name, shown_at = info.path.stem, _strip_frames(options.columns, info.frames)
    held: list[tuple[np.ndarray, np.ndarray]] = []
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                video_writer(
                    run.file(f"{name}_edited.{suffix}"), timing=info.timing,
                    sound=_sound(info),
                )
            )
            for suffix in options.formats
            if suffix != "png"
        ]  # fmt: skip
        rendered = _rendered(gen, latents, edit, weights, options.batch)
        for (_, frame), (place, faces) in zip(read_frames(info), rendered, strict=True):
            # frame [H, W, 3] uint8; faces are crops [R, R, 3] float in [-1, 1].
            if faces is None:
                result = frame
            else:
                rebuilt, edited = faces
                result = media.to_uint8(put_back(frame, edited, rebuilt, face.quads[place], paste))
            for add in writers:
                add(result)
            if "png" in options.formats:
                media.save_png(run.file(f"{name}/frame{place:06d}.png"), result)
            if place in shown_at:
                held.append((_small(frame), _small(result)))
            if place + 1 < info.frames:
                progress("frames", place + 1, info.frames)
    media.save_png(run.file(f"{name}_strip.png"), media.strip(np.stack(held, axis=1), gap=2))
    # Only now: encoders hold back frames until they are closed.
    progress("frames", info.frames, info.frames)


def _rendered(
    gen: Generator, latents: VideoLatents, edit: VideoEdit, weights: np.ndarray, batch: int | None
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray] | None]]:
    """Yield (frame, (reconstructed, edited) or None where nothing is to be changed)."""
    for first, ws in latents.pieces():
        weight = weights[first : first + len(ws)]  # [n]
        both = edit.beside(first, ws, weight)
        steps = rendering.render_batches(gen, both, batch=batch)
        images = (image for _, some in steps for image in some)
        for i in range(len(ws)):
            reconstructed, changed = (np.clip(next(images), -1, 1) for _ in range(2))
            yield first + i, (reconstructed, changed) if weight[i] > 0 else None


def _small(frame: np.ndarray) -> np.ndarray:
    """A frame for the strip, of at most `_STRIP_SIDE` pixels."""
    image = Image.fromarray(frame)
    image.thumbnail((_STRIP_SIDE, _STRIP_SIDE))
    return np.asarray(image)


def _strip_frames(columns: int, frames: int) -> set[int]:
    return set(np.rint(np.linspace(0, frames - 1, min(columns, frames))).astype(int).tolist())
