"""The topics of mm_eval and their settings; see `mm_jax.jobs.settings`. Nothing imports JAX."""

from __future__ import annotations

import dataclasses
import importlib
from types import ModuleType

from mm_jax import flag_types
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.errors import UsageError
from mm_jax.jobs.settings import at_least, option, parse_motions, seeds_option

__all__ = ["TOPICS", "DomainEval", "InversionEval", "VideoEval", "module_of"]


# Those of `mm_jax.synthface.clips`, without importing it.
CLIP_MOTIONS = ("head_turn", "smile", "closing_eyes", "aging")


def _weights(text: str, *, flag: str) -> tuple[float, ...]:
    values = flag_types.parse_strengths(text, frames=2, flag=flag) if text.strip() else ()
    if any(value < 0 for value in values):
        raise UsageError(f"{flag}={text!r}: weights are not negative")
    return values


_METHODS = ("encoder", "short", "tuned", "long")


def _methods(text: str, *, flag: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in _METHODS:
            raise UsageError(f"{flag}={text!r}: {name!r} is none of {', '.join(_METHODS)}")
    return tuple(name for name in _METHODS if name in names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionEval:
    """How inversion is measured.

    Raises:
        UsageError: a number out of range.
    """

    generator: str = option("synthface", "Name of a bundled generator, or a folder of one.")
    encoder: str = option("synthface-encoder", "Encoder: a bundled name, or a folder.")
    judge: str = option("synthface-judge", "Probe that reads factors: a bundled name, or a folder.")
    clip: str = option("synthface-clip", "CLIP for motions that are found anew.")
    subspaces: str = option("", "Folder of an mm_demo run whose motions are used.")
    edits: tuple[str, ...] = option(
        tuple(MOTIONS),
        "Micromotions that edit inverted codes.",
        text=",".join(MOTIONS),
        parse=parse_motions,
    )
    methods: tuple[str, ...] = option(
        _METHODS, "Which ones.", text=",".join(_METHODS), parse=_methods
    )
    count: int = option(64, "Pictures of each kind.")
    few: int = option(64, "Pictures of each kind for what takes long: 500 steps, tuning, weights.")
    short_steps: int = option(50, "Steps after the encoder.")
    long_steps: int = option(500, "Steps from the mean.")
    tune_steps: int = option(60, "Steps of the tuning, for each four pictures.")
    mean_weights: tuple[float, ...] = option(
        (0.01, 0.1), "Weights of distance to the mean to compare.", text="0.01,0.1", parse=_weights
    )
    start_weights: tuple[float, ...] = option(
        (0.01, 0.1), "Weights of distance to the start.", text="0.01,0.1", parse=_weights
    )
    trunc: float = option(0.7, "Truncation psi of sampled codes.")
    batch: int = 16

    def __post_init__(self):
        at_least(self, 1, "count", "few", "short_steps", "long_steps", "tune_steps")
        if "short" not in self.methods:
            raise UsageError("methods lack short, which the others are compared with")
        if self.few > self.count:
            raise UsageError(f"few is {self.few}, want at most count, {self.count}")


def _motions(text: str, *, flag: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in CLIP_MOTIONS:
            raise UsageError(f"{flag}: no clip of {name!r}, wanted some of {CLIP_MOTIONS}")
    return names


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoEval:
    """How motions from clips are measured.

    Raises:
        UsageError: a number out of range.
    """

    generator: str = option("synthface", "Name of a bundled generator, or a folder of one.")
    encoder: str = option("synthface-encoder", "Encoder: a bundled name, or a folder.")
    judge: str = option("synthface-judge", "Probe that reads factors: a bundled name, or a folder.")
    clip: str = option("synthface-clip", "CLIP for motions that are found anew.")
    motions: tuple[str, ...] = option(
        CLIP_MOTIONS, "Which motions clips show.", text=",".join(CLIP_MOTIONS), parse=_motions
    )
    clip_seed: int = option(21, "Seed of the face in the clips, and of their bad frames.")
    clip_frames: int = option(25, "Frames of a clip.")
    spoiled: float = option(0.2, "Share of the frames that is spoiled.")
    clip_steps: int = option(0, "Steps of inversion of every frame by itself.")
    together_steps: int = option(10, "Further steps of the frames of a clip together.")
    trunc: float = option(0.7, "Truncation psi of sampled codes.")
    text_starts: tuple[int, ...] = seeds_option(
        "0-5", "Seeds of the faces in which motions are found from prompts, for comparison."
    )
    identities: tuple[int, ...] = seeds_option("1000-1063", "Seeds of the faces that are measured.")
    population: tuple[int, ...] = seeds_option(
        "2000-2255", "Seeds of the faces that tell how much each factor varies."
    )
    batch: int = 16

    def __post_init__(self):
        at_least(self, 5, "clip_frames")
        if not 0 <= self.spoiled < 0.5:
            raise UsageError(f"spoiled is {self.spoiled}, want a share below a half")
        if min(self.clip_steps, self.together_steps) < 0:
            raise UsageError("clip_steps and together_steps want to be at least 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainEval:
    """How transfer to another domain is measured.

    Raises:
        UsageError: a number out of range.
    """

    generator: str = option("synthface", "Name of a bundled generator, or a folder of one.")
    sketch_generator: str = option(
        "synthface-sketch", "Generator of drawings, with the same W+: a bundled name, or a folder."
    )
    judge: str = option("synthface-judge", "Probe that reads factors: a bundled name, or a folder.")
    sketch_judge: str = option(
        "synthface-sketch-judge", "Probe that reads drawings: a bundled name, or a folder."
    )
    clip: str = option("synthface-clip", "CLIP for motions that are found anew.")
    subspaces: str = option("", "Folder of an mm_demo run whose motions are used.")
    identities: tuple[int, ...] = seeds_option("1000-1063", "Seeds of the faces that are measured.")
    drawings: tuple[int, ...] = seeds_option(
        "3000-3015", "Seeds of the drawings that are inverted and moved."
    )
    inversion_steps: int = option(150, "Optimisation steps of an inversion from the mean.")
    # Drawings lie off the face generator's manifold: likeness is traded for codes that edits know.
    mean_weight: float = option(0.01, "Weight of an inverted code's distance to the mean.")
    measured: int = option(7, "Strengths at which pictures are measured, from -1 to 1.")
    trunc: float = option(0.7, "Truncation psi of sampled codes.")
    batch: int = 16

    def __post_init__(self):
        at_least(self, 1, "inversion_steps")
        at_least(self, 2, "measured")
        at_least(self, 0, "mean_weight")
        for name in ("identities", "drawings"):
            if len(getattr(self, name)) < 2:
                raise UsageError(f"{name} wants at least two seeds")

    @property
    def strengths(self) -> tuple[float, ...]:
        """Even steps from -1 to 1."""
        return flag_types.parse_strengths("-1:1", frames=self.measured)


TOPICS: dict[str, type] = {
    "inversion": InversionEval,
    "video": VideoEval,
    "domain": DomainEval,
}


def module_of(topic: str) -> ModuleType:
    """The module that measures a topic."""
    return importlib.import_module(f"mm_jax.evaluation.{topic}")
