"""mm_edit --video: a clip in, the same clip with a micromotion, out.

The clip is gone through three times: for where the face is, for the codes of its frames, and to
draw. Nothing but the codes is kept, and those in files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mm_jax import cli, media
from mm_jax.alignment import framing_of, paste_face
from mm_jax.artifacts import Anchors, Subspace
from mm_jax.editing import apply_edit
from mm_jax.errors import UsageError
from mm_jax.jobs import pictures, reports
from mm_jax.jobs.align_settings import AlignSettings, PasteSettings
from mm_jax.jobs.clip_codes import ClipCodes, piece_files
from mm_jax.jobs.clip_faces import ClipFace, follow_face
from mm_jax.jobs.encoders import open_encoder
from mm_jax.jobs.extract_clips import input_files
from mm_jax.jobs.invert import batch_for
from mm_jax.jobs.invert_settings import InvertSettings
from mm_jax.jobs.settings import EditSettings, check_layers
from mm_jax.jobs.video_settings import ClipSettings, EditVideoSettings
from mm_jax.progress import ProgressFn, shown
from mm_jax.report import Figure, Section, Video, write_report
from mm_jax.report.page import Item
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.decompose import extract_subspace
from mm_jax.video.editing import fade_in_and_out, over_time, own_motion
from mm_jax.video.reading import VideoInfo, read_frames, video_info
from mm_jax.video.writing import clip_writer
from mm_jax.zoo import load_generator

__all__ = ["edit_clip"]

KINDS = ("mp4", "gif", "png")
# Codes from which a clip's own direction is taken.
OWN_CODES = 256
# Pixels of the longer side of a frame in the strip.
STRIP_SIDE = 256


def edit_clip(values: cli.Flags, settings: EditSettings) -> str:
    """Edit the clip of --video; returns what was done, "" for a --dry_run.

    Raises:
        UsageError: bad flags. DataError: bad files.
    """
    if values.latents or values.image:
        raise UsageError("give --video, --image or --latents, not two of them")
    kinds = settings.formats
    if not set(kinds) <= set(KINDS):
        raise UsageError(f"--format={','.join(kinds)}: clips are written as {', '.join(KINDS)}")
    align, clip = cli.read_settings(values, AlignSettings), cli.read_settings(values, ClipSettings)
    how, paste = cli.read_settings(values, InvertSettings), cli.read_settings(values, PasteSettings)
    moving = cli.read_settings(values, EditVideoSettings)
    if not values.subspace and moving.amplify == 1:
        raise UsageError("nothing to do: give --subspace, or --amplify for the clip's own motion")
    info = video_info(values.video)
    gen = load_generator(values.generator)
    check_layers(settings.layers, gen.config.num_ws)
    subspaces = cli.load_subspaces(values.subspace, gen)
    encoder = open_encoder(values.encoder, values.generator, gen)
    name = info.path.stem
    facts = cli.inputs(
        gen, *input_files([values.video]), align.landmarks, align.detector_model,
        *values.subspace, encoder=encoder,
    )  # fmt: skip
    drawn = _drawn(name, kinds, info.frames)
    outputs = [*piece_files(info.frames), *drawn, reports.REPORT]
    run = cli.open_run(values, "mm_edit", outputs, **facts)
    if run is None:
        return ""
    if not run.missing():
        return f"{info.frames} frames: {run.path}/report.html"
    batch = batch_for(gen, values.batch)
    with shown() as progress:
        face = follow_face(
            info, range(info.frames), align, clip, framing_of(gen), progress=progress
        )
        codes = ClipCodes(gen, encoder, info, face, run.path, smoothing=clip.smoothing)
        codes.find(
            steps=how.steps, temporal_weight=moving.temporal_weight, batch=batch, progress=progress
        )
        given = values["strength"].using_default_value
        strengths = [] if moving.amplify != 1 and given else settings.strengths
        edit = _Edit(codes, subspaces, strengths, moving.amplify, settings.layers, info.frames)
        shares = fade_in_and_out(
            face.found, np.arange(info.frames) / info.fps, width=clip.smoothing
        )
        if run.missing(drawn):
            _draw(gen, codes, edit, shares, info, face, run, settings, paste, batch, progress)
    _report(run, name, settings, info, edit.text)
    return f"{info.frames} frames, {int(face.found.sum())} with a face: {run.path}/report.html"


def _drawn(name: str, kinds: Sequence[str], frames: int) -> list[str]:
    files = [f"{name}_strip.png"]
    for kind in kinds:
        if kind == "png":
            files += [f"{name}/frame{i:06d}.png" for i in range(frames)]
        else:
            files.append(f"{name}_edited.{kind}")
    return files


class _Edit:
    """What is added to the codes of a piece, and how a report says it."""

    def __init__(
        self,
        codes: ClipCodes,
        subspaces: Sequence[Subspace],
        strengths: Sequence[Sequence[float]],
        amplify: float,
        layers: Sequence[int] | None,
        frames: int,
    ) -> None:
        self._subspaces, self._layers, self._amplify = list(subspaces), layers, amplify
        self._strengths = over_time(strengths, frames) if subspaces and len(strengths) else None
        said = []
        if self._strengths is not None:
            said += [f"strength {r[0]:g} to {r[-1]:g}" for r in self._strengths]
        if amplify != 1:
            some = codes.some(OWN_CODES)
            self._middle = some.mean(axis=0)
            self._basis = self._span(some)
            said.append(f"its own motion {amplify:g} times")
        self.text = ", ".join(said)

    def _span(self, some: np.ndarray) -> np.ndarray:
        """[K, L, D]: the subspaces' first directions, or else the clip's own."""
        directions = [np.asarray(s.direction) for s in self._subspaces]
        if not directions:
            times = np.linspace(0.0, 1.0, len(some)).astype(np.float32)
            own = Anchors(some, self._middle, times, {"source": "video"})
            directions = [np.asarray(extract_subspace(own, rank=1).basis)[0]]
        flat = np.stack(directions).reshape(len(directions), -1)
        basis = np.linalg.svd(flat, full_matrices=False)[2].reshape(-1, *directions[0].shape)
        if self._layers is not None:
            basis = basis * np.isin(np.arange(basis.shape[1]), self._layers)[None, :, None]
        return basis

    def __call__(self, first: int, ws: np.ndarray) -> np.ndarray:
        """Edited codes of a piece [n, L, D] that begins at frame `first`."""
        edited = ws
        if self._strengths is not None:
            amounts = self._strengths[:, first : first + len(ws)]
            # The edit of a code does not depend on it: that of a code of zeros is what is added.
            zero = np.zeros((1, *ws.shape[1:]), np.float32)
            edited = (
                edited
                + np.asarray(apply_edit(zero, self._subspaces, amounts, layers=self._layers))[0]
            )
        if self._amplify != 1:
            edited = edited + (self._amplify - 1) * own_motion(ws, self._middle, self._basis)
        return edited


def _draw(
    gen: Generator,
    codes: ClipCodes,
    edit: _Edit,
    shares: np.ndarray,
    info: VideoInfo,
    face: ClipFace,
    run: RunFolder,
    settings: EditSettings,
    paste: PasteSettings,
    batch: int,
    progress: ProgressFn,
) -> None:
    """Write the edited clip in all formats, and a strip of frames before and after."""
    name, shown_at = info.path.stem, _strip_frames(settings.columns, info.frames)
    held: list[tuple[np.ndarray, np.ndarray]] = []
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                clip_writer(
                    run.file(f"{name}_edited.{kind}"), fps=min(info.fps, 120.0),
                    sound=info.path if info.sound else None,
                )
            )
            for kind in settings.formats
            if kind != "png"
        ]  # fmt: skip
        frames = read_frames(info)
        for (_, frame), (place, drawn) in zip(
            frames, _pictures(gen, codes, edit, shares, batch), strict=True
        ):
            if drawn is not None:
                rebuilt, edited = drawn
                whole = paste.paste == "replace"
                result = media.to_uint8(
                    paste_face(
                        frame, edited, face.quads[place],
                        original=None if whole else rebuilt, feather=paste.feather,
                    )
                )  # fmt: skip
            else:
                result = frame
            for add in writers:
                add(result)
            if "png" in settings.formats:
                media.save_png(run.file(f"{name}/frame{place:06d}.png"), result)
            if place in shown_at:
                held.append((_small(frame), _small(result)))
            progress("frames", place + 1, info.frames)
    media.save_png(run.file(f"{name}_strip.png"), media.strip(np.stack(held, axis=1), gap=2))


def _pictures(
    gen: Generator, codes: ClipCodes, edit: _Edit, shares: np.ndarray, batch: int
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray] | None]]:
    """Yield (frame, (rebuilt, edited) or None where nothing is to be changed)."""
    for first, ws in codes.pieces():
        share = shares[first : first + len(ws)]
        edited = ws + share[:, None, None] * (edit(first, ws) - ws)
        both = np.stack([ws, edited], axis=1).reshape(-1, *ws.shape[1:])
        flow = (image for _, images in pictures.batches(gen, both, batch=batch) for image in images)
        for i in range(len(ws)):
            rebuilt, changed = np.clip(next(flow), -1, 1), np.clip(next(flow), -1, 1)
            yield first + i, (rebuilt, changed) if share[i] > 0 else None


def _small(frame: np.ndarray) -> np.ndarray:
    """A frame for the strip, of at most `STRIP_SIDE` pixels."""
    picture = Image.fromarray(frame)
    picture.thumbnail((STRIP_SIDE, STRIP_SIDE))
    return np.asarray(picture)


def _strip_frames(columns: int, frames: int) -> set[int]:
    return set(np.rint(np.linspace(0, frames - 1, min(columns, frames))).astype(int).tolist())


def _report(
    run: RunFolder, name: str, settings: EditSettings, info: VideoInfo, text: str
) -> Path | None:
    if not run.missing([reports.REPORT]):
        return None
    items: list[Item] = [
        Figure(run.file(f"{name}_strip.png"), caption="frames before, and below after", title=name)
    ]
    if "mp4" in settings.formats:
        items.append(Video(run.file(f"{name}_edited.mp4")))
    elif "gif" in settings.formats:
        items.append(Figure(run.file(f"{name}_edited.gif"), wide=False))
    return write_report(
        run.path,
        "Edited clip",
        [Section("Clip", items), reports.settings_section(run.command, run.settings)],
        subtitle=f"{info.path.name}: {text}",
        facts={"frames": info.frames, "frames per second": round(info.fps, 2)},
        embed=False,
    )
