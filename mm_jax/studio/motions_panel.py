"""The sliders of the motions, and the looks that were kept."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from nicegui import run, ui

from mm_jax.errors import UsageError
from mm_jax.studio.dialogs import ask_buttons, asking, title_of
from mm_jax.studio.document import LARGEST, Document, StudioMotion
from mm_jax.studio.images import data_url
from mm_jax.studio.widgets import MotionSlider, button, card, icon_button, small_button

if TYPE_CHECKING:
    from mm_jax.studio.page import Page

__all__ = ["MotionsPanel"]

_LAYERS = {"all": "All layers", "coarse": "Shape and pose", "middle": "Features", "fine": "Colours"}


class MotionsPanel:
    """The card of the sliders.

    Args:
        page: whose panel it is.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sliders: dict[str, MotionSlider] = {}

    def build(self) -> None:
        """Build the card."""
        with card("Motions").classes("motions-card"):
            self.looks = ui.element("div").classes("looks")
            self.rows = ui.element("div").classes("motions")

    def refresh(self, document: Document) -> None:
        """Show the motions and looks of a document."""
        self._refresh_motions(document)
        self._refresh_looks(document)

    def show_strengths(self, document: Document) -> None:
        """Put the sliders where a document has them."""
        for motion in document.motions:
            self.sliders[motion.name].set(round(motion.strength, 4))

    def _refresh_motions(self, document: Document) -> None:
        if list(self.sliders) != [motion.name for motion in document.motions]:
            self.rows.clear()
            self.sliders = {}
            with self.rows:
                for motion in document.motions:
                    self._motion_row(motion)
                if not document.motions:
                    with ui.element("div").classes("empty-card"):
                        ui.icon("tune", size="2rem").props('aria-hidden="true"')
                        ui.label("No motion yet. Learn one below, from a few words.")
        for motion in document.motions:
            self.sliders[motion.name].scale(motion.ends, motion.calibration)
            self.sliders[motion.name].set(motion.strength)

    def _motion_row(self, motion: StudioMotion) -> None:
        name = motion.name
        with ui.element("div").classes("motion-row"):
            self.sliders[name] = MotionSlider(
                title_of(name),
                LARGEST,
                motion.strength,
                lambda value, seq: self._move(name, value, seq),
                lambda value, seq: self._commit(name, value, seq),
                lambda value, seq: self._commit(name, value, seq, instead=True),
            )
            with icon_button("more_vert", f"More about {title_of(name)}"), ui.menu():
                ui.menu_item("Thumbnails over strengths…", lambda: self._sheet(name))
                ui.menu_item("Layers…", lambda: self._ask_layers(name))
                ui.menu_item("Key frame at this time", lambda: self.page.timeline.set_key(name))
                ui.menu_item("Save as subspace file", lambda: self.page.home.subspace(name))
                ui.menu_item("Remove the slider", lambda: self._remove_motion(name))

    def _refresh_looks(self, document: Document) -> None:
        self.looks.clear()
        with self.looks:
            small_button("Neutral", lambda: self._apply({}))
            if document.motions:
                small_button("Surprise me", lambda: self.page.do(self.page.session.surprise))
            for name, strengths in document.looks:
                small_button(name, functools.partial(self._apply, dict(strengths)))
            if document.is_moved:
                small_button("+ Keep this look", self._keep_look)

    def _move(self, name: str, value: float, seq: int) -> None:
        self.page.timeline.halt()
        self.page.session.move(name, value, seq=seq)

    def _commit(self, name: str, value: float, seq: int, *, instead: bool = False) -> None:
        self._move(name, value, seq)
        self.page.session.commit(seq=seq, instead=instead)
        self.page.refresh()
        self.page.keep()

    def _apply(self, strengths: dict[str, float]) -> None:
        self.page.do(
            lambda: self.page.session.commit(self.page.session.document.set_strengths(strengths))
        )

    def _keep_look(self) -> None:
        self.page.do(lambda: self.page.session.commit(self.page.session.document.keep_look()))

    def _remove_motion(self, name: str) -> None:
        self.page.do(
            lambda: self.page.session.commit(self.page.session.document.remove_motion(name))
        )

    async def _sheet(self, name: str) -> None:
        self.page.note.set_text("Drawing the thumbnails…")
        try:
            images = await run.io_bound(self.page.session.sheet, name)
        except UsageError as error:
            self.page.warn(str(error))
            return
        finally:
            self.page.note.set_text("")
        assert images is not None
        motion = self.page.session.document.motion(name)
        with asking(f"{title_of(name)} over strengths", wide=True) as dialog:
            with ui.element("div").classes("thumbs sheet"):
                for strength, image in zip(motion.sheet().tolist(), images, strict=True):
                    shown = f"{motion.shown(strength):+.2f}"
                    with (
                        ui.element("button")
                        .classes("thumb")
                        .on("click", functools.partial(dialog.submit, (strength,)))
                    ):
                        ui.html(
                            f'<img src="{data_url(image, side=256)}" alt="strength {shown}">'
                            f"<span>{shown}</span>",
                            sanitize=False,
                        )
            with ui.element("div").classes("actions end"):
                button("Close", None, lambda: dialog.submit(None))
        chosen = await dialog
        dialog.delete()
        if chosen:
            self.page.do(
                lambda: self.page.session.commit(
                    self.page.session.document.change(name, strength=chosen[0])
                )
            )

    async def _ask_layers(self, name: str) -> None:
        rows = self.page.session.world.gen.config.num_ws
        motion = self.page.session.document.motion(name)
        groups = _layer_groups(rows)
        present = next((k for k, v in groups.items() if v == motion.layers), "all")
        with asking(f"What {title_of(name)} may change") as dialog:
            part = ui.radio(_LAYERS, value=present)
            ask_buttons(dialog, "Use")
        if await dialog:
            chosen = groups[part.value]
            self.page.do(
                lambda: self.page.session.commit(
                    self.page.session.document.change(name, layers=chosen)
                )
            )
        dialog.delete()


def _layer_groups(rows: int) -> dict[str, tuple[int, ...] | None]:
    """Rows of W+ by what they style: a third each."""
    third = max(rows // 3, 1)
    return {
        "all": None,
        "coarse": tuple(range(third)),
        "middle": tuple(range(third, 2 * third)),
        "fine": tuple(range(2 * third, rows)),
    }
