"""A session as one JSON file: the page saves and loads it, `mm_edit --session` renders it.

Sampled faces and bundled motions are named; every other latent and subspace is in the file, as
base64 of little-endian numbers, and so are photos (JPEG of at most 2048 pixels) and what was tuned
of a generator (as a delta).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io as streams
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mm_jax import artifacts, io, media, zoo
from mm_jax.artifacts import Subspace
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.latents import class_labels, sample_latents
from mm_jax.studio import tuned
from mm_jax.studio.document import (
    LARGEST,
    MAX_FACES,
    Document,
    Face,
    Key,
    Photo,
    StudioMotion,
    check_shape,
)
from mm_jax.studio.images import open_image
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.calibration import Calibration

__all__ = [
    "dump",
    "generator_of",
    "load",
    "open_session",
    "read",
    "read_text",
    "sampled",
    "strengths",
]

KIND, VERSION = "mm_jax studio session", 1
_MAX_BYTES = 64 << 20
_MAX_MOTIONS, _MAX_KEYS = 64, 1000
_ARRAYS = ("basis", "scale", "singular_values", "mean", "pc1_ratio", "mask")


def sampled(gen: Generator, seed: int, psi: float = 0.7, label: int | None = None) -> Face:
    """The face of a seed.

    Args:
        gen: the generator.
        seed: from 0 to 2^32 - 1.
        psi: truncation.
        label: the class, for conditional generators.

    Raises:
        UsageError: a seed or a class out of range.
    """
    labels = class_labels(gen, label or 0, 1) if gen.config.c_dim else None
    ws = np.asarray(sample_latents(gen, seeds=[seed], truncation_psi=psi, labels=labels))[0]
    source = {"kind": "seed", "seed": seed, "psi": psi}
    if gen.config.c_dim:
        source["label"] = label or 0
    return Face(f"seed{seed:04d}", ws, source)


def dump(document: Document, gen: Generator, *, photos: bool = True) -> str:
    """The text of the session's file.

    Args:
        document: the session.
        gen: its generator.
        photos: also the photos and what was tuned to them, which are large.

    Raises:
        DataError: it would be larger than such files may be.
    """
    values = {
        "kind": KIND,
        "version": VERSION,
        "generator": document.generator,
        "chosen": document.chosen,
        "seconds": document.seconds,
        "fps": document.fps,
        "looks": [[name, dict(strengths)] for name, strengths in document.looks],
        "faces": [_dump_face(face, gen, document.generator, photos) for face in document.faces],
        "motions": [_dump_motion(motion) for motion in document.motions],
    }
    data = io.json_bytes("the session", values)
    if len(data) > _MAX_BYTES:
        raise DataError(
            f"the session would be larger than {_MAX_BYTES >> 20} MiB: remove a face that was "
            "tuned to"
        )
    return data.decode()


def read(data: bytes | str, name: str = "the session") -> dict[str, Any]:
    """The plain values of a session's file.

    Raises:
        DataError: it is too large, no JSON, or no session.
    """
    if len(data) > _MAX_BYTES:
        raise DataError(f"{name} must be at most {_MAX_BYTES >> 20} MiB, got {len(data) >> 20}")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not valid json: {error}") from error
    if not isinstance(values, dict) or values.get("kind") != KIND:
        raise DataError(f"{name} is not a session of the studio")
    if values.get("version") != VERSION:
        raise DataError(f"{name} must be of version {VERSION}, got {values.get('version')!r}")
    return values


def generator_of(values: Mapping[str, Any], name: str = "the session") -> str:
    """The generator that a session's values name.

    Raises:
        DataError: none.
    """
    return _get(values, "generator", str, name)


def load(values: Mapping[str, Any], gen: Generator, name: str = "the session") -> Document:
    """The document of a session's values.

    Args:
        values: as `read` gives them.
        gen: the generator that they name.
        name: of the file, for messages.

    Raises:
        DataError: values that are no session of this generator.
    """
    try:
        faces = [_load_face(one, gen, name) for one in _get(values, "faces", list, name)]
        motions = [_load_motion(one, gen, name) for one in _get(values, "motions", list, name)]
        if len(faces) > MAX_FACES or len(motions) > _MAX_MOTIONS:
            raise DataError(
                f"{name} must hold at most {MAX_FACES} faces and {_MAX_MOTIONS} motions, got "
                f"{len(faces)} and {len(motions)}"
            )
        document = Document(
            generator_of(values, name),
            looks=tuple(_load_look(one, name) for one in _get(values, "looks", list, name)),
            seconds=_number(values, "seconds", name, 0.1, 60.0),
            fps=_number(values, "fps", name, 1.0, 60.0),
        )
        for face in faces:
            document = document.add_face(face)
        for motion in motions:
            document = document.add_motion(motion)
    except UsageError as error:
        raise DataError(f"{name}: {error}") from error
    check_shape(document, (gen.config.num_ws, gen.config.w_dim))
    return document.choose(int(_number(values, "chosen", name, 0, MAX_FACES)))


def read_text(path: str) -> str:
    """The text of a session's file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {first_line(error)}") from error


def open_session(path: str, *, precision: str = "float32") -> tuple[Generator, Document]:
    """The generator and the document of a session's file, which can be rendered.

    Args:
        path: the file.
        precision: of the generator's products, see `zoo.load_generator`.

    Raises:
        DataError: it cannot be read, is no session, or holds no face or no motion.
    """
    values = read(read_text(path), path)
    gen = zoo.load_generator(generator_of(values, path), precision=precision)
    document = load(values, gen, path)
    if not document.faces:
        raise DataError(f"{path} holds no face")
    if not document.motions:
        raise DataError(f"{path} holds no motion")
    return gen, document


def strengths(document: Document, frames: int | None) -> tuple[tuple[float, ...], ...]:
    """[E][S] the strengths of all motions in every frame, as `EditOptions` wants them.

    Args:
        document: the session.
        frames: S; 1 is what the studio shows; by default what its length and rate give.
    """
    if frames == 1:
        return tuple((motion.strength,) for motion in document.motions)
    return tuple(tuple(row) for row in document.frames(frames).tolist())


def _dump_face(face: Face, gen: Generator, name: str, photos: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"name": face.name, "source": dict(face.source)}
    if face.source["kind"] != "seed":
        values["ws"] = _packed(face.ws)
    if photos and face.generator is not None:
        packed = tuned.pack(face.generator, gen, name)
        values["tuned"] = base64.b64encode(packed).decode()
    if photos and face.photo is not None:
        values["photo"] = {
            "jpeg": _jpeg(face.photo.image),
            "crop": _jpeg(face.photo.crop),
            "quad": np.asarray(face.photo.quad, np.float64).tolist(),
        }
    return values


def _load_face(values: Any, gen: Generator, name: str) -> Face:
    called, source = _get(values, "name", str, name), _get(values, "source", dict, name)
    if source.get("kind") == "seed":
        face = sampled(
            gen,
            _whole(source, "seed", name, 2**32 - 1),
            _number(source, "psi", name, -2.0, 2.0),
            _whole(source, "label", name, gen.config.c_dim - 1) if gen.config.c_dim else None,
        )
        return dataclasses.replace(face, name=called)
    photo = None
    if "photo" in values:
        held = _get(values, "photo", dict, name)
        quad = np.asarray(_get(held, "quad", list, name))
        if quad.shape != (4, 2) or quad.dtype.kind not in "fi" or not np.isfinite(quad).all():
            raise DataError(f"{name}: the quad of a photo must be numbers [4, 2]")
        image, crop = (_unpacked_image(held, key, name) for key in ("jpeg", "crop"))
        photo = Photo(image, quad.astype(np.float32), crop)
    ws = _unpacked(_get(values, "ws", dict, name), name)
    own: dict[str, Any] = {"kind": str(source.get("kind", "file"))}
    if "psnr" in source:
        own["psnr"] = _number(source, "psnr", name, 0.0, 200.0)
    generator = None
    if "tuned" in values:
        generator = tuned.unpack(_bytes(values, "tuned", name), gen, f"{name}: {called}")
    return Face(called, ws, own, photo, generator)


def _load_look(value: Any, name: str) -> tuple[str, tuple[tuple[str, float], ...]]:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        raise DataError(f"{name}: a look must be a name and strengths")
    if not isinstance(value[1], dict) or len(value[1]) > _MAX_MOTIONS:
        raise DataError(f"{name}: a look must be a name and strengths")
    strengths = [(key, _number(value[1], key, name, -LARGEST, LARGEST)) for key in value[1]]
    return value[0][:80], tuple(strengths)


def _dump_motion(motion: StudioMotion) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": motion.name,
        "source": dict(motion.source),
        "strength": motion.strength,
        "layers": motion.layers,
        "keys": [[key.time, key.strength] for key in motion.keys],
        "limits": motion.limits,
    }
    if motion.source["kind"] != "bundled":
        values["subspace"] = {
            **{field: _packed(getattr(motion.subspace, field)) for field in _ARRAYS},
            "meta": dict(motion.subspace.meta),
        }
    return values


def _load_motion(values: Any, gen: Generator, name: str) -> StudioMotion:
    called, source = _get(values, "name", str, name), _get(values, "source", dict, name)
    if source.get("kind") == "bundled":
        known = zoo.bundled_motions(gen)
        file = known.get(str(source.get("name")))
        if file is None:
            raise DataError(
                f"{name}: there is no bundled motion {source.get('name')!r} for {gen.name}, "
                f"known are {', '.join(known) or 'none'}"
            )
        subspace = artifacts.load_subspace(file)
    else:
        held = _get(values, "subspace", dict, name)
        arrays = {key: _unpacked(_get(held, key, dict, name), name) for key in _ARRAYS}
        arrays["mask"] = arrays["mask"].astype(np.bool_)
        subspace = artifacts.check_subspace(name, Subspace(**arrays, meta=held.get("meta", {})))
        source = {"kind": str(source.get("kind", "file"))}
    layers = values.get("layers")
    keys = _get(values, "keys", list, name)
    if len(keys) > _MAX_KEYS or not all(isinstance(k, list) and len(k) == 2 for k in keys):
        raise DataError(f"{name}: key frames must be pairs of time and strength")
    frames = [
        Key(_number(k, 0, name, 0.0, 60.0), _number(k, 1, name, -LARGEST, LARGEST)) for k in keys
    ]
    limits = values.get("limits")
    ends = None
    if limits is not None:
        ends = (
            _number(limits, 0, name, -LARGEST, LARGEST),
            _number(limits, 1, name, -LARGEST, LARGEST),
        )
    motion = StudioMotion(
        called,
        subspace,
        source,
        strength=_number(values, "strength", name, -LARGEST, LARGEST),
        layers=None if layers is None else tuple(_get(values, "layers", list, name)),
        keys=tuple(sorted(frames, key=lambda key: key.time)),
        limits=ends,
    )
    try:
        motion.masked()  # refuses rows that are not there
        Calibration.of(subspace.meta)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return motion


def _get(values: Any, key: str, kind: type, name: str) -> Any:
    value = values.get(key) if isinstance(values, dict) else None
    if not isinstance(value, kind):
        raise DataError(f"{name}: {key!r} is missing or no {kind.__name__}")
    return value


def _number(values: Any, key: Any, name: str, low: float, high: float) -> float:
    try:
        value = values[key]
    except (KeyError, IndexError, TypeError):
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise DataError(f"{name}: {key!r} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def _whole(values: Any, key: str, name: str, high: int) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise DataError(f"{name}: {key!r} must be a whole number from 0 to {high}, got {value!r}")
    return value


def _packed(array: Any) -> dict[str, Any]:
    array = np.asarray(array)
    array = np.asarray(array, "|u1" if array.dtype == np.bool_ else "<f4", order="C")
    return {"shape": list(array.shape), "base64": base64.b64encode(array.tobytes()).decode()}


def _unpacked(values: Mapping[str, Any], name: str) -> np.ndarray:
    """The array that `_packed` packed: float32, or uint8 where it holds one byte for each value."""
    shape, data = _get(values, "shape", list, name), _bytes(values, "base64", name)
    if len(shape) > 3 or not all(isinstance(n, int) and 0 < n <= 1 << 20 for n in shape):
        raise DataError(f"{name}: an array has the shape {shape}")
    count = int(np.prod(shape, dtype=np.int64))
    if len(data) not in (count, 4 * count):
        raise DataError(f"{name}: an array of shape {shape} has {len(data)} bytes")
    array = np.frombuffer(data, "<f4" if len(data) == 4 * count else "|u1").reshape(shape)
    if not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or infinity")
    return array


def _bytes(values: Mapping[str, Any], key: str, name: str) -> bytes:
    try:
        return base64.b64decode(_get(values, key, str, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{name}: {key!r} is not base64") from error


def _jpeg(image: np.ndarray) -> str:
    buffer = streams.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=95, subsampling=0)
    return base64.b64encode(buffer.getvalue()).decode()


def _unpacked_image(values: Mapping[str, Any], key: str, name: str) -> np.ndarray:
    return media.to_uint8(open_image(_bytes(values, key, name), f"{name}: {key}"))
