"""People in whom the renderer changes one factor alone: what a perfect edit looks like.

What a judge reads from these is the floor of every figure of leakage: some factors are drawn with
others (grey hair comes with age), and no judge is perfect.

Shapes: W motions, N people, S degrees, F factors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from mm_jax.anchors.prompts import MOTIONS
from mm_jax.errors import DataError
from mm_jax.io import save_npz
from mm_jax.people.attributes import MOTION_FACTOR
from mm_jax.people.factors import FACTORS, Z_DIM, factors_from_z, index

__all__ = ["RANGES", "Walks", "load_walks", "make_walks", "walk_factors"]

#: The factor's first and last value in each motion, as the demonstration's edits move it.
RANGES = {
    "smile": (-0.8, 0.9),
    "anger": (-0.9, 0.9),
    "aging": (-0.9, 0.9),
    "closing_eyes": (-0.9, 0.9),
    "head_turn": (-0.8, 0.8),
}
PEOPLE, DEGREES, SEED = 24, 5, 6000
FILE = "walks.npz"

# Factors [N, F] to images [N, R, R, 3] uint8.
Draw = Callable[[np.ndarray], np.ndarray]


class Walks(NamedTuple):
    """``images [W, N, S, R, R, 3]`` uint8 and ``factors [W, N, S, F]``, motions as in `MOTIONS`."""

    images: np.ndarray
    factors: np.ndarray


def walk_factors(*, people: int = PEOPLE, degrees: int = DEGREES) -> np.ndarray:
    """Factors ``[W, N, S, F]``: the same people in each motion, one factor of whom changes."""
    z = jax.random.normal(jax.random.key(SEED), (people, Z_DIM))
    factors = np.tile(
        np.asarray(factors_from_z(z))[None, :, None, :], (len(MOTIONS), 1, degrees, 1)
    )
    for k, name in enumerate(MOTIONS):
        factors[k, :, :, index(MOTION_FACTOR[name])] = np.linspace(*RANGES[name], degrees)[None]
    return factors


def make_walks(folder: Path, draw: Draw, **sizes: int) -> Walks:
    """Draw the walks, unless ``folder`` holds them; ``sizes`` are those of `walk_factors`."""
    path = folder / FILE
    if not path.exists():
        factors = walk_factors(**sizes)
        images = draw(factors.reshape(-1, len(FACTORS)))
        save_npz(
            path, images=images.reshape(*factors.shape[:3], *images.shape[1:]), factors=factors
        )
    return load_walks(folder)


def load_walks(folder: Path) -> Walks:
    """The walks of ``folder``.

    Raises:
        DataError: it holds none.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{path} is missing: the stage renders makes it")
    with np.load(path) as stored:
        return Walks(stored["images"], stored["factors"])
