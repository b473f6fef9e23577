"""The page's own widgets: the stage and the sliders (their other half is in `static/`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nicegui import events, ui
from nicegui.element import Element

from mm_jax.subspace.calibration import Calibration

__all__ = [
    "Camera",
    "MotionSlider",
    "Stage",
    "button",
    "card",
    "hidden_upload",
    "icon_button",
    "main_button",
    "rename",
    "small_button",
]


class Stage(Element, component="static/stage.js"):
    """All faces of the document, drawn from frames of a websocket.

    Args:
        socket: path of the websocket.
        on_choose: called with the index of the face that was clicked.
        on_size: called with the side of an image in pixels of the screen.
        on_key: called with "undo", "redo" or "play" when their keys are pressed.
    """

    def __init__(
        self,
        socket: str,
        on_choose: Callable[[int], Any],
        on_size: Callable[[int], Any],
        on_key: Callable[[str], Any],
    ) -> None:
        super().__init__()
        self.props["socket"] = socket
        self.props["mode"] = "edited"
        self.props["names"] = self.props["titles"] = []
        self.props["chosen"] = 0
        self.on("choose", lambda event: on_choose(int(event.args)))
        self.on("size", lambda event: on_size(int(event.args)))
        self.on("key", lambda event: on_key(str(event.args)))

    def show(self, names: Sequence[str], titles: Sequence[str], chosen: int) -> None:
        """Make room for these faces, of distinct names and with titles for people."""
        if list(names) != self.props["names"] or chosen != self.props["chosen"]:
            self.props["names"], self.props["chosen"] = list(names), chosen
            self.props["titles"] = list(titles)
            self.update()

    def set_mode(self, mode: str) -> None:
        """Show "edited", "split", "difference" or "before"."""
        self.props["mode"] = mode
        self.update()


class Camera(Element, component="static/camera.js"):
    """What the camera of the visitor's device sees.

    Args:
        on_ready: called when there is an image.
        on_failed: called with the browser's reason where there is none.
    """

    def __init__(self, on_ready: Callable[[], Any], on_failed: Callable[[str], Any]) -> None:
        super().__init__()
        self.on("ready", lambda _: on_ready())
        self.on("failed", lambda event: on_failed(str(event.args)))


class MotionSlider(Element, component="static/motion_slider.js"):
    """The slider of one motion.

    Args:
        title: for people.
        most: the largest strength.
        value: the strength.
        on_move: called with the strength and the number of the change while it moves.
        on_commit: likewise when it is let go.
        on_amend: likewise where that is instead of what it was let go at just before.
    """

    def __init__(
        self,
        title: str,
        most: float,
        value: float,
        on_move: Callable[[float, int], Any],
        on_commit: Callable[[float, int], Any],
        on_amend: Callable[[float, int], Any],
    ) -> None:
        super().__init__()
        self.props["title"] = title
        self.props["most"] = most
        self.props["value"] = value
        self.value: float = value
        self._scale: dict[str, Any] = {}

        def told(handler: Callable[[float, int], Any]) -> Callable[[Any], Any]:
            def call(event: events.GenericEventArguments) -> Any:
                self.value = float(event.args["value"])
                return handler(self.value, int(event.args["seq"]))

            return call

        self.on("move", told(on_move))
        self.on("commit", told(on_commit))
        self.on("amend", told(on_amend))

    def scale(self, ends: tuple[float, float] | None, calibration: Calibration | None) -> None:
        """Say in what units the slider moves.

        Args:
            ends: the strengths between which the image still follows, or None if unknown.
            calibration: makes its steps even in what is seen, and says what is read; None for
                strengths as they are.
        """
        props: dict[str, Any] = {"limits": list(ends) if ends else None}
        if calibration is not None:
            most = float(self.props["most"])
            at = np.union1d(calibration.strengths, [-most, *calibration.saturates, 0.0, 1.0, most])
            at = at[np.abs(at) <= most]
            props["curve"] = np.stack([at, calibration.amounts_of(at)], axis=1).tolist()
            read = np.stack([calibration.strengths, calibration.readings], axis=1)
            props["readings"] = read.tolist()
        if props != self._scale:
            self._scale = props
            for name in ("limits", "curve", "readings"):
                self.props[name] = props.get(name)
            self.update()

    def set(self, value: float) -> None:
        """Put the slider elsewhere."""
        if value != self.value:
            self.value = value
            self.props["value"] = value
            self.run_method("set", value)


def icon_button(icon: str, label: str, on_click: Callable[..., Any] | None = None) -> ui.button:
    """A round button of one icon, with a name for screen readers and a tip for others."""
    own = ui.button(icon=icon, on_click=on_click, color=None).props("flat round dense")
    own.props["aria-label"] = label
    own.classes("tool")
    with own:
        ui.tooltip(label).props("delay=500")
    return own


def rename(own: ui.button, label: str) -> None:
    """Give an `icon_button` another name, and its tip too."""
    own.props["aria-label"] = label
    for tip in own.default_slot.children:
        if isinstance(tip, ui.tooltip):
            tip.set_text(label)


def hidden_upload(
    name: str,
    take: Callable[[events.UploadEventArguments], Any],
    *,
    accept: str,
    max_bytes: int,
    what: str,
    warn: Callable[[str], Any],
) -> ui.upload:
    """What takes files of one kind; `picks` and dropped files open it.

    Args:
        name: what is taken, as in the class `upload-NAME`.
        take: called with each file.
        accept: kinds of files that the browser offers.
        max_bytes: size of the largest file.
        what: says which files are taken, to be followed by their size.
        warn: is given a line where a file is of another kind or too large.
    """
    upload = ui.upload(
        on_upload=take,
        on_rejected=lambda: warn(f"{what} of at most {max_bytes >> 20} MiB."),
        auto_upload=True,
        max_file_size=max_bytes,
    )
    return upload.props(f'accept="{accept}"').classes(f"hidden-upload upload-{name}")


def button(
    text: str, icon: str | None = None, on_click: Callable[..., Any] | None = None
) -> ui.button:
    """A plain button with a text."""
    return (
        ui.button(text, icon=icon, on_click=on_click, color=None)
        .props("flat no-caps dense")
        .classes("act")
    )


def main_button(
    text: str, icon: str | None = None, on_click: Callable[..., Any] | None = None
) -> ui.button:
    """The button of what is meant to be done."""
    own = ui.button(text, icon=icon, on_click=on_click, color=None)
    return own.props("unelevated no-caps").classes("primary")


def small_button(text: str, on_click: Callable[..., Any]) -> ui.button:
    """A small button with a text, one of many."""
    own = ui.button(text, on_click=on_click, color=None)
    return own.props("flat no-caps dense").classes("chip-button")


def card(title: str, hint: str = "") -> ui.element:
    """A titled part of the page, to be filled in a `with` block."""
    own = ui.element("section").classes("card")
    with own, ui.element("div").classes("card-head"):
        with ui.element("h2"):
            ui.label(title)
        if hint:
            ui.label(hint).classes("hint")
    return own
