"""What one visitor does: changes of the document, and the pictures that follow from them.

A `Studio` is what all sessions share, a `Session` is one visitor's. Neither knows of any page:
pictures are handed to a function, from the thread that draws them.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mm_jax import zoo
from mm_jax.artifacts import Subspace
from mm_jax.errors import UsageError
from mm_jax.progress import ProgressFn
from mm_jax.studio import exports, frames, learn, photos, session_files
from mm_jax.studio.document import LARGEST, MAX_FACES, Document, Face, StudioMotion, faces_to_ws
from mm_jax.studio.history import History
from mm_jax.studio.images import jpeg
from mm_jax.studio.queues import Job, Jobs, NewestWins
from mm_jax.studio.world import World, Worlds

__all__ = ["Frame", "Session", "Studio"]

MAX_SESSIONS = 20


@dataclasses.dataclass(frozen=True)
class Frame:
    """Pictures for the page.

    Attributes:
        kind: "edited" or "before" of all faces, "animation" for one frame of all faces, "photo"
            for the chosen face's photo with the edited face in it.
        images: JPEG files.
        seq: the number that the page gave to the change that they show.
        index, total: of a frame of the animation.
    """

    kind: str
    images: Sequence[bytes]
    seq: int = 0
    index: int = 0
    total: int = 0


class Studio:
    """What all sessions share: the models, the two queues, the pictures drawn last.

    Args:
        worlds: the generators that there are.

    Attributes:
        has_shown: is set once a session was handed a picture.
    """

    def __init__(self, worlds: Worlds) -> None:
        self.worlds: Worlds = worlds
        self.frames: NewestWins = NewestWins()
        self.jobs: Jobs = Jobs()
        self.cache: frames.Cache = frames.Cache()
        self.sessions: set[Session] = set()
        self.has_shown: threading.Event = threading.Event()
        self._warm: set[tuple[str, int, int]] = set()
        self._warming: dict[tuple[str, int, int], threading.Lock] = {}

    def prepare(self, name: str) -> World:
        """Open a generator and compile, or load, what draws one face.

        The whole picture of a large generator is prepared by a thread: until then sessions show
        running pictures, and after it the whole ones.
        """
        world = self.worlds[name]
        self.warm_up(world, 1)
        if not self.is_warm(world, 1, whole=True):
            threading.Thread(target=self._prepare_whole, args=(world,), daemon=True).start()
        return world

    def _prepare_whole(self, world: World) -> None:
        self.warm_up(world, 1, whole=True)
        for session in list(self.sessions):
            if session.world is world:
                session.render(before=True)

    def warm_up(self, world: World, count: int, *, whole: bool = False) -> None:
        """Compile, or load, what draws so many faces: as running pictures, or whole ones."""
        program = self._program(world, count, whole)
        # What another thread is compiling is not compiled once more.
        with self._warming.setdefault(program, threading.Lock()):
            if program not in self._warm:
                frames.warm_up(world.gen, resolution=program[1], counts=(program[2],))
                self._warm.add(program)

    def is_warm(self, world: World, count: int, *, whole: bool = False) -> bool:
        """Whether so many faces are drawn without compiling."""
        return self._program(world, count, whole) in self._warm

    @staticmethod
    def _program(world: World, count: int, whole: bool) -> tuple[str, int, int]:
        """Generator, resolution and number of faces of what draws them."""
        running, resolution = world.running_resolution, world.gen.config.resolution
        # Larger pictures are drawn one by one.
        large = whole and resolution > running
        return (world.name, resolution, 1) if large else (world.name, running, count)

    def close(self) -> None:
        """End all sessions and both threads."""
        for session in list(self.sessions):
            session.close()
        self.frames.close()
        self.jobs.close()


class Session:
    """One visitor's document, history and jobs.

    Args:
        studio: what all share.
        world: the generator to begin with.
        deliver: is given the pictures, in the thread that draws them.
        document: to begin with; by default one sampled face and all motions of the world.

    Raises:
        UsageError: too many sessions.
    """

    def __init__(
        self,
        studio: Studio,
        world: World,
        deliver: Callable[[Frame], None],
        document: Document | None = None,
    ) -> None:
        if len(studio.sessions) >= MAX_SESSIONS:
            raise UsageError(f"{MAX_SESSIONS} people are here already: please come back later")
        self.studio: Studio = studio
        self.world: World = world
        self._deliver = deliver
        self.history: History = History(document or self.fresh(world))
        self.side: int | None = None
        self._owed: tuple[Face, ...] | None = None
        self.is_open: bool = True
        studio.sessions.add(self)

    @staticmethod
    def fresh(world: World) -> Document:
        """A document of one sampled face and all motions of a world."""
        document = Document(world.name)
        for motion in world.motions:
            document = document.add_motion(motion)
        return document.add_face(session_files.sampled(world.gen, zoo.FACE))

    @property
    def document(self) -> Document:
        """The present document."""
        return self.history.present

    def close(self) -> None:
        """Free all that the session held."""
        self.is_open = False
        self.studio.sessions.discard(self)
        self.studio.frames.forget(self)
        self.studio.frames.forget((self, "animation"))
        self.studio.jobs.forget(self)
        self.history = History(Document(self.world.name))

    # Pictures.

    def render(self, *, seq: int = 0, running: bool = False, before: bool = False) -> None:
        """Have the present pictures drawn, in place of any that wait.

        Args:
            seq: handed back with them.
            running: a smaller running picture will do, as long as something moves.
            before: also the faces without any edit.
        """
        document, world = self.document, self.world
        if not document.faces:
            self._hand_over(Frame("edited", (), seq))
            return
        running = running or not self.studio.is_warm(world, 1, whole=True)
        resolution = world.running_resolution if running else world.gen.config.resolution
        at_most = 1 if resolution > world.running_resolution else MAX_FACES
        # Pictures before the edit stay due where a newer call overtakes this one.
        if before or self._owed is not None:
            self._owed = document.faces
        wanted = {} if self._owed is None else {"before": faces_to_ws(document.faces)}
        wanted["edited"] = document.edited()

        def call() -> None:
            for kind in list(wanted):
                # Large pictures one at a time, so that nobody has to wait for all of them.
                images = frames.pictures(
                    world.gen, document, self.studio.cache, resolution=resolution, side=self.side,
                    ws=wanted[kind], at_most=at_most,
                )  # fmt: skip
                if images is None:
                    self.studio.frames.go_on(self, call)
                    return
                del wanted[kind]
                if kind == "before" and self._owed is document.faces:
                    self._owed = None
                self._hand_over(Frame(kind, images, seq))

        self.studio.frames.submit(self, call)

    def resize(self, side: int) -> None:
        """Pictures are shown with a side of so many pixels of the screen."""
        former, self.side = self.side, min(max(side, 128), 2048)
        if former is not None and former < min(self.side, self.world.gen.config.resolution):
            self.render(before=True)

    def animate(self, *, seq: int = 0) -> int:
        """Have the animation drawn, frame by frame; returns how many.

        Args:
            seq: handed back with them.
        """
        document, world = self.document, self.world
        if not document.faces:
            raise UsageError("there is no face yet: add one first")
        ws = document.animated()  # [N, T, L, D]
        total = ws.shape[1]

        def call(index: int) -> None:
            images = frames.pictures(
                world.gen, document, self.studio.cache, resolution=world.running_resolution,
                side=self.side, ws=ws[:, index],
            )  # fmt: skip
            self._hand_over(Frame("animation", images or (), seq, index, total))
            if index + 1 < total and self.is_open:
                # One frame at a time, so that nobody else has to wait for all of them.
                self.studio.frames.submit((self, "animation"), functools.partial(call, index + 1))

        self.studio.frames.submit((self, "animation"), functools.partial(call, 0))
        return total

    def stop(self) -> None:
        """Draw no more of the animation."""
        self.studio.frames.forget((self, "animation"))

    def paste(self) -> None:
        """Have the chosen face's photo drawn, with the edited face in it."""
        document, world = self.document, self.world
        face = document.face
        if face is None or face.photo is None:
            raise UsageError("the chosen face has no photo to be put back into")

        def call() -> None:
            self._hand_over(Frame("photo", [jpeg(frames.pasted(world.gen, document, face.name))]))

        self.studio.frames.submit((self, "photo"), call)

    def sheet(self, name: str) -> np.ndarray:
        """The chosen face at the strengths of a motion's `sheet`: [S, H, H, 3] uint8."""
        face = self.document.face
        if face is None:
            raise UsageError("there is no face yet: add one first")
        own = self.document.with_faces([face], chosen=0)
        strengths = own.motion(name).sheet().tolist()
        moved = np.concatenate([own.change(name, strength=s).edited() for s in strengths])
        size = self.world.running_resolution
        return frames.draw(self.world.gen, [face] * len(moved), moved, resolution=size, at_once=1)

    def preview(self, subspace: Subspace) -> list[bytes]:
        """JPEG files of the chosen face at strengths -1, 0 and 1 of a subspace."""
        face = self.document.face or session_files.sampled(self.world.gen, zoo.FACE)
        direction = StudioMotion("preview", subspace, {"kind": "preview"}).direction()
        moved = np.stack([face.ws + np.float32(s) * direction for s in (-1.0, 0.0, 1.0)])
        size = self.world.running_resolution
        drawn = frames.draw(self.world.gen, [face] * 3, moved, resolution=size, at_once=1)
        return [jpeg(image) for image in drawn]

    def _hand_over(self, frame: Frame) -> None:
        if self.is_open:
            self._deliver(frame)
            if frame.kind == "edited":
                self.studio.has_shown.set()

    # Changes.

    def move(self, name: str, strength: float, *, seq: int = 0) -> None:
        """A slider moves: change a strength and show it, without a step of the history."""
        strength = max(-LARGEST, min(LARGEST, float(strength)))
        self.history.show(self.document.change(name, strength=strength))
        self.render(seq=seq, running=True)

    def commit(
        self, document: Document | None = None, *, seq: int = 0, instead: bool = False
    ) -> None:
        """Make the given document, or what a slider was moved to, a step of the history.

        Args:
            document: by default the present one.
            seq: handed back with the images.
            instead: put it in place of the last step.
        """
        before = self.document.faces
        if instead:
            self.history.amend(document or self.document)
        else:
            self.history.commit(document)
        self.render(seq=seq, before=before is not self.document.faces)

    def amend(self, document: Document) -> None:
        """Change the document without a step of the history."""
        self.history.amend(document)
        self.render(before=True)

    def undo(self) -> None:
        """A step back."""
        self.history.undo()
        self._moved()

    def redo(self) -> None:
        """A step forth."""
        self.history.redo()
        self._moved()

    def _moved(self) -> None:
        # A step may lead to the document of another generator.
        self.world = self.studio.worlds[self.document.generator]
        self.render(before=True)

    def add(self, face: Face, *, instead: bool = False) -> None:
        """A further face, or one in place of the chosen one."""
        self.commit(self.document.add_face(face, instead=instead))

    def add_random(self, *, instead: bool = False) -> None:
        """A face of a random seed, of the chosen face's class."""
        self.add(self._random(0.7), instead=instead)

    def _random(self, psi: float) -> Face:
        face = self.document.face
        label = None if face is None else face.source.get("label")
        return session_files.sampled(self.world.gen, random.randrange(10_000), psi, label)

    def add_neighbours(self, count: int = 3, distance: float = 0.35) -> None:
        """Faces near the chosen one, towards random others."""
        face = self.document.face
        if face is None:
            raise UsageError("there is no face yet: add one first")
        document = self.document
        for _ in range(min(count, MAX_FACES - len(document.faces))):
            near = photos.mixed(face, self._random(1.0), fraction=distance)
            document = document.add_face(dataclasses.replace(near, name=f"{face.name}_near"))
        if document is self.document:
            raise UsageError(f"the stage shows at most {MAX_FACES} faces: remove one first")
        self.commit(document)

    def surprise(self) -> None:
        """Random strengths of two motions."""
        names = [motion.name for motion in self.document.motions]
        chosen = random.sample(names, min(2, len(names)))
        strengths = {
            name: round(random.choice((-1, 1)) * random.uniform(0.5, 1), 2) for name in chosen
        }
        self.commit(self.document.set_strengths(strengths))

    def change_world(self, world: World) -> None:
        """Begin anew with another generator."""
        self.world = world
        self.commit(self.fresh(world))

    def open_session(self, data: bytes | str) -> None:
        """The document of a session's file, as a step of the history.

        Raises:
            DataError, UsageError: no such file, or of a generator that is not there.
        """
        values = session_files.read(data)
        world = self.studio.worlds[session_files.generator_of(values)]
        document = session_files.load(values, world.gen)
        self.world = world
        self.commit(document)

    # Heavy jobs.

    def refine(self, name: str, *, tune: bool, done: Callable[[Face], None]) -> Job:
        """Have a photo's face refined; `done` is given it, in the thread of the jobs."""
        face = next(face for face in self.document.faces if face.name == name)
        world = self.world

        def work(progress: ProgressFn) -> Face:
            found = photos.refine(world, face, tune=tune, show=done, progress=progress)
            done(found)
            return found

        return self.studio.jobs.submit(self, f"Refining {name}", work)

    def learn_prompt(self, template: str, name: str, show: Callable[[list[bytes]], None]) -> Job:
        """Have a motion learnt from a prompt; `show` is given what it looks like so far."""
        learn.check_prompt(template)
        world = self.world

        def work(progress: ProgressFn) -> learn.Learnt:
            return learn.from_prompt(
                world, template, name, show=lambda s: show(self.preview(s)), progress=progress
            )

        return self.studio.jobs.submit(self, f"Learning {name}", work)

    def learn_video(self, path: Any, name: str, *, aligned: bool, done: Callable[[], None]) -> Job:
        """Have a motion learnt from a video; `done` is called when its file is needed no more."""
        world = self.world

        def work(progress: ProgressFn) -> learn.Learnt:
            try:
                return learn.from_video(world, path, name, aligned=aligned, progress=progress)
            finally:
                done()

        return self.studio.jobs.submit(self, f"Learning {name}", work)

    def export(self, kind: str) -> Job:
        """Have a video made: "gif" or "mp4"."""
        document, gen = self.document, self.world.gen
        make = {"gif": exports.gif, "mp4": exports.mp4}[kind]
        if not document.faces:
            raise UsageError("there is no face yet: add one first")
        return self.studio.jobs.submit(
            self, f"Making the {kind.upper()}", lambda progress: make(gen, document, progress)
        )
