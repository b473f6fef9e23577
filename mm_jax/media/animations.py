"""Animated images, such as GIF, WebP and APNG, as videos."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import Image

from mm_jax.errors import DataError, first_line
from mm_jax.media.cuts import CutFinder, thumbnail
from mm_jax.media.images import ANIMATED, over_white
from mm_jax.media.timing import Timing
from mm_jax.media.videos import VideoInfo

__all__ = ["animation_frames", "animation_info"]

# In milliseconds. Browsers take a shorter delay between frames for a mistake, and wait longer.
_SHORTEST_DELAY, _USUAL_DELAY = 20, 100


def animation_info(path: Path) -> VideoInfo | None:
    """What an animated image is; None where the file is something else."""
    try:
        with Image.open(path, formats=ANIMATED) as image:
            if not getattr(image, "is_animated", False):
                return None
            width, height = image.size
        with iio.imopen(path, "r", plugin="pillow") as file:
            delays, finder = [], CutFinder()
            whole: Any = file  # the type of all plugins knows no mode
            for index, frame in enumerate(whole.iter(mode="RGB")):
                # A frame's delay is known once it is decoded.
                delays.append(file.metadata(index=index).get("duration", 0))
                finder.add(thumbnail(frame))
    except (OSError, ValueError, SyntaxError, EOFError):
        return None
    delays = [d if d >= _SHORTEST_DELAY else _USUAL_DELAY for d in map(round, delays)]
    pts = [0, *itertools.accumulate(delays)]
    timing = Timing(tuple(pts[:-1]), Fraction(1, 1000), pts[-1])
    return VideoInfo(path, timing, (height, width), cuts=finder.cuts(), animated=True)


def animation_frames(info: VideoInfo, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, frame [H, W, 3] uint8) for the wanted frames, in growing order.

    Raises:
        DataError: it cannot be decoded.
    """
    chosen = set(wanted)
    try:
        with iio.imopen(info.path, "r", plugin="pillow") as file:
            whole: Any = file  # the type of all plugins knows no mode
            for index, frame in enumerate(whole.iter(mode="RGBA")):
                if index in chosen:
                    yield index, over_white(frame)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"cannot read {info.path}: {first_line(error)}") from error
