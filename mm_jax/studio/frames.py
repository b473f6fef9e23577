"""Pictures of a document: of all faces at once, from a cache where they were drawn before.

Shapes: N faces, S strengths, H W image, L rows of W+, D latent width.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from mm_jax import media
from mm_jax.alignment.options import PasteOptions
from mm_jax.buckets import bucket, filled
from mm_jax.editing.paste_back import put_back
from mm_jax.errors import UsageError
from mm_jax.latents import mean_latent, synthesize
from mm_jax.studio.document import MAX_FACES, Document, Face
from mm_jax.studio.images import fitted, jpeg
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once

__all__ = ["RUNNING", "Cache", "draw", "pasted", "pictures", "warm_up"]

RUNNING = 256
"""Side at most of the pictures that are shown while a slider moves."""


class Cache:
    """The pictures that were used last, as bytes; safe to use from several threads.

    Args:
        max_bytes: kept at most.
    """

    def __init__(self, max_bytes: int = 32 << 20) -> None:
        self._max_bytes, self._size = max_bytes, 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._size

    def get(self, key: Hashable) -> bytes | None:
        """What is kept under a key, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: bytes) -> None:
        """Keep a value, and let go of the oldest ones if it gets too much."""
        with self._lock:
            self._size += len(value) - len(self._kept.pop(key, b""))
            self._kept[key] = value
            while self._size > self._max_bytes and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])


def draw(
    gen: Generator,
    faces: Sequence[Face],
    ws: np.ndarray,
    *,
    resolution: int | None = None,
    at_once: int | None = None,
) -> np.ndarray:
    """Pictures of latents, each by its face's own generator where it has one.

    Args:
        gen: the generator of all other faces.
        faces: [N] whose latents these are.
        ws: [N, L, D] latents.
        resolution: side of the running picture that is wanted; the full one by default.
        at_once: pictures that are drawn together; by default as many as memory is meant for, and
            one of those that are larger than running pictures. One by one is about as fast, and
            needs no program but that of the stage.

    Returns:
        [N, H, H, 3] uint8.
    """
    size = resolution or gen.config.resolution
    drawn = np.empty((len(ws), size, size, 3), np.uint8)
    owners = [face.generator or gen for face in faces]
    for owner in {id(one): one for one in owners}.values():
        places = [i for i, one in enumerate(owners) if one is owner]
        count = at_once or (1 if size > RUNNING else images_at_once(gen.config, resolution=size))
        for first in range(0, len(places), count):
            some = places[first : first + count]
            taken = filled(np.asarray(ws)[some], bucket(len(some)))
            drawn[some] = media.to_uint8(synthesize(owner, taken, resolution=size))[: len(some)]
    return drawn


def pictures(
    gen: Generator,
    document: Document,
    cache: Cache,
    *,
    resolution: int | None = None,
    side: int | None = None,
    ws: np.ndarray | None = None,
    at_most: int = MAX_FACES,
) -> list[bytes] | None:
    """JPEG files of all faces of a document, as they are edited.

    Args:
        gen: the document's generator.
        document: at least one face.
        cache: of pictures drawn before.
        resolution: as of `draw`.
        side: pixels of the screen; larger pictures are reduced to it.
        ws: [N, L, D] latents in place of the edited ones.
        at_most: pictures that are drawn in this call.

    Returns:
        N files; None where more have to be drawn, which the next call goes on with.
    """
    ws = document.edited() if ws is None else ws
    size = resolution or gen.config.resolution
    keys = [
        (id(face.generator or gen), size, side, np.asarray(own).tobytes())
        for face, own in zip(document.faces, ws, strict=True)
    ]
    found = [cache.get(key) for key in keys]
    lacking = [i for i, one in enumerate(found) if one is None]
    missing = lacking[:at_most]
    if missing:
        drawn = draw(gen, [document.faces[i] for i in missing], ws[missing], resolution=size)
        for i, image in zip(missing, drawn, strict=True):
            found[i] = jpeg(image if side is None else fitted(image, side))
            cache.put(keys[i], found[i] or b"")
    return None if len(lacking) > at_most else [one or b"" for one in found]


def pasted(gen: Generator, document: Document, name: str, *, feather: float = 0.3) -> np.ndarray:
    """The photo of a face [H, W, 3] uint8, with the edited face put back into it.

    Args:
        gen: the document's generator.
        document: with the face.
        name: of the face.
        feather: width of the soft edge, as of `mm_jax.alignment.paste_face`.

    Raises:
        UsageError: the face has no photo.
    """
    place = next(i for i, face in enumerate(document.faces) if face.name == name)
    face = document.faces[place]
    if face.photo is None:
        raise UsageError(f"{name} has no photo to be put back into")
    if not document.is_moved:
        return face.photo.image
    both = np.stack([document.edited()[place], face.ws])
    edited, rebuilt = (media.to_float(one) for one in draw(gen, [face, face], both, at_once=1))
    paste = PasteOptions(feather=feather)
    return media.to_uint8(put_back(face.photo.image, edited, rebuilt, face.photo.quad, paste))


def warm_up(gen: Generator, *, resolution: int | None = None, counts: Sequence[int] = (1,)) -> None:
    """Compile the programs that draw so many faces, or load them where they are kept."""
    ws: Any = np.asarray(mean_latent(gen))
    for count in counts:
        face = Face("mean", ws[0], {"kind": "mean"})
        draw(gen, [face] * count, np.repeat(ws, count, axis=0), resolution=resolution)
