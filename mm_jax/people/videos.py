"""The bundled videos: a rendered person in each of the five motions.

Shapes: T frames, R side, F factors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from mm_jax.errors import UsageError
from mm_jax.media.video_writing import video_writer
from mm_jax.people.factors import MOTION_FACTORS, Z_DIM, factors_from_z, index

__all__ = ["BUNDLED", "MOTIONS", "RenderedMotion", "motion_factors", "write_videos"]


@dataclasses.dataclass(frozen=True)
class RenderedMotion:
    """A factor that changes evenly from `start` to `end`, in [-1, 1]."""

    factor: str
    start: float
    end: float


#: The motions of rendered videos, by the names that prompts have for them.
MOTIONS = {
    "head_turn": RenderedMotion("yaw", -0.8, 0.8),
    "smile": RenderedMotion("smile", -0.3, 1.0),
    "closing_eyes": RenderedMotion("eye_close", -0.8, 1.0),
    "anger": RenderedMotion("anger", -1.0, 1.0),
    "aging": RenderedMotion("age", -0.9, 0.9),
}
#: The bundled videos: motion and the seed of the person.
BUNDLED = {"head_turn": 11, "smile": 12, "closing_eyes": 13, "anger": 14, "aging": 15}
FRAMES, FPS, CRF = 25, 12.5, 16
# A face at rest, with open eyes, mouth closed, that looks at the viewer.
_REST = {
    "smile": -0.1,
    "anger": -1.0,
    "eye_close": -0.8,
    "mouth_open": -1.0,
    "brow_raise": -0.8,
    "pout": -1.0,
    "sneer": -1.0,
    "gaze_x": 0.0,
    "gaze_y": 0.0,
    "yaw": 0.0,
    "pitch": 0.0,
    "roll": 0.0,
    "age": -0.4,
}

# Factors [N, F] to images [N, R, R, 3] uint8.
Draw = Callable[[np.ndarray], np.ndarray]


def resting_person(seed: int) -> np.ndarray:
    """Factors ``[F]``: who it is is drawn at random, the face is at rest."""
    factors = np.array(factors_from_z(jax.random.normal(jax.random.key(seed), (1, Z_DIM))))[0]
    for name in MOTION_FACTORS:
        factors[index(name)] = _REST[name]
    return factors


def motion_factors(
    motion: RenderedMotion, *, seed: int, frames: int = FRAMES, there_and_back: bool = False
) -> np.ndarray:
    """Factors ``[T, F]`` of one person in one motion.

    Args:
        motion: what moves.
        seed: of the person.
        frames: T, at least 2.
        there_and_back: come back to the start in the second half.

    Raises:
        UsageError: fewer than two frames.
    """
    if frames < 2:
        raise UsageError(f"frames must be at least 2, got {frames}")
    degree = np.linspace(0.0, 1.0, frames)
    if there_and_back:
        degree = 1.0 - np.abs(2.0 * degree - 1.0)
    values = np.tile(resting_person(seed), (frames, 1))
    values[:, index(motion.factor)] = motion.start + (motion.end - motion.start) * degree
    return values


def write_videos(folder: Path, draw: Draw) -> None:
    """Draw the bundled videos that ``folder`` lacks: `head_turn.mp4`, `smile.mp4`, and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in BUNDLED.items():
        path = folder / f"{name}.mp4"
        if path.exists():
            continue
        frames = draw(motion_factors(MOTIONS[name], seed=seed))
        with video_writer(path, fps=FPS, crf=CRF) as add:
            for frame in frames:
                add(frame)
        print(f"videos: {path.name}", flush=True)
