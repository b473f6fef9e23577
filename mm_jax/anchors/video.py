"""Anchors from a video: the latents of its frames, one identity along its own motion.

Frames go through in four steps.

1. Blurred frames are dropped.
2. The others are inverted each by itself, from an encoder's guess or else from the latent of a
   frame just before; the first then begins at the mean latent.
3. Frames whose loss stands out are dropped: what the generator cannot render (a hand before the
   face, noise, another scene) has no latent, and one such frame can turn a direction.
4. The rest are inverted together, from where they are, with a term that holds each latent to the
   one before it. Frame-to-frame noise is evened out, the motion stays.

What is left of a video is its identity plus its motion. The identity is removed by taking
displacements from the start latent, which is the face at rest: the mean of the latents at the
beginning of the motion, or of all of them.

Shapes: T frames, M frames kept, L rows of W+, D latent width, H size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mm_jax.anchors.options import VideoAnchorOptions
from mm_jax.artifacts import Anchors
from mm_jax.checks import check_number
from mm_jax.encoders.encoder import Encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion.invert import Inversion, check_images, invert
from mm_jax.perceptual.lpips import Lpips
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.video.motion import Progression, follow, measure_motion
from mm_jax.video.quality import blurred, sharpness, stands_out

__all__ = ["invert_frames", "video_anchors"]

# Latents of this first fraction of the motion are its beginning: a mean of some is steadier.
BEGINNING = 0.1


def video_anchors(
    gen: Generator,
    frames: Any,
    *,
    options: VideoAnchorOptions = VideoAnchorOptions(),
    encoder: Encoder | None = None,
    frame_indices: Sequence[int] | None = None,
    times: Any | None = None,
    landmarks: Any | None = None,
    lpips: Lpips | None = None,
    batch_size: int = 8,
    progress: ProgressFn = silent,
    **changes: Any,
) -> Anchors:
    """The latents of one identity along the motion that a video shows.

    Args:
        gen: the generator.
        frames: [T, H, H, 3] float in [-1, 1] or uint8, aligned like the generator's training
            images, in order of time.
        options: how the anchors are found. `degrees` is "time", or "motion": how far the motion has
            come, by landmarks or optical flow (see `mm_jax.video.motion`), for videos that turn
            back, pause or hurry; both run from 0 to 1. `start` is the identity's own latent: the
            mean of the latents at the "first" tenth of the degrees, or of all ("mean"), for a
            motion that swings about its rest.
        encoder: guesses each frame's latent; without one, frames begin at their neighbour's latent,
            and the first at the mean latent.
        frame_indices: [T] the frames' places in the whole video, growing; 0 to T - 1 unless given.
        times: [T] when the frames are shown, growing, in any unit; evenly by index unless given.
        landmarks: [T, P, 2] points of the face in pixels of the frames, in place of optical flow.
        lpips: a perceptual distance for the inversions.
        batch_size: frames in work at once; it bounds memory.
        progress: called with a label, what is done and how much there is.
        **changes: options by name, such as `degrees="motion"`, in place of those in `options`.

    Returns:
        Anchors with ws [M, L, D]. Their meta tells which frames were kept, which were dropped and
        why, how well each was reconstructed, and how the motion went.

    Raises:
        UsageError: an argument is out of range, unknown, or of another shape.
        DataError: fewer than two frames are sound, nothing moves (with degrees of motion), frames
            are not finite, or the optimisation diverges.
    """
    options = options.replace(**changes)
    images = _check_frames(gen, frames)
    check_number("batch_size", batch_size, minimum=1, whole=True)
    indices = _check_indices(frame_indices, len(images))
    moments = indices if times is None else _check_times(times, len(images))
    points = None if landmarks is None else _check_landmarks(landmarks, len(images))

    found, kept, dropped = invert_frames(
        gen, images, options, encoder=encoder, lpips=lpips, batch_size=batch_size,
        progress=progress,
    )  # fmt: skip
    motion = _motion(images[kept], None if points is None else points[kept])
    progress("motion", 1, 1)
    if options.degrees == "time":
        first, last = moments[kept[0]], moments[kept[-1]]
        values = (moments[kept] - first) / (last - first)
    elif motion is None:
        raise DataError("nothing moves in this video, so its degrees cannot be told by motion")
    else:
        values = motion.progress
    values = values.astype(np.float32)  # [M] in [0, 1]
    ws = np.asarray(found.ws)  # [M, L, D]
    at_rest = ws if options.start == "mean" else ws[values <= BEGINNING]
    metadata = {
        "source": "video",
        "frames": len(images),
        "kept": indices[kept].tolist(),
        "dropped": [
            {"frame": int(indices[i]), "reason": why} for i, why in sorted(dropped.items())
        ],
        "psnr": np.round(np.asarray(found.psnr, np.float64), 2).tolist(),
        "motion": None if motion is None else _metadata_of(motion, points is not None),
        "encoder": None if encoder is None else encoder.meta.get("name", encoder.config.kind),
        "generator": gen.name,
        "generator_fingerprint": gen.fingerprint,
        "settings": dataclasses.asdict(options),
    }
    return Anchors(ws=ws, start=at_rest.mean(axis=0), degrees=values, meta=metadata)


def invert_frames(
    gen: Generator,
    images: np.ndarray,
    options: VideoAnchorOptions,
    *,
    encoder: Encoder | None,
    lpips: Lpips | None = None,
    batch_size: int = 8,
    progress: ProgressFn = silent,
) -> tuple[Inversion, np.ndarray, dict[int, str]]:
    """The latents of the sound frames of a video, smooth in time.

    Args:
        gen: the generator.
        images: [T, H, H, 3] float in [-1, 1].
        options: how they are inverted.
        encoder: guesses each frame's latent, or None.
        lpips: a perceptual distance for the inversions, or None.
        batch_size: frames in work at once.
        progress: called with a label, what is done and how much there is.

    Returns:
        The inversion of the M frames that are kept, their indices [M], and for every other frame
        why it was dropped.

    Raises:
        DataError: fewer than two frames are sound.
    """
    dropped: dict[int, str] = {}
    if options.drop:
        sharp = np.asarray(sharpness(images))
        for i in np.flatnonzero(blurred(sharp)):
            fraction = sharp[i] / np.median(sharp)
            dropped[int(i)] = f"blur: {fraction:.0%} of the video's usual sharpness"
    kept = np.array([i for i in range(len(images)) if i not in dropped], int)
    _check_enough(kept, dropped, len(images))
    shared: dict[str, Any] = {
        "learning_rate": options.learning_rate,
        "start_weight": options.start_weight,
        "lpips": lpips,
        "batch_size": min(batch_size, len(kept)),
    }

    def labelled(name: str) -> ProgressFn:
        return lambda label, done, total: progress(name, done, total)

    alone_progress = labelled("frames by themselves")
    if encoder is not None:
        alone = invert(
            gen, images[kept], start="encoder", encoder=encoder, steps=options.steps,
            progress=alone_progress, **shared,
        )  # fmt: skip
    else:
        alone = _from_neighbours(gen, images[kept], options.steps, alone_progress, shared)
    if options.drop:
        loss = np.asarray(alone.losses).min(axis=1)
        for i in np.flatnonzero(stands_out(loss)):
            dropped[int(kept[i])] = f"loss: {loss[i] / np.median(loss):.1f} times the usual"
    sound = np.array([i for i, frame in enumerate(kept) if int(frame) not in dropped], int)
    kept = kept[sound]
    _check_enough(kept, dropped, len(images))
    together = invert(
        gen, images[kept], start=np.asarray(alone.ws)[sound], steps=options.together_steps,
        temporal_weight=options.temporal_weight, progress=labelled("frames together"), **shared,
    )  # fmt: skip
    return together, kept, dropped


def _from_neighbours(
    gen: Generator, images: np.ndarray, steps: int, progress: ProgressFn, shared: dict[str, Any]
) -> Inversion:
    """Frames inverted batch after batch, each batch from the best latent of the one before.

    The best, not the last: a spoiled frame at the end of a batch has a latent from which the next
    batch would not recover. The first batch begins at the mean latent and has a long way to go.
    """
    size = shared["batch_size"]
    begin: Any = "mean"
    parts: list[Inversion] = []
    for first in range(0, len(images), size):
        batch = images[first : first + size]
        part = invert(gen, batch, start=begin, steps=steps * (1 if first else 4), **shared)
        begin = np.asarray(part.ws)[np.asarray(part.losses).min(axis=1).argmin()]
        # Of the first batch the curves are longer; only where they end is needed.
        ends = np.asarray(part.losses).min(axis=1, keepdims=True)
        parts.append(dataclasses.replace(part, losses=ends))
        progress("", min(first + size, len(images)), len(images))
    ws, images, losses, psnr = (
        np.concatenate([np.asarray(getattr(part, name)) for part in parts])
        for name in ("ws", "images", "losses", "psnr")
    )
    return Inversion(ws=ws, images=images, losses=losses, psnr=psnr)


def _check_frames(gen: Generator, frames: Any) -> np.ndarray:
    images = np.asarray(frames)
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 127.5 - 1.0
    images = check_images(gen, images).astype(np.float32)
    if len(images) < 2:
        raise DataError(f"a motion needs at least two frames, got {len(images)}")
    return images


def _check_indices(frame_indices: Sequence[int] | None, count: int) -> np.ndarray:
    if frame_indices is None:
        return np.arange(count)
    indices = np.asarray(frame_indices)
    if indices.shape != (count,) or indices.dtype.kind not in "iu" or (np.diff(indices) <= 0).any():
        raise UsageError(f"frame_indices must be {count} growing integers, one for each frame")
    return indices


def _check_times(times: Any, count: int) -> np.ndarray:
    moments = np.asarray(times, np.float64)
    if moments.shape != (count,) or not (np.diff(moments) > 0).all():
        raise UsageError(f"times must be {count} growing numbers, one for each frame")
    return moments


def _check_landmarks(landmarks: Any, count: int) -> np.ndarray:
    points = np.asarray(landmarks, np.float32)
    if points.ndim != 3 or points.shape[0] != count or points.shape[2] != 2:
        raise UsageError(f"landmarks must be [{count}, P, 2], got {list(points.shape)}")
    return points


def _check_enough(kept: np.ndarray, dropped: dict[int, str], total: int) -> None:
    if len(kept) < 2:
        reasons = "; ".join(f"frame {i}: {why}" for i, why in sorted(dropped.items())[:3])
        raise DataError(f"only {len(kept)} of {total} frames are sound ({reasons})")


def _motion(images: np.ndarray, points: np.ndarray | None) -> Progression | None:
    """How the motion went; None where nothing moves."""
    try:
        return measure_motion(follow(images) if points is None else points)
    except DataError:
        return None


def _metadata_of(motion: Progression, landmarks: bool) -> dict[str, Any]:
    return {
        "measured_by": "landmarks" if landmarks else "optical flow",
        "progress": np.round(motion.progress.astype(np.float64), 4).tolist(),
        "size": np.round(motion.size.astype(np.float64), 4).tolist(),
        "share": round(motion.fraction, 4),
    }
