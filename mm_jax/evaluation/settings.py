"""The topics of mm_eval and their settings; see `mm_jax.jobs.settings`. Nothing imports JAX."""

from __future__ import annotations

import dataclasses
import importlib
from types import ModuleType

from mm_jax import flag_types
from mm_jax.errors import UsageError
from mm_jax.jobs.settings import option

__all__ = ["TOPICS", "InversionEval", "module_of"]


def _weights(text: str, *, flag: str) -> tuple[float, ...]:
    values = flag_types.parse_strengths(text, frames=2, flag=flag) if text.strip() else ()
    if any(value < 0 for value in values):
        raise UsageError(f"{flag}={text!r}: weights are not negative")
    return values


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
        for name in ("count", "few", "short_steps", "long_steps", "tune_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, want at least 1")
        if self.few > self.count:
            raise UsageError(f"few is {self.few}, want at most count, {self.count}")


TOPICS: dict[str, type] = {"inversion": InversionEval}


def module_of(topic: str) -> ModuleType:
    """The module that measures a topic."""
    return importlib.import_module(f"mm_jax.evaluation.{topic}")
