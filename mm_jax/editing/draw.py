"""Edits rendered: for each latent a strip of images, videos, frames, an array.

Shapes: N latents, E subspaces, S strengths, T frames of a latent, L rows of W+, D latent width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm_jax import io, media, rendering
from mm_jax.artifacts import Latents, Subspace
from mm_jax.editing.affine import apply_edit
from mm_jax.editing.options import EditOptions
from mm_jax.editing.paste_back import FullImages
from mm_jax.media.background import Background, Frames, scratch
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator

__all__ = ["draw", "files_of"]


def files_of(names: Sequence[str], options: EditOptions) -> list[str]:
    """Names of the files that `draw` writes."""
    return [f for name in names for files in _files(name, options).values() for f in files]


def _files(name: str, options: EditOptions) -> dict[str, list[str]]:
    """Files of one latent, by format; its strip is one too."""
    files = {"strip": [f"{name}_strip.png"]}
    for suffix in options.formats:
        if suffix == "png":
            files[suffix] = [f"{name}/frame{i:04d}.png" for i in range(options.frames)]
        else:
            files[suffix] = [f"{name}.{suffix}"]
    return files


def draw(
    gen: Generator,
    latents: Latents,
    subspaces: Sequence[Subspace],
    folder: Path,
    options: EditOptions,
    *,
    full: FullImages | None = None,
    progress: ProgressFn = silent,
) -> None:
    """Write the strips and videos that `folder` lacks, one latent after another.

    Args:
        gen: the generator.
        latents: [N, L, D] with names.
        subspaces: E of them; their edits add up.
        folder: where files go.
        options: what is rendered.
        full: the images that the faces are pasted back into, if there are any.
        progress: called with the frames rendered.

    Raises:
        DataError: latents, subspaces and generator of different shapes.
        UsageError: strengths or layers that do not fit.
    """
    assert latents.names is not None
    todo = [
        i
        for i, name in enumerate(latents.names)
        if not all((folder / file).exists() for file in files_of([name], options))
        or (full is not None and full.missing(i))
    ]
    if not todo:
        return
    ws = np.asarray(latents.ws)[todo]  # [n, L, D]
    edited = np.asarray(
        apply_edit(ws, subspaces, np.asarray(options.strengths), layers=options.layers)
    )  # [n, S, L, D]
    if full is not None:
        # The face as it is without an edit, behind the edited ones: [n, S + 1, L, D].
        edited = np.concatenate([edited, ws[:, None]], axis=1)
    count = edited.shape[1]
    # [n T] keys, T = count; all frames of a latent have one key, so its noise stands still.
    keys = rendering.noise_keys(
        options.noise_mode, options.noise_seed, np.repeat(todo, count).tolist()
    )
    as_bytes = full is None and "npy" not in options.formats
    shape = (count, gen.config.resolution, gen.config.resolution, 3)
    # All frames of all latents are one stream [n T, L, D], cut into steps of the batch size.
    steps = rendering.render_batches(
        gen,
        edited.reshape(-1, *edited.shape[2:]),
        batch=options.batch,
        noise_mode=options.noise_mode,
        noise_keys=keys,
        as_bytes=as_bytes,
        progress=progress,
        label="frames",
    )
    with Background() as background:
        files: _LatentFiles | None = None
        for indices, images in steps:
            # indices [b], images [b, R, R, 3]. A step may end one latent and begin others: it is
            # cut where the latent changes.
            cuts = np.flatnonzero(np.diff(indices // count)) + 1
            for own, frames in zip(np.split(indices, cuts), np.split(images, cuts), strict=True):
                place, frame = divmod(int(own[0]), count)  # latent, and its frame in [0, T)
                if frame == 0:
                    names = _files(latents.names[todo[place]], options)
                    files = _LatentFiles(
                        folder, names, options, background, shape=shape, as_bytes=as_bytes
                    )
                assert files is not None  # as every latent begins with its first frame
                files.add(frame, frames)
                if frame + len(own) == count:
                    files.finish()
                    if full is not None:
                        assert files.floats is not None
                        # [S, R, R, 3] edited, and behind them the face without an edit.
                        moved, rebuilt = files.floats[:-1], files.floats[-1]
                        full.add(todo[place], moved, rebuilt, progress=progress)


class _LatentFiles:
    """Writes what is missing of one latent's files, as its frames come.

    Attributes:
        floats: [T, H, W, 3] float32 of all frames, or None where bytes will do.
    """

    def __init__(
        self,
        folder: Path,
        files: dict[str, list[str]],
        options: EditOptions,
        background: Background,
        *,
        shape: tuple[int, ...],
        as_bytes: bool,
    ) -> None:
        self._missing = {
            suffix: {i: folder / n for i, n in enumerate(names) if not (folder / n).exists()}
            for suffix, names in files.items()
        }
        self._options, self._background = options, background
        self.floats = None if as_bytes else scratch(folder, shape, np.float32)
        self._frames = Frames(scratch(folder, (options.frames, *shape[1:]), np.uint8))
        videos = [path for kind in ("mp4", "gif") for path in self._missing.get(kind, {}).values()]
        background.videos(videos, self._frames, fps=options.fps)

    def add(self, first: int, images: np.ndarray) -> None:
        """Take frames [n, H, W, 3] from number `first` on."""
        if self.floats is not None:
            self.floats[first : first + len(images)] = images
        self._frames.add(media.to_uint8(images))
        for index in range(first, min(first + len(images), len(self._frames))):
            if path := self._missing.get("png", {}).get(index):
                self._background.png(path, self._frames[index])

    def finish(self) -> None:
        """Write what needs all frames; videos may still be in work."""
        for path in self._missing["strip"].values():
            chosen = [self._frames[i] for i in self._options.strip_frames]
            media.save_png(path, media.strip(np.stack(chosen)))
        for path in self._missing.get("npy", {}).values():
            assert self.floats is not None
            edited = self.floats[: self._options.frames]
            io.write_atomic(path, lambda file, array=edited: np.save(file, array))
