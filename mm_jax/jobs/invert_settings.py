"""The settings of mm_invert; see `mm_jax.jobs.settings`."""

from __future__ import annotations

import dataclasses

from mm_jax.jobs.settings import above_zero, at_least, option

__all__ = ["InvertSettings", "TuneSettings"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertSettings:
    """How pictures are inverted; the fields are arguments of `mm_jax.invert`.

    Raises:
        UsageError: a number out of range.
    """

    space: str = option("w+", "Space that is searched.", choices=("w+", "w", "s"))
    encoder_steps: int = option(5, "Corrections of a ReStyle encoder.")
    steps: int = option(50, "Optimisation steps; 0 takes the start as it is.")
    optimizer: str = option(
        "adam", "Adam with the projector's schedule, or L-BFGS.", choices=("adam", "lbfgs")
    )
    learning_rate: float = option(0.1, "Of Adam, in deviations of sampled codes.")
    pixel_weight: float = option(1.0, "What a squared difference of pixels costs.")
    laplacian_weight: float = option(1.0, "What differences of the Laplacian pyramids cost.")
    lpips_weight: float = option(1.0, "What LPIPS costs, with --lpips.")
    identity_weight: float = option(0.1, "What a change of identity costs, with --arcface.")
    mean_weight: float = option(0.0, "What distance from the mean code costs.")
    start_weight: float = option(0.0, "What distance from the start costs.")
    patience: int | None = option(
        None, "Leave a picture alone after so many steps without progress.", kind=int
    )

    def __post_init__(self):
        at_least(self, 0, "steps")
        at_least(self, 1, "encoder_steps", "patience")
        names = [field.name for field in dataclasses.fields(self)]
        at_least(self, 0, *(name for name in names if name.endswith("_weight")))
        above_zero(self, "learning_rate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """How the generator is tuned to the pictures; arguments of `mm_jax.tune_generator`.

    Raises:
        UsageError: a number out of range.
    """

    tune: bool = option(False, "Then fine-tune a copy of the generator (pivotal tuning).")
    tune_steps: int = option(100, "Steps of the tuning.")
    tune_rate: float = option(0.003, "Learning rate of the tuning.")
    locality_weight: float = option(
        1.0, "What a change of pictures away from the found codes costs in the tuning."
    )

    def __post_init__(self):
        at_least(self, 1, "tune_steps")
        above_zero(self, "tune_rate")
        at_least(self, 0, "locality_weight")
