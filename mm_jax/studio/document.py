"""What is edited in the studio: faces, motions with their strengths, a time line.

A document is frozen: each change is a new document that shares its arrays with the former one, so
undo is a list of documents. Shapes: N faces, E motions, T frames, L rows of W+, D latent width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from mm_jax.artifacts import Latents, Subspace
from mm_jax.checks import layer_mask
from mm_jax.errors import DataError, UsageError
from mm_jax.subspace.calibration import KEY, Calibration

__all__ = [
    "LARGEST",
    "MAX_FACES",
    "Document",
    "Face",
    "Key",
    "Photo",
    "StudioMotion",
    "check_shape",
    "distinct",
    "faces_to_ws",
]

MAX_FACES = 6
LARGEST = 2.0
"""Strengths run from minus this to this; 1 is the anchors' own motion."""

SHEET = 9
"""Thumbnails of a motion's sheet."""


@dataclasses.dataclass(frozen=True, eq=False)
class Photo:
    """The photo that a face was cropped from.

    Attributes:
        image: [H, W, 3] uint8, the whole photo.
        quad: [4, 2] float32, where the face lies in it, see `mm_jax.alignment`.
        crop: [R, R, 3] uint8, the face as it was cropped.
    """

    image: np.ndarray
    quad: np.ndarray
    crop: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """One face of the stage.

    Attributes:
        name: distinct among the document's faces, and fit for a file.
        ws: [L, D] float32, its latent without any edit.
        source: where it comes from, plain values: {"kind": "seed", "seed": 7, "psi": 0.7} is
            sampled; of any other kind ("photo", "file", "mix") the latent itself is what counts.
        photo: the photo that it was cropped from, or None.
        generator: a copy of the generator that was tuned to the photo, or None.
    """

    name: str
    ws: np.ndarray
    source: Mapping[str, Any]
    photo: Photo | None = None
    generator: Any = None


@dataclasses.dataclass(frozen=True)
class Key:
    """A key frame: the strength at a time in seconds."""

    time: float
    strength: float


@dataclasses.dataclass(frozen=True, eq=False)
class StudioMotion:
    """A motion and how strong it is.

    Attributes:
        name: distinct among the document's motions, and fit for a file.
        subspace: its direction is what an edit adds.
        source: {"kind": "bundled", "name": "smile"}, or {"kind": "file"} and others, whose subspace
            itself is what counts.
        strength: how far the faces are moved; 0 is not at all.
        layers: rows of W+ that it may change, beside the subspace's own mask; None for all.
        keys: key frames by growing time; none where the motion just grows to its strength.
        limits: the strengths between which the image still follows, or None if that is in the
            subspace's metadata, or unknown.
    """

    name: str
    subspace: Subspace
    source: Mapping[str, Any]
    strength: float = 0.0
    layers: tuple[int, ...] | None = None
    keys: tuple[Key, ...] = ()
    limits: tuple[float, float] | None = None

    def masked(self) -> Subspace:
        """The subspace, restricted to `layers`."""
        if self.layers is None:
            return self.subspace
        mask = np.asarray(self.subspace.mask) & layer_mask(self.layers, self.subspace.mask.shape[0])
        # What was read of all layers says nothing of some of them.
        meta = {name: value for name, value in self.subspace.meta.items() if name != KEY}
        return dataclasses.replace(self.subspace, mask=mask, meta=meta)

    @property
    def calibration(self) -> Calibration | None:
        """In what units its slider moves; None where they are the subspace's own.

        That is where nothing was read of it, or what was does not rise from strength 0 to 1.

        Raises:
            DataError: the subspace's metadata hold something else.
        """
        found = Calibration.of(self.masked().meta)
        if found is None:
            return None
        try:
            found.amounts_of(0.0)
        except DataError:
            return None  # no step of such a slider would be even
        return found

    @property
    def ends(self) -> tuple[float, float] | None:
        """The strengths between which the image still follows, or None if unknown."""
        calibration = self.calibration
        if calibration is not None:
            return calibration.saturates
        return self.limits or self.subspace.meta.get("limits")

    def shown(self, strength: float) -> float:
        """A strength in the units of its slider."""
        calibration = self.calibration
        return strength if calibration is None else float(calibration.amounts_of(strength))

    def sheet(self) -> np.ndarray:
        """[S] growing strengths that show it from end to end, in even steps of its slider."""
        calibration = self.calibration
        if calibration is None:
            return np.linspace(-LARGEST, LARGEST, SHEET)
        low, high = calibration.amounts_of(calibration.saturates)
        return calibration.strengths_of(np.linspace(low, high, SHEET)).round(4)

    def direction(self) -> np.ndarray:
        """[L, D] float32, what strength 1 adds to a latent: `direction` of `masked`."""
        subspace = self.masked()
        mask = np.asarray(subspace.mask, np.float32)[:, None]
        return np.asarray(subspace.basis)[0] * np.float32(subspace.scale) * mask

    def at(self, times: np.ndarray) -> np.ndarray:
        """[T] strengths at times in seconds, straight between key frames, held beyond them."""
        if not self.keys:
            return np.full(len(times), self.strength, np.float32)
        known = [key.time for key in self.keys], [key.strength for key in self.keys]
        return np.interp(times, *known).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Document:
    """All that a session edits.

    Attributes:
        generator: its name or folder.
        faces: at most `MAX_FACES`; all move together.
        motions: their edits add up.
        chosen: index of the face that the page shows as chosen.
        seconds: length of the animation.
        fps: its frames per second.
        looks: strengths that were kept under a name: (name, ((motion, strength), ..)).
    """

    generator: str
    faces: tuple[Face, ...] = ()
    motions: tuple[StudioMotion, ...] = ()
    chosen: int = 0
    seconds: float = 2.0
    fps: float = 20.0
    looks: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()

    @property
    def face(self) -> Face | None:
        """The chosen face, or None while there is none."""
        return self.faces[self.chosen] if self.faces else None

    @property
    def is_moved(self) -> bool:
        """Whether any motion has a strength."""
        return any(motion.strength for motion in self.motions)

    def motion(self, name: str) -> StudioMotion:
        """The motion of a name.

        Raises:
            UsageError: there is none.
        """
        for motion in self.motions:
            if motion.name == name:
                return motion
        raise UsageError(f"unknown motion {name!r}")

    def with_faces(self, faces: Sequence[Face], *, chosen: int | None = None) -> Document:
        """The document with other faces.

        Raises:
            UsageError: more than the stage can show.
        """
        if len(faces) > MAX_FACES:
            raise UsageError(f"the stage shows at most {MAX_FACES} faces: remove one first")
        place = self.chosen if chosen is None else chosen
        return dataclasses.replace(
            self, faces=tuple(faces), chosen=max(0, min(place, len(faces) - 1))
        )

    def add_face(self, face: Face, *, instead: bool = False) -> Document:
        """A further face, which becomes the chosen one, or one in place of the chosen one."""
        place = self.chosen if instead and self.faces else len(self.faces)
        others = [*self.faces[:place], *self.faces[place + 1 :]]
        face = dataclasses.replace(face, name=distinct(face.name, [one.name for one in others]))
        faces = [*self.faces[:place], face, *self.faces[place + 1 :]]
        return self.with_faces(faces, chosen=place)

    def replace_face(self, name: str, face: Face) -> Document:
        """Another face in the place of the one of a name; as it is where that is gone."""
        return self.with_faces([face if one.name == name else one for one in self.faces])

    def remove_face(self, name: str) -> Document:
        """Without the face of a name."""
        left = [face for face in self.faces if face.name != name]
        place = self.chosen - any(face.name == name for face in self.faces[: self.chosen])
        return self.with_faces(left, chosen=place)

    def choose(self, place: int) -> Document:
        """With another face chosen."""
        return self.with_faces(self.faces, chosen=place)

    def add_motion(self, motion: StudioMotion) -> Document:
        """With a further motion, at the end."""
        name = distinct(motion.name, [one.name for one in self.motions])
        return dataclasses.replace(
            self, motions=(*self.motions, dataclasses.replace(motion, name=name))
        )

    def remove_motion(self, name: str) -> Document:
        """Without the motion of a name."""
        left = tuple(motion for motion in self.motions if motion.name != name)
        return dataclasses.replace(self, motions=left)

    def change(self, name: str, **changes: Any) -> Document:
        """With other fields of one motion."""
        self.motion(name)
        motions = [
            dataclasses.replace(one, **changes) if one.name == name else one for one in self.motions
        ]
        return dataclasses.replace(self, motions=tuple(motions))

    def set_strengths(self, strengths: Mapping[str, float]) -> Document:
        """With these strengths, and those of all other motions zero."""
        motions = [
            dataclasses.replace(one, strength=float(strengths.get(one.name, 0.0)))
            for one in self.motions
        ]
        return dataclasses.replace(self, motions=tuple(motions))

    def keep_look(self) -> Document:
        """With the present strengths kept as a look."""
        strengths = tuple((one.name, one.strength) for one in self.motions if one.strength)
        numbers = [f"Look {i}" for i in range(1, len(self.looks) + 2)]
        name = next(own for own in numbers if own not in {kept for kept, _ in self.looks})
        return dataclasses.replace(self, looks=(*self.looks, (name, strengths)))

    def set_key(self, name: str, time: float, strength: float) -> Document:
        """With a key frame, in place of one at the same time."""
        time = round(min(max(time, 0.0), self.seconds), 3)
        kept = [key for key in self.motion(name).keys if abs(key.time - time) > 1e-3]
        keys = sorted([*kept, Key(time, float(strength))], key=lambda key: key.time)
        return self.change(name, keys=tuple(keys))

    def remove_key(self, name: str, time: float) -> Document:
        """Without the key frame at a time."""
        kept = tuple(key for key in self.motion(name).keys if abs(key.time - time) > 1e-3)
        return self.change(name, keys=kept)

    def lasting(self, seconds: float, fps: float) -> Document:
        """With another length and rate; key frames stay where they are seen on the time line."""
        scale = seconds / self.seconds
        motions = [
            dataclasses.replace(
                one, keys=tuple(Key(round(scale * key.time, 3), key.strength) for key in one.keys)
            )
            for one in self.motions
        ]
        return dataclasses.replace(self, motions=tuple(motions), seconds=seconds, fps=fps)

    def at(self, time: float) -> Document:
        """With the strengths that the time line has at a time; motions without keys stay."""
        when = np.array([time])
        return self.set_strengths({one.name: float(one.at(when)[0]) for one in self.motions})

    def edited(self) -> np.ndarray:
        """[N, L, D] the latents of all faces, moved by the present strengths.

        Where nothing has a strength they are the faces' own, bit by bit.
        """
        ws = faces_to_ws(self.faces)
        for motion in self.motions:
            if motion.strength:
                # As `apply_edit`, which takes hundreds of times as long for so few numbers, and
                # compiles for every number of motions.
                ws = ws + np.float32(motion.strength) * motion.direction()
        return ws

    def latents(self) -> Latents:
        """The latents of all faces without any edit, with their names."""
        return Latents(faces_to_ws(self.faces), tuple(face.name for face in self.faces))

    def frames(self, count: int | None = None) -> np.ndarray:
        """[E, T] the strengths of all motions over the animation.

        With key frames the time line runs from its beginning to its end. Without, the motions
        grow from nothing to their strengths.

        Args:
            count: T, by default what length and rate give.
        """
        count = max(2, round(self.seconds * self.fps)) if count is None else count
        times = np.linspace(0.0, self.seconds, count)
        if any(motion.keys for motion in self.motions):
            rows = [motion.at(times) for motion in self.motions]
        else:
            growth = np.linspace(0.0, 1.0, count, dtype=np.float32)
            rows = [growth * np.float32(motion.strength) for motion in self.motions]
        return np.asarray(rows, np.float32).reshape(len(self.motions), count)

    def animated(self, count: int | None = None) -> np.ndarray:
        """[N, T, L, D] the latents of all faces in every frame of the animation."""
        amounts = self.frames(count)
        ws = np.repeat(faces_to_ws(self.faces)[:, None], amounts.shape[1], axis=1)
        for motion, row in zip(self.motions, amounts, strict=True):
            if row.any():
                ws = ws + row[None, :, None, None] * motion.direction()
        return ws


def faces_to_ws(faces: Sequence[Face]) -> np.ndarray:
    """The latents [N, L, D] float32 of faces.

    Raises:
        UsageError: no face.
    """
    if not faces:
        raise UsageError("there is no face yet: add one first")
    return np.stack([np.asarray(face.ws, np.float32) for face in faces])


def distinct(name: str, taken: Iterable[str]) -> str:
    """A name fit for a file that none of `taken` is: with a number behind where it has to be."""
    # Letters and digits of any script, spaces turned into underscores; never a path.
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name.strip()).strip("._")
    plain = PurePosixPath(plain[:48] or "face").name
    taken, own, number = set(taken), plain, 1
    while own in taken:
        number += 1
        own = f"{plain}_{number}"
    return own


def check_shape(document: Document, shape: tuple[int, int]) -> None:
    """See that faces and motions are of a generator's latents [L, D].

    Raises:
        DataError: one is not.
    """
    for face in document.faces:
        if face.ws.shape != shape:
            raise DataError(
                f"{face.name}: latents must be {list(shape)}, got {list(face.ws.shape)}"
            )
    for motion in document.motions:
        have = tuple(motion.subspace.basis.shape[1:])
        if have != shape:
            raise DataError(f"{motion.name}: latents must be {list(shape)}, got {list(have)}")
