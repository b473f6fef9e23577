"""Clips of one rendered face in a known motion, sound or with bad frames, and the bundled ones.

Letters: T frames, R side, F factors.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import zoo
from mm_jax.errors import UsageError
from mm_jax.media.video_writing import video_writer
from mm_jax.synthface import factors
from mm_jax.synthface.renderer import render

__all__ = ["BUNDLED", "MOTIONS", "RenderedMotion", "corrupt", "install", "render_clip"]


@dataclasses.dataclass(frozen=True)
class RenderedMotion:
    """A factor that changes evenly from `start` to `end`, in [-1, 1]."""

    factor: str
    start: float
    end: float


MOTIONS = {
    "head_turn": RenderedMotion("yaw", -0.8, 0.8),
    "smile": RenderedMotion("smile", -0.8, 0.9),
    "closing_eyes": RenderedMotion("eye_open", 0.8, -0.9),
    "aging": RenderedMotion("age", -0.9, 0.9),
}
"""The motions of rendered clips, by the names that prompts have for them."""

# The bundled clips: motion and the seed of the face.
BUNDLED = {"head_turn": 11, "smile": 12}
FRAMES, FPS, RESOLUTION, CRF = 25, 12.5, 128, 16


def face(seed: int) -> np.ndarray:
    """Factors [F] of a face that rests: its identity is drawn, its motions are in between."""
    drawn = np.asarray(factors.sample_factors(jax.random.key(seed), 1))[0]
    rest = 0.3 * drawn[: len(factors.MOTION_FACTORS)]
    for name, value in (("eye_open", 0.5), ("mouth_open", -0.8), ("age", -0.5)):
        rest[factors.index(name)] = value
    return np.concatenate([rest, drawn[len(rest) :]])


def render_clip(
    motion: RenderedMotion,
    *,
    seed: int,
    frames: int = FRAMES,
    resolution: int = RESOLUTION,
    there_and_back: bool = False,
) -> np.ndarray:
    """One face in one motion: [T, R, R, 3] float32 in [-1, 1].

    Args:
        motion: what moves.
        seed: of the face.
        frames: T, at least 2.
        resolution: R.
        there_and_back: come back to the start in the second half.

    Raises:
        UsageError: fewer than two frames.
    """
    if frames < 2:
        raise UsageError(f"a clip wants two frames or more, got {frames}")
    degree = np.linspace(0.0, 1.0, frames)
    if there_and_back:
        degree = 1.0 - np.abs(2.0 * degree - 1.0)
    values = np.tile(face(seed), (frames, 1)).astype(np.float32)
    values[:, factors.index(motion.factor)] = motion.start + (motion.end - motion.start) * degree
    return np.asarray(render(jnp.asarray(values), resolution=resolution))


def corrupt(frames: np.ndarray, *, share: float, seed: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Spoil some frames, half of them by something before the face and half by noise.

    Args:
        frames: [T, R, R, 3] float in [-1, 1].
        share: of the frames, in [0, 1]; the first and the last are spared.
        seed: of which, where and how.

    Returns:
        A copy of the frames, and which of them are spoiled, in order.
    """
    rng = np.random.default_rng(seed)
    count = min(round(share * len(frames)), max(len(frames) - 2, 0))
    spoiled = np.array(frames, np.float32)
    chosen = rng.permutation(np.arange(1, len(frames) - 1))[:count]
    side = frames.shape[1]
    for place, index in enumerate(chosen):
        if place % 2:
            noise = rng.standard_normal(frames.shape[1:]).astype(np.float32)
            spoiled[index] = np.clip(spoiled[index] + 0.8 * noise, -1.0, 1.0)
            continue
        height, width = (rng.uniform(0.35, 0.6, 2) * side).astype(int)
        top, left = (rng.uniform(0.15, 0.5, 2) * side).astype(int)
        colour = rng.uniform(-1.0, 1.0, 3).astype(np.float32)
        spoiled[index, top : top + height, left : left + width] = colour
    return spoiled, tuple(sorted(chosen.tolist()))


def install() -> None:
    """Render the bundled clips into the package's assets, with their sha256."""
    for name, seed in BUNDLED.items():
        frames = np.rint((render_clip(MOTIONS[name], seed=seed) + 1.0) * 127.5).astype(np.uint8)
        with video_writer(zoo.ASSETS / zoo.VIDEOS / f"{name}.mp4", fps=FPS, crf=CRF) as add:
            for frame in frames:
                add(frame)
    zoo.record(zoo.VIDEOS)
