"""Edited faces pasted back into their images: stills, strips and videos of the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mm_jax import media
from mm_jax.alignment.faces import Aligned
from mm_jax.alignment.options import PasteOptions
from mm_jax.alignment.warp import paste_face
from mm_jax.editing.options import EditOptions
from mm_jax.io import PathLike
from mm_jax.media.background import Background, Frames, scratch
from mm_jax.progress import ProgressFn, silent
from mm_jax.video.flow import carried_from

__all__ = ["FullImages", "flows_of", "put_back"]

_VIDEO_SIDE, _STRIP_SIDE = 1920, 512  # pixels of the longer side, at most


class FullImages:
    """Takes the frames of one face after another and writes an image when all its faces are there.

    Of each image NAME there are NAME_full.png, the last frame in full size; NAME_full_strip.png;
    and for each format NAME_full.mp4, NAME_full.gif (up to 1920 pixels) and NAME_full/frame*.png
    (full size). Arrays are written of faces only.

    Args:
        faces: one for each latent, those of one image together.
        folder: where files go.
        options: what is rendered.
        paste: how faces are pasted.
    """

    def __init__(
        self,
        faces: Sequence[Aligned],
        folder: PathLike,
        options: EditOptions,
        paste: PasteOptions,
    ) -> None:
        self._faces = list(faces)
        self._folder = Path(folder)
        self._options = options
        self._paste = paste
        # Of each face: its frames, the face as rebuilt, and how frames are moved, if they are.
        self._held: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray | None]] = {}

    @property
    def names(self) -> list[str]:
        """Names of the images, each once."""
        return list(dict.fromkeys(face.image_name for face in self._faces))

    def files(self, name: str) -> list[str]:
        """Files of the image `name`."""
        files = [f"{name}_full.png", f"{name}_full_strip.png"]
        for kind in self._options.formats:
            if kind == "png":
                files += [f"{name}_full/frame{i:04d}.png" for i in range(self._options.frames)]
            elif kind != "npy":
                files.append(f"{name}_full.{kind}")
        return files

    def missing(self, place: int) -> bool:
        """Whether the image of the face `place` lacks a file."""
        files = self.files(self._faces[place].image_name)
        return not all((self._folder / file).exists() for file in files)

    @property
    def paste(self) -> PasteOptions:
        """How faces are pasted."""
        return self._paste

    def add(
        self,
        place: int,
        frames: np.ndarray,
        rebuilt: np.ndarray,
        *,
        progress: ProgressFn = silent,
    ) -> None:
        """Take the frames of a face, and write its image if that was the last of its faces.

        Args:
            place: the face's index.
            frames: [S, R, R, 3] float, edited.
            rebuilt: [R, R, 3] float, the face as the generator renders it without an edit.
            progress: called with the frames of the image.
        """
        if not self.missing(place):
            return
        self._held[place] = frames, rebuilt, flows_of(frames, rebuilt, self._paste)
        name = self._faces[place].image_name
        places = [i for i, face in enumerate(self._faces) if face.image_name == name]
        if all(i in self._held for i in places):
            self._write(name, places, progress)
            for i in places:
                del self._held[i]

    def _write(self, name: str, places: Sequence[int], progress: ProgressFn) -> None:
        image = self._faces[places[0]].whole_image()
        whole = media.to_uint8(image)  # [H, W, 3]
        # Only the window [h, w, 3] that holds all faces changes from frame to frame.
        top, left, bottom, right = _window([self._faces[i].quad for i in places], whole.shape)
        part = image[top:bottom, left:right]
        del image
        count = self._options.frames
        frames = Frames(
            scratch(self._folder, (count, *_at_most(whole, _VIDEO_SIDE).shape), np.uint8)
        )
        with Background() as background:
            videos = [self._folder / f"{name}_full.{kind}" for kind in ("mp4", "gif")]
            wanted = [p for p in videos if p.suffix[1:] in self._options.formats and not p.exists()]
            background.videos(wanted, frames, fps=self._options.fps)
            for index in range(count):
                frame = whole.copy()
                frame[top:bottom, left:right] = self._pasted(part, index, places, (left, top))
                if index == count - 1:
                    self._save(background, f"{name}_full.png", frame)
                if "png" in self._options.formats:
                    self._save(background, f"{name}_full/frame{index:04d}.png", frame)
                frames.add(_at_most(frame, _VIDEO_SIDE)[None])
                progress(f"whole image {name}", index + 1, count)
            chosen = [_at_most(frames[i], _STRIP_SIDE) for i in self._options.strip_frames]
            self._save(background, f"{name}_full_strip.png", media.strip(np.stack(chosen)))

    def _pasted(
        self, part: np.ndarray, index: int, places: Sequence[int], corner: tuple[int, int]
    ) -> np.ndarray:
        """A part of the image, its upper left at `corner`, with frame `index` of its faces."""
        for i in places:
            frames, rebuilt, flows = self._held[i]
            quad = self._faces[i].quad - np.array(corner)
            flow = None if flows is None else flows[index]
            part = put_back(part, frames[index], rebuilt, quad, self._paste, flow=flow)
        return media.to_uint8(part)

    def _save(self, background: Background, name: str, frame: np.ndarray) -> None:
        path = self._folder / name
        if not path.exists():
            background.png(path, frame)


def flows_of(frames: Any, rebuilt: Any, paste: PasteOptions) -> np.ndarray | None:
    """[S, F, F, 2] how edited faces [S, R, R, 3] move, for `paste_face`; None if not at all."""
    if paste.paste != "move":
        return None
    return carried_from(np.clip(frames, -1, 1), np.clip(rebuilt, -1, 1))


def put_back(
    image: Any,
    edited: Any,
    rebuilt: Any,
    quad: Any,
    paste: PasteOptions,
    *,
    flow: np.ndarray | None = None,
) -> np.ndarray:
    """The image [H, W, 3] with an edited face in it, float32 in [-1, 1].

    Args:
        image: [H, W, 3], float in [-1, 1] or uint8.
        edited: [R, R, 3] float, the edited face.
        rebuilt: [R, R, 3] float, the face as the generator renders it without an edit.
        quad: [4, 2] where the face is in the image.
        paste: how it is put back.
        flow: [F, F, 2] of `flows_of`, if it is known already.
    """
    edited, rebuilt = np.clip(edited, -1, 1), np.clip(rebuilt, -1, 1)
    if flow is None:
        flows = flows_of(edited[None], rebuilt, paste)
        flow = None if flows is None else flows[0]
    original = None if paste.paste == "replace" else rebuilt
    return paste_face(image, edited, quad, original=original, flow=flow, feather=paste.feather)


def _window(quads: Sequence[np.ndarray], shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the part of an image that holds all quads."""
    points = np.concatenate(list(quads))
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 2, [shape[1], shape[0]])
    return int(top), int(left), int(bottom), int(right)


def _at_most(image: np.ndarray, side: int) -> np.ndarray:
    """An image [H, W, 3] uint8 reduced to a longer side of at most `side` pixels."""
    longer = max(image.shape[:2])
    if longer <= side:
        return image
    size = [max(round(length * side / longer), 1) for length in image.shape[1::-1]]
    return np.asarray(Image.fromarray(image).resize((size[0], size[1]), Image.Resampling.LANCZOS))
