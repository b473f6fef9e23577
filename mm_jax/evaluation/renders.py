"""Renders of a bundled world whose factors are known: what inversion is measured on.

A world X keeps them as the bundled folder X-renders, so that measuring needs no renderer:

    renders.npz     images [N, R, R, 3] uint8, z [N, Z] and factors [N, F] float32,
                    scale [F] float32: each factor's standard deviation over all faces
    renders.json    the names of the factors
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mm_jax import io, zoo
from mm_jax.errors import DataError, UsageError
from mm_jax.stylegan2.config import GeneratorConfig

__all__ = [
    "KIND",
    "KnownRenders",
    "check_known_renders",
    "load_known_renders",
    "save_known_renders",
]

KIND = "renders"
_ARRAYS, _NAMES = "renders.npz", "renders.json"


class KnownRenders(NamedTuple):
    """N renders.

    Attributes:
        images: ``[N, R, R, 3]`` float32 in [-1, 1].
        z: ``[N, Z]`` float32, from which the face was drawn.
        factors: ``[N, F]`` float32, what the face shows.
        scale: ``[F]`` float32, each factor's standard deviation over all faces.
        names: of the F factors.
    """

    images: np.ndarray
    z: np.ndarray
    factors: np.ndarray
    scale: np.ndarray
    names: tuple[str, ...]


def save_known_renders(
    folder: Path,
    images: np.ndarray,
    z: np.ndarray,
    factors: np.ndarray,
    *,
    scale: np.ndarray,
    names: Sequence[str],
) -> None:
    """Write ``images [N, R, R, 3]`` uint8 with what is known of them into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    io.save_npz(folder / _ARRAYS, images=images, z=z, factors=factors, scale=scale)
    io.write_json(folder / _NAMES, {"factors": list(names)})


def load_known_renders(name_or_dir: str | os.PathLike[str]) -> KnownRenders:
    """The renders of a bundled world, such as "people-renders", or of a folder.

    Raises:
        UsageError: neither a bundled name nor a folder.
        DataError: missing or damaged files.
    """
    folder = zoo.resolve(name_or_dir, KIND)
    wanted = {"images": 4, "z": 2, "factors": 2, "scale": 1}
    stored = io.load_npz(folder / _ARRAYS, required=wanted)
    names = io.read_json(folder / _NAMES).get("factors")
    if not isinstance(names, list) or len(names) != stored["factors"].shape[1]:
        raise DataError(
            f"{folder / _NAMES} does not name the {stored['factors'].shape[1]} factors of {_ARRAYS}"
        )
    images = stored["images"].astype(np.float32) / 127.5 - 1
    return KnownRenders(
        images, stored["z"], stored["factors"], stored["scale"], tuple(map(str, names))
    )


def check_known_renders(
    renders: KnownRenders, config: GeneratorConfig, *, names: tuple[str, str], **counts: int
) -> None:
    """Refuse renders of another size than a generator's images, or too few of them.

    Args:
        renders: the renders.
        config: of the generator.
        names: of the generator and of the renders, for messages.
        counts: how many are wanted, by the name of the option that says so.

    Raises:
        UsageError: they do not fit.
    """
    generator, called = names
    if config.resolution != renders.images.shape[1]:
        raise UsageError(
            f"{generator} draws {config.resolution} px, {called} are {renders.images.shape[1]} px"
        )
    for option, count in counts.items():
        if count > len(renders.images):
            raise UsageError(
                f"{option} must be at most {len(renders.images)}, the number of {called}, "
                f"got {count}"
            )
