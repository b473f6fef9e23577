"""What the trained models are measured by, on z and renders that no training saw.

"Unseen" are renders with psi = 1, of which the z is known, so that a generated image and the render
of the same person can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, degree_values, fill
from mm_jax.anchors.reading import read_degrees
from mm_jax.edit_metrics import MotionTruth, motion_truth, spearman
from mm_jax.encoders.encoder import Encoder, encode
from mm_jax.evaluation.reading import r_squared, read_images
from mm_jax.faces.readings import Readings
from mm_jax.latents import sample_latents, synthesize
from mm_jax.people.attributes import ATTRIBUTES, MOTION_FACTOR, degrees_of
from mm_jax.people.drawing import pencil
from mm_jax.people.factors import index
from mm_jax.people.renders import Renders
from mm_jax.people.train_generator import inner_mask
from mm_jax.people.walks import Walks
from mm_jax.perceptual.clip import Clip, encode_image, encode_text
from mm_jax.perceptual.probe import Probe
from mm_jax.stylegan2.generator import Generator

__all__ = [
    "Fidelity",
    "images_of",
    "measure_captions",
    "measure_encoder",
    "measure_floor",
    "measure_generator",
    "measure_motions",
    "measure_probe",
    "measure_strangers",
    "measure_walks",
    "unit_vectors",
]

BATCH = 20
#: Readings of the networks that know real faces, and the factors that they should follow.
_READ_BY_STRANGERS = {"happy": "smile", "angry": "anger", "age": "age", "yaw": "yaw"}


class Fidelity(NamedTuple):
    """Mean PSNR in dB, over the whole image and over the ellipse of the inner face."""

    whole: float
    inner: float


def _floats(images: np.ndarray) -> jnp.ndarray:
    return jnp.asarray(images, jnp.float32) / 127.5 - 1


def _bytes(images) -> np.ndarray:
    return np.asarray(np.clip(np.round((np.asarray(images) + 1) * 127.5), 0, 255), np.uint8)


def fidelity(made: np.ndarray, true: np.ndarray) -> Fidelity:
    """Of images ``[N, R, R, 3]`` uint8 to others of the same shape."""
    error = np.square((made.astype(np.float32) - true) / 255).mean(axis=-1, keepdims=True)
    mask = np.asarray(inner_mask(made.shape[1]))
    whole = error.mean(axis=(1, 2, 3))
    inner = (error * mask).sum(axis=(1, 2, 3)) / mask.sum()
    # Equal images, as 8 bits have them, count as 60 dB.
    decibels = [float(np.mean(-10 * np.log10(np.maximum(e, 1e-6)))) for e in (whole, inner)]
    return Fidelity(*(round(value, 2) for value in decibels))


def images_of(gen: Generator, z: np.ndarray) -> np.ndarray:
    """Images ``[N, R, R, 3]`` uint8 of z ``[N, Z]``, without truncation."""
    parts = [z[first : first + BATCH] for first in range(0, len(z), BATCH)]
    return np.concatenate([_bytes(synthesize(gen, sample_latents(gen, z=part))) for part in parts])


def drawings(images: np.ndarray) -> np.ndarray:
    """Pencil drawings of images, both ``[N, R, R, 3]`` uint8."""
    parts = [images[first : first + BATCH] for first in range(0, len(images), BATCH)]
    return np.concatenate([_bytes(_pencil(_floats(part))) for part in parts])


_pencil = jax.jit(pencil)


def measure_probe(probe: Probe, unseen: Renders, *, drawn: bool = False) -> np.ndarray:
    """R squared of each factor on unseen renders, or on drawings of them, ``[F]``."""
    images = drawings(unseen.images) if drawn else unseen.images
    return r_squared(read_images(probe, images), unseen.factors)


def measure_generator(
    made: np.ndarray, judge: Probe, unseen: Renders, *, drawn: bool = False
) -> tuple[np.ndarray, Fidelity]:
    """How well images of unseen z show what they should: renders, or drawings of them.

    Args:
        made: ``[N, R, R, 3]`` uint8, see `images_of`.
        judge: reads them.
        unseen: the renders of the same z.
        drawn: whether they should be drawings.

    Returns:
        R squared of each factor that ``judge`` reads from them, ``[F]``; and how close they are to
        the renders.
    """
    read = read_images(judge, made)
    true = drawings(unseen.images) if drawn else unseen.images
    return r_squared(read, unseen.factors), fidelity(made, true)


def measure_strangers(
    images: np.ndarray, factors: np.ndarray, reader: Callable[[np.ndarray], Readings]
) -> dict[str, float]:
    """What networks that know photographs of real people read from images of known factors.

    Args:
        images: ``[N, R, R, 3]`` uint8, generated or rendered.
        factors: ``[N, F]``.
        reader: the networks.

    Returns:
        ``found``: fraction of the images in which a face is found. ``happy``, ``angry``, ``age``,
        ``yaw``: Spearman correlation of the reading with smile, anger, age and yaw, where a face
        is found. ``gender``: fraction of those whose gender is read as the factor says.
    """
    read = reader(images)
    seen = read.found
    figures = {"found": float(seen.mean())}
    for name, factor in _READ_BY_STRANGERS.items():
        truth = factors[seen, index(factor)]
        figures[name] = float(spearman(read.values[name][seen], truth))
    # The factor goes from -1, women, to 1, men.
    male = factors[seen, index("gender")] > 0
    figures["gender"] = float(np.mean((read.values["male"][seen] > 0.5) == male))
    return {name: round(value, 3) for name, value in figures.items()}


def measure_encoder(
    gen: Generator, encoder: Encoder, unseen: Renders, *, count: int = 200
) -> dict[str, Fidelity]:
    """How well unseen generated images and renders are rebuilt from their latents."""
    figures = {}
    for kind, images in (
        ("generated", images_of(gen, unseen.z[:count])),
        ("renders", unseen.images[:count]),
    ):
        rebuilt = [
            _bytes(synthesize(gen, encode(encoder, _floats(images[first : first + BATCH]))))
            for first in range(0, len(images), BATCH)
        ]
        figures[kind] = fidelity(np.concatenate(rebuilt), images)
    return figures


def measure_floor(judge: Probe, walks: Walks, unseen: Renders) -> dict[str, MotionTruth]:
    """What ``judge`` says of motions in which the renderer changed one factor alone.

    Leakage is over the other factors, in standard deviations of each over the population.
    """
    scale = unseen.factors.std(axis=0)
    figures = {}
    for images, factors, name in zip(walks.images, walks.factors, MOTIONS, strict=True):
        target = index(MOTION_FACTOR[name])
        flat = images.reshape(-1, *images.shape[2:])
        read = read_images(judge, flat, batch=images.shape[1]).reshape(factors.shape)
        figures[name] = motion_truth(read, factors[0, :, target], target=target, factor_scale=scale)
    return figures


def unit_vectors(clip: Clip, images: np.ndarray, batch: int = 100) -> np.ndarray:
    """CLIP's unit vectors ``[N, E]`` of images ``[N, R, R, 3]`` uint8."""
    parts = [images[first : first + batch] for first in range(0, len(images), batch)]
    return np.concatenate(
        [np.asarray(encode_image(clip, jnp.asarray(p, jnp.float32) / 127.5 - 1)) for p in parts]
    )


def _similar(clip: Clip, seen: np.ndarray, motion: str) -> tuple[np.ndarray, np.ndarray]:
    """How far along a motion unit vectors ``[N, E]`` are, by its graded prompts.

    Returns:
        The degree read, and the bare cosine to the 100 % prompt. ``[N]`` both.
    """
    texts = [fill(MOTIONS[motion].template, degree) for degree in DEFAULT_DEGREES]
    cosine = seen @ np.asarray(encode_text(clip, texts)).T
    degrees, scale = degree_values(DEFAULT_DEGREES), float(clip.logit_scale)
    bare = np.zeros(len(texts))  # of cosines nothing is taken away
    return read_degrees(cosine, degrees, typical=bare, scale=scale), cosine[:, -1]


def measure_motions(clip: Clip, judge: Probe, unseen: Renders) -> dict[str, dict[str, float]]:
    """How well graded prompts order unseen faces, for each micromotion.

    Spearman correlations with the true degree: ``degree`` of the degree read off an image by all
    prompts, ``full`` of the similarity to the 100 % prompt alone, and ``judge`` of the factor as
    ``judge`` reads it, which says how far an order can be seen at all. (Half of all people have
    their eyes open to within a twentieth of the factor's range.) Faces turned to the left are left
    out of turning right, whose prompts are graded from facing the viewer.
    """
    seen, true = unit_vectors(clip, unseen.images), degrees_of(unseen.factors)
    judged = read_images(judge, unseen.images)
    figures = {}
    for place, name in enumerate(MOTIONS):
        degree, full = _similar(clip, seen, name)
        rows = true[:, place] >= 0
        read = {"degree": degree, "full": full, "judge": judged[:, index(MOTION_FACTOR[name])]}
        figures[name] = {
            key: round(float(spearman(value[rows], true[rows, place])), 4)
            for key, value in read.items()
        }
    return figures


def measure_walks(clip: Clip, walks: Walks) -> dict[str, float]:
    """How well graded prompts order images of one person in whom a micromotion alone changes.

    The Spearman correlation of the degree read with the factor, mean over people. Turning right
    begins where the person faces the viewer.
    """
    figures = {}
    for images, factors, name in zip(walks.images, walks.factors, MOTIONS, strict=True):
        true = factors[..., index(MOTION_FACTOR[name])]  # [N, S]
        seen = unit_vectors(clip, images.reshape(-1, *images.shape[2:]))
        read = _similar(clip, seen, name)[0].reshape(true.shape)
        # Rounding may leave the middle of a range just below 0.
        shown = degrees_of(factors[0])[:, tuple(MOTIONS).index(name)] > -1e-3  # [S]
        figures[name] = round(float(np.mean(spearman(read[:, shown], true[:, shown]))), 4)
    return figures


def measure_captions(clip: Clip, unseen: Renders) -> dict[str, float]:
    """For each attribute, Spearman correlation of its true degree with what plain captions see.

    That is the mean cosine to all of the attribute's plain captions. For attributes with two sides
    all faces count.
    """
    seen, true = unit_vectors(clip, unseen.images), degrees_of(unseen.factors)
    texts = [text for attribute in ATTRIBUTES for text in attribute.sayings]
    ends = np.cumsum([len(attribute.sayings) for attribute in ATTRIBUTES])[:-1]
    groups = np.split(np.asarray(encode_text(clip, texts)), ends)
    return {
        attribute.name: float(spearman(seen @ group.mean(axis=0), true[:, place]))
        for place, (attribute, group) in enumerate(zip(ATTRIBUTES, groups, strict=True))
    }
