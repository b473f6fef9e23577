"""The time line: key frames, and playback."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from nicegui import events, ui

from mm_jax.studio.dialogs import title_of
from mm_jax.studio.document import Document
from mm_jax.studio.widgets import button, icon_button, rename

if TYPE_CHECKING:
    from mm_jax.studio.page import Page

__all__ = ["TimePanel"]


class TimePanel:
    """The time line below the faces.

    Args:
        page: whose panel it is.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self._time = 0.0
        # Of the animation that is played; its number tells its frames from those of others.
        self._playing = False
        self._number = 0

    def build(self) -> None:
        """Build the bar and the lanes of key frames."""
        with ui.element("section").classes("time").props('aria-label="Time line"'):
            with ui.element("div").classes("time-bar"):
                with ui.element("div").classes("time-start"):
                    self.play_button = icon_button("play_arrow", "Play (P)", self.play)
                    self.clock = ui.label("0.0 s").classes("clock")
                self.scrub = (
                    ui.slider(min=0, max=1, step=0.01, value=0, on_change=self._scrub)
                    .props('label-always=false aria-label="Time"')
                    .classes("scrub")
                )
                with ui.element("div").classes("time-end"):
                    button("Key frame", "add", self._set_keys).props(
                        'aria-label="Keep the present strengths as a key frame at this time"'
                    )
                    with (
                        icon_button("tune", "Length and rate"),
                        ui.menu(),
                        ui.element("div").classes("pop"),
                    ):
                        # Taken when the number is whole: while it is typed it may be any.
                        self.seconds = ui.number(
                            "Seconds", value=2.0, min=0.5, max=20, step=0.5
                        ).on("change", self._length)
                        self.fps = ui.number("Frames a second", value=20, min=5, max=30, step=1).on(
                            "change", self._length
                        )
            self.lanes = ui.element("div").classes("lanes")

    def refresh(self, document: Document) -> None:
        """Show the length, the rate and the key frames of a document."""
        self.seconds.set_value(document.seconds)
        self.fps.set_value(document.fps)
        self._tell_time(document)
        self.lanes.clear()
        keyed = [motion for motion in document.motions if motion.keys]
        with self.lanes:
            for motion in keyed:
                with ui.element("div").classes("lane"):
                    ui.label(title_of(motion.name)).classes("lane-name")
                    with ui.element("div").classes("lane-track"):
                        for key in motion.keys:
                            place = 100 * key.time / document.seconds
                            shown = f"{motion.shown(key.strength):+.2f}"
                            words = f"{title_of(motion.name)} {shown} at {key.time:.1f} s"
                            own = ui.element("button").classes("key").style(f"left:{place:.2f}%")
                            own.props["aria-label"] = f"Key frame: {words}. Delete removes it."
                            own.props["title"] = words
                            remove = functools.partial(self._remove_key, motion.name, key.time)
                            own.on("click", functools.partial(self._go, key.time))
                            own.on("keydown.delete", remove)
                            own.on("dblclick", remove)
            if not keyed and document.is_moved:
                ui.label(
                    "Play lets the motions grow to their strengths. For more, move the time and "
                    "set key frames."
                ).classes("hint")

    def set_key(self, name: str) -> None:
        """Keep a motion's present strength as a key frame at the present time."""
        document = self.page.session.document
        motion = document.motion(name)
        if not motion.keys and self._time > 0:
            document = document.set_key(name, 0.0, 0.0)
        document = document.set_key(name, self._time, motion.strength)
        self.page.do(lambda: self.page.session.commit(document))

    def _set_keys(self) -> None:
        document = self.page.session.document
        keyed = [motion for motion in document.motions if motion.strength or motion.keys]
        if not keyed:
            self.page.warn("Move a slider first: a key frame keeps its strength at this time.")
            return
        for motion in keyed:
            if not motion.keys and self._time > 0:
                document = document.set_key(motion.name, 0.0, 0.0)
            document = document.set_key(motion.name, self._time, motion.strength)
        self.page.do(lambda: self.page.session.commit(document))

    def _remove_key(self, name: str, time: float) -> None:
        self.page.do(
            lambda: self.page.session.commit(self.page.session.document.remove_key(name, time))
        )

    def _tell_time(self, document: Document) -> None:
        self._time = float(self.scrub.value or 0.0) * document.seconds
        self.clock.set_text(f"{self._time:.1f} s")

    def _scrub(self, event: events.ValueChangeEventArguments) -> None:
        self.halt()
        document = self.page.session.document
        self._tell_time(document)
        if any(motion.keys for motion in document.motions):
            self.page.session.history.show(document.at(self._time))
            self.page.session.render(running=True)
            self.page.motions.show_strengths(self.page.session.document)

    def _go(self, time: float) -> None:
        self.scrub.set_value(time / self.page.session.document.seconds)

    def _length(self) -> None:
        seconds, fps = float(self.seconds.value or 2.0), float(self.fps.value or 20.0)
        seconds, fps = min(max(seconds, 0.5), 20.0), min(max(fps, 5.0), 30.0)
        document = self.page.session.document
        if (seconds, fps) != (document.seconds, document.fps):
            document = document.lasting(seconds, fps)
        self.page.do(lambda: self.page.session.commit(document))

    def play(self) -> None:
        """Play the animation, or stop it."""
        document = self.page.session.document
        if self._playing:
            self.halt()
            return
        if not document.is_moved and not any(motion.keys for motion in document.motions):
            self.page.warn("Nothing moves yet: drag a slider, or set key frames.")
            return
        bounce = not any(motion.keys for motion in document.motions)
        self._number += 1
        if self.page.do(lambda: self.page.session.animate(seq=self._number)):
            self.page.stage.run_method("play", document.fps, bounce, self._number)
            self._show(playing=True)

    def halt(self) -> None:
        """Play no more, as something else is to be seen."""
        if self._playing:
            self.page.session.stop()
            self.page.stage.run_method("stop")
            self._show(playing=False)

    def _show(self, *, playing: bool) -> None:
        self._playing = playing
        self.play_button.props(f"icon={'stop' if playing else 'play_arrow'}")
        rename(self.play_button, "Stop (P)" if playing else "Play (P)")
