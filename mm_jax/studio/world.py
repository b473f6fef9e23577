"""The models of a session: a generator and what belongs to it, opened once for all sessions."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from mm_jax import artifacts, zoo
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.checks import check_latent_shape
from mm_jax.encoders.encoder import Encoder, open_encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.faces.identity import FaceIdentity, load_identity
from mm_jax.perceptual.clip import Clip
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.studio.document import StudioMotion
from mm_jax.studio.frames import RUNNING
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.calibration import Calibration

__all__ = ["World", "Worlds", "file_motion"]


class World:
    """A generator with its encoder, its CLIP and its motions.

    Args:
        name: bundled name or folder of the generator.
        encoder: name or folder of the encoder, "auto" or "none".
        clip: name, folder or hub id of CLIP; "auto" is the one that belongs to the generator.
        subspaces: files of further motions; those of another shape are left out.
        precision: of the generator's products, see `zoo.load_generator`.

    Attributes:
        gen: the generator.
        encoder: guesses latents, or None.
        motions: with strength 0.
        left_out: one line for each file of `subspaces` that does not fit.

    Raises:
        UsageError: an unknown name. DataError: a damaged folder or file, or images of other than
            three channels.
    """

    def __init__(
        self,
        name: str,
        *,
        encoder: str = "auto",
        clip: str = "auto",
        subspaces: Sequence[str] = (),
        precision: str = "float32",
    ) -> None:
        self.name = name
        self.gen: Generator = zoo.load_generator(name, precision=precision)
        if self.gen.config.img_channels != 3:
            raise DataError(f"{name} draws images of another kind than photographs")
        self.encoder: Encoder | None = open_encoder(encoder, name, self.gen)
        self._clip_name = clip if clip != "auto" else zoo.companion(name, "clip") or ""
        self._clip: Clip | None = None
        self._identity: FaceIdentity | None = None
        self._lock = threading.Lock()
        self.left_out: list[str] = []
        found = [
            StudioMotion(called, artifacts.load_subspace(file), {"kind": "bundled", "name": called})
            for called, file in sorted(
                zoo.bundled_motions(self.gen).items(), key=lambda item: _order(item[0])
            )
        ]
        for path in subspaces:
            try:
                found.append(file_motion(self.gen, path))
            except DataError as error:
                self.left_out.append(str(error).replace(str(path), Path(path).name))
        self.motions: tuple[StudioMotion, ...] = tuple(found)

    @property
    def can_learn(self) -> bool:
        """Whether there is a CLIP to learn from prompts with."""
        return bool(self._clip_name)

    @property
    def running_resolution(self) -> int:
        """Side of the images that are shown while a slider moves."""
        return min(RUNNING, self.gen.config.resolution)

    def clip(self) -> Clip:
        """The CLIP, opened when it is first asked for.

        Raises:
            UsageError: there is none for this generator.
        """
        if not self._clip_name:
            raise UsageError(
                f"no CLIP belongs to {self.name}: start the studio with --clip to learn from "
                "prompts"
            )
        with self._lock:
            if self._clip is None:
                self._clip = load_clip(self._clip_name)
            return self._clip

    def identity(self) -> FaceIdentity:
        """What tells who a face is, opened when it is first asked for."""
        with self._lock:
            if self._identity is None:
                self._identity = load_identity(self.gen)
            return self._identity


def _order(name: str) -> tuple[int, str]:
    """The motions that have a name come in the order of their table, and first."""
    known = list(MOTIONS)
    return known.index(name) if name in known else len(known), name


def file_motion(gen: Generator, path: str | Path, name: str | None = None) -> StudioMotion:
    """The motion of a subspace's file.

    Raises:
        DataError: a bad file, a bad calibration, or a subspace of another generator's shape.
    """
    subspace = artifacts.load_subspace(path)
    try:
        Calibration.of(subspace.meta)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    wanted = (gen.config.num_ws, gen.config.w_dim)
    check_latent_shape(str(path), subspace.basis.shape[1:], wanted, gen.name)
    stem = Path(path).stem
    called = Path(path).resolve().parent.name if stem == "subspace" else stem
    return StudioMotion(name or called, subspace, {"kind": "file"})


class Worlds:
    """Worlds by name, each opened once.

    Args:
        names: of the generators that sessions may choose.
        encoder, clip, subspaces, precision: as of `World`; encoder and CLIP are for the first one
            only.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        encoder: str = "auto",
        clip: str = "auto",
        subspaces: Sequence[str] = (),
        precision: str = "float32",
    ) -> None:
        self.names: tuple[str, ...] = tuple(dict.fromkeys(names))
        self._encoder, self._clip, self._subspaces = encoder, clip, tuple(subspaces)
        self._precision = precision
        self._worlds: dict[str, World] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> World:
        """The world of a name, opened if it is not yet.

        Raises:
            UsageError: none of the names. Otherwise as `World`.
        """
        if name not in self.names:
            raise UsageError(f"unknown generator {name!r}, known are {', '.join(self.names)}")
        with self._lock:
            if name not in self._worlds:
                first = name == self.names[0]
                self._worlds[name] = World(
                    name,
                    encoder=self._encoder if first else "auto",
                    clip=self._clip if first else "auto",
                    subspaces=self._subspaces,
                    precision=self._precision,
                )
            return self._worlds[name]

    def is_open(self, name: str) -> bool:
        """Whether the world of a name is there without waiting."""
        return name in self._worlds
