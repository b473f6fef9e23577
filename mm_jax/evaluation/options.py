"""The topics of mm_eval and their options. Nothing here imports JAX."""

from __future__ import annotations

import dataclasses

from mm_jax import parsers, zoo
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.baselines.options import METHODS, BaselineOptions, parse_methods
from mm_jax.demo.options import parse_motions
from mm_jax.errors import UsageError
from mm_jax.options import Options, group, option, seeds_option
from mm_jax.sources import label_option

__all__ = ["TOPICS", "ComparedEval", "DomainEval", "FacesEval", "InversionEval", "VideoEval"]

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


def _population() -> tuple[int, ...]:
    return seeds_option("2000-2255", "Seeds of the faces that tell how much each factor varies.")


def _few() -> int:
    return option(
        64,
        "Images of each kind for what takes long: 500 steps, tuning, weights, claims.",
        minimum=1,
    )


def _check_several(**seeds: tuple[int, ...]) -> None:
    """Refuse single seeds, by the name of their option."""
    for name, own in seeds.items():
        if len(own) < 2:
            raise UsageError(f"{name} must be at least two seeds, got {len(own)}")


def _from_minus_one_to_one(count: int) -> tuple[float, ...]:
    """Even steps."""
    return parsers.parse_strengths("-1:1", frames=count)


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
    few: int = _few()
    short_steps: int = option(50, "Steps after the encoder.", minimum=1)
    long_steps: int = option(500, "Steps from the mean.", minimum=1)
    tune_steps: int = option(60, "Steps of the tuning, for each four images.", minimum=1)
    mean_weights: tuple[float, ...] = option(
        (0.0, 0.1), "Weights of distance to the mean to compare.", parse=_weights
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
    population: tuple[int, ...] = _population()
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
        _check_several(identities=self.identities)

    @property
    def strengths(self) -> tuple[float, ...]:
        """Even steps from -1 to 1."""
        return _from_minus_one_to_one(self.measured)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FacesEval(Options):
    """How edits are judged by networks that know real faces; no factor needs to be known.

    Raises:
        UsageError: a number out of range, or a single seed.
    """

    generator: str = _generator()
    subspaces: str = option(
        "", "Folder of an mm_demo run whose motions are used; by default the bundled ones."
    )
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
        _check_several(identities=self.identities)

    @property
    def strengths(self) -> tuple[float, ...]:
        """Even steps from -1 to 1."""
        return _from_minus_one_to_one(self.measured)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedEval(Options):
    """How methods are compared; no seed is used for two purposes.

    Raises:
        UsageError: a number out of range, seeds that are used twice, or a reference that is not
            among the methods.
    """

    generator: str = _generator()
    clip: str = _clip()
    encoder: str = _encoder()
    probe: str = option(
        zoo.PROBE,
        "Probe that methods with known factors learn from: a bundled name, or a folder.",
    )
    judge: str = _judge()
    second: str = option(
        zoo.PROBE,
        "Probe that reads the edited faces once more, to confirm the judge's ranking: a bundled "
        "name, a folder, or none.",
    )
    identity: str = option(
        "faces",
        "What tells whether a face stays the same person: faces (the bundled recogniser), a folder "
        "of an ArcFace, or none.",
    )
    edits: tuple[str, ...] = option(
        tuple(MOTIONS), "Micromotions that are compared.", parse=parse_motions
    )
    baselines: tuple[str, ...] = option(METHODS, "Methods that are compared.", parse=parse_methods)
    reference: str = option("ours_refined", "The method that others are compared with.")
    repetitions: int = option(5, "How often each method is run, with other keys.", minimum=1)
    unseen: tuple[int, ...] = seeds_option("5000-5127", "Seeds of the faces that are measured.")
    calibrated_on: tuple[int, ...] = seeds_option(
        "6000-6031", "Seeds of the faces on which strength 1 is set."
    )
    population: tuple[int, ...] = _population()
    claims: bool = option(True, "Measure the paper's claims as well, on --few faces.")
    few: int = _few()
    reach: int = option(3, "Highest strength that is measured.", minimum=1)
    per_unit: int = option(2, "Strengths that are measured from 0 to 1, and so on.", minimum=1)
    videos: str = option(
        "", "Folder of videos called smile.mp4 and so on; by default the bundled ones."
    )
    looked_at: BaselineOptions = group(
        BaselineOptions(),
        flags=(
            "samples", "extremes", "labelled", "jacobian_faces", "gram_faces", "components",
            "sketch", "relevance", "starts", "optimize_steps", "averaged",
        ),
    )  # fmt: skip
    jobs: int = option(
        1, "Processes that share the work; each opens the models for itself.", minimum=1
    )
    trunc: float = _trunc()
    batch: int = _batch()

    def check(self) -> None:
        """Refuse seeds of two purposes, single ones, and an absent reference."""
        groups = ("unseen", "calibrated_on", "population")
        _check_several(**{name: getattr(self, name) for name in groups})
        seeds = [seed for name in groups for seed in getattr(self, name)]
        if len(set(seeds)) < len(seeds):
            raise UsageError(f"{', '.join(groups)} share a seed")
        if self.reference not in self.baselines:
            raise UsageError(
                f"reference={self.reference!r} is none of the methods that are compared, "
                f"{', '.join(self.baselines)}"
            )

    @property
    def strengths(self) -> tuple[float, ...]:
        """Even steps from 0 to the highest strength; 1 is one of them."""
        return tuple(i / self.per_unit for i in range(self.reach * self.per_unit + 1))


TOPICS: dict[str, type[Options]] = {
    "inversion": InversionEval,
    "video": VideoEval,
    "domain": DomainEval,
    "faces": FacesEval,
    "compared": ComparedEval,
}
