"""What is done with items: sample, invert, extract, edit. Batches are padded to a single shape.

Shapes: N items of a batch, L rows of W+, D latent width, H W C image, S strengths of an edit.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import media, rendering
from mm_jax.alignment import Framing
from mm_jax.alignment.faces import open_faces
from mm_jax.alignment.find import Detector, open_detector
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import (
    Anchors,
    Latents,
    anchors_bytes,
    fitted_latents,
    load_latents,
    subspace_bytes,
)
from mm_jax.batch.manifest import Item
from mm_jax.buckets import filled
from mm_jax.checks import check_latent_shape
from mm_jax.editing import apply_edit
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion.inputs import InversionNetworks, arrays_of, invert_batch
from mm_jax.inversion.invert import Inversion
from mm_jax.inversion.options import InvertOptions
from mm_jax.io import npz_bytes
from mm_jax.latents import class_labels, sample_latents, synthesize
from mm_jax.perceptual import Clip
from mm_jax.sources import open_subspaces
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import NoiseMode
from mm_jax.subspace.decompose import extract_subspace
from mm_jax.subspace.options import SubspaceOptions

__all__ = ["Drawing", "Edit", "Extract", "FaceReader", "Invert", "Sample"]

Wait = Callable[[], Iterable[Any]]


def _source(item: Item) -> str:
    return next(name for name in ("seed", "latent", "image") if name in item.entry)


@functools.lru_cache(maxsize=16)
def _latents(path: str) -> Latents:
    return load_latents(path)


def _load_latent(gen: Generator, item: Item) -> np.ndarray | None:
    """An item's stored latent [L, D]; None for a seed, whose latent is sampled in its batch."""
    if "latent" not in item.entry:
        return None
    path, index = item.entry["latent"], item.entry.get("index")
    expected = (gen.config.num_ws, gen.config.w_dim)
    ws = np.asarray(fitted_latents(_latents(path), expected).ws)  # [latents of the file, L, D]
    check_latent_shape(path, ws.shape[1:], expected, gen.name)
    if index is None and len(ws) > 1:
        raise DataError(f"{path} has {len(ws)} latents: give the index of one")
    if (index or 0) >= len(ws):
        raise DataError(f"{path} has {len(ws)} latents: index must be below that, got {index}")
    return ws[index or 0]


def _batch_latents(
    gen: Generator, items: Sequence[Item], inputs: Sequence[Any], size: int
) -> jax.Array:
    """Latents [size, L, D], padded, of items that all have seeds or all have stored latents."""
    if inputs[0] is not None:
        return jnp.asarray(filled(np.stack(inputs), size))
    seeds = np.array([item.entry["seed"] for item in items])
    truncs = np.array([item.entry["trunc"] for item in items], np.float32)
    psi = jnp.asarray(filled(truncs, size))
    each = [class_labels(gen, item.entry.get("class"), 1) for item in items]
    rows = [one for one in each if one is not None]
    labels = filled(np.concatenate(rows), size) if rows else None
    return sample_latents(gen, seeds=filled(seeds, size), truncation_psi=psi, labels=labels)


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How images are drawn and encoded.

    Attributes:
        noise_mode: const, none or random; an item's random noise depends on its id alone.
        noise_seed: seed of random noise.
        format: "png", or "npy" for float32 arrays that are not clipped.
    """

    noise_mode: str = "const"
    noise_seed: int = 0
    format: str = "png"

    def keys(self, items: Sequence[Item], size: int, repeats: int = 1) -> jax.Array | None:
        """Noise keys [size * repeats], padded with those of the last item; None without noise."""
        own = np.array([int(item.id[:8], 16) for item in items], np.uint32)
        places = np.repeat(filled(own, size), repeats)
        return rendering.noise_keys(self.noise_mode, self.noise_seed, cast(Sequence[int], places))

    def files(self, images: np.ndarray) -> dict[str, bytes]:
        """Encode an image [H, W, 3], or one image for each strength [S, H, W, 3]."""
        if self.format == "npy":
            buffer = io.BytesIO()
            np.save(buffer, images)
            return {".npy": buffer.getvalue()}
        if images.ndim == 3:
            return {".png": media.png_bytes(images)}
        return {f"_{i:04d}.png": media.png_bytes(frame) for i, frame in enumerate(images)}


class FaceReader:
    """Reads images and crops their largest face, in any number of threads.

    Args:
        options: how faces are found.
        size: R, side of the crops in pixels.
        framing: of the generator, see `mm_jax.alignment.framing_of`.

    Raises:
        UsageError: options that concern single images, or a detector that is not installed.
    """

    def __init__(self, options: AlignOptions, *, size: int, framing: Framing):
        if options.landmarks or options.face == "all" or isinstance(options.face, tuple):
            raise UsageError(
                "mm_batch takes the largest face that a detector finds, or --aligned images: "
                "give neither --landmarks nor --face"
            )
        self._options, self._size, self._framing = options, size, framing
        self._own = threading.local()  # a detector must not be shared between threads
        self._detector()

    def _detector(self) -> Detector | None:
        if self._options.aligned:
            return None
        if not hasattr(self._own, "detector"):
            self._own.detector = open_detector(self._options.detector, self._options.detector_model)
        return self._own.detector

    def read(self, path: str) -> np.ndarray:
        """The crop of an image's largest face, [R, R, 3] float32 in [-1, 1].

        Raises:
            DataError: the file cannot be read, or no face is found in it.
        """
        faces = open_faces(
            [Path(path)],
            ["face"],
            self._options,
            size=self._size,
            framing=self._framing,
            tell=lambda text: None,  # a line for each of a million images helps nobody
            detector=self._detector(),
        )
        return faces[0].image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """Draws seeds or latents."""

    gen: Generator
    drawing: Drawing
    batch: int

    def group(self, item: Item, /) -> Hashable:
        """See `Task`."""
        return _source(item)

    def size(self, item: Item, /) -> int:
        """See `Task`."""
        return self.batch

    def load(self, item: Item, /) -> Any:
        """See `Task`."""
        return _load_latent(self.gen, item)

    def compute(self, items: list[Item], inputs: list[Any], /) -> Wait:
        """See `Task`; a value is an image [H, W, 3]."""
        images = synthesize(
            self.gen,
            _batch_latents(self.gen, items, inputs, self.batch),
            noise_mode=cast(NoiseMode, self.drawing.noise_mode),
            noise_key=self.drawing.keys(items, self.batch),
        )  # [batch, H, W, 3]
        return lambda: np.asarray(images)[: len(items)]

    def files(self, item: Item, value: Any, /) -> dict[str, bytes]:
        """See `Task`."""
        return self.drawing.files(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Invert:
    """Inverts images; the files hold what mm_invert stores and open with `load_latents`."""

    gen: Generator
    networks: InversionNetworks
    options: InvertOptions
    faces: FaceReader
    batch: int

    def group(self, item: Item, /) -> Hashable:
        """See `Task`."""
        return None

    def size(self, item: Item, /) -> int:
        """See `Task`."""
        return self.batch

    def load(self, item: Item, /) -> Any:
        """See `Task`."""
        return self.faces.read(item.entry["image"])

    def inversion(self, inputs: Sequence[Any]) -> Inversion:
        """The inversion of up to `batch` images [R, R, 3], padded to `batch`."""
        images = filled(np.stack(inputs), self.batch)  # [batch, R, R, 3]
        return invert_batch(self.gen, images, self.networks, self.options)

    def compute(self, items: list[Item], inputs: list[Any], /) -> Wait:
        """See `Task`; a value is the arrays of an image's file."""
        found = self.inversion(inputs)
        return lambda: [arrays_of(found, place) for place in range(len(items))]

    def files(self, item: Item, value: Any, /) -> dict[str, bytes]:
        """See `Task`."""
        return {".npz": npz_bytes(item.file(".npz"), **value)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extract:
    """Finds anchors and subspaces of prompts, for all start latents of one prompt together.

    Attributes:
        batch: number of latents optimised at once, one for each start and degree.
        max_items: number of items at once; None for as many as the batch has.
    """

    gen: Generator
    clip: Clip
    anchors: AnchorOptions
    subspace: SubspaceOptions
    batch: int
    max_items: int | None = None

    def group(self, item: Item, /) -> Hashable:
        """See `Task`."""
        return _source(item), self._template(item), tuple(item.entry["degrees"])

    def size(self, item: Item, /) -> int:
        """See `Task`."""
        size = max(1, self.batch // len(item.entry["degrees"]))
        return min(size, self.max_items or size)

    def _template(self, item: Item) -> str:
        return item.entry.get("text") or MOTIONS[item.entry["motion"]].template

    def load(self, item: Item, /) -> Any:
        """See `Task`."""
        return _load_latent(self.gen, item)

    def compute(self, items: list[Item], inputs: list[Any], /) -> Wait:
        """See `Task`; a value is `Anchors`."""
        first = items[0]
        found = text_anchors(
            self.gen,
            self.clip,
            template=self._template(first),
            start=_batch_latents(self.gen, items, inputs, self.size(first)),  # [size, L, D]
            options=self.anchors,
            degrees=tuple(first.entry["degrees"]),
            layers=self._layers(first),
        )
        assert isinstance(found, list)  # one for each start
        return lambda: found[: len(items)]

    def _layers(self, item: Item) -> tuple[int, ...] | None:
        motion = MOTIONS.get(item.entry.get("motion", ""))
        return self.anchors.layers or (motion.layers if motion else None)

    def files(self, item: Item, value: Anchors, /) -> dict[str, bytes]:
        """See `Task`."""
        subspace = extract_subspace(value, options=self.subspace, layers=self._layers(item))
        arrays, metadata = subspace_bytes(item.file(".npz"), subspace)
        anchor_arrays, anchor_metadata = anchors_bytes(item.file("_anchors.npz"), value)
        return {
            ".npz": arrays,
            ".json": metadata,
            "_anchors.npz": anchor_arrays,
            "_anchors.json": anchor_metadata,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
    """Edits seeds, latents or images along subspaces and draws the result.

    Attributes:
        layers: rows of W+ that may change; None for all.
        inverter: inverts images; None if there are none.
        batch: number of images drawn at once, one for each item and strength.
        max_items: number of items at once; None for as many as the batch has.
    """

    gen: Generator
    drawing: Drawing
    layers: tuple[int, ...] | None
    inverter: Invert | None
    batch: int
    max_items: int | None = None

    @property
    def _inverter(self) -> Invert:
        assert self.inverter is not None  # `load_task` opens it if there are images
        return self.inverter

    def group(self, item: Item, /) -> Hashable:
        """See `Task`."""
        return _source(item), repr(item.entry["subspace"]), repr(item.entry["strength"])

    def size(self, item: Item, /) -> int:
        """See `Task`."""
        if _source(item) == "image":
            return self._inverter.batch
        size = max(1, self.batch // len(item.entry["strength"][0]))
        return min(size, self.max_items or size)

    def load(self, item: Item, /) -> Any:
        """See `Task`."""
        subspaces = [_subspace(path, self.gen) for path in item.entry["subspace"]]
        if _source(item) == "image":
            return self._inverter.load(item), subspaces
        return _load_latent(self.gen, item), subspaces

    def compute(self, items: list[Item], inputs: list[Any], /) -> Wait:
        """See `Task`; a value is images [S, H, W, 3]."""
        first, size = items[0], self.size(items[0])
        own = [one for one, _ in inputs]
        if _source(first) == "image":
            ws = self._inverter.inversion(own).ws  # [size, L, D]
        else:
            ws = _batch_latents(self.gen, items, own, size)  # [size, L, D]
        strengths = np.array(first.entry["strength"], np.float32)  # [subspaces, S]
        edited = np.asarray(apply_edit(ws, inputs[0][1], strengths, layers=self.layers))
        frames = rendering.render_all(
            self.gen,
            edited,  # [size, S, L, D]
            batch=min(self.batch, size * strengths.shape[1]),
            noise_mode=self.drawing.noise_mode,
            noise_keys=self.drawing.keys(items, size, strengths.shape[1]),
        )  # [size, S, H, W, 3]
        return lambda: frames[: len(items)]

    def files(self, item: Item, value: Any, /) -> dict[str, bytes]:
        """See `Task`."""
        return self.drawing.files(value)


@functools.lru_cache(maxsize=64)
def _subspace(path: str, gen: Generator) -> Any:
    return open_subspaces([path], gen)[1][0]
