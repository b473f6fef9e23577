"""Does the generator know the image, and is what it renders for it of use?

Shapes: N images, R side of the generator's images, L rows of W+, D latent width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mm_jax.alignment.framing import framing_of
from mm_jax.faces.readings import OTHER_PERSON, FaceReader, Readings, identity_distance
from mm_jax.inversion import losses, spaces
from mm_jax.perceptual.lpips import Lpips
from mm_jax.stylegan2.generator import Generator

__all__ = ["InversionVerdict", "Likeness", "judge_inversions", "reader_for"]

# Descriptors of photographs of one person are up to about so far apart; a generator that knows the
# image comes nearer.
_KNOWN_IDENTITY = 0.45
# With less, nothing but colours is rebuilt: smears without a face in them reach 13 to 18 dB.
_MIN_PSNR = 16.0
# Faces of smaller images can not be read.
_MIN_SIDE = 64


@dataclasses.dataclass(frozen=True)
class Likeness:
    """How like an image is to what is rendered for its latent.

    Attributes:
        psnr: in dB, at the generator's size.
        laplacian: distance of the Laplacian pyramids.
        lpips: LPIPS, where a network is given.
        from_mean: squared distance of the latent from the mean one; 1 for sampled latents.
        face: whether a face is found in the rendering; None where none is in the image, or nobody
            looked.
        identity: distance of the two faces' descriptors, where both are found.
    """

    psnr: float
    laplacian: float
    from_mean: float
    lpips: float | None = None
    face: bool | None = None
    identity: float | None = None

    @property
    def known(self) -> bool:
        """Whether the generator renders this image's person, near enough to edit them."""
        if self.psnr < _MIN_PSNR:
            return False
        return self.face is None or (self.identity is not None and self.identity < _KNOWN_IDENTITY)

    @property
    def fault(self) -> str:
        """Why the rendering is of no use, in words that follow a name; "" if it is."""
        if self.face is False:
            return f"no face is left ({self.psnr:.1f} dB)"
        if self.identity is not None and self.identity >= OTHER_PERSON:
            return (
                f"shows another person (descriptors must be less than {OTHER_PERSON:g} apart, got "
                f"{self.identity:.2f}; {self.psnr:.1f} dB)"
            )
        if self.psnr < _MIN_PSNR:
            return f"is not rebuilt (must be at least {_MIN_PSNR:g} dB, got {self.psnr:.1f})"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Plain json values, the verdict among them."""
        return {**dataclasses.asdict(self), "known": self.known, "fault": self.fault}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Likeness:
        """Inverse of `to_dict`."""
        return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})


@dataclasses.dataclass(frozen=True)
class InversionVerdict:
    """The verdict on the images of a run.

    Attributes:
        judged: by name, how like the rendering is to the image.
        tuned: whether a copy of the generator was tuned to them.
    """

    judged: Mapping[str, Likeness]
    tuned: bool = False

    @property
    def usable(self) -> int:
        """Of how many images what is rendered is of use."""
        return sum(not one.fault for one in self.judged.values())

    @property
    def good(self) -> bool:
        """Whether it is of all."""
        return self.usable == len(self.judged)

    def line(self, noun: str = "images") -> str:
        """One line on how well they are rebuilt, and what to do where they are not."""
        count, mean = len(self.judged), np.mean([one.psnr for one in self.judged.values()])
        how = " by a tuned copy" if self.tuned else ""
        words = f"{self.usable} of {count} {noun} usable, rebuilt at {mean:.1f} dB{how}"
        apart = [one.identity for one in self.judged.values() if one.identity is not None]
        if apart:
            words += f", identity {np.mean(apart):.2f} (another person from {OTHER_PERSON:g})"
        faults = [f"{name} {one.fault}" for name, one in self.judged.items() if one.fault]
        if faults:
            words += f". NOT USABLE: {'; '.join(faults)}. {self._advice(noun)}"
        return words

    def _advice(self, noun: str) -> str:
        if noun == "frames":
            return "The generator does not know this face: try --paste=move, or another --generator"
        if self.tuned:
            return "Try more --tune_steps, or a --generator that knows such images"
        return "The generator does not know such images: try --tune, or another --generator"


def judge_inversions(
    gen: Generator,
    images: np.ndarray,
    drawn: np.ndarray,
    ws: np.ndarray,
    *,
    lpips: Lpips | None = None,
    reader: Callable[[Any], Readings] | None = None,
) -> list[Likeness]:
    """Judge what a generator renders for the latents that were found for images.

    Args:
        gen: the generator.
        images: [N, R, R, C] float in [-1, 1].
        drawn: [N, R, R, C] what is rendered.
        ws: [N, L, D] the latents.
        lpips: the perceptual distance, if there is one.
        reader: what finds and reads faces, a `FaceReader` for the generator's framing; None if
            nobody is to look for faces.
    """
    population = spaces.measure_population(gen, "w+")
    pairs = jnp.asarray(drawn), jnp.asarray(images)
    decibels, pyramids = losses.psnr(*pairs), losses.laplacian_distance(*pairs)
    far = spaces.distance(jnp.asarray(ws), population.mean, population.spread)
    perceived = None if lpips is None else losses.perceptual_distance(lpips, *pairs)
    judged = []
    for i in range(len(images)):
        face, identity = _compare(images[i], drawn[i], reader)
        judged.append(
            Likeness(
                psnr=float(decibels[i]),
                laplacian=float(pyramids[i]),
                from_mean=float(far[i]),
                lpips=None if perceived is None else float(perceived[i]),
                face=face,
                identity=identity,
            )
        )
    return judged


def reader_for(gen: Generator) -> FaceReader | None:
    """What looks for faces in the generator's images; None where they are too small or not RGB."""
    if gen.config.img_channels != 3 or gen.config.resolution < _MIN_SIDE:
        return None
    return FaceReader(framing_of(gen))


def _compare(
    image: np.ndarray, drawn: np.ndarray, reader: Callable[[Any], Readings] | None
) -> tuple[bool | None, float | None]:
    """Whether the face of an image is in its rendering too, and how far apart the two are."""
    if reader is None or not (wanted := reader(image[None])).found[0]:
        return None, None
    got = reader(np.clip(drawn, -1, 1)[None])
    if not got.found[0]:
        return False, None
    return True, float(identity_distance(wanted.descriptors[0], got.descriptors[0]))
