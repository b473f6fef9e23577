"""Options of the anchors, from prompts and from videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, Self

from mm_jax import parsers
from mm_jax.anchors import prompts
from mm_jax.checks import as_layers
from mm_jax.errors import UsageError
from mm_jax.options import Options, option

__all__ = ["AnchorOptions", "VideoAnchorOptions", "layers_option"]

# Fewer faces say too little of how their images differ.
_LEAST_REFINED = 64


def _only(strategy: str) -> Callable[..., Any]:
    """An `option` that one strategy alone uses: "auto" follows it, other strategies refuse it."""

    def of_strategy(*args: Any, **how: Any) -> Any:
        plain = option(*args, **how)
        metadata = {**plain.metadata, "strategy": strategy}
        return dataclasses.field(default=plain.default, metadata=metadata)

    return of_strategy


_optimize, _sample, _gradient = map(_only, ("optimize", "sample", "gradient"))


def layers_option() -> Any:
    """An `option` of the rows of W+ that may change."""
    return option(
        None,
        "Rows of W+ that may change, e.g. 0-7; all by default.",
        parse=parsers.parse_layers,
        convert=as_layers,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnchorOptions(Options):
    """How anchors are found from prompts.

    The help of each field says what it is; `mm_jax.anchors.optimize`, `mm_jax.anchors.sample` and
    `mm_jax.anchors.gradient` say how they are used. `identity_weight` counts only where a face
    recogniser is given. With strategy="auto" the strategy is gradient, or the one that alone uses
    an option which is not at its default: `_optimize` makes the options of "optimize", and so on.

    Raises:
        UsageError: degrees that are not sound, or a number out of range.
    """

    degrees: tuple[str, ...] = option(
        prompts.DEFAULT_DEGREES,
        "What replaces {degree} in the prompt, in growing order.",
        parse=parsers.parse_degrees,
        convert=prompts.check_degrees,
    )
    strategy: str = option(
        "auto",
        "Average the gradients of many faces, optimise a latent for each degree as the paper does, "
        "or average sampled ones that match; auto is gradient, unless an option of one of the "
        "others is given.",
        choices=("auto", "gradient", "optimize", "sample"),
    )
    objective: str = _optimize(
        "cosine",
        "Similarity to the own prompt, or more to it than to the others'.",
        choices=("cosine", "contrast"),
    )
    steps: int = _optimize(40, "Optimisation steps.", minimum=1)
    learning_rate: float = _optimize(0.1, "Of Adam.", above=0)
    l2_weight: float = _optimize(
        0.008, "Cost of a squared unit of distance from the start.", minimum=0
    )
    identity_weight: float = _optimize(
        0.005, "Cost of a change of identity, with --identity.", above=0
    )
    augment: int = _optimize(
        0, "Compare this many random crops of an image with the prompts as well.", minimum=0
    )
    repair: bool = _optimize(
        True,
        "Optimise anchors again that CLIP reads as another degree; leave out those that stay so.",
    )
    samples: int = _sample(1024, "Latents sampled by --strategy=sample.", minimum=1)
    keep: int = _sample(
        32, "Latents averaged for each degree by --strategy=sample.", minimum=1, flag="matches"
    )
    gradients: int = _gradient(
        96, "Most faces whose gradients --strategy=gradient averages; where they agree, fewer do.",
        minimum=2,
    )  # fmt: skip
    refine: int = _gradient(
        0,
        "Refine the direction of --strategy=gradient by what CLIP sees of so many sampled faces, "
        "so that less else changes; it takes longer. 0 does not.",
        minimum=0,
    )
    resolution: int | None = option(
        None, "Compare the running image of this side; the whole one by default.", kind=int
    )
    layers: tuple[int, ...] | None = layers_option()
    seed: int = option(
        0, "Seed of the random crops, and of what --strategy=sample and gradient draw.", minimum=0
    )
    preprocess: str = option(
        "clip",
        "How images are shown to CLIP: as it was trained, or as in the paper.",
        choices=("clip", "styleclip"),
        flag=False,
    )
    truncation_psi: float = option(0.7, "Truncation of the latents that are sampled.", flag=False)
    label: int | None = option(
        None, "Class of the latents that are sampled.", kind=int, minimum=0, flag=False
    )

    def resolved(self, given: Collection[str] = ()) -> Self:
        """The options with a strategy in place of "auto".

        It is the one that the given options belong to, or those that are not at their default, and
        gradient if there are none.

        Args:
            given: names of the options that were given, with "identity" if an identity is held.

        Raises:
            UsageError: options of a strategy that is not used.
        """
        auto = self.strategy == "auto"
        wanted = {"identity": "optimize"} if "identity" in given else {}
        for field in dataclasses.fields(self):
            changed = auto and getattr(self, field.name) != field.default
            if "strategy" in field.metadata and (changed or field.name in given):
                wanted[field.name] = field.metadata["strategy"]
        chosen = next(iter(wanted.values()), "gradient") if auto else self.strategy
        for name, strategy in wanted.items():
            if strategy != chosen:
                raise UsageError(f"{name} is for strategy={strategy}, but the strategy is {chosen}")
        return self.replace(strategy=chosen)

    def check(self) -> None:
        """Refuse more latents kept than sampled, and refining what it cannot."""
        if self.refine and self.strategy in ("auto", "gradient"):
            if self.refine < _LEAST_REFINED:
                raise UsageError(
                    f"refine must be 0 or at least {_LEAST_REFINED} faces, got {self.refine}"
                )
            if self.layers is not None:
                raise UsageError("refine is of W, whose rows all move: give layers without it")
        if self.strategy == "sample":
            if self.samples < 2:
                raise UsageError(f"samples must be at least 2, got {self.samples}")
            if self.keep > self.samples:
                raise UsageError(
                    f"keep must be at most the {self.samples} samples, got {self.keep}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoAnchorOptions(Options):
    """How anchors are found from the frames of a video; `mm_jax.anchors.video` says how.

    Raises:
        UsageError: a number out of range.
    """

    steps: int = option(
        40,
        "Steps of inversion of every frame by itself.",
        minimum=0,
        flag="video_steps",
        alias="clip_steps",
    )
    together_steps: int = option(20, "Further steps of all frames of a video together.", minimum=0)
    temporal_weight: float = option(
        0.1, "Cost of a change of the latent from frame to frame in these.", minimum=0
    )
    degrees: str = option(
        "time",
        "What tells how far the motion is: the frame's time, or how much has moved.",
        choices=("time", "motion"),
        flag="degree_by",
    )
    start: str = option(
        "first",
        "Where the motion is at rest: at its first tenth, or on the mean.",
        choices=("first", "mean"),
        flag="rest",
    )
    drop: bool = option(True, "Leave out frames that are blurred or cannot be reconstructed.")
    learning_rate: float = option(0.05, "Of the inversion.", above=0, flag=False)
    start_weight: float = option(
        0.0, "Cost of distance from the encoder's latent.", minimum=0, flag=False
    )
