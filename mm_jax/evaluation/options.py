"""The topics of mm_eval and their options. Nothing here imports JAX."""

from __future__ import annotations

import dataclasses

from mm_jax import parsers, zoo
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.demo.options import parse_motions
from mm_jax.errors import UsageError
from mm_jax.options import Options, option, seeds_option
from mm_jax.sources import label_option

__all__ = ["TOPICS", "DomainEval", "FacesEval", "InversionEval", "VideoEval"]

_METHODS = ("encoder", "short", "tuned", "long")


def _weights(text: str, *, flag: str) -> tuple[float, ...]:
    values = parsers.parse_strengths(text, frames=2, flag=flag) if text.strip() else ()
    if any(value < 0 for value in values):
        raise UsageError(f"{flag}={text!r}: weights must be at least 0")
    return values


def _names(text: str, *, flag: str) -> tuple[str, ...]:
    del flag
    return tuple(part.strip() for part in text.split(","))


def _methods(text: str, *, flag: str) -> tuple[str, ...]:
    names = _names(text, flag=flag)
    for name in names:
        if name not in _METHODS:
            raise UsageError(f"{flag}={text!r}: {name!r} is none of {', '.join(_METHODS)}")
    return tuple(name for name in _METHODS if name in names)


def _generator() -> str:
    return option(zoo.GENERATOR, "Name of a bundled generator, or a folder of one.")


def _encoder() -> str:
    return option(zoo.ENCODER, "Encoder: a bundled name, or a folder.")


def _judge() -> str:
    return option(zoo.JUDGE, "Probe that reads factors: a bundled name, or a folder.")


def _clip() -> str:
    return option(zoo.CLIP, "CLIP for motions that are found anew.")


def _renders() -> str:
    return option(zoo.RENDERS, "Renders with known factors: a bundled name, or a folder.")


def _subspaces() -> str:
    return option("", "Folder of an mm_demo run whose motions are used.")


def _trunc() -> float:
    return option(0.7, "Truncation psi of sampled latents.")


def _batch() -> int:
    return option(16, "Images per step; fewer need less memory.", minimum=1)


def _identities() -> tuple[int, ...]:
    return seeds_option("1000-1063", "Seeds of the faces that are measured.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionEval(Options):
    """How inversion is measured.

    Raises:
        UsageError: a number out of range.
    """

    generator: str = _generator()
    encoder: str = _encoder()
    judge: str = _judge()
    renders: str = _renders()
    clip: str = _clip()
    subspaces: str = _subspaces()
    edits: tuple[str, ...] = option(
        tuple(MOTIONS), "Micromotions that edit inverted latents.", parse=parse_motions
    )
    methods: tuple[str, ...] = option(_METHODS, "Which ones.", parse=_methods)
    count: int = option(64, "Images of each kind.", minimum=1)
    few: int = option(
        64, "Images of each kind for what takes long: 500 steps, tuning, weights.", minimum=1
    )
    short_steps: int = option(50, "Steps after the encoder.", minimum=1)
    long_steps: int = option(500, "Steps from the mean.", minimum=1)
    tune_steps: int = option(60, "Steps of the tuning, for each four images.", minimum=1)
    mean_weights: tuple[float, ...] = option(
        (0.01, 0.1), "Weights of distance to the mean to compare.", parse=_weights
    )
    start_weights: tuple[float, ...] = option(
        (0.01, 0.1), "Weights of distance to the start.", parse=_weights
    )
    trunc: float = _trunc()
    batch: int = _batch()

    def check(self) -> None:
        """Refuse methods and counts that cannot be compared."""
        if "short" not in self.methods:
            raise UsageError("methods lack short, which the others are compared with")
        if self.few > self.count:
            raise UsageError(f"few must be at most count, {self.count}, got {self.few}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoEval(Options):
    """How motions from videos are measured.

    Raises:
        UsageError: a number out of range.
    """

    generator: str = _generator()
    encoder: str = _encoder()
    judge: str = _judge()
    clip: str = _clip()
    motions: tuple[str, ...] = option(
        ("head_turn", "smile", "closing_eyes", "aging"), "Which motions videos show.", parse=_names
    )
    videos: str = option(zoo.VIDEOS, "Videos of known motions: a bundled name, or a folder.")
    spoil_seed: int = option(21, "Seed of which frames are spoiled, and how.")
    spoiled: float = option(0.2, "Fraction of the frames that is spoiled.", minimum=0)
    video_steps: int = option(
        0, "Steps of inversion of every frame by itself.", minimum=0, alias="clip_steps"
    )
    together_steps: int = option(10, "Further steps of the frames of a video together.", minimum=0)
    trunc: float = _trunc()
    text_starts: tuple[int, ...] = seeds_option(
        "0-5", "Seeds of the faces in which motions are found from prompts, for comparison."
    )
    identities: tuple[int, ...] = _identities()
    population: tuple[int, ...] = seeds_option(
        "2000-2255", "Seeds of the faces that tell how much each factor varies."
    )
    batch: int = _batch()

    def check(self) -> None:
        """Refuse videos of which half is spoiled."""
        if not self.spoiled < 0.5:
            raise UsageError(f"spoiled must be below 0.5, got {self.spoiled}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainEval(Options):
    """How transfer to another domain is measured.

    Raises:
        UsageError: a number out of range.
    """

    generator: str = _generator()
    sketch_generator: str = option(
        zoo.SKETCH, "Generator of drawings, with the same W+: a bundled name, or a folder."
    )
    judge: str = _judge()
    sketch_judge: str = option(
        zoo.SKETCH_JUDGE, "Probe that reads drawings: a bundled name, or a folder."
    )
    clip: str = _clip()
    subspaces: str = _subspaces()
    identities: tuple[int, ...] = _identities()
    renders: str = _renders()
    drawings: int = option(16, "How many drawings of renders are inverted and moved.", minimum=2)
    inversion_steps: int = option(
        150, "Optimisation steps of an inversion from the mean.", minimum=1
    )
    # Drawings lie off the face generator's manifold: reconstruction is traded for latents that
    # edits know.
    mean_weight: float = option(
        0.01, "Weight of an inverted latent's distance to the mean.", minimum=0
    )
    measured: int = option(7, "Strengths at which images are measured, from -1 to 1.", minimum=2)
    trunc: float = _trunc()
    batch: int = _batch()

    def check(self) -> None:
        """Refuse single seeds."""
        if len(self.identities) < 2:
            raise UsageError(f"identities must be at least two seeds, got {len(self.identities)}")

    @property
    def strengths(self) -> tuple[float, ...]:
        """Even steps from -1 to 1."""
        return parsers.parse_strengths("-1:1", frames=self.measured)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FacesEval(Options):
    """How edits are judged by networks that know real faces; no factor needs to be known.

    Raises:
        UsageError: no folder of subspaces, or a number out of range.
    """

    generator: str = _generator()
    subspaces: str = _subspaces()
    edits: tuple[str, ...] = option(
        tuple(MOTIONS), "Micromotions that are judged.", parse=parse_motions
    )
    identities: tuple[int, ...] = seeds_option("1000-1015", "Seeds of the faces that are edited.")
    label: int | None = label_option()
    measured: int = option(5, "Strengths at which images are read, from -1 to 1.", minimum=2)
    trunc: float = _trunc()
    batch: int = _batch()

    def check(self) -> None:
        """Refuse single seeds: how different people are is the unit of every figure."""
        if len(self.identities) < 2:
            raise UsageError(f"identities must be at least two seeds, got {len(self.identities)}")

    @property
    def strengths(self) -> tuple[float, ...]:
        """Even steps from -1 to 1."""
        return parsers.parse_strengths("-1:1", frames=self.measured)


TOPICS: dict[str, type[Options]] = {
    "inversion": InversionEval,
    "video": VideoEval,
    "domain": DomainEval,
    "faces": FacesEval,
}
