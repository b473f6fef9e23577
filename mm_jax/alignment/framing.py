"""How close a generator's images are about the face, relative to FFHQ's crop."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from mm_jax.errors import DataError

__all__ = ["FFHQ", "Framing", "framing_of"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Framing:
    """A crop relative to FFHQ's: scaled, and shifted.

    Attributes:
        scale: side of the crop in sides of FFHQ's; 1 is FFHQ itself, less is closer.
        right, down: step from the centre of FFHQ's crop to this one's, in sides of FFHQ's crop and
            along its axes.

    Raises:
        DataError: values that are no numbers, or out of range.
    """

    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def __post_init__(self) -> None:
        values = dataclasses.astuple(self)
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            raise DataError(f"a framing needs finite numbers, got {values}")
        if not 0.05 <= self.scale <= 20 or max(abs(self.right), abs(self.down)) > 5:
            raise DataError(
                f"a framing needs a scale in [0.05, 20] and steps in [-5, 5], got {values}"
            )

    def apply(self, quad: np.ndarray) -> np.ndarray:
        """The crop [4, 2] float32 that belongs to FFHQ's crop `quad` [4, 2]."""
        corners = np.asarray(quad, np.float64)
        across, along = corners[3] - corners[0], corners[1] - corners[0]
        middle = corners.mean(axis=0)
        centre = middle + self.right * across + self.down * along
        return (centre[None] + self.scale * (corners - middle[None])).astype(np.float32)


FFHQ = Framing()


def framing_of(gen: Any) -> Framing:
    """The framing that a generator's `meta` records as `framing`; FFHQ's if it records none.

    Raises:
        DataError: what it records is no framing.
    """
    recorded = gen.meta.get("framing")
    if recorded is None:
        return FFHQ
    names = {field.name for field in dataclasses.fields(Framing)}
    if not isinstance(recorded, dict) or not recorded.keys() <= names:
        raise DataError(f"{gen.name}: framing must be numbers {sorted(names)}, got {recorded!r}")
    return Framing(**recorded)
