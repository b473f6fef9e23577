"""Motions that are learnt, from prompts and videos, or come from a file."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import events, ui

from mm_jax.errors import UsageError
from mm_jax.studio import exports
from mm_jax.studio.dialogs import as_file, picks, title_of
from mm_jax.studio.document import distinct
from mm_jax.studio.images import MAX_BYTES
from mm_jax.studio.jobs_view import Preview
from mm_jax.studio.learn import Learnt
from mm_jax.studio.server import MAX_BODY
from mm_jax.studio.widgets import (
    button,
    card,
    hidden_upload,
    icon_button,
    main_button,
    small_button,
)
from mm_jax.studio.world import file_motion

if TYPE_CHECKING:
    from mm_jax.studio.page import Page

__all__ = ["LearnPanel"]

# Of what the bundled CLIP knows (its model card): an example that is not found puts people off.
EXAMPLES = ("{degree} grey hair", "a {degree} smiling person", "a {degree} old person")
PLACEHOLDER = "a person with {degree} smile"
# Words of a prompt that do not say what the motion is.
_SMALL = frozenset(("a", "an", "the", "person", "with", "of", "face", "is", "and"))


class LearnPanel:
    """The card of learning.

    Args:
        page: whose panel it is.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.prompt: ui.input

    def build(self) -> None:
        """Build the card."""
        with card("Learn a motion").classes("learn-card"):
            self.prompt = (
                ui.input(placeholder=PLACEHOLDER)
                .props(
                    'outlined dense clearable aria-label="Prompt with {degree} in it" maxlength=200'
                )
                .classes("prompt")
                .on("keydown.enter", self.learn)
            )
            with ui.element("div").classes("hint-row"):
                ui.label("{degree} is the amount:").classes("hint")
                for text in EXAMPLES:
                    small_button(text, functools.partial(self.prompt.set_value, text))
            with ui.element("div").classes("actions"):
                main_button("Learn", "auto_awesome", self.learn)
                picks(button("Video", "movie"), "video")
                picks(button("File", "upload_file"), "subspace")
            self.video_upload = hidden_upload(
                "video",
                self._take_video,
                accept="video/*,.gif",
                max_bytes=MAX_BODY,
                what="A video is a video file",
                warn=self.page.warn,
            )
            self.subspace_upload = hidden_upload(
                "subspace",
                self._take_subspace,
                accept=".npz,.zip",
                max_bytes=MAX_BYTES,
                what="A subspace is a .npz or .zip",
                warn=self.page.warn,
            )
            self.learning = ui.element("div").classes("jobs").props('aria-live="polite"')

    def learn(self) -> None:
        """Learn the motion of the prompt."""
        template = (self.prompt.value or "").strip()
        name = distinct(
            " ".join(
                word for word in template.replace("{degree}", "").split() if word not in _SMALL
            ),
            [],
        )
        preview = Preview()
        try:
            job = self.page.session.learn_prompt(template, name, preview.put)
        except UsageError as error:
            self.page.warn(str(error))
            return
        self.page.jobs.follow(job, self.learning, self._learnt, preview)

    async def _take_video(self, event: events.UploadEventArguments) -> None:
        folder = tempfile.TemporaryDirectory(prefix="mm_studio_")
        stem = distinct(Path(event.file.name).stem or "video", [])
        suffix = Path(event.file.name).suffix.lower()
        path = Path(folder.name, f"{stem}{suffix if suffix.isascii() and len(suffix) < 6 else ''}")
        await event.file.save(path)
        self.video_upload.reset()
        try:
            job = self.page.session.learn_video(path, stem, aligned=False, done=folder.cleanup)
        except UsageError as error:
            folder.cleanup()
            self.page.warn(str(error))
            return
        self.page.jobs.follow(job, self.learning, self._learnt)

    def _learnt(self, learnt: Learnt) -> None:
        self.page.do(
            lambda: self.page.session.commit(self.page.session.document.add_motion(learnt.motion))
        )
        name = self.page.session.document.motions[-1].name
        subspace = learnt.motion.subspace
        with self.learning, ui.element("div").classes("learnt") as own:
            with ui.element("div").classes("job-head"):
                ui.label(f"{title_of(name)} has a slider now").classes("job-title")
                icon_button("close", "Dismiss", own.delete)
            if learnt.read:
                ends = f"{learnt.read[0][1]:.0%} to {learnt.read[-1][1]:.0%}"
                ui.label(f"On other faces CLIP reads {ends} of it, from -1 to +1.").classes("hint")
                ui.html(_readings(learnt.read), sanitize=False)
            else:
                ratio = f"{float(subspace.pc1_ratio):.0%}"
                ui.label(f"Its first direction holds {ratio} of the motion.").classes("hint")
                ui.html(_spectrum(subspace.singular_values), sanitize=False)
            for line in learnt.warnings:
                with ui.element("div").classes("warning").props('role="alert"'):
                    ui.icon("warning_amber").props('aria-hidden="true"')
                    ui.label(line)
            button("Save as subspace file", "download", lambda: self.page.home.subspace(name))

    async def _take_subspace(self, event: events.UploadEventArguments) -> None:
        data, name = await event.file.read(), Path(event.file.name).name
        self.subspace_upload.reset()
        self.add_file(data, name)

    def add_file(self, data: bytes, name: str) -> None:
        """Add the motion of a subspace's file, or of the .zip that the page hands out."""

        def add() -> None:
            kind = ".zip" if name.lower().endswith(".zip") else ".npz"
            with as_file(data, f"{distinct(Path(name).stem, [])}{kind}") as path:
                file = exports.subspace_file(path)
                motion = file_motion(self.page.session.world.gen, file, file.stem)
            self.page.session.commit(self.page.session.document.add_motion(motion))

        self.page.do(add)


def _readings(read: Sequence[tuple[float, float]]) -> str:
    """Degrees read at strengths as a small chart (SVG)."""
    points = " ".join(
        f"{60 + 58 * strength:.1f},{39 - 36 * degree:.1f}" for strength, degree in read
    )
    words = ", ".join(f"{degree:.0%} at {strength:+g}" for strength, degree in read)
    return (
        '<svg class="readings" viewBox="0 0 120 42" role="img" '
        f'aria-label="Degrees that CLIP reads: {words}">'
        f'<path d="M2 39H118M60 3V39"/><polyline points="{points}"/></svg>'
    )


def _spectrum(values: Any) -> str:
    """The singular values as a small bar chart (SVG)."""
    squares = np.square(np.asarray(values, np.float64))
    squares = squares if squares.ndim == 1 else squares.sum(axis=0)
    fractions = (squares / max(squares.sum(), 1e-12))[:10]
    bars = "".join(
        f'<rect x="{18 * i}" y="{40 - bar:.1f}" width="12" height="{bar + 2:.1f}"/>'
        for i, bar in enumerate(38 * fractions)
    )
    return (
        f'<svg class="spectrum" viewBox="0 0 {18 * len(fractions)} 42" role="img" '
        f'aria-label="Singular spectrum: the first direction holds {fractions[0]:.0%}">{bars}</svg>'
    )
