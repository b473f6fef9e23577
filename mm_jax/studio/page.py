"""The page of the studio: what a visitor sees, on top of `mm_jax.studio.session`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nicegui import Client, events, run, ui
from nicegui.client import ClientConnectionTimeout

from mm_jax import io
from mm_jax.artifacts import load_latents
from mm_jax.checks import check_latent_shape
from mm_jax.errors import DataError, UsageError
from mm_jax.parsers import MAX_SEED
from mm_jax.studio import exports, photos, session_files
from mm_jax.studio.document import LARGEST, MOST_FACES, Document, Face, Motion, distinct
from mm_jax.studio.images import MOST_BYTES, data_url, open_image
from mm_jax.studio.learn import Learnt
from mm_jax.studio.queues import Job
from mm_jax.studio.server import MOST_BODY, Links
from mm_jax.studio.session import SHEET, Session, Studio
from mm_jax.studio.widgets import (
    MotionSlider,
    Stage,
    button,
    card,
    icon_button,
    main_button,
    small_button,
)
from mm_jax.studio.world import file_motion
from mm_jax.stylegan2.generator import Generator

__all__ = ["Page"]

EXAMPLES = ("{degree} long hair", "mouth {degree} open", "{degree} blond")
PLACEHOLDER = "a person with {degree} smile"
_LAYERS = {"all": "All layers", "coarse": "Shape and pose", "middle": "Features", "fine": "Colours"}


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
        self.studio, self.links, self.client = studio, links, client
        self.outdir = outdir
        self.link = links.open()
        self._session: Session | None = None
        self.jobs: list[tuple[Job, Callable[[Any], None]]] = []
        self.sliders: dict[str, MotionSlider] = {}
        self._start = start
        self._uploads: dict[str, Face] = {}
        self._time = 0.0

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
            world = await run.io_bound(self.studio.prepare, self.studio.worlds.names[0])
            if self.client.is_deleted:
                return
            assert world is not None
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
                    self._motions_card()
                    self._learn_card()
                    self._home_card()
        ui.timer(0.25, self._tick)
        await self._restore()
        for line in self.session.world.left_out:
            ui.notify(line, type="warning", multi_line=True, timeout=8000)
        self.refresh()
        self.session.render(before=True)

    def close(self) -> None:
        """Free all that the page held."""
        self.links.close(self.link)
        if self._session is not None:
            self._session.close()
        self._uploads.clear()

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
            _picks(icon_button("folder_open", "Open a session"), "session")
            icon_button("save", "Save the session as a file", self._save_session)
            self.dark = ui.dark_mode(None)
            icon_button("contrast", "Light, dark, or as the system", self._turn_dark)
            icon_button("help_outline", "Help and keys", self._help)
        self.session_upload = (
            ui.upload(on_upload=self._open_session, auto_upload=True, max_file_size=MOST_BODY)
            .props('accept=".json,application/json"')
            .classes("hidden-upload upload-session")
        )
        ui.keyboard(on_key=self._key, ignore=["input", "select", "textarea"])

    def _view(self) -> None:
        with ui.element("div").classes("stage-box"):
            self.stage = Stage(f"/studio/frames/{self.link}", self._choose, self._size)
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
            self.in_photo = button("In the photo", "photo", self._paste)
            self.tune_button = button("Tune to the photo", "tune", self._tune)
            with self.tune_button:
                ui.tooltip("Trains a copy of the generator until the face looks like the photo")
        with ui.element("div").classes("faces").props('role="group" aria-label="Faces"'):
            self.chips = ui.element("div").classes("chips")
            with ui.element("div").classes("adders"):
                button("Random", "casino", lambda: self._add(self.session.add_random))
                _picks(button("Photo", "add_a_photo"), "photo")
                with button("More", "expand_more").props('aria-haspopup="menu"'), ui.menu():
                    ui.menu_item("Face of a seed…", self._ask_seed)
                    ui.menu_item(
                        "Three neighbours", lambda: self._add(self.session.add_neighbours, 3)
                    )
                    ui.menu_item("Mix of two faces…", self._ask_mix)
                    _picks(ui.menu_item("Latents from a file…"), "latents")
                    ui.menu_item("Photo by the camera…", self._camera)
        self.photo_upload = (
            ui.upload(
                on_upload=self._take_photo,
                on_rejected=lambda: self._warn(
                    f"A photo is an image file of at most {MOST_BYTES >> 20} MiB."
                ),
                auto_upload=True,
                max_file_size=MOST_BYTES,
            )
            .props('accept="image/*"')
            .classes("hidden-upload upload-photo")
        )
        self.latents_upload = (
            ui.upload(on_upload=self._take_latents, auto_upload=True, max_file_size=MOST_BYTES)
            .props('accept=".npz"')
            .classes("hidden-upload upload-latents")
        )
        self.video_upload = (
            ui.upload(
                on_upload=self._take_video,
                on_rejected=lambda: self._warn(
                    f"A video is a video file of at most {MOST_BODY >> 20} MiB."
                ),
                auto_upload=True,
                max_file_size=MOST_BODY,
            )
            .props('accept="video/*,.gif"')
            .classes("hidden-upload upload-video")
        )
        self._time_line()

    def _time_line(self) -> None:
        with ui.element("section").classes("time").props('aria-label="Time line"'):
            with ui.element("div").classes("time-bar"):
                self.play_button = icon_button("play_arrow", "Play (P)", self._play)
                self.scrub = (
                    ui.slider(min=0, max=1, step=0.01, value=0, on_change=self._scrub)
                    .props('label-always=false aria-label="Time"')
                    .classes("scrub")
                )
                self.clock = ui.label("0.0 s").classes("clock")
                button("Key frame", "add", self._set_keys).props(
                    'aria-label="Keep the present strengths as a key frame at this time"'
                )
                with (
                    icon_button("tune", "Length and rate"),
                    ui.menu(),
                    ui.element("div").classes("pop"),
                ):
                    self.seconds = ui.number(
                        "Seconds", value=2.0, min=0.5, max=20, step=0.5, on_change=self._length
                    )
                    self.fps = ui.number(
                        "Frames a second", value=20, min=5, max=30, step=1, on_change=self._length
                    )
            self.lanes = ui.element("div").classes("lanes")

    def _motions_card(self) -> None:
        with card("Motions").classes("motions-card"):
            self.looks = ui.element("div").classes("looks")
            self.rows = ui.element("div").classes("motions")

    def _learn_card(self) -> None:
        with card("Learn a motion").classes("learn-card"):
            self.prompt = (
                ui.input(placeholder=PLACEHOLDER)
                .props(
                    'outlined dense clearable aria-label="Prompt with {degree} in it" maxlength=200'
                )
                .classes("prompt")
                .on("keydown.enter", self._learn)
            )
            with ui.element("div").classes("hint-row"):
                ui.label("{degree} is the amount:").classes("hint")
                for text in EXAMPLES:
                    small_button(text, functools.partial(self.prompt.set_value, text))
            with ui.element("div").classes("actions"):
                main_button("Learn", "auto_awesome", self._learn)
                _picks(button("Video", "movie"), "video")
                _picks(button("File", "upload_file"), "subspace")
            self.subspace_upload = (
                ui.upload(on_upload=self._take_subspace, auto_upload=True, max_file_size=MOST_BYTES)
                .props('accept=".npz"')
                .classes("hidden-upload upload-subspace")
            )
            self.learning = ui.element("div").classes("jobs").props('aria-live="polite"')

    def _home_card(self) -> None:
        with card("Take home").classes("home-card"):
            with ui.element("div").classes("exports"):
                button("Picture", "image", self._png)
                button("Strip", "view_week", self._strip)
                button("Video", "movie", lambda: self._video("mp4"))
                button("GIF", "gif_box", lambda: self._video("gif"))
                self.photo_button = button("Photo", "photo", self._photo)
                button("Latents", "data_array", self._latents)
            with ui.element("div").classes("exports"):
                button("As command line", "terminal", lambda: self._show_code(exports.command_line))
                button("As Python", "code", lambda: self._show_code(exports.python_code))
            self.making = ui.element("div").classes("jobs").props('aria-live="polite"')

    # Showing the document.

    def refresh(self) -> None:
        """Bring everything up to the present document."""
        document = self.session.document
        if self.generators is not None:
            self.generators.set_value(document.generator)
        self.stage.show([face.name for face in document.faces], document.chosen)
        self.empty.set_visibility(not document.faces)
        _enable(self.undo, self.session.history.can_undo)
        _enable(self.redo, self.session.history.can_redo)
        has_photo = document.face is not None and document.face.photo is not None
        self.tune_button.set_visibility(
            has_photo and document.face is not None and document.face.generator is None
        )
        for own in (self.in_photo, self.photo_button):
            own.set_visibility(has_photo)
        self._refresh_chips(document)
        self._refresh_motions(document)
        self._refresh_looks(document)
        self._refresh_lanes(document)

    def _refresh_chips(self, document: Document) -> None:
        self.chips.clear()
        with self.chips:
            for place, face in enumerate(document.faces):
                chosen = place == document.chosen
                with ui.element("span").classes("chip" + (" on" if chosen else "")):
                    pick = ui.button(
                        _title(face.name),
                        on_click=functools.partial(self._choose, place),
                        color=None,
                    )
                    pick.props("flat no-caps dense").props(f"aria-pressed={str(chosen).lower()}")
                    if "psnr" in face.source:
                        with pick:
                            ui.tooltip(f"{face.source['psnr']:.1f} dB like the photo")
                    remove = icon_button(
                        "close", f"Remove {face.name}", functools.partial(self._remove, face.name)
                    )
                    remove.props("size=xs")

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
            self.sliders[motion.name].set(motion.strength)

    def _motion_row(self, motion: Motion) -> None:
        name = motion.name
        with ui.element("div").classes("motion-row"):
            limits = motion.limits or motion.subspace.meta.get("limits")
            self.sliders[name] = MotionSlider(
                _title(name),
                LARGEST,
                motion.strength,
                limits,
                lambda value, seq: self.session.move(name, value, seq=seq),
                lambda value, seq: self._commit(name, value, seq),
            )
            with icon_button("more_vert", f"More about {_title(name)}"), ui.menu():
                ui.menu_item("Thumbnails over strengths…", lambda: self._sheet(name))
                ui.menu_item("Layers…", lambda: self._ask_layers(name))
                ui.menu_item("Key frame at this time", lambda: self._set_key(name))
                ui.menu_item("Save as subspace file", lambda: self._subspace(name))
                ui.menu_item("Remove the slider", lambda: self._remove_motion(name))

    def _refresh_looks(self, document: Document) -> None:
        self.looks.clear()
        with self.looks:
            self._look("Neutral", lambda: self._apply({}))
            if document.motions:
                self._look("Surprise me", lambda: self._do(self.session.surprise))
            for name, strengths in document.looks:
                self._look(name, functools.partial(self._apply, dict(strengths)))
            if document.is_moved:
                self._look("+ Keep this look", self._keep_look)

    def _look(self, text: str, on_click: Callable[[], Any]) -> None:
        small_button(text, on_click)

    def _refresh_lanes(self, document: Document) -> None:
        self.lanes.clear()
        keyed = [motion for motion in document.motions if motion.keys]
        with self.lanes:
            for motion in keyed:
                with ui.element("div").classes("lane"):
                    ui.label(_title(motion.name)).classes("lane-name")
                    with ui.element("div").classes("lane-track"):
                        for key in motion.keys:
                            place = 100 * key.time / document.seconds
                            words = f"{_title(motion.name)} {key.strength:+.2f} at {key.time:.1f} s"
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

    # Changes.

    def _do(self, change: Callable[[], Any]) -> bool:
        """Make a change, show what came of it, and say what was wrong with it."""
        try:
            change()
        except (DataError, UsageError) as error:
            self._warn(str(error))
            return False
        self.refresh()
        self._keep()
        return True

    async def _add(self, change: Callable[..., Any], more: int = 1) -> None:
        """Make a change that shows more faces, after what draws so many is compiled."""
        count = min(len(self.session.document.faces) + more, MOST_FACES)
        if not self.studio.is_warm(self.session.world, count):
            self.note.set_text(f"Preparing to draw {count} faces (only the first time)…")
            await run.io_bound(self.studio.warm_up, self.session.world, count)
            self.note.set_text("")
        self._do(change)

    def _commit(self, name: str, value: float, seq: int) -> None:
        self.session.move(name, value, seq=seq)
        self.session.commit(seq=seq)
        self.refresh()
        self._keep()

    def _apply(self, strengths: dict[str, float]) -> None:
        self._do(lambda: self.session.commit(self.session.document.set_strengths(strengths)))

    def _keep_look(self) -> None:
        self._do(lambda: self.session.commit(self.session.document.keep_look()))

    def _undo(self) -> None:
        self._do(self.session.undo)

    def _redo(self) -> None:
        self._do(self.session.redo)

    def _choose(self, place: int) -> None:
        self._do(lambda: self.session.history.amend(self.session.document.choose(place)))

    def _remove(self, name: str) -> None:
        self._do(lambda: self.session.commit(self.session.document.remove_face(name)))

    def _remove_key(self, name: str, time: float) -> None:
        self._do(lambda: self.session.commit(self.session.document.remove_key(name, time)))

    def _remove_motion(self, name: str) -> None:
        self._do(lambda: self.session.commit(self.session.document.remove_motion(name)))

    def _size(self, side: int) -> None:
        self.session.side = min(max(side, 128), 2048)

    def _key(self, event: events.KeyEventArguments) -> None:
        if not event.action.keydown:
            return
        ctrl = event.modifiers.ctrl or event.modifiers.meta
        if ctrl and event.key.name.lower() == "z":
            self._redo() if event.modifiers.shift else self._undo()
        elif ctrl and event.key.name.lower() == "y":
            self._redo()
        elif event.key.name.lower() == "p" and not ctrl:
            self._play()

    def _warn(self, text: str) -> None:
        self._say(text, type="warning", multi_line=True, timeout=7000, close_button="OK")

    def _say(self, text: str, **options: Any) -> None:
        # In the page's own slot: what was clicked may be gone by now.
        with self.root:
            ui.notify(text, **options)

    async def _change_world(self, event: events.ValueChangeEventArguments) -> None:
        if event.value == self.session.world.name:
            return
        self.note.set_text("Opening the generator…")
        try:
            world = await run.io_bound(self.studio.prepare, event.value)
            assert world is not None
            self._do(lambda: self.session.change_world(world))
        except (DataError, UsageError) as error:
            self._warn(str(error))
        self.note.set_text("")

    # Faces.

    async def _ask_seed(self) -> None:
        gen = self.session.world.gen
        with _asking("Face of a seed") as dialog:
            seed = ui.number("Seed", value=100, min=0, max=MAX_SEED, step=1, precision=0)
            psi = ui.number("Truncation psi", value=0.7, min=0, max=1.5, step=0.1)
            label = None
            if gen.config.c_dim:
                label = ui.number("Class", value=0, min=0, max=gen.config.c_dim - 1, precision=0)
            self._ask_buttons(dialog, "Add")
        if await dialog:
            chosen = int(label.value or 0) if label is not None else None
            await self._add(
                lambda: self.session.add(
                    session_files.sampled(gen, int(seed.value or 0), float(psi.value or 0), chosen)
                )
            )
        dialog.delete()

    async def _ask_mix(self) -> None:
        faces = self.session.document.faces
        if len(faces) < 2:
            self._warn("A mix needs two faces on the stage: add another one first.")
            return
        names = {i: _title(face.name) for i, face in enumerate(faces)}
        half = len(faces[0].ws) // 2
        with _asking("Mix of two faces") as dialog:
            first = ui.select(names, value=0, label="From")
            second = ui.select(names, value=1, label="Towards")
            ui.label("How far")
            fraction = ui.slider(min=0, max=1, step=0.05, value=0.5).props(
                'label aria-label="How far"'
            )
            part = ui.radio(
                {"all": "Everything", "shape": "Only the shape", "colour": "Only the colours"},
                value="all",
            )
            self._ask_buttons(dialog, "Add")
        if await dialog:
            rows = {"all": None, "shape": range(half), "colour": range(half, 2 * half)}[part.value]
            mixed = photos.mixed(
                faces[first.value],
                faces[second.value],
                fraction=float(fraction.value or 0.0),
                rows=rows,
            )
            await self._add(lambda: self.session.add(mixed))
        dialog.delete()

    def _ask_buttons(self, dialog: ui.dialog, text: str) -> None:
        with ui.element("div").classes("actions end"):
            button("Cancel", None, lambda: dialog.submit(None))
            main_button(text, None, lambda: dialog.submit(True))

    async def _take_photo(self, event: events.UploadEventArguments) -> None:
        data, name = await event.file.read(), Path(event.file.name).stem or "photo"
        self.photo_upload.reset()
        await self._photo_bytes(data, distinct(name, []))

    async def _photo_bytes(self, data: bytes, name: str) -> None:
        self.note.set_text("Looking for faces…")
        world = self.session.world
        try:
            image = await run.io_bound(open_image, data, name)
            assert image is not None
            found = await run.io_bound(photos.find, world, image, name)
        except (DataError, UsageError) as error:
            self._warn(str(error))
            return
        finally:
            self.note.set_text("")
        assert found
        chosen = found[0] if len(found) == 1 else await self._which(found)
        if chosen is None:
            return
        await self._add(lambda: self.session.add(chosen))
        added = self.session.document.face
        if added is not None and added.photo is not None:
            self._refine(added.name, tune=False)

    async def _which(self, found: list[Face]) -> Face | None:
        with _asking(f"{len(found)} faces: which one?", wide=True) as dialog:
            with ui.element("div").classes("thumbs"):
                for i, face in enumerate(found):
                    assert face.photo is not None
                    with (
                        ui.element("button")
                        .classes("thumb")
                        .on("click", functools.partial(dialog.submit, i + 1))
                    ):
                        ui.html(
                            f'<img src="{data_url(face.photo.crop, side=160)}" '
                            f'alt="Face {i + 1} from the left">',
                            sanitize=False,
                        )
            with ui.element("div").classes("actions end"):
                button("Cancel", None, lambda: dialog.submit(None))
        place = await dialog
        dialog.delete()
        return found[place - 1] if place else None

    def _tune(self) -> None:
        face = self.session.document.face
        if face is not None:
            self._refine(face.name, tune=True)

    def _refine(self, name: str, *, tune: bool) -> None:
        def done(face: Face) -> None:
            # In the thread of the jobs: the page takes it at its next tick.
            self._uploads[name] = face

        try:
            job = self.session.refine(name, tune=tune, done=done)
        except UsageError as error:
            self._warn(str(error))
            return
        self._follow(job, self.making, lambda face: self._refined(name, face))

    def _refined(self, name: str, face: Face) -> None:
        self._uploads.pop(name, None)
        self.session.amend(self.session.document.replace_face(name, face))
        self.refresh()
        self._keep()
        self._say(
            f"{_title(name)} is refined: {face.source['psnr']:.1f} dB like the photo",
            type="positive",
        )

    async def _take_latents(self, event: events.UploadEventArguments) -> None:
        data, name = await event.file.read(), Path(event.file.name).stem
        self.latents_upload.reset()
        await self._add(lambda: self._add_latents(data, name))

    def _add_latents(self, data: bytes, name: str) -> None:
        gen = self.session.world.gen
        with _as_file(data, f"{name}.npz") as path:
            loaded = load_latents(path)
        wanted = (gen.config.num_ws, gen.config.w_dim)
        check_latent_shape(name, loaded.ws.shape[1:], wanted, gen.name)
        names = loaded.names or [f"{name}_{i}" for i in range(len(loaded.ws))]
        document = self.session.document
        room = MOST_FACES - len(document.faces)
        for own, ws in list(zip(names, loaded.ws, strict=True))[: max(room, 1)]:
            document = document.add_face(Face(own, ws, {"kind": "file"}))
        self.session.commit(document)
        if len(loaded.ws) > room:
            self._warn(
                f"{name} holds {len(loaded.ws)} latents: {room} of them are on the stage now"
            )

    async def _camera(self) -> None:
        with _asking("Photo by the camera", wide=True) as dialog:
            ui.html(
                '<video id="camera" autoplay playsinline muted aria-label="The camera"></video>',
                sanitize=False,
            )
            with ui.element("div").classes("actions end"):
                button("Cancel", None, lambda: dialog.submit(None))
                main_button("Take it", "photo_camera", lambda: dialog.submit(True))
        dialog.open()
        started = await ui.run_javascript(
            """
            try {
              document.getElementById("camera").srcObject =
                await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
              return "";
            } catch (error) { return error.name || "no camera"; }
            """,
            timeout=60,
        )
        if started:
            self._warn(f"The camera cannot be used ({started}): take a photo and drop it here.")
            dialog.close()
        elif await dialog:
            # The picture goes the way of every other upload.
            ui.run_javascript(
                f"""
                const video = document.getElementById("camera");
                const canvas = Object.assign(document.createElement("canvas"),
                  {{ width: video.videoWidth, height: video.videoHeight }});
                canvas.getContext("2d").drawImage(video, 0, 0);
                canvas.toBlob((blob) => getElement({self.photo_upload.id}).$refs.qRef.addFiles(
                  [new File([blob], "camera.jpg", {{ type: "image/jpeg" }})]), "image/jpeg", 0.95);
                """
            )
        ui.run_javascript(
            'document.getElementById("camera")?.srcObject?.getTracks().forEach((t) => t.stop())'
        )
        await asyncio.sleep(1)
        dialog.delete()

    def _paste(self) -> None:
        self._do(self.session.paste)

    # Learning.

    def _learn(self) -> None:
        template = (self.prompt.value or "").strip()
        name = distinct(
            " ".join(
                word for word in template.replace("{degree}", "").split() if word not in _SMALL
            ),
            [],
        )
        preview = _Preview()
        try:
            job = self.session.learn_prompt(template, name, preview.put)
        except UsageError as error:
            self._warn(str(error))
            return
        self._follow(job, self.learning, self._learnt, preview)

    async def _take_video(self, event: events.UploadEventArguments) -> None:
        folder = tempfile.TemporaryDirectory(prefix="mm_studio_")
        stem = distinct(Path(event.file.name).stem or "video", [])
        suffix = Path(event.file.name).suffix.lower()
        path = Path(folder.name, f"{stem}{suffix if suffix.isascii() and len(suffix) < 6 else ''}")
        await event.file.save(path)
        self.video_upload.reset()
        try:
            job = self.session.learn_video(path, stem, aligned=False, done=folder.cleanup)
        except UsageError as error:
            folder.cleanup()
            self._warn(str(error))
            return
        self._follow(job, self.learning, self._learnt)

    def _learnt(self, learnt: Learnt) -> None:
        self._do(lambda: self.session.commit(self.session.document.add_motion(learnt.motion)))
        name = self.session.document.motions[-1].name
        subspace = learnt.motion.subspace
        with self.learning, ui.element("div").classes("learnt") as own:
            with ui.element("div").classes("job-head"):
                ui.label(f"{_title(name)} has a slider now").classes("job-title")
                icon_button("close", "Dismiss", own.delete)
            ui.label(
                f"Its first direction holds {float(subspace.pc1_ratio):.0%} of the motion."
            ).classes("hint")
            ui.html(_spectrum(subspace.singular_values), sanitize=False)
            for line in learnt.warnings:
                with ui.element("div").classes("warning").props('role="alert"'):
                    ui.icon("warning_amber").props('aria-hidden="true"')
                    ui.label(line)
            button("Save as subspace file", "download", lambda: self._subspace(name))

    async def _take_subspace(self, event: events.UploadEventArguments) -> None:
        data, name = await event.file.read(), Path(event.file.name).stem
        self.subspace_upload.reset()

        def add() -> None:
            with _as_file(data, f"{distinct(name, [])}.npz") as path:
                motion = file_motion(self.session.world.gen, path, name)
            self.session.commit(self.session.document.add_motion(motion))

        self._do(add)

    def _follow(
        self,
        job: Job,
        place: ui.element,
        done: Callable[[Any], None],
        preview: _Preview | None = None,
    ) -> None:
        """Show a job until it is over."""
        with place, ui.element("div").classes("job") as own:
            with ui.element("div").classes("job-head"):
                ui.label(job.title).classes("job-title")
                cancel = button("Cancel", None, lambda: self.studio.jobs.cancel(job))
            bar = ui.linear_progress(0, show_value=False).props('rounded aria-label="Progress"')
            words = ui.label("").classes("hint")
            shown = ui.element("div").classes("so-far")

        def tick(over: Any = None) -> None:
            if job.is_over:
                own.delete()
                if job.state == "failed":
                    self._warn(job.error)
                elif job.state == "done":
                    done(job.result)
                return
            bar.set_value(round(job.fraction, 3))
            ahead = f"Waiting: {job.ahead} job{'s' if job.ahead > 1 else ''} before yours"
            left = job.seconds * (1 - job.fraction) / job.fraction if job.fraction > 0.05 else 0
            about = f", about {left:.0f} s left" if left >= 1 else ""
            words.set_text(ahead if job.state == "waiting" else f"{job.label}{about}")
            if preview is not None and (pictures := preview.take()):
                shown.clear()
                with shown:
                    ui.label("So far:").classes("hint")
                    for picture, text in zip(pictures, ("-1", "0", "+1"), strict=True):
                        ui.html(
                            f'<img src="{_url(picture)}" alt="strength {text}">', sanitize=False
                        )

        del cancel
        self.jobs.append((job, tick))

    def _tick(self) -> None:
        for name, face in list(self._uploads.items()):
            # A refined face before its generator is tuned.
            if self._uploads.pop(name, None) is not None:
                self.session.amend(self.session.document.replace_face(name, face))
                self.refresh()
        for entry in list(self.jobs):
            job, tick = entry
            if job.is_over:
                self.jobs.remove(entry)
            tick(None)

    # Motions' menus.

    async def _sheet(self, name: str) -> None:
        try:
            images = await run.io_bound(self.session.sheet, name)
        except UsageError as error:
            self._warn(str(error))
            return
        assert images is not None
        with _asking(f"{_title(name)} over strengths", wide=True) as dialog:
            with ui.element("div").classes("thumbs sheet"):
                for strength, image in zip(SHEET, images, strict=True):
                    with (
                        ui.element("button")
                        .classes("thumb")
                        .on("click", functools.partial(dialog.submit, (strength,)))
                    ):
                        ui.html(
                            f'<img src="{data_url(image, side=160)}" alt="strength {strength:+g}">'
                            f"<span>{strength:+g}</span>",
                            sanitize=False,
                        )
            with ui.element("div").classes("actions end"):
                button("Close", None, lambda: dialog.submit(None))
        chosen = await dialog
        dialog.delete()
        if chosen:
            self._do(
                lambda: self.session.commit(self.session.document.change(name, strength=chosen[0]))
            )

    async def _ask_layers(self, name: str) -> None:
        rows = self.session.world.gen.config.num_ws
        motion = self.session.document.motion(name)
        groups = _layer_groups(rows)
        present = next((k for k, v in groups.items() if v == motion.layers), "all")
        with _asking(f"What {_title(name)} may change") as dialog:
            part = ui.radio(_LAYERS, value=present)
            self._ask_buttons(dialog, "Use")
        if await dialog:
            chosen = groups[part.value]
            self._do(lambda: self.session.commit(self.session.document.change(name, layers=chosen)))
        dialog.delete()

    # Time line.

    def _scrub(self, event: events.ValueChangeEventArguments) -> None:
        document = self.session.document
        self._time = float(event.value) * document.seconds
        self.clock.set_text(f"{self._time:.1f} s")
        if any(motion.keys for motion in document.motions):
            self.session.history.show(document.at(self._time))
            self.session.render(running=True)
            for motion in self.session.document.motions:
                self.sliders[motion.name].set(round(motion.strength, 2))

    def _go(self, time: float) -> None:
        self.scrub.set_value(time / self.session.document.seconds)

    def _set_key(self, name: str) -> None:
        document = self.session.document
        motion = document.motion(name)
        if not motion.keys and self._time > 0:
            document = document.set_key(name, 0.0, 0.0)
        document = document.set_key(name, self._time, motion.strength)
        self._do(lambda: self.session.commit(document))

    def _set_keys(self) -> None:
        document = self.session.document
        keyed = [motion for motion in document.motions if motion.strength or motion.keys]
        if not keyed:
            self._warn("Move a slider first: a key frame keeps its strength at this time.")
            return
        for motion in keyed:
            if not motion.keys and self._time > 0:
                document = document.set_key(motion.name, 0.0, 0.0)
            document = document.set_key(motion.name, self._time, motion.strength)
        self._do(lambda: self.session.commit(document))

    def _length(self) -> None:
        seconds, fps = float(self.seconds.value or 2.0), float(self.fps.value or 20.0)
        document = dataclasses.replace(
            self.session.document,
            seconds=min(max(seconds, 0.5), 20.0),
            fps=min(max(fps, 5.0), 30.0),
        )
        self._do(lambda: self.session.commit(document))

    def _play(self) -> None:
        document = self.session.document
        if self.play_button.props.get("icon") == "stop":
            self._stop()
            return
        if not document.is_moved and not any(motion.keys for motion in document.motions):
            self._warn("Nothing moves yet: drag a slider, or set key frames.")
            return
        bounce = not any(motion.keys for motion in document.motions)
        self.stage.run_method("play", document.fps, bounce)
        self._do(self.session.animate)
        self.play_button.props("icon=stop")
        self.play_button.props["aria-label"] = "Stop (P)"

    def _stop(self) -> None:
        self.session.stop()
        self.stage.run_method("stop")
        self.session.render()
        self.play_button.props("icon=play_arrow")
        self.play_button.props["aria-label"] = "Play (P)"

    # Taking home.

    async def _png(self) -> None:
        await self._export("png", exports.png)

    async def _strip(self) -> None:
        await self._export("strip.png", exports.strip)

    async def _photo(self) -> None:
        await self._export("photo.png", exports.photo)

    async def _latents(self) -> None:
        await self._export("latents.npz", lambda _, document: exports.latents(document))

    async def _export(self, what: str, make: Callable[[Generator, Document], bytes]) -> None:
        document, gen = self.session.document, self.session.world.gen
        if not document.faces:
            self._warn("There is no face yet: add one first.")
            return
        try:
            data = await run.io_bound(make, gen, document)
        except (DataError, UsageError) as error:
            self._warn(str(error))
            return
        assert data is not None
        self._hand_out(data, self._file_name(what))

    def _subspace(self, name: str) -> None:
        self._hand_out(exports.subspace(self.session.document, name), f"{name}.zip")

    def _file_name(self, what: str) -> str:
        face = self.session.document.face
        own = face.name if face is not None else "studio"
        return f"{own}.{what}" if "." not in what else f"{own}_{what}"

    def _hand_out(self, data: bytes, name: str) -> None:
        if self.outdir:
            path = Path(self.outdir, distinct(name, []))
            io.write_atomic(path, lambda file: file.write(data))
        with self.root:
            ui.download.content(data, name)

    def _video(self, kind: str) -> None:
        try:
            job = self.session.export(kind)
        except UsageError as error:
            self._warn(str(error))
            return
        self._follow(job, self.making, lambda data: self._hand_out(data, self._file_name(kind)))

    def _save_session(self) -> None:
        try:
            text = session_files.dump(self.session.document, self.session.world.gen)
        except DataError as error:
            self._warn(str(error))
            return
        self._hand_out(text.encode(), exports.SESSION)

    async def _open_session(self, event: events.UploadEventArguments) -> None:
        data = await event.file.read()
        self.session_upload.reset()
        if self._do(lambda: self.session.open_session(data)):
            self._say("The session is open", type="positive")

    async def _show_code(self, make: Callable[[Document], str]) -> None:
        document = self.session.document
        try:
            text = make(document)
        except UsageError as error:
            self._warn(str(error))
            return
        needs_file = not exports.is_plain(document)
        with _asking("The same pictures, without the studio", wide=True) as dialog:
            with ui.element("pre").classes("code").props('tabindex="0"'):
                ui.label(text)
            if needs_file:
                ui.label("It reads the session's file: save that, too.").classes("hint")
            with ui.element("div").classes("actions end"):
                if needs_file:
                    button("Save studio.json", "save", self._save_session)
                button("Close", None, lambda: dialog.submit(None))
                main_button("Copy", "content_copy", lambda: self._copy(text))
        await dialog
        dialog.delete()

    def _copy(self, text: str) -> None:
        ui.clipboard.write(text)
        self._say("Copied", type="positive")

    # The tab's own memory: a page that is loaded anew, or whose server was started anew, goes on.

    def _keep(self) -> None:
        document, gen = self.session.document, self.session.world.gen
        text = json.dumps(session_files.dump(document, gen, photos=False))
        self.client.run_javascript(f"sessionStorage.setItem('mm_studio', {text})")

    async def _restore(self) -> None:
        try:
            kept = await ui.run_javascript("return sessionStorage.getItem('mm_studio')", timeout=5)
        except TimeoutError:
            kept = None
        text = kept or self._start
        if not text:
            return
        try:
            values = session_files.read(text)
            name = session_files.generator_of(values)
            await run.io_bound(self.studio.prepare, name)
            count = max(len(values.get("faces", ())), 1)
            await run.io_bound(
                self.studio.warm_up, self.studio.worlds[name], min(count, MOST_FACES)
            )
            self.session.open_session(text)
            self.session.history = type(self.session.history)(self.session.document)
        except (DataError, UsageError) as error:
            if not kept:
                self._warn(str(error))
            self.client.run_javascript("sessionStorage.removeItem('mm_studio')")

    # The rest.

    def _turn_dark(self) -> None:
        order: list[bool | None] = [None, True, False]
        value = order[(order.index(self.dark.value) + 1) % 3]
        self.dark.value = value
        self._say({None: "As the system", True: "Dark", False: "Light"}[value])

    async def _help(self) -> None:
        with _asking("How it works") as dialog:
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


# What is dropped goes the way of the button for its kind.
_DROP = """(e) => {
  e.preventDefault();
  const files = [...e.dataTransfer.files];
  if (!files.length) return;
  const { name, type } = files[0];
  const kind = type.startsWith("video/") || type === "image/gif" ? "video"
    : name.endsWith(".json") ? "session" : name.endsWith(".npz") ? "latents" : "photo";
  getElement(document.querySelector(".upload-" + kind).id.slice(1)).$refs.qRef.addFiles(files);
}"""
_KEYS = {
    "Tab": "from slider to slider",
    "← →": "move a slider",
    "0": "reset a slider",
    "B": "hold for before",
    "P": "play, stop",
    "Ctrl Z": "undo; with Shift, redo",
}
_SMALL = frozenset(("a", "an", "the", "person", "with", "of", "face", "is", "and"))


class _Preview:
    """Pictures that a thread leaves for the page."""

    def __init__(self) -> None:
        self._pictures: list[bytes] = []

    def put(self, pictures: list[bytes]) -> None:
        """Leave pictures in place of those that were not taken."""
        self._pictures = pictures

    def take(self) -> list[bytes]:
        """The pictures, once."""
        pictures, self._pictures = self._pictures, []
        return pictures


class _as_file:
    """The path of a temporary file with these bytes, gone after the block."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name = data, name

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix="mm_studio_")
        path = Path(self._folder.name, self._name)
        path.write_bytes(self._data)
        return path

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


@contextlib.contextmanager
def _asking(title: str, *, wide: bool = False) -> Iterator[ui.dialog]:
    """A dialog to be filled in the block."""
    with ui.dialog() as dialog, ui.card().classes("ask wide" if wide else "ask") as sheet:
        sheet.props["role"] = "dialog"
        sheet.props["aria-label"] = title
        ui.label(title).classes("ask-title")
        yield dialog


def _picks(own: ui.element, kind: str) -> None:
    """Let a click choose a file for an upload; browsers allow that in a click only."""
    way = f'document.querySelector(".upload-{kind}").id.slice(1)'
    own.on("click", js_handler=f"() => getElement({way}).$refs.qRef.pickFiles()")


def _enable(own: ui.button, on: bool) -> None:
    own.enable() if on else own.disable()


def _title(name: str) -> str:
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _url(image: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"


def _layer_groups(rows: int) -> dict[str, tuple[int, ...] | None]:
    """Rows of W+ by what they style: a third each."""
    third = max(rows // 3, 1)
    return {
        "all": None,
        "coarse": tuple(range(third)),
        "middle": tuple(range(third, 2 * third)),
        "fine": tuple(range(2 * third, rows)),
    }


def _spectrum(values: Any) -> str:
    """The singular values as a small bar chart (SVG)."""
    squares = np.square(np.asarray(values, np.float64))
    squares = squares if squares.ndim == 1 else squares.sum(axis=0)
    shares = (squares / max(squares.sum(), 1e-12))[:10]
    bars = "".join(
        f'<rect x="{18 * i}" y="{40 - 38 * share:.1f}" width="12" height="{38 * share + 2:.1f}"/>'
        for i, share in enumerate(shares)
    )
    return (
        f'<svg class="spectrum" viewBox="0 0 {18 * len(shares)} 42" role="img" '
        f'aria-label="Singular spectrum: the first direction holds {shares[0]:.0%}">{bars}</svg>'
    )
