"""The faces of the stage: sampled, from photos and files, mixed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nicegui import events, run, ui

from mm_jax import zoo
from mm_jax.artifacts import load_latents
from mm_jax.checks import check_latent_shape
from mm_jax.errors import DataError, UsageError
from mm_jax.parsers import MAX_SEED
from mm_jax.studio import exports, photos, session_files
from mm_jax.studio.dialogs import PICK, as_file, ask_buttons, asking, picks, title_of
from mm_jax.studio.document import MAX_FACES, Document, Face, distinct
from mm_jax.studio.images import MAX_BYTES, data_url, open_image
from mm_jax.studio.widgets import Camera, button, hidden_upload, icon_button, main_button

if TYPE_CHECKING:
    from mm_jax.studio.page import Page

__all__ = ["FacesPanel"]

_CAMERA = f"(...args) => navigator.mediaDevices ? emit(...args) : {PICK.format(kind='camera')}"


class FacesPanel:
    """The row of faces below the stage, and the ways to get one.

    Args:
        page: whose panel it is.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self._uploads: dict[str, Face] = {}

    def build_tools(self) -> None:
        """Build the buttons for a face of a photo, beside the stage's own."""
        self.in_photo = button("In the photo", "photo", self._paste)
        self.tune_button = button("Tune to the photo", "tune", self._tune)
        with self.tune_button:
            ui.tooltip("Trains a copy of the generator until the face looks like the photo")

    def build(self) -> None:
        """Build the row of faces."""
        with ui.element("div").classes("faces").props('role="group" aria-label="Faces"'):
            self.chips = ui.element("div").classes("chips")
            with ui.element("div").classes("adders"):
                button("Random", "casino", lambda: self._add(self.page.session.add_random))
                picks(button("Photo", "add_a_photo"), "photo")
                with button("More", "expand_more").props('aria-haspopup="menu"'), ui.menu():
                    ui.menu_item("Face of a seed…", self._ask_seed)
                    ui.menu_item(
                        "Three neighbours", lambda: self._add(self.page.session.add_neighbours, 3)
                    )
                    ui.menu_item("Mix of two faces…", self._ask_mix)
                    picks(ui.menu_item("Latents from a file…"), "latents")
                    item = ui.menu_item("Photo by the camera…")
                    # Browsers show a page the camera on this computer or by https only; elsewhere,
                    # as on a phone at --host, the device's own camera takes the photo.
                    item.on("click", self._camera, js_handler=_CAMERA)
        self.photo_upload, self.camera_upload = (
            hidden_upload(
                name,
                self._take_photo,
                accept="image/*",
                max_bytes=MAX_BYTES,
                what="A photo is an image file",
                warn=self.page.warn,
            )
            for name in ("photo", "camera")
        )
        self.camera_upload.props("capture=user")
        self.latents_upload = hidden_upload(
            "latents",
            self._take_latents,
            accept=".npz",
            max_bytes=MAX_BYTES,
            what="Latents are a file .npz",
            warn=self.page.warn,
        )

    def refresh(self, document: Document) -> None:
        """Show the faces of a document."""
        self._refresh_chips(document)
        face = document.face
        has_photo = face is not None and face.photo is not None
        self.in_photo.set_visibility(has_photo)
        self.tune_button.set_visibility(
            face is not None and face.photo is not None and face.generator is None
        )

    def _refresh_chips(self, document: Document) -> None:
        self.chips.clear()
        with self.chips:
            for place, face in enumerate(document.faces):
                chosen = place == document.chosen
                with ui.element("span").classes("chip" + (" on" if chosen else "")):
                    pick = ui.button(
                        title_of(face.name),
                        on_click=functools.partial(self.choose, place),
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

    def tick(self) -> None:
        """Take over what the thread of the jobs has left: faces before their generator is tuned."""
        for name in list(self._uploads):
            face = self._uploads.pop(name)
            self.page.session.amend(self.page.session.document.replace_face(name, face))
            self.page.refresh()

    def choose(self, place: int) -> None:
        """Choose a face of the stage."""
        self.page.do(
            lambda: self.page.session.history.amend(self.page.session.document.choose(place))
        )

    async def _add(self, change: Callable[..., Any], more: int = 1) -> None:
        """Make a change that shows more faces, after what draws so many is compiled."""
        count = min(len(self.page.session.document.faces) + more, MAX_FACES)
        if not self.page.studio.is_warm(self.page.session.world, count):
            self.page.note.set_text(f"Preparing to draw {count} faces (only the first time)…")
            await run.io_bound(self.page.studio.warm_up, self.page.session.world, count)
            self.page.note.set_text("")
        self.page.do(change)

    def _remove(self, name: str) -> None:
        self.page.do(lambda: self.page.session.commit(self.page.session.document.remove_face(name)))

    async def _ask_seed(self) -> None:
        gen = self.page.session.world.gen
        with asking("Face of a seed") as dialog:
            seed = ui.number("Seed", value=zoo.FACE, min=0, max=MAX_SEED, step=1, precision=0)
            psi = ui.number("Truncation psi", value=0.7, min=0, max=1.5, step=0.1)
            label = None
            if gen.config.c_dim:
                label = ui.number("Class", value=0, min=0, max=gen.config.c_dim - 1, precision=0)
            ask_buttons(dialog, "Add")
        if await dialog:
            chosen = int(label.value or 0) if label is not None else None
            await self._add(
                lambda: self.page.session.add(
                    session_files.sampled(gen, int(seed.value or 0), float(psi.value or 0), chosen)
                )
            )
        dialog.delete()

    async def _ask_mix(self) -> None:
        faces = self.page.session.document.faces
        if len(faces) < 2:
            self.page.warn("A mix needs two faces on the stage: add another one first.")
            return
        names = {i: title_of(face.name) for i, face in enumerate(faces)}
        half = len(faces[0].ws) // 2
        with asking("Mix of two faces") as dialog:
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
            ask_buttons(dialog, "Add")
        if await dialog:
            rows = {"all": None, "shape": range(half), "colour": range(half, 2 * half)}[part.value]
            mixed = photos.mixed(
                faces[first.value],
                faces[second.value],
                fraction=float(fraction.value or 0.0),
                rows=rows,
            )
            await self._add(lambda: self.page.session.add(mixed))
        dialog.delete()

    async def _take_photo(self, event: events.UploadEventArguments) -> None:
        data, name = await event.file.read(), Path(event.file.name).stem or "photo"
        self.photo_upload.reset()
        self.camera_upload.reset()
        await self._photo_bytes(data, distinct(name, []))

    async def _photo_bytes(self, data: bytes, name: str) -> None:
        self.page.note.set_text("Looking for faces…")
        world = self.page.session.world
        try:
            image = await run.io_bound(open_image, data, name)
            assert image is not None
            found = await run.io_bound(photos.find, world, image, name)
        except (DataError, UsageError) as error:
            self.page.warn(str(error))
            return
        finally:
            self.page.note.set_text("")
        assert found
        chosen = found[0] if len(found) == 1 else await self._which(found)
        if chosen is None:
            return
        await self._add(lambda: self.page.session.add(chosen))
        added = self.page.session.document.face
        if added is not None and added.photo is not None:
            self._refine(added.name, tune=False)

    async def _which(self, found: list[Face]) -> Face | None:
        with asking(f"{len(found)} faces: which one?", wide=True) as dialog:
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
        face = self.page.session.document.face
        if face is not None:
            self._refine(face.name, tune=True)

    def _refine(self, name: str, *, tune: bool) -> None:
        def done(face: Face) -> None:
            # In the thread of the jobs: the page takes it at its next tick.
            self._uploads[name] = face

        try:
            job = self.page.session.refine(name, tune=tune, done=done)
        except UsageError as error:
            self.page.warn(str(error))
            return
        self.page.jobs.follow(job, self.page.home.jobs, lambda face: self._refined(name, face))

    def _refined(self, name: str, face: Face) -> None:
        self._uploads.pop(name, None)
        self.page.session.amend(self.page.session.document.replace_face(name, face))
        self.page.refresh()
        self.page.keep()
        done = "refined" if face.generator is None else "tuned"
        how = f"{title_of(name)} is {done}: {face.source['psnr']:.1f} dB like the photo"
        if lines := photos.doubts(face, title_of(name)):
            self.page.warn(f"{how}. {lines}")
        else:
            self.page.say(how, type="positive")

    async def _take_latents(self, event: events.UploadEventArguments) -> None:
        data, name = await event.file.read(), Path(event.file.name).stem
        self.latents_upload.reset()
        if exports.holds_subspace(data):  # as what is dropped may be either
            self.page.learning.add_file(data, f"{name}.npz")
            return
        await self._add(lambda: self._add_latents(data, name))

    def _add_latents(self, data: bytes, name: str) -> None:
        gen = self.page.session.world.gen
        with as_file(data, f"{name}.npz") as path:
            loaded = load_latents(path)
        wanted = (gen.config.num_ws, gen.config.w_dim)
        check_latent_shape(name, loaded.ws.shape[1:], wanted, gen.name)
        names = loaded.names or [f"{name}_{i}" for i in range(len(loaded.ws))]
        document = self.page.session.document
        room = MAX_FACES - len(document.faces)
        for own, ws in list(zip(names, loaded.ws, strict=True))[: max(room, 1)]:
            document = document.add_face(Face(own, ws, {"kind": "file"}))
        self.page.session.commit(document)
        if len(loaded.ws) > room:
            self.page.warn(
                f"{name} holds {len(loaded.ws)} latents: {room} of them are on the stage now"
            )

    async def _camera(self) -> None:
        with asking("Photo by the camera", wide=True) as dialog:
            camera = Camera(
                on_ready=lambda: take.enable(),
                on_failed=lambda why: (dialog.close(), self._no_camera(why)),
            )
            with ui.element("div").classes("actions end"):
                button("Cancel", None, lambda: dialog.submit(None))
                take = main_button("Take it", "photo_camera", lambda: dialog.submit(None))
                take.disable()
                take.on(
                    "click",
                    js_handler=f"() => runMethod({camera.id}, 'take', [{self.photo_upload.id}])",
                )
        await dialog
        dialog.delete()  # which turns the camera off

    def _no_camera(self, why: str) -> None:
        self.page.warn(f"The camera cannot be used ({why}): take a photo and drop it here.")

    def _paste(self) -> None:
        self.page.do(self.page.session.paste)
