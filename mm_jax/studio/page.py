"""The page of the studio: what a visitor sees, on top of `mm_jax.studio.session`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import Client, events, run, ui
from nicegui.client import ClientConnectionTimeout

from mm_jax.errors import DataError, UsageError
from mm_jax.studio import exports, session_files
from mm_jax.studio.dialogs import asking, picks, title_of
from mm_jax.studio.document import MAX_FACES
from mm_jax.studio.faces_panel import FacesPanel
from mm_jax.studio.home_panel import HomePanel
from mm_jax.studio.jobs_view import JobsView
from mm_jax.studio.learn_panel import LearnPanel
from mm_jax.studio.motions_panel import MotionsPanel
from mm_jax.studio.server import MAX_BODY, Links
from mm_jax.studio.session import Session, Studio
from mm_jax.studio.time_panel import TimePanel
from mm_jax.studio.widgets import Stage, button, hidden_upload, icon_button

__all__ = ["Page"]

# What is dropped goes the way of the button for its kind.
_DROP = """(e) => {
  e.preventDefault();
  const files = [...e.dataTransfer.files];
  if (!files.length) return;
  const { name, type } = files[0];
  const kind = type.startsWith("video/") || type === "image/gif" ? "video"
    : name.endsWith(".json") ? "session" : name.endsWith(".npz") ? "latents"
    : name.endsWith(".zip") ? "subspace" : "photo";
  getElement(document.querySelector(".upload-" + kind).id.slice(1)).$refs.qRef.addFiles(files);
}"""
_PREPARING = "Preparing the whole image: until then a smaller one is shown"
_KEYS = {
    "Tab": "from slider to slider",
    "← →": "move a slider",
    "0": "reset a slider",
    "B": "hold for before",
    "P": "play, stop",
    "Ctrl Z": "undo; with Shift, redo",
}


class Page:
    """One visitor's page.

    Args:
        studio: what all pages share.
        links: the websockets of the stages.
        client: NiceGUI's.
        outdir: folder that also gets what is exported, or "".
        start: the text of a session to begin with, or "".
    """

    def __init__(
        self, studio: Studio, links: Links, client: Client, *, outdir: str = "", start: str = ""
    ) -> None:
        self.studio: Studio = studio
        self.links: Links = links
        self.client: Client = client
        self.outdir = outdir
        self.link: str = links.open()
        self._session: Session | None = None
        self._start = start
        self.jobs: JobsView = JobsView(self)
        self.faces: FacesPanel = FacesPanel(self)
        self.timeline: TimePanel = TimePanel(self)
        self.motions: MotionsPanel = MotionsPanel(self)
        self.learning: LearnPanel = LearnPanel(self)
        self.home: HomePanel = HomePanel(self)

    @property
    def session(self) -> Session:
        """What the visitor does; there is none before the page is built."""
        assert self._session is not None
        return self._session

    # Building.

    async def build(self) -> None:
        """Build the page: at once what needs no models, then the rest."""
        self._style()
        self.root = ui.element("div").classes("studio")
        self.root.on("dragover", js_handler="(e) => e.preventDefault()")
        self.root.on("drop", js_handler=_DROP)
        with self.root, ui.element("div").classes("opening") as opening:
            ui.spinner("dots", size="3rem").props('aria-hidden="true"')
            ui.label("Opening the generator…").props('role="status"')
            ui.label("The first time takes a minute: its programs are compiled, and kept.")
        try:
            await self.client.connected(timeout=60)
        except ClientConnectionTimeout:
            self.close()  # whoever asked for the page is no browser, or gone
            return
        self.client.on_delete(self.close)
        try:
            world, kept = await asyncio.gather(
                run.io_bound(self.studio.prepare, self.studio.worlds.names[0]), self._kept()
            )
            if world is None or self.client.is_deleted:
                return  # the studio is closed, or the page gone
            self._session = Session(
                self.studio, world, lambda frame: self.links.put(self.link, frame)
            )
        except (DataError, UsageError) as error:
            opening.clear()
            with opening:
                ui.icon("error_outline", size="3rem")
                ui.label(str(error)).props('role="alert"')
            return
        opening.delete()
        with self.root:
            self._bar()
            with ui.element("main").classes("work"):
                with ui.element("div").classes("view"):
                    self._view()
                with ui.element("div").classes("side"):
                    self.motions.build()
                    self.learning.build()
                    self.home.build()
        ui.timer(0.25, self._tick)
        await self._restore(kept)
        for line in self.session.world.left_out:
            ui.notify(line, type="warning", multi_line=True, timeout=8000)
        self.refresh()
        self.session.render(before=True)

    def close(self) -> None:
        """Free all that the page held."""
        self.links.close(self.link)
        if self._session is not None:
            self._session.close()

    def _style(self) -> None:
        folder = Path(__file__).parent / "static"
        ui.add_css((folder / "studio.css").read_text(encoding="utf-8"))

    def _bar(self) -> None:
        with ui.element("header").classes("bar"):
            with ui.element("h1").classes("brand"):
                ui.html(
                    '<span class="dot" aria-hidden="true"></span>Micromotion studio', sanitize=False
                )
            self.generators: ui.select | None = None
            if len(self.studio.worlds.names) > 1:
                names = {name: Path(name).name for name in self.studio.worlds.names}
                self.generators = (
                    ui.select(names, value=self.session.world.name, on_change=self._change_world)
                    .props('dense outlined options-dense aria-label="Generator"')
                    .classes("generators")
                )
            ui.element("div").classes("spread")
            self.undo = icon_button("undo", "Undo (Ctrl+Z)", self._undo)
            self.redo = icon_button("redo", "Redo (Ctrl+Shift+Z)", self._redo)
            picks(icon_button("folder_open", "Open a session"), "session")
            icon_button("save", "Save the session as a file", self.save_session)
            self.dark = ui.dark_mode(None)
            icon_button("contrast", "Light, dark, or as the system", self._turn_dark)
            icon_button("help_outline", "Help and keys", self._help)
        self.session_upload = hidden_upload(
            "session",
            self._open_session,
            accept=".json,application/json",
            max_bytes=MAX_BODY,
            what="A session is a file .json",
            warn=self.warn,
        )

    def _view(self) -> None:
        with ui.element("div").classes("stage-box"):
            self.stage = Stage(
                f"/studio/frames/{self.link}", self.faces.choose, self._size, self._key
            )
            with ui.element("div").classes("empty") as self.empty:
                ui.icon("face", size="3rem").props('aria-hidden="true"')
                ui.label("No face yet").classes("empty-title")
                ui.label("Take a random one, or drop a photo here.")
            self.note = ui.label("").classes("note").props('role="status" aria-live="polite"')
        with ui.element("div").classes("tools"):
            self.mode = (
                ui.toggle(
                    {"edited": "Edited", "split": "Split", "difference": "Difference"},
                    value="edited",
                    on_change=lambda event: self.stage.set_mode(event.value),
                )
                .props('no-caps unelevated dense aria-label="What is shown"')
                .classes("modes")
            )
            hold = button("Hold for before", "visibility")
            hold.classes("hold").props('aria-label="Hold to see the faces before the edit (key B)"')
            for name, on in (
                ("pointerdown", "true"),
                ("pointerup", "false"),
                ("pointerleave", "false"),
            ):
                hold.on(name, js_handler=f"() => runMethod({self.stage.id}, 'hold', [{on}])")
            self.faces.build_tools()
        self.faces.build()
        self.timeline.build()

    # Changes, for all panels.

    def refresh(self) -> None:
        """Bring everything up to the present document."""
        document = self.session.document
        if self.generators is not None:
            self.generators.set_value(document.generator)
        names = [face.name for face in document.faces]
        self.stage.show(names, [title_of(name) for name in names], document.chosen)
        self.empty.set_visibility(not document.faces)
        _enable(self.undo, self.session.history.can_undo)
        _enable(self.redo, self.session.history.can_redo)
        for panel in (self.faces, self.motions, self.timeline, self.home):
            panel.refresh(document)

    def do(self, change: Callable[[], Any]) -> bool:
        """Make a change, show what came of it, and say what was wrong with it."""
        self.timeline.halt()
        try:
            change()
        except (DataError, UsageError) as error:
            self.warn(str(error))
            return False
        self.refresh()
        self.keep()
        return True

    def _undo(self) -> None:
        self.do(self.session.undo)

    def _redo(self) -> None:
        self.do(self.session.redo)

    def _size(self, side: int) -> None:
        self.session.resize(side)

    def _key(self, what: str) -> None:
        {"undo": self._undo, "redo": self._redo, "play": self.timeline.play}[what]()

    def warn(self, text: str) -> None:
        """Say what was wrong."""
        self.say(text, type="warning", multi_line=True, timeout=7000, close_button="OK")

    def say(self, text: str, **options: Any) -> None:
        """Say something, in a corner of the page."""
        # In the page's own slot: what was clicked may be gone by now.
        with self.root:
            ui.notify(text, **options)

    def _tick(self) -> None:
        self._tell_of_whole()
        self.faces.tick()
        self.jobs.tick()

    def _tell_of_whole(self) -> None:
        """Say why the images of a large generator are still small."""
        is_whole = self.studio.is_warm(self.session.world, 1, whole=True)
        if is_whole and self.note.text == _PREPARING:
            self.note.set_text("")
        elif not is_whole and not self.note.text:
            self.note.set_text(_PREPARING)

    async def _change_world(self, event: events.ValueChangeEventArguments) -> None:
        if event.value == self.session.world.name:
            return
        self.note.set_text("Opening the generator…")
        try:
            world = await run.io_bound(self.studio.prepare, event.value)
            assert world is not None
            self.do(lambda: self.session.change_world(world))
        except (DataError, UsageError) as error:
            self.warn(str(error))
        self.note.set_text("")

    # Sessions. A page that is loaded anew, or whose server was started anew, goes on from the tab's
    # own memory.

    def save_session(self) -> None:
        """Hand out the session as a file."""
        try:
            text = session_files.dump(self.session.document, self.session.world.gen)
        except DataError as error:
            self.warn(str(error))
            return
        self.home.hand_out(text.encode(), exports.SESSION)

    async def _open_session(self, event: events.UploadEventArguments) -> None:
        data = await event.file.read()
        self.session_upload.reset()
        if self.do(lambda: self.session.open_session(data)):
            self.say("The session is open", type="positive")

    def keep(self) -> None:
        """Keep the session in the tab's own memory, without its photos."""
        document, gen = self.session.document, self.session.world.gen
        text = json.dumps(session_files.dump(document, gen, photos=False))
        self.client.run_javascript(f"sessionStorage.setItem('mm_studio', {text})")

    async def _kept(self) -> str:
        """What `keep` has put into the tab's memory, or ""."""
        script = "return sessionStorage.getItem('mm_studio')"
        try:
            return await self.client.run_javascript(script, timeout=5) or ""
        except TimeoutError:
            return ""

    async def _restore(self, kept: str) -> None:
        text = kept or self._start
        if not text:
            return
        try:
            values = session_files.read(text)
            name = session_files.generator_of(values)
            await run.io_bound(self.studio.prepare, name)
            count = max(len(values.get("faces", ())), 1)
            await run.io_bound(self.studio.warm_up, self.studio.worlds[name], min(count, MAX_FACES))
            self.session.open_session(text)
            self.session.history = type(self.session.history)(self.session.document)
        except (DataError, UsageError) as error:
            if not kept:
                self.warn(str(error))
            self.client.run_javascript("sessionStorage.removeItem('mm_studio')")

    # The rest.

    def _turn_dark(self) -> None:
        order: list[bool | None] = [None, True, False]
        value = order[(order.index(self.dark.value) + 1) % 3]
        self.dark.value = value
        self.say({None: "As the system", True: "Dark", False: "Light"}[value])

    async def _help(self) -> None:
        with asking("How it works") as dialog:
            for line in (
                "Drag a slider: every face on the stage moves with it. Double-click resets it.",
                "Write what should change, with {degree} for the amount, and press Learn.",
                "Drop a photo anywhere: the face in it is found, and comes to the stage.",
                "Take home what you like, or save the session and go on another day.",
            ):
                ui.label(line)
            with ui.element("dl").classes("keys"):
                for key, what in _KEYS.items():
                    with ui.element("dt"):
                        ui.label(key)
                    with ui.element("dd"):
                        ui.label(what)
            with ui.element("div").classes("actions end"):
                button("Close", None, lambda: dialog.submit(None))
        await dialog
        dialog.delete()


def _enable(own: ui.button, on: bool) -> None:
    own.enable() if on else own.disable()
