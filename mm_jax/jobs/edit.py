"""mm_edit: subspaces applied to codes, as pictures, strips and clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mm_jax import io, media
from mm_jax.artifacts import Latents, Subspace
from mm_jax.editing import apply_edit
from mm_jax.jobs import pictures, reports
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
    for place, frames in _frames_of_each(gen, edited, todo, settings, progress, label):
        moved = frames[: settings.frames]
        _write(folder, files_of(latents.names[place], settings), moved, settings)
        if full is not None:
            full.add(place, moved, frames[-1])


def _frames_of_each(
    gen: Generator,
    edited: np.ndarray,
    places: Sequence[int],
    settings: EditSettings,
    progress: ProgressFn,
    label: str,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (place, frames [S, H, W, 3]) of codes [N, S, L, D], drawn in batches across codes."""
    count = edited.shape[1]
    # One key for all frames of a code: its noise stands still.
    keys = pictures.noise_keys_of(
        settings.noise_mode, settings.noise_seed, np.repeat(places, count).tolist()
    )
    flat = edited.reshape(-1, *edited.shape[2:])
    held: list[np.ndarray] = []
    done = 0
    for _, images in pictures.batches(
        gen,
        flat,
        batch=settings.batch,
        noise_mode=settings.noise_mode,
        noise_keys=keys,
        progress=progress,
        label=label,
    ):
        held.extend(images)
        while len(held) >= count:
            yield places[done], np.stack(held[:count])
            del held[:count]
            done += 1


def _write(
    folder: Path, files: dict[str, list[str]], frames: np.ndarray, settings: EditSettings
) -> None:
    """Write what is missing of one code's files."""

    def missing(kind: str) -> list[tuple[int, Path]]:
        paths = [folder / name for name in files.get(kind, [])]
        return [(i, path) for i, path in enumerate(paths) if not path.exists()]

    round_trip = frames[list(media.frame_sequence(len(frames)))]
    for _, path in missing("strip"):
        media.save_png(path, media.strip(frames[settings.strip_frames]))
    for index, path in missing("png"):
        media.save_png(path, frames[index])
    for _, path in missing("mp4"):
        media.save_mp4(path, round_trip, fps=settings.fps)
    for _, path in missing("gif"):
        media.save_gif(path, round_trip, fps=settings.fps)
    for _, path in missing("npy"):
        io.write_atomic(path, lambda file: np.save(file, frames))
