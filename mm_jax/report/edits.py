"""The reports on edited latents and images, and on an edited video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mm_jax.artifacts import Subspace
from mm_jax.editing.options import EditOptions, strengths_text
from mm_jax.editing.verdict import EditVerdict
from mm_jax.editing.video_folder import VideoVerdict
from mm_jax.inversion.judge import InversionVerdict
from mm_jax.media.videos import VideoInfo
from mm_jax.report import Banner, Figure, Section, Video, write_report
from mm_jax.report.items import Item
from mm_jax.report.parts import REPORT, live_section, settings_section, strength_labels
from mm_jax.runs import RunFolder
from mm_jax.words import counted

__all__ = ["edit_items", "motion_names", "write_edit_report", "write_video_report"]


def motion_names(subspaces: Sequence[Subspace]) -> list[str]:
    """What reports call subspaces: the prompts that they were found from."""
    return [str(one.meta.get("template", "a subspace without prompt")) for one in subspaces]


def write_edit_report(
    run: RunFolder,
    names: Sequence[str],
    motions: Sequence[str],
    options: EditOptions,
    *,
    generator: str,
    full: Sequence[str] = (),
    images: Sequence[str] = (),
    inverted: InversionVerdict | None = None,
    verdict: EditVerdict | None = None,
    live: str = "",
) -> None:
    """Write report.html on edited latents, and on the images that they were put back into.

    Args:
        run: the open folder, which holds what `mm_jax.editing.draw.draw` writes.
        names: of the latents.
        motions: E names of what they were moved along.
        options: of the edit.
        generator: name of the generator.
        full: names of the images that faces were put back into.
        images: further images of the folder.
        inverted: the verdict on the latents, if they were found for images.
        verdict: on the edits, if they were judged.
        live: markup of faces that the reader moves.
    """
    if not run.missing([REPORT]):
        return
    ranges = [strengths_text(row) for row in options.strengths]
    moved = "; ".join(f"{m!r}, {r}" for m, r in zip(motions, ranges, strict=True))
    labels = strength_labels(options.strengths, options.strip_frames)
    faces, whole = (
        [
            item
            for name in some
            for item in edit_items(run.path, name, options.formats, caption, frames=frames)
        ]
        for some, caption, frames in (
            (names, "by growing strength", labels),
            # Whole images are not square, so their strips stay strips.
            ([f"{name}_full" for name in full], "put back", ()),
        )
    )
    whole += [Figure(run.file(file), title=Path(file).stem) for file in images]
    metrics, banner = {"faces": len(names), "frames": options.frames}, None
    if verdict is not None:
        lines = [*([] if inverted is None else [inverted.line()]), verdict.line()]
        good = verdict.usable == len(names) and (inverted is None or inverted.good)
        metrics["as asked"], banner = verdict.usable, Banner("\n".join(lines), good=good)
    write_report(
        run.path,
        "Edited faces",
        [
            *live_section(live),
            *([Section("Images", whole)] if whole else []),
            Section("Faces", faces if verdict is None else [*faces, verdict.table()]),
            settings_section(run.command, run.settings),
        ],
        subtitle=f"{moved}, in {generator}",
        metrics=metrics,
        banner=banner,
        embed=False,
    )


def edit_items(
    folder: Path, name: str, formats: Sequence[str], caption: str, *, frames: Sequence[str] = ()
) -> list[Item]:
    """The report's items on one edited latent: its strip and, if there is one, its video.

    Args:
        folder: of the files.
        name: of the latent.
        formats: that were written.
        caption: of the strip.
        frames: labels of the strip's frames, if they are square.
    """
    items: list[Item] = [
        Figure(folder / f"{name}_strip.png", caption=caption, title=name, frames=frames)
    ]
    if "mp4" in formats:
        items.append(Video(folder / f"{name}.mp4", caption="video", title=name, wide=False))
    elif "gif" in formats:
        items.append(Figure(folder / f"{name}.gif", caption="video", title=name, wide=False))
    return items


def write_video_report(
    run: RunFolder, info: VideoInfo, options: EditOptions, *, words: str, verdict: VideoVerdict
) -> None:
    """Write report.html on an edited video.

    Args:
        run: the open folder, which holds what `mm_jax.editing.video.draw_video` writes.
        info: of the video.
        options: of the edit.
        words: what was done to it.
        verdict: on some of its frames.
    """
    if not run.missing([REPORT]):
        return
    name = info.path.stem
    caption = "frames before, and below after"
    items: list[Item] = [Figure(run.file(f"{name}_strip.png"), caption=caption, title=name)]
    if "mp4" in options.formats:
        items.append(Video(run.file(f"{name}_edited.mp4")))
    elif "gif" in options.formats:
        items.append(Figure(run.file(f"{name}_edited.gif"), wide=False))
    write_report(
        run.path,
        "Edited video",
        [
            Section("Video", [*items, verdict.edited.table()]),
            settings_section(run.command, run.settings),
        ],
        subtitle=f"{info.path.name}: {words}",
        metrics={"frames": info.frames, "frames per second": round(float(info.fps), 3)},
        banner=Banner(
            f"Of {counted(len(verdict.edited.faces), 'frame')} that were judged: {verdict.line()}",
            good=verdict.good,
        ),
        embed=False,
    )
