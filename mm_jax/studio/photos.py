"""From a photo to a face of the stage: found, guessed by the encoder, refined, tuned to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mm_jax import media
from mm_jax.alignment import crop_face, ffhq_quad, find_faces, framing_of
from mm_jax.encoders.encoder import encode
from mm_jax.errors import DataError
from mm_jax.inversion.invert import invert
from mm_jax.inversion.judge import judge_inversions, reader_for
from mm_jax.inversion.options import InvertOptions, TuneOptions
from mm_jax.inversion.tuning import tune_generator
from mm_jax.latents import mean_latent, synthesize
from mm_jax.progress import ProgressFn, silent
from mm_jax.studio import tuned as tuned_files
from mm_jax.studio.document import Face, Photo
from mm_jax.studio.images import fitted
from mm_jax.studio.world import World

__all__ = ["find", "guess", "mixed", "refine", "warm_up"]

# Pixels of the longer side of a photo that is kept, to be put back into.
PHOTO_SIDE = 2048
# The photo's colours alone make a blur of the face; held to the mean latent it stays a face.
REFINE = InvertOptions(steps=60, mean_weight=1.0)
TUNE = TuneOptions(steps=60)


def find(world: World, image: np.ndarray, name: str) -> list[Face]:
    """The faces of a photo from left to right, as the encoder or else the mean latent guesses them.

    Args:
        world: of the session.
        image: [H, W, 3] float32 in [-1, 1].
        name: what the faces are called, with a number where there are several.

    Raises:
        DataError: no face is found.
    """
    found = find_faces(image)
    if not found:
        raise DataError(
            f"no face found in {name}: the face should be upright, in good light, and at least "
            "sixty pixels wide"
        )
    kept = fitted(media.to_uint8(image), PHOTO_SIDE)
    scale = np.array([kept.shape[1] / image.shape[1], kept.shape[0] / image.shape[0]], np.float32)
    photos = []
    for face in found:
        quad = framing_of(world.gen).apply(ffhq_quad(face.landmarks))
        crop = crop_face(image, quad, size=world.gen.config.resolution)
        # Quads are in pixels' middles, which reducing moves.
        photos.append(Photo(kept, (quad + 0.5) * scale - 0.5, media.to_uint8(crop)))
    latents = guess(world, np.stack([media.to_float(photo.crop) for photo in photos]))
    names = [name] if len(photos) == 1 else [f"{name}_{i + 1}" for i in range(len(photos))]
    return [
        Face(called, ws, {"kind": "photo"}, photo)
        for called, ws, photo in zip(names, latents, photos, strict=True)
    ]


def warm_up(world: World) -> None:
    """Load, or compile, what finds faces and guesses their latents."""
    size = world.gen.config.resolution
    find_faces(np.zeros((512, 512, 3), np.uint8))
    guess(world, np.zeros((1, size, size, 3), np.float32))


def guess(world: World, crops: np.ndarray) -> np.ndarray:
    """Latents [N, L, D] of crops [N, R, R, 3] in [-1, 1] by the encoder; the mean where none is."""
    if world.encoder is None:
        return np.repeat(np.asarray(mean_latent(world.gen)), len(crops), axis=0)
    return np.asarray(encode(world.encoder, jnp.asarray(crops), gen=world.gen))


def refine(
    world: World,
    face: Face,
    *,
    tune: bool = False,
    options: InvertOptions = REFINE,
    tuning: TuneOptions = TUNE,
    show: Callable[[Face], None] = lambda face: None,
    progress: ProgressFn = silent,
) -> Face:
    """A face of a photo whose latent is closer to the photo.

    Args:
        world: of the session.
        face: of a photo.
        tune: also tune a copy of the generator to it; a face that is refined already is only
            tuned to.
        options: of the inversion.
        tuning: of the tuning.
        show: is given the refined face before it is tuned to.
        progress: called with the steps.

    Returns:
        The face; where it is not like the photo, its source has a `fault` that says why.

    Raises:
        DataError: the optimisation diverges.
    """
    assert face.photo is not None
    target = media.to_float(face.photo.crop)[None]
    if not tune or "psnr" not in face.source:
        face = _inverted(world, face, target, options, progress)
    if not tune:
        return _judged(world, face)
    show(face)
    tuned = tune_generator(world.gen, target, face.ws[None], options=tuning, progress=progress)
    # As it will be read from a session's file, so that the pictures are the same.
    packed = tuned_files.pack(tuned.generator, world.gen, world.name)
    generator = tuned_files.unpack(packed, world.gen, face.name)
    source = {**face.source, "psnr": round(float(tuned.psnr[0]), 2)}
    return _judged(world, dataclasses.replace(face, source=source, generator=generator))


def _judged(world: World, face: Face) -> Face:
    """The face with what is wrong with it, if anything is, as `fault` of its source."""
    assert face.photo is not None
    drawn = synthesize(face.generator or world.gen, face.ws[None])
    likeness = judge_inversions(
        world.gen, media.to_float(face.photo.crop)[None], np.asarray(drawn), face.ws[None],
        reader=reader_for(world.gen),
    )[0]  # fmt: skip
    source = {key: value for key, value in face.source.items() if key != "fault"}
    if likeness.fault:
        source["fault"] = likeness.fault
    return dataclasses.replace(face, source=source)


def _inverted(
    world: World, face: Face, target: np.ndarray, options: InvertOptions, progress: ProgressFn
) -> Face:
    found = invert(world.gen, target, options=options, start=face.ws[None], progress=progress)
    source: Mapping[str, Any] = {**face.source, "psnr": round(float(found.psnr[0]), 2)}
    return dataclasses.replace(face, ws=np.asarray(found.ws)[0], source=source)


def mixed(first: Face, second: Face, *, fraction: float, rows: range | None = None) -> Face:
    """A face between two, or with rows of the second in the first.

    Args:
        first: what the face begins with.
        second: what is mixed into it.
        fraction: how far towards the second, in [0, 1].
        rows: of W+ that are mixed; all by default. Early rows are the pose and the shape, late
            ones the colours.
    """
    weight = np.zeros((len(first.ws), 1), np.float32)
    weight[slice(None) if rows is None else slice(rows.start, rows.stop)] = fraction
    ws = (first.ws + weight * (second.ws - first.ws)).astype(np.float32)
    return Face(f"{first.name}_{second.name}"[:40], ws, {"kind": "mix"})
