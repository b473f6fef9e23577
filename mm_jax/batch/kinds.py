"""What is done with items: sample, invert, extract, edit. Batches are filled up to one shape."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import media
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.artifacts import Anchors, Latents, anchors_bytes, load_latents, subspace_bytes
from mm_jax.batch import compat as cli
from mm_jax.batch.compat import (
    AnchorSettings,
    InvertSettings,
    Judges,
    SubspaceSettings,
    anchors_of,
    pictures,
)
from mm_jax.batch.faces import FaceReader
from mm_jax.batch.manifest import Item
from mm_jax.buckets import filled
from mm_jax.editing.affine import apply_edit
from mm_jax.errors import DataError
from mm_jax.inversion.folder import InversionNetworks as Looks
from mm_jax.inversion.folder import arrays_of as kept
from mm_jax.inversion.folder import invert_batch as invert_pictures
from mm_jax.inversion.invert import Inversion
from mm_jax.io import npz_bytes
from mm_jax.latents import sample_latents, synthesize
from mm_jax.perceptual import Clip
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import NoiseMode
from mm_jax.subspace.decompose import extract_subspace

__all__ = ["Drawing", "Edit", "Extract", "Invert", "Sample"]

Wait = Callable[[], Iterable[Any]]


def _source(item: Item) -> str:
    return next(name for name in ("seed", "latent", "picture") if name in item.entry)


@functools.lru_cache(maxsize=16)
def _latents(path: str) -> Latents:
    return load_latents(path)


def _load_code(gen: Generator, item: Item) -> np.ndarray | None:
    """[L, D] of a stored code; a seed's is computed with its batch."""
    if "latent" not in item.entry:
        return None
    path, number = item.entry["latent"], item.entry.get("code")
    ws = np.asarray(_latents(path).ws)
    want = (gen.config.num_ws, gen.config.w_dim)
    if ws.shape[1:] != want:
        raise DataError(f"{path}: codes are {list(ws.shape[1:])}, those of {gen.name} {list(want)}")
    if number is None and len(ws) > 1:
        raise DataError(f"{path} holds {len(ws)} codes: say which, as code")
    if (number or 0) >= len(ws):
        raise DataError(f"{path} holds {len(ws)} codes, there is no code {number}")
    return ws[number or 0]


def _codes(gen: Generator, items: Sequence[Item], inputs: Sequence[Any], size: int) -> jax.Array:
    """[size, L, D] codes of items that all have seeds, or all stored codes."""
    if inputs[0] is not None:
        return jnp.asarray(filled(np.stack(inputs), size))
    seeds = np.array([item.entry["seed"] for item in items])
    truncs = np.array([item.entry["trunc"] for item in items], np.float32)
    psi = jnp.asarray(filled(truncs, size))
    return sample_latents(gen, seeds=filled(seeds, size), truncation_psi=psi)


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How pictures are drawn and kept.

    Attributes:
        noise_mode: const, none or random; an item's random noise depends on its id alone.
        noise_seed: of random noise.
        format: "png", or "npy" for float32, not clipped.
    """

    noise_mode: str = "const"
    noise_seed: int = 0
    format: str = "png"

    def keys(self, items: Sequence[Item], size: int, repeats: int = 1) -> jax.Array | None:
        """[size * repeats] noise keys, those of the last item again where there are fewer items."""
        own = np.array([int(item.id[:8], 16) for item in items], np.uint32)
        places = np.repeat(filled(own, size), repeats)
        return pictures.noise_keys_of(self.noise_mode, self.noise_seed, cast(Sequence[int], places))

    def files(self, images: np.ndarray) -> dict[str, bytes]:
        """Files of a picture [H, W, 3], or of frames [S, H, W, 3]."""
        if self.format == "npy":
            buffer = io.BytesIO()
            np.save(buffer, images)
            return {".npy": buffer.getvalue()}
        if images.ndim == 3:
            return {".png": media.png_bytes(images)}
        return {f"_{i:04d}.png": media.png_bytes(frame) for i, frame in enumerate(images)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """Seeds or codes to pictures."""

    gen: Generator
    drawing: Drawing
    batch: int

    def group(self, item: Item, /) -> Hashable:
        return _source(item)

    def size(self, item: Item, /) -> int:
        return self.batch

    def load(self, item: Item, /) -> Any:
        return _load_code(self.gen, item)

    def compute(self, items: list[Item], inputs: list[Any], /) -> Wait:
        images = synthesize(
            self.gen,
            _codes(self.gen, items, inputs, self.batch),
            noise_mode=cast(NoiseMode, self.drawing.noise_mode),
            noise_key=self.drawing.keys(items, self.batch),
        )
        return lambda: np.asarray(images)[: len(items)]

    def files(self, item: Item, value: Any, /) -> dict[str, bytes]:
        return self.drawing.files(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Invert:
    """Pictures to codes, by files that `load_latents` opens; they hold what mm_invert keeps."""

    gen: Generator
    looks: Looks
    settings: InvertSettings
    faces: FaceReader
    batch: int

    def group(self, item: Item, /) -> Hashable:
        return None

    def size(self, item: Item, /) -> int:
        return self.batch

    def load(self, item: Item, /) -> Any:
        return self.faces.read(item.entry["picture"])

    def found(self, inputs: Sequence[Any]) -> Inversion:
        """The inversion of a batch of pictures, filled up."""
        images = filled(np.stack(inputs), self.batch)
        return invert_pictures(self.gen, images, self.looks, self.settings)

    def compute(self, items: list[Item], inputs: list[Any], /) -> Wait:
        found = self.found(inputs)
        return lambda: [kept(found, place) for place in range(len(items))]

    def files(self, item: Item, value: Any, /) -> dict[str, bytes]:
        return {".npz": npz_bytes(item.file(".npz"), **value)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extract:
    """Prompts and start codes to anchors and subspaces, those of one prompt side by side."""

    gen: Generator
    clip: Clip
    anchors: AnchorSettings
    subspace: SubspaceSettings
    batch: int  # codes in work at once, one for each start and degree

    def group(self, item: Item, /) -> Hashable:
        return _source(item), self._template(item), tuple(item.entry["degrees"])

    def size(self, item: Item, /) -> int:
        return max(1, self.batch // len(item.entry["degrees"]))

    def _template(self, item: Item) -> str:
        return item.entry.get("text") or MOTIONS[item.entry["motion"]].template

    def load(self, item: Item, /) -> Any:
        return _load_code(self.gen, item)

    def compute(self, items: list[Item], inputs: list[Any], /) -> Wait:
        first = items[0]
        settings = dataclasses.replace(
            self.anchors,
            template=self._template(first),
            degrees=tuple(first.entry["degrees"]),
            layers=self._layers(first),
        )
        starts = _codes(self.gen, items, inputs, self.size(first))
        found = anchors_of(self.gen, Judges(self.clip), starts, settings)
        return lambda: found[: len(items)]

    def _layers(self, item: Item) -> tuple[int, ...] | None:
        motion = MOTIONS.get(item.entry.get("motion", ""))
        return self.anchors.layers or (motion.layers if motion else None)

    def files(self, item: Item, value: Anchors, /) -> dict[str, bytes]:
        how = dataclasses.replace(self.subspace, layers=self._layers(item))
        subspace = extract_subspace(value, **dataclasses.asdict(how))
        arrays, facts = subspace_bytes(item.file(".npz"), subspace)
        codes, about = anchors_bytes(item.file("_anchors.npz"), value)
        return {
            ".npz": arrays, ".json": facts, "_anchors.npz": codes, "_anchors.json": about,
        }  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
    """Seeds, codes or pictures to frames along subspaces."""

    gen: Generator
    drawing: Drawing
    layers: tuple[int, ...] | None
    inverter: Invert | None  # needed for pictures only
    batch: int  # pictures in work at once, one for each item and strength

    @property
    def _inverter(self) -> Invert:
        assert self.inverter is not None  # as there are pictures
        return self.inverter

    def group(self, item: Item, /) -> Hashable:
        return _source(item), repr(item.entry["subspace"]), repr(item.entry["strength"])

    def size(self, item: Item, /) -> int:
        if _source(item) == "picture":
            return self._inverter.batch
        return max(1, self.batch // len(item.entry["strength"][0]))

    def load(self, item: Item, /) -> Any:
        subspaces = [_subspace(path, self.gen) for path in item.entry["subspace"]]
        if _source(item) == "picture":
            return self._inverter.load(item), subspaces
        return _load_code(self.gen, item), subspaces

    def compute(self, items: list[Item], inputs: list[Any], /) -> Wait:
        first, size = items[0], self.size(items[0])
        own = [one for one, _ in inputs]
        if _source(first) == "picture":
            ws = self._inverter.found(own).ws
        else:
            ws = _codes(self.gen, items, own, size)
        strengths = np.array(first.entry["strength"], np.float32)
        edited = np.asarray(apply_edit(ws, inputs[0][1], strengths, layers=self.layers))
        frames = pictures.all_pictures(
            self.gen,
            edited,
            batch=min(self.batch, size * strengths.shape[1]),
            noise_mode=self.drawing.noise_mode,
            noise_keys=self.drawing.keys(items, size, strengths.shape[1]),
        )
        return lambda: frames[: len(items)]

    def files(self, item: Item, value: Any, /) -> dict[str, bytes]:
        return self.drawing.files(value)


@functools.lru_cache(maxsize=64)
def _subspace(path: str, gen: Generator) -> Any:
    return cli.load_subspaces([path], gen)[0]
