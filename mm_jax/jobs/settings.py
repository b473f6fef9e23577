"""The settings of the jobs, each with its default and a line of help: one source for API and flags.

A field made by `option` is also a flag of the binaries (`mm_jax.cli.define_settings`). Nothing here
imports JAX, so that `--help` and bad flags answer at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from mm_jax import flag_types
from mm_jax.anchors import prompts
from mm_jax.errors import UsageError

__all__ = [
    "FORMATS",
    "AnchorSettings",
    "DemoSettings",
    "EditSettings",
    "SubspaceSettings",
    "above_zero",
    "at_least",
    "check_layers",
    "option",
    "parse_motions",
    "seeds_option",
]

FORMATS = ("mp4", "gif", "png", "npy")


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] | None = None,
    kind: type | None = None,
    text: str = "",
    parse: Callable[..., Any] | None = None,
) -> Any:
    """A dataclass field that is also a flag.

    Args:
        default: the field's default.
        help: one line.
        choices: the only values, of a text.
        kind: the flag's type where the default does not tell.
        text: the flag's default, where `parse` makes the field's value from text.
        parse: text to value; called as `parse(text, flag=name)`, for its messages.
    """
    facts = {"help": help, "choices": choices, "kind": kind, "text": text, "parse": parse}
    return dataclasses.field(default=default, metadata=facts)


def _layers() -> Any:
    return option(
        None, "Rows of W+ that may change, e.g. 0-7; all by default.", parse=flag_types.parse_layers
    )


def check_layers(layers: Sequence[int] | None, rows: int) -> None:
    """Refuse rows that a generator does not have.

    Raises:
        UsageError: naming the first of them.
    """
    for row in layers or ():
        if row >= rows:
            raise UsageError(f"layers must be rows 0 to {rows - 1} of W+, got {row}")


def at_least(settings: Any, least: float, *names: str) -> None:
    """Refuse settings below `least`; None passes.

    Raises:
        UsageError: naming the first of them.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value >= least:
            raise UsageError(f"{name} is {value}, want at least {least}")


def above_zero(settings: Any, *names: str) -> None:
    """Refuse settings that are not above zero.

    Raises:
        UsageError: naming the first of them.
    """
    for name in names:
        if not getattr(settings, name) > 0:
            raise UsageError(f"{name} is {getattr(settings, name)}, want a number above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnchorSettings:
    """How anchors are found from prompts; the fields are arguments of `mm_jax.text_anchors`.

    `identity_weight` counts only where a face recogniser is given.

    Raises:
        UsageError: a template or degrees that are not sound, or a number out of range.
    """

    template: str
    degrees: tuple[str, ...] = option(
        prompts.DEFAULT_DEGREES,
        "What replaces {degree} in the prompt, in growing order.",
        text=",".join(prompts.DEFAULT_DEGREES),
        parse=flag_types.parse_degrees,
    )
    strategy: str = option(
        "optimize",
        "Optimise a code for each degree, or average sampled ones that match it.",
        choices=("optimize", "sample"),
    )
    objective: str = option(
        "cosine",
        "Likeness to the own prompt, or more to it than to the others'.",
        choices=("cosine", "contrast"),
    )
    steps: int = option(40, "Optimisation steps.")
    learning_rate: float = option(0.1, "Of Adam.")
    l2_weight: float = option(0.008, "What a squared unit of distance from the start costs.")
    identity_weight: float = option(0.005, "What a change of identity costs, with --arcface.")
    augment: int = option(0, "Judge so many random crops of a picture beside itself.")
    samples: int = option(1024, "Codes sampled by --strategy=sample.")
    keep: int = option(32, "Codes averaged for each degree by --strategy=sample.")
    resolution: int | None = option(
        None, "Judge the running picture of this side; the whole one by default.", kind=int
    )
    layers: tuple[int, ...] | None = _layers()
    seed: int = option(0, "Seed of the random crops, and of --strategy=sample.")
    truncation_psi: float = 0.7
    batch_size: int | None = None

    def __post_init__(self):
        prompts.fill(self.template, "no")
        prompts.check_degrees(self.degrees)
        at_least(self, 0, "l2_weight", "augment", "seed")
        at_least(self, 1, "steps", "keep", "samples")
        above_zero(self, "learning_rate", "identity_weight")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubspaceSettings:
    """How anchors are decomposed; the fields are arguments of `mm_jax.extract_subspace`.

    Raises:
        UsageError: a number out of range, or both rank and explained.
    """

    method: str = option(
        "rpca",
        "Robust PCA, plain SVD, or the official code's direction.",
        choices=("rpca", "svd", "compat"),
    )
    rank: int | None = option(None, "Basis vectors to keep; 1 by default.", kind=int)
    explained: float | None = option(
        None, "Instead of --rank: keep as many as hold this share of the variance.", kind=float
    )
    centre: str = option(
        "start",
        "What displacements are taken from: the start code, their mean, or nothing.",
        choices=("start", "mean", "none"),
    )
    outliers: str = option(
        "auto",
        "What robust PCA takes for off: entries of codes, or whole codes (auto: those of clips).",
        choices=("auto", "entries", "rows"),
    )
    joint: bool = option(True, "Decompose all rows of W+ together; --nojoint each by itself.")
    layers: tuple[int, ...] | None = _layers()

    def __post_init__(self):
        at_least(self, 1, "rank")
        if self.explained is not None and not 0 < self.explained <= 1:
            raise UsageError(f"explained is {self.explained}, want a share in (0, 1]")
        if self.rank is not None and self.explained is not None:
            raise UsageError("give a rank or a share of variance to explain, not both")

    def check(self, *, anchors: int, rows: int) -> None:
        """Refuse what `anchors` codes of `rows` rows cannot have, before any is looked for.

        Raises:
            UsageError: the rank is above the number of anchors, or a layer above the last row.
        """
        if self.rank is not None and self.rank > anchors:
            raise UsageError(f"rank is {self.rank}, want at most the number of anchors, {anchors}")
        check_layers(self.layers, rows)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditSettings:
    """What is drawn and written of an edit.

    Attributes:
        strengths: [E][S], for each subspace its strength in every frame.
        formats: some of `FORMATS`: clips, one picture per frame, one float32 array per code.
        noise_mode: const, none or random; random noise is the same in all frames of a code.
        batch: pictures per step, by default as many as fit in about 2 GiB and at most 16.

    Raises:
        UsageError: an unknown format, or a number out of range.
    """

    strengths: tuple[tuple[float, ...], ...]
    formats: tuple[str, ...] = ("mp4",)
    layers: tuple[int, ...] | None = _layers()
    columns: int = option(7, "Pictures in a strip, evenly taken from the frames.")
    fps: float = option(20.0, "Frames per second of clips, which go forth and back.")
    noise_seed: int = option(0, "Seed of --noise_mode=random.")
    noise_mode: str = "const"
    batch: int | None = None

    def __post_init__(self):
        for name in self.formats:
            if name not in FORMATS:
                raise UsageError(f"unknown format {name!r}, wanted some of {', '.join(FORMATS)}")
        at_least(self, 1, "columns", "batch")
        at_least(self, 0, "noise_seed")
        if not 0 < self.fps <= 120:
            raise UsageError(f"fps is {self.fps}, want a number above 0 and at most 120")
        if len({len(row) for row in self.strengths}) != 1:
            raise UsageError("each subspace wants the same number of strengths")

    @property
    def frames(self) -> int:
        """S, the number of frames."""
        return len(self.strengths[0])

    @property
    def strip_frames(self) -> list[int]:
        """Indices of the frames that a strip shows."""
        count = min(self.columns, self.frames)
        return [round(i * (self.frames - 1) / max(count - 1, 1)) for i in range(count)]


def seeds_option(default: str, help: str) -> Any:
    """An `option` of seeds, its default as its flag has it: "0-3,12"."""
    return option(flag_types.parse_seeds(default), help, text=default, parse=flag_types.parse_seeds)


def parse_motions(text: str, *, flag: str) -> tuple[str, ...]:
    """Motions that have a prompt of their own: "smile,aging".

    Raises:
        UsageError: another name, or one that is given twice.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in prompts.MOTIONS:
            raise UsageError(
                f"{flag}: unknown motion {name!r}, known are {', '.join(prompts.MOTIONS)}"
            )
    if len(set(names)) < len(names):
        raise UsageError(f"{flag}={text!r}: a motion is given twice")
    return names


# Those of `mm_jax.synthface.clips.BUNDLED`, without importing it.
_CLIPS = ("head_turn", "smile")


def _clips(text: str, *, flag: str) -> tuple[str, ...]:
    names = () if text.strip() in ("", "none") else tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in _CLIPS:
            raise UsageError(f"{flag}: no bundled clip {name!r}, known are {', '.join(_CLIPS)}")
    return names


_DEMO_DEGREES = "no,20%,40%,60%,80%,100%"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the demonstration does; no seed is used for two purposes.

    Raises:
        UsageError: a number out of range, or seeds that are used twice.
    """

    motions: tuple[str, ...] = option(
        tuple(prompts.MOTIONS), "Which ones.", text=",".join(prompts.MOTIONS), parse=parse_motions
    )
    clips: tuple[str, ...] = option(
        ("head_turn",),
        "Motions learned from a bundled clip (head_turn, smile) in place of prompts; or none.",
        text="head_turn",
        parse=_clips,
    )
    starts: tuple[int, ...] = seeds_option("0-5", "Seeds of the faces in which motions are found.")
    faces: tuple[int, ...] = seeds_option("100-103", "Seeds of the faces that are moved and shown.")
    identities: tuple[int, ...] = seeds_option("1000-1063", "Seeds of the faces that are measured.")
    population: tuple[int, ...] = seeds_option(
        "2000-2255", "Seeds of the faces that tell how much each factor varies."
    )
    trunc: float = option(0.7, "Truncation psi of all faces.")
    degrees: tuple[str, ...] = option(
        tuple(_DEMO_DEGREES.split(",")),
        "What replaces {degree} in the prompts, in growing order.",
        text=_DEMO_DEGREES,
        parse=flag_types.parse_degrees,
    )
    steps: int = option(30, "Optimisation steps of the anchors.")
    objective: str = option(
        "cosine",
        "Likeness to the own prompt, or more to it than to the others'.",
        choices=("cosine", "contrast"),
    )
    augment: int = option(0, "Judge so many random crops of a picture beside itself.")
    # SVD's direction of these anchors leaks less than robust PCA's, which takes part of the motion
    # for outliers: 0.04 to 0.07 on average against 0.07 to 0.11.
    method: str = option("svd", "How anchors are decomposed.", choices=("rpca", "svd"))
    low: float = option(-1.0, "Lowest strength.")
    high: float = option(1.0, "Highest strength.")
    frames: int = option(17, "Frames of the clips.")
    measured: int = option(7, "Strengths at which faces are measured.")
    batch: int = 16

    def __post_init__(self):
        at_least(self, 1, "steps", "batch")
        at_least(self, 0, "augment")
        at_least(self, 2, "frames", "measured")
        if not self.low < self.high:
            raise UsageError(f"low is {self.low} and high {self.high}, want low below high")
        groups = (self.starts, self.faces, self.identities, self.population)
        seeds = [seed for group in groups for seed in group]
        if len(set(seeds)) < len(seeds):
            raise UsageError("starts, faces, identities and population share a seed")
        if len(self.population) < 2:
            raise UsageError("population wants at least two seeds")
        prompts.check_degrees(self.degrees)

    def anchors(self, motion: str) -> AnchorSettings:
        """How the anchors of one motion are found."""
        preset = prompts.MOTIONS[motion]
        return AnchorSettings(
            template=preset.template,
            layers=preset.layers,
            degrees=self.degrees,
            steps=self.steps,
            objective=self.objective,
            augment=self.augment,
        )

    def subspace(self, motion: str) -> SubspaceSettings:
        """How they are decomposed."""
        return SubspaceSettings(method=self.method, rank=1, layers=prompts.MOTIONS[motion].layers)

    def edit(self) -> EditSettings:
        """How the shown faces are drawn."""
        return EditSettings(
            strengths=(self.strengths(self.frames),), formats=("mp4", "gif"), batch=self.batch
        )

    def strengths(self, count: int) -> tuple[float, ...]:
        """`count` even steps from the lowest strength to the highest."""
        return flag_types.parse_strengths(f"{self.low!r}:{self.high!r}", frames=count)
