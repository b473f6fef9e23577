"""What is taken home: images, videos, latents, commands."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nicegui import run, ui

from mm_jax import io
from mm_jax.errors import DataError, UsageError
from mm_jax.studio import exports
from mm_jax.studio.dialogs import asking
from mm_jax.studio.document import Document, distinct
from mm_jax.studio.widgets import button, card, main_button
from mm_jax.stylegan2.generator import Generator

if TYPE_CHECKING:
    from mm_jax.studio.page import Page

__all__ = ["HomePanel"]


class HomePanel:
    """The card of what is taken home.

    Args:
        page: whose panel it is.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.outdir = page.outdir

    def build(self) -> None:
        """Build the card."""
        with card("Take home").classes("home-card"):
            with ui.element("div").classes("exports"):
                button("Picture", "image", self.png)
                button("Strip", "view_week", self._strip)
                button("Video", "movie", lambda: self._video("mp4"))
                button("GIF", "gif_box", lambda: self._video("gif"))
                self.photo_button = button("Photo", "photo", self._photo)
                button("Latents", "data_array", self._latents)
            with ui.element("div").classes("exports"):
                button("As command line", "terminal", lambda: self._show_code(exports.command_line))
                button("As Python", "code", lambda: self._show_code(exports.python_code))
            self.jobs = ui.element("div").classes("jobs").props('aria-live="polite"')

    def refresh(self, document: Document) -> None:
        """Offer what there is of a document."""
        self.photo_button.set_visibility(
            document.face is not None and document.face.photo is not None
        )

    async def png(self) -> None:
        """Hand out the image of the chosen face."""
        await self._export("png", exports.png)

    async def _strip(self) -> None:
        await self._export("strip.png", exports.strip)

    async def _photo(self) -> None:
        await self._export("photo.png", exports.photo)

    async def _latents(self) -> None:
        await self._export("latents.npz", lambda _, document: exports.latents(document))

    async def _export(self, what: str, make: Callable[[Generator, Document], bytes]) -> None:
        document, gen = self.page.session.document, self.page.session.world.gen
        if not document.faces:
            self.page.warn("There is no face yet: add one first.")
            return
        self.page.note.set_text("Drawing…")
        try:
            data = await run.io_bound(make, gen, document)
        except (DataError, UsageError) as error:
            self.page.warn(str(error))
            return
        finally:
            self.page.note.set_text("")
        assert data is not None
        self.hand_out(data, self._file_name(what))

    def subspace(self, name: str) -> None:
        """Hand out the subspace of a motion."""
        self.hand_out(exports.subspace(self.page.session.document, name), f"{name}.zip")

    def _file_name(self, what: str) -> str:
        face = self.page.session.document.face
        own = face.name if face is not None else "studio"
        return f"{own}.{what}" if "." not in what else f"{own}_{what}"

    def hand_out(self, data: bytes, name: str) -> None:
        """Let the browser save a file; it is put into the studio's folder, too, if there is one."""
        if self.outdir:
            path = Path(self.outdir, distinct(name, []))
            io.write_atomic(path, lambda file: file.write(data))
        with self.page.root:
            ui.download.content(data, name)

    def _video(self, kind: str) -> None:
        try:
            job = self.page.session.export(kind)
        except UsageError as error:
            self.page.warn(str(error))
            return
        self.page.jobs.follow(
            job, self.jobs, lambda data: self.hand_out(data, self._file_name(kind))
        )

    async def _show_code(self, make: Callable[[Document], str]) -> None:
        document = self.page.session.document
        try:
            text = make(document)
        except UsageError as error:
            self.page.warn(str(error))
            return
        needs_file = not exports.is_plain(document)
        with asking("The same images, without the studio", wide=True) as dialog:
            with ui.element("pre").classes("code").props('tabindex="0"'):
                ui.html(_unbroken(text), sanitize=False)
            if needs_file:
                ui.label("It reads the session's file: save that, too.").classes("hint")
            with ui.element("div").classes("actions end"):
                if needs_file:
                    button("Save studio.json", "save", self.page.save_session)
                button("Close", None, lambda: dialog.submit(None))
                main_button("Copy", "content_copy", lambda: self._copy(text))
        await dialog
        dialog.delete()

    def _copy(self, text: str) -> None:
        ui.clipboard.write(text)
        self.page.say("Copied", type="positive")


def _unbroken(text: str) -> str:
    """HTML of code in which lines break between words only, and not at the hyphens of flags."""
    return re.sub(r"\S+", lambda word: f"<span>{html.escape(word[0])}</span>", text)
