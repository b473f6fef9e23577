"""Images of several stores whose factors are known, drawn at random without joining the stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mm_jax.people.factors import MIRRORED, NUM_FACTORS, index

__all__ = ["Labelled", "Store", "mirror_factors"]


class Store(Protocol):
    """`mm_jax.people.renders.Renders`, `mm_jax.people.generated.Generated` and the like."""

    @property
    def images(self) -> np.ndarray:
        """``[N, R, R, 3]`` uint8."""
        ...

    @property
    def factors(self) -> np.ndarray:
        """``[N, F]`` float32."""
        ...


def mirror_factors(factors: np.ndarray) -> np.ndarray:
    """Factors ``[..., F]`` of the mirrored images."""
    sign = np.ones(NUM_FACTORS, np.float32)
    sign[[index(name) for name in MIRRORED]] = -1
    return factors * sign


class Labelled:
    """Stores of images of one size, as if they were one.

    Joining them would take their memory twice.
    """

    def __init__(self, stores: Sequence[Store]):
        self.stores = tuple(stores)
        self._ends = np.cumsum([0] + [len(store.images) for store in self.stores])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def factors(self) -> np.ndarray:
        """Factors ``[N, F]`` of all images."""
        return np.concatenate([store.factors for store in self.stores])

    def batch(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """``count`` random images ``[n, R, R, 3]`` uint8, half of them mirrored, and factors."""
        images, factors = [], []
        for row in rng.integers(0, len(self), count):
            part = int(np.searchsorted(self._ends, row, side="right")) - 1
            k, mirrored = row - self._ends[part], rng.random() < 0.5
            image, truth = self.stores[part].images[k], self.stores[part].factors[k]
            images.append(image[:, ::-1] if mirrored else image)
            factors.append(mirror_factors(truth) if mirrored else truth)
        return np.stack(images), np.stack(factors)
