"""mm_edit: subspaces applied to codes, as pictures, strips and clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm_jax import io, media
from mm_jax.artifacts import Latents, Subspace
from mm_jax.editing import apply_edit
from mm_jax.jobs import pictures, reports
from mm_jax.jobs.background import Background, Frames, scratch
from mm_jax.jobs.full_pictures import FullPictures
from mm_jax.jobs.settings import EditSettings
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Section, write_report
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator

__all__ = ["draw", "drawn", "edit", "files_of", "outputs"]


def files_of(name: str, settings: EditSettings) -> dict[str, list[str]]:
    """Files of one code, by kind."""
    files = {"strip": [f"{name}_strip.png"]}
    for kind in settings.formats:
        if kind == "png":
            files[kind] = [f"{name}/frame{i:04d}.png" for i in range(settings.frames)]
        else:
            files[kind] = [f"{name}.{kind}"]
    return files


def outputs(
    names: Sequence[str], settings: EditSettings, full: FullPictures | None = None
) -> list[str]:
    """Names of the files that `edit` writes."""
    whole = [] if full is None else [file for name in full.names for file in full.files(name)]
    return [*drawn(names, settings), *whole, reports.REPORT]


def drawn(names: Sequence[str], settings: EditSettings) -> list[str]:
    """Names of the files that `draw` writes."""
    return [f for name in names for files in files_of(name, settings).values() for f in files]


def edit(
    gen: Generator,
    latents: Latents,
    subspaces: Sequence[Subspace],
    run: RunFolder,
    settings: EditSettings,
    *,
    full: FullPictures | None = None,
    progress: ProgressFn = silent,
) -> None:
    """Draw the edits and report on them; what the folder has is left as it is.

    Args:
        gen, latents, subspaces, settings, full, progress: as in `draw`.
        run: the open folder.
    """
    draw(gen, latents, subspaces, run.path, settings, full=full, progress=progress)
    if not run.missing([reports.REPORT]):
        return
    assert latents.names is not None
    prompts = [str(s.meta.get("template", "a subspace without prompt")) for s in subspaces]
    ranges = [f"{min(row):g} to {max(row):g}" for row in settings.strengths]
    items = [
        item
        for name in latents.names
        for item in reports.edit_items(run.path, name, settings.formats, "by growing strength")
    ]
    whole = [
        item
        for name in (full.names if full else ())
        for item in reports.edit_items(run.path, f"{name}_full", settings.formats, "put back")
    ]
    moved = "; ".join(f"{p!r}, strength {r}" for p, r in zip(prompts, ranges, strict=True))
    write_report(
        run.path,
        "Edited faces",
        [
            *([Section("Pictures", whole)] if whole else []),
            Section("Faces", items),
            reports.settings_section(run.command, run.settings),
        ],
        subtitle=f"{moved}, in {gen.name}",
        facts={"faces": len(latents.names), "frames": settings.frames},
        embed=False,
    )


def draw(
    gen: Generator,
    latents: Latents,
    subspaces: Sequence[Subspace],
    folder: Path,
    settings: EditSettings,
    *,
    full: FullPictures | None = None,
    progress: ProgressFn = silent,
    label: str = "frames",
) -> None:
    """Write the strips and clips that `folder` lacks, one code after another.

    Args:
        gen: the generator.
        latents: codes [N, L, D] with names.
        subspaces: E of them; their edits add up.
        folder: where files go.
        settings: what is drawn.
        full: the pictures that the codes' faces go back into, if there are any.
        progress: told of the frames drawn.
        label: what progress calls the work.

    Raises:
        DataError: codes, subspaces and generator of different shapes.
        UsageError: strengths or layers that do not fit.
    """
    assert latents.names is not None
    todo = [
        i
        for i, name in enumerate(latents.names)
        if not all((folder / file).exists() for file in drawn([name], settings))
        or (full is not None and full.missing(i))
    ]
    if not todo:
        return
    codes = np.asarray(latents.ws)[todo]
    edited = np.asarray(
        apply_edit(codes, subspaces, np.asarray(settings.strengths), layers=settings.layers)
    )
    if full is not None:
        # The face as it is without an edit, behind the edited ones.
        edited = np.concatenate([edited, codes[:, None]], axis=1)
    count = edited.shape[1]
    # One key for all frames of a code: its noise stands still.
    keys = pictures.noise_keys_of(
        settings.noise_mode, settings.noise_seed, np.repeat(todo, count).tolist()
    )
    as_bytes = full is None and "npy" not in settings.formats
    shape = (count, gen.config.resolution, gen.config.resolution, 3)
    with Background() as background:
        work: _Code | None = None
        for indices, images in pictures.batches(
            gen,
            edited.reshape(-1, *edited.shape[2:]),
            batch=settings.batch,
            noise_mode=settings.noise_mode,
            noise_keys=keys,
            as_bytes=as_bytes,
            progress=progress,
            label=label,
        ):
            # A step may end one code and begin others.
            cuts = np.flatnonzero(np.diff(indices // count)) + 1
            for own, pieces in zip(np.split(indices, cuts), np.split(images, cuts), strict=True):
                code, frame = divmod(int(own[0]), count)
                if frame == 0:
                    files = files_of(latents.names[todo[code]], settings)
                    work = _Code(
                        folder, files, settings, background, shape=shape, as_bytes=as_bytes
                    )
                assert work is not None  # as every code begins with its first frame
                work.add(frame, pieces)
                if frame + len(own) == count:
                    work.finish()
                    if full is not None:
                        assert work.floats is not None
                        full.add(todo[code], work.floats[:-1], work.floats[-1])


class _Code:
    """Writes what is missing of one code's files, as its frames come.

    Attributes:
        floats: [T, H, W, 3] float32 of all frames, or None where bytes will do.
    """

    def __init__(
        self,
        folder: Path,
        files: dict[str, list[str]],
        settings: EditSettings,
        background: Background,
        *,
        shape: tuple[int, ...],
        as_bytes: bool,
    ) -> None:
        self._missing = {
            kind: {i: folder / n for i, n in enumerate(names) if not (folder / n).exists()}
            for kind, names in files.items()
        }
        self._settings, self._background = settings, background
        self.floats = None if as_bytes else scratch(folder, shape, np.float32)
        self._frames = Frames(scratch(folder, (settings.frames, *shape[1:]), np.uint8))
        clips = [path for kind in ("mp4", "gif") for path in self._missing.get(kind, {}).values()]
        background.clips(clips, self._frames, fps=settings.fps)

    def add(self, first: int, images: np.ndarray) -> None:
        """Take frames [n, H, W, 3] from number `first` on."""
        if self.floats is not None:
            self.floats[first : first + len(images)] = images
        self._frames.add(media.to_uint8(images))
        for index in range(first, min(first + len(images), len(self._frames))):
            if path := self._missing.get("png", {}).get(index):
                self._background.png(path, self._frames[index])

    def finish(self) -> None:
        """Write what wants all frames; clips may still be in work."""
        for path in self._missing["strip"].values():
            chosen = [self._frames[i] for i in self._settings.strip_frames]
            media.save_png(path, media.strip(np.stack(chosen)))
        for path in self._missing.get("npy", {}).values():
            assert self.floats is not None
            edited = self.floats[: self._settings.frames]
            io.write_atomic(path, lambda file, array=edited: np.save(file, array))
