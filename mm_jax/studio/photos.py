"""From a photo to a face of the stage: found, guessed by the encoder, refined, tuned to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import media
from mm_jax.alignment import crop_face, ffhq_quad, find_faces, framing_of
from mm_jax.encoders.encoder import encode
from mm_jax.errors import DataError
from mm_jax.inversion.invert import invert
from mm_jax.inversion.judge import Likeness, judge_inversions, reader_for
from mm_jax.inversion.options import InvertOptions, TuneOptions
from mm_jax.inversion.tuning import tune_generator
from mm_jax.latents import mean_latent, synthesize
from mm_jax.progress import ProgressFn, silent
from mm_jax.studio import tuned as tuned_files
from mm_jax.studio.document import Face, Photo
from mm_jax.studio.images import fitted
from mm_jax.studio.world import World
from mm_jax.stylegan2.generator import Generator

__all__ = ["doubts", "find", "guess", "mixed", "refine", "warm_up"]

# Pixels of the longer side of a photo that is kept, to be put back into.
PHOTO_SIDE = 2048
REFINE = InvertOptions()
TUNE = TuneOptions(steps=150)


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
    """A face of a photo whose latent is closer to the photo, found as `mm_edit --image` does.

    A photo that the generator does not know is inverted again, held to W and to who the face is:
    without that, its colours alone make a blur.

    Args:
        world: of the session.
        face: of a photo.
        tune: also tune a copy of the generator to it; a face that is refined already is only
            tuned to.
        options: of the inversion.
        tuning: of the tuning, and how near to W what is not known is held.
        show: is given the refined face before it is tuned to.
        progress: called with the steps.

    Returns:
        The face. Its source has `unknown` where the generator does not know the photo and is not
        tuned to it, and a `fault` that says why, where it is not like the photo.

    Raises:
        DataError: the optimisation diverges.
    """
    assert face.photo is not None
    target = media.to_float(face.photo.crop)[None]
    if not tune or "psnr" not in face.source:
        face = _inverted(world, face, target, options, tuning.pull, progress)
    if not tune:
        return face
    show(face)
    tuned = tune_generator(
        world.gen, target, face.ws[None], options=tuning, identity=world.identity(),
        progress=progress,
    )  # fmt: skip
    # As it will be read from a session's file, so that the images are the same.
    packed = tuned_files.pack(tuned.generator, world.gen, world.name)
    generator = tuned_files.unpack(packed, world.gen, face.name)
    likeness = _likeness(world, target, face.ws[None], generator)
    return dataclasses.replace(face, source=_source(face, likeness), generator=generator)


def _inverted(
    world: World,
    face: Face,
    target: np.ndarray,
    options: InvertOptions,
    pull: float,
    progress: ProgressFn,
) -> Face:
    start = face.ws[None]
    found = invert(world.gen, target, options=options, start=start, progress=progress)
    likeness = _likeness(world, target, found.ws)
    # Where no face tells who it is, holding it to one is of no use.
    unknown = likeness.face is not None and not likeness.known
    if unknown:
        held = options.replace(w_weight=pull)
        found = invert(
            world.gen, target, options=held, start=start, identity=world.identity(),
            progress=progress,
        )  # fmt: skip
        likeness = _likeness(world, target, found.ws)
    source = _source(face, likeness) | ({"unknown": True} if unknown else {})
    return dataclasses.replace(face, ws=np.asarray(found.ws)[0], source=source)


def _likeness(
    world: World, target: np.ndarray, ws: np.ndarray | jax.Array, gen: Generator | None = None
) -> Likeness:
    """How like the photo [1, R, R, 3] is what is drawn for latents [1, L, D]."""
    drawn = synthesize(gen or world.gen, ws)
    return judge_inversions(
        world.gen, target, np.asarray(drawn), np.asarray(ws), reader=reader_for(world.gen)
    )[0]


def _source(face: Face, likeness: Likeness) -> dict[str, Any]:
    """The face's source, with what is found about the likeness in place of what was known."""
    kept = {k: v for k, v in face.source.items() if k not in ("fault", "unknown")}
    fault = {"fault": likeness.fault} if likeness.fault else {}
    return {**kept, "psnr": round(likeness.psnr, 2), **fault}


def doubts(face: Face, title: str) -> str:
    """What is to be said of a refined face that is not the photo's, and what may help; or ""."""
    fault = face.source.get("fault")
    if face.generator is not None:
        return f"But {title} {fault}. What may help: another generator." if fault else ""
    if face.source.get("unknown"):
        said = f"{title} {fault}" if fault else "what you see is the nearest face that it can draw"
        return (
            f"The generator does not know such a face: {said}. “Tune to the photo” trains a copy "
            "of it that does."
        )
    return f"But {title} {fault}. What may help: “Tune to the photo”." if fault else ""


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
