"""Anchors from a clip: the codes of its frames, one identity along its own motion.

Frames go through in four steps.

1. Blurred frames are dropped.
2. The others are inverted each by itself, from an encoder's guess or else from the code of a frame
   just before; the first then begins at the mean code.
3. Frames whose loss stands out are dropped: what the generator cannot draw (a hand before the face,
   noise, another scene) has no code, and one such frame can turn a direction.
4. The rest are inverted together, from where they are, with a term that holds each code to the one
   before it. What changes from frame to frame for no reason is evened out, the motion stays.

What is left of a clip is its identity plus its motion. The identity goes when displacements are
taken from the start code, which is the clip at rest: the mean of the codes at the beginning of the
motion, or of all of them.

Letters: T frames, M frames kept, L rows of W+, D latent width, H size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mm_jax.artifacts import Anchors
from mm_jax.encoders.encoder import Encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion.invert import Inversion, check_images, invert
from mm_jax.perceptual.lpips import Lpips
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.video.motion import Motion, follow, measure_motion
from mm_jax.video.quality import blurred, sharpness, stands_out

__all__ = ["DEGREES", "STARTS", "invert_clip", "video_anchors"]

DEGREES, STARTS = ("time", "motion"), ("first", "mean")
# Codes of this first share of the motion are its beginning: a mean of some is steadier than one.
BEGINNING = 0.1


def video_anchors(
    gen: Generator,
    frames: Any,
    *,
    encoder: Encoder | None = None,
    degrees: str = "time",
    start: str = "first",
    numbers: Sequence[int] | None = None,
    landmarks: Any | None = None,
    steps: int = 40,
    together_steps: int = 20,
    learning_rate: float = 0.05,
    start_weight: float = 0.0,
    temporal_weight: float = 0.1,
    lpips: Lpips | None = None,
    drop: bool = True,
    batch_size: int = 8,
    progress: ProgressFn = silent,
) -> Anchors:
    """The codes of one identity along the motion that a clip shows.

    Args:
        gen: the generator.
        frames: [T, H, H, 3] float in [-1, 1] or uint8, aligned as the generator's training
            pictures, in order of time.
        encoder: guesses each frame's code; without one, frames begin at their neighbour's code, and
            the first at the mean code.
        degrees: "time", or "motion": how far the motion has come, by landmarks or optical flow (see
            `mm_jax.video.motion`), for clips that turn back, pause or hurry. Both run from 0 to 1.
        start: the identity's own code: the mean of the codes at the "first" tenth of the degrees,
            or of all ("mean"), for a motion that swings about its rest.
        numbers: [T] the frames' places in the whole clip, growing; 0 to T - 1 unless given.
        landmarks: [T, P, 2] points of the face in pixels of the frames, in place of optical flow.
        steps: of inversion, each frame by itself.
        together_steps: of inversion, the frames that are kept together.
        learning_rate, start_weight, temporal_weight, lpips: as in `mm_jax.invert`.
        drop: leave out blurred frames and those whose loss stands out.
        batch_size: frames in work at once; it bounds memory.
        progress: called with a label, what is done and how much there is.

    Returns:
        Anchors with ws [M, L, D]. Their meta tells which frames were kept, which were dropped and
        why, how well each was rebuilt, and how the motion went.

    Raises:
        UsageError: an argument is out of range, or of another shape.
        DataError: fewer than two frames are sound, nothing moves (with degrees of motion), frames
            are not finite, or the optimisation diverges.
    """
    pictures = _check_frames(gen, frames)
    places = _check_numbers(numbers, len(pictures))
    for name, value, known in (("degrees", degrees, DEGREES), ("start", start, STARTS)):
        if value not in known:
            raise UsageError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    points = None if landmarks is None else _check_landmarks(landmarks, len(pictures))

    found, kept, dropped = invert_clip(
        gen,
        pictures,
        encoder=encoder,
        steps=steps,
        together_steps=together_steps,
        learning_rate=learning_rate,
        start_weight=start_weight,
        temporal_weight=temporal_weight,
        lpips=lpips,
        drop=drop,
        batch_size=batch_size,
        progress=progress,
    )
    motion = _motion(pictures[kept], None if points is None else points[kept])
    if degrees == "time":
        values = (places[kept] - places[kept[0]]) / (places[kept[-1]] - places[kept[0]])
    elif motion is None:
        raise DataError("nothing moves in this clip, so its degrees cannot be told by motion")
    else:
        values = motion.progress
    values = values.astype(np.float32)
    ws = np.asarray(found.ws)
    own = ws.mean(axis=0) if start == "mean" else ws[values <= BEGINNING].mean(axis=0)
    facts = {
        "source": "video",
        "frames": len(pictures),
        "kept": places[kept].tolist(),
        "dropped": [{"frame": int(places[i]), "reason": why} for i, why in sorted(dropped.items())],
        "psnr": np.round(np.asarray(found.psnr, np.float64), 2).tolist(),
        "motion": None if motion is None else _facts_of(motion, points is not None),
        "encoder": None if encoder is None else encoder.meta.get("name", encoder.config.kind),
        "generator": gen.name,
        "generator_fingerprint": gen.fingerprint,
        "settings": {
            "degrees": degrees,
            "start": start,
            "steps": steps,
            "together_steps": together_steps,
            "learning_rate": learning_rate,
            "start_weight": start_weight,
            "temporal_weight": temporal_weight,
            "drop": drop,
        },
    }
    return Anchors(ws=ws, start=own, degrees=values, meta=facts)


def invert_clip(
    gen: Generator,
    pictures: np.ndarray,
    *,
    encoder: Encoder | None,
    steps: int,
    together_steps: int,
    learning_rate: float,
    start_weight: float,
    temporal_weight: float,
    lpips: Lpips | None = None,
    drop: bool = True,
    batch_size: int = 8,
    progress: ProgressFn = silent,
) -> tuple[Inversion, np.ndarray, dict[int, str]]:
    """The codes of the sound frames of a clip, smooth in time.

    Args:
        gen: the generator.
        pictures: [T, H, H, 3] float in [-1, 1].
        others: as in `video_anchors`.

    Returns:
        The inversion of the M frames that are kept, their indices [M], and for every other frame
        why it was dropped.

    Raises:
        DataError: fewer than two frames are sound.
    """
    dropped: dict[int, str] = {}
    if drop:
        sharp = np.asarray(sharpness(pictures))
        for i in np.flatnonzero(blurred(sharp)):
            share = sharp[i] / np.median(sharp)
            dropped[int(i)] = f"blur: {share:.0%} of the clip's usual sharpness"
    kept = np.array([i for i in range(len(pictures)) if i not in dropped], int)
    _check_enough(kept, dropped, len(pictures))
    shared: dict[str, Any] = {
        "learning_rate": learning_rate,
        "start_weight": start_weight,
        "lpips": lpips,
        "batch_size": min(batch_size, len(kept)),
    }

    def told(name: str) -> ProgressFn:
        return lambda label, done, total: progress(name, done, total)

    if encoder is not None:
        alone = invert(
            gen, pictures[kept], start="encoder", encoder=encoder, steps=steps,
            progress=told("frames by themselves"), **shared,
        )  # fmt: skip
    else:
        alone = _from_neighbours(gen, pictures[kept], steps, told("frames by themselves"), shared)
    if drop:
        loss = np.asarray(alone.losses).min(axis=1)
        for i in np.flatnonzero(stands_out(loss)):
            dropped[int(kept[i])] = f"loss: {loss[i] / np.median(loss):.1f} times the usual"
    sound = np.array([i for i, frame in enumerate(kept) if int(frame) not in dropped], int)
    kept = kept[sound]
    _check_enough(kept, dropped, len(pictures))
    together = invert(
        gen, pictures[kept], start=np.asarray(alone.ws)[sound], steps=together_steps,
        temporal_weight=temporal_weight, progress=told("frames together"), **shared,
    )  # fmt: skip
    return together, kept, dropped


def _from_neighbours(
    gen: Generator, pictures: np.ndarray, steps: int, progress: ProgressFn, shared: dict[str, Any]
) -> Inversion:
    """Frames inverted batch after batch, each batch from the best code of the one before.

    The best, not the last: a spoiled frame at the end of a batch has a code from which the next
    would not come back. The first batch begins at the mean code and has a long way to go.
    """
    size = shared["batch_size"]
    begin: Any = "mean"
    parts: list[Inversion] = []
    for first in range(0, len(pictures), size):
        batch = pictures[first : first + size]
        part = invert(gen, batch, start=begin, steps=steps * (1 if first else 4), **shared)
        begin = np.asarray(part.ws)[np.asarray(part.losses).min(axis=1).argmin()]
        # Of the first batch the curves are longer; only where they end is needed.
        ends = np.asarray(part.losses).min(axis=1, keepdims=True)
        parts.append(dataclasses.replace(part, losses=ends))
        progress("", min(first + size, len(pictures)), len(pictures))
    ws, images, losses, psnr = (
        np.concatenate([np.asarray(getattr(part, name)) for part in parts])
        for name in ("ws", "images", "losses", "psnr")
    )
    return Inversion(ws=ws, images=images, losses=losses, psnr=psnr)


def _check_frames(gen: Generator, frames: Any) -> np.ndarray:
    pictures = np.asarray(frames)
    if pictures.dtype == np.uint8:
        pictures = pictures.astype(np.float32) / 127.5 - 1.0
    pictures = check_images(gen, pictures).astype(np.float32)
    if len(pictures) < 2:
        raise DataError("a motion wants two frames or more, this clip has one")
    return pictures


def _check_numbers(numbers: Sequence[int] | None, count: int) -> np.ndarray:
    if numbers is None:
        return np.arange(count)
    places = np.asarray(numbers)
    if places.shape != (count,) or places.dtype.kind not in "iu" or (np.diff(places) <= 0).any():
        raise UsageError(f"numbers must be {count} growing integers, one for each frame")
    return places


def _check_landmarks(landmarks: Any, count: int) -> np.ndarray:
    points = np.asarray(landmarks, np.float32)
    if points.ndim != 3 or points.shape[0] != count or points.shape[2] != 2:
        raise UsageError(f"landmarks must be [{count}, P, 2], got {list(points.shape)}")
    return points


def _check_enough(kept: np.ndarray, dropped: dict[int, str], total: int) -> None:
    if len(kept) < 2:
        reasons = "; ".join(f"frame {i}: {why}" for i, why in sorted(dropped.items())[:3])
        raise DataError(f"only {len(kept)} of {total} frames are sound ({reasons})")


def _motion(pictures: np.ndarray, points: np.ndarray | None) -> Motion | None:
    """How the motion went; None where nothing moves."""
    try:
        return measure_motion(follow(pictures) if points is None else points)
    except DataError:
        return None


def _facts_of(motion: Motion, landmarks: bool) -> dict[str, Any]:
    return {
        "measured_by": "landmarks" if landmarks else "optical flow",
        "progress": np.round(motion.progress.astype(np.float64), 4).tolist(),
        "size": np.round(motion.size.astype(np.float64), 4).tolist(),
        "share": round(motion.share, 4),
    }
