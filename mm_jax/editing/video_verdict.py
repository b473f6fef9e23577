"""What strangers say of an edited video: is it still the same person, and did they move as asked?

A few frames are read as they were and as they are written, with the edited face put back. Whether
the generator rebuilds the face to the pixel does not matter then, unless it replaces it.

Shapes: T frames, E subspaces, R side of the generator's images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mm_jax import rendering
from mm_jax.alignment.options import PasteOptions
from mm_jax.editing.verdict import EditVerdict, in_image, targets_of
from mm_jax.editing.video import VideoEdit
from mm_jax.faces.detail import detail_kept
from mm_jax.faces.judge import FaceEdit, judge_face
from mm_jax.faces.readings import Readings
from mm_jax.inversion.video import VideoLatents
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.video.faces import crops

__all__ = ["judge_video", "judged_frames"]

# Frames that are read, beside the one that is changed most.
_READ = 5
# A reading is expected to move where the strength is at least this part of the video's largest.
_STRONG = 0.5


def judge_video(
    gen: Generator,
    latents: VideoLatents,
    edit: VideoEdit,
    weights: np.ndarray,
    reader: Callable[[Any], Readings] | None,
    *,
    paste: PasteOptions,
    progress: ProgressFn = silent,
) -> EditVerdict:
    """Judge what `mm_jax.editing.video.draw_video` writes with the same arguments.

    Args:
        gen: the generator.
        latents: of the video.
        edit: what is added to them.
        weights: [T] in [0, 1], how much of the edit each frame gets.
        reader: a `FaceReader` for the generator's framing; None if its images can not be read.
        paste: how faces are put back.
        progress: called with the frames that were read.
    """
    info, face, size = latents.info, latents.face, gen.config.resolution
    strengths = edit.strengths * weights[None]  # [E, T]
    places = judged_frames(weights, strengths)
    targets = targets_of(edit.subspaces)
    names = [f"frame {face.frames[place]}" for place in places]
    if reader is None or not places:
        return EditVerdict(dict.fromkeys(names), targets, images=True)
    both = np.concatenate(
        [
            edit.beside(place, w[None], weights[place : place + 1])
            for place, w in zip(places, latents.at(places), strict=True)
        ]
    )
    drawn = rendering.render_all(gen, both)  # [2 frames, R, R, 3]: rebuilt and edited
    # [E]: how far each reading is expected to move at most.
    largest = np.abs(strengths).max(axis=1, initial=0.0)
    faces: dict[str, FaceEdit | None] = {}
    wanted = crops(info, face, size=size, only=places)
    for i, (name, (place, _, crop)) in enumerate(zip(names, wanted, strict=True)):
        progress("judging frames", i, len(places))
        put = in_image(crop, drawn[2 * i + 1], drawn[2 * i], paste)
        readings = reader(np.stack([crop, put]))
        faces[name] = None
        if readings.found[0]:
            now = strengths[:, place]  # [E]
            asked = [
                target if abs(now[e]) >= _STRONG * largest[e] else None
                for e, target in enumerate(targets)
            ]
            faces[name] = judge_face(
                readings, np.stack([np.zeros_like(now), now], axis=1), asked,
                readings.descriptors[0], detail=detail_kept(crop, put[None]),
            )  # fmt: skip
    progress("judging frames", len(places), len(places))
    return EditVerdict(faces, targets, images=True)


def judged_frames(weights: np.ndarray, strengths: np.ndarray) -> list[int]:
    """Frames to read: evenly from those that are edited, and the one that is changed most.

    Args:
        weights: [T] in [0, 1], how much of the edit each frame gets.
        strengths: [E, T] of each subspace.
    """
    # Where no subspace moves any frame, it is the video's own motion that is scaled in all.
    moved = np.abs(strengths).sum(axis=0)
    edited = np.flatnonzero((weights > 0) & ((moved > 0) | (not moved.any())))
    if not len(edited):
        return []
    chosen = np.rint(np.linspace(0, len(edited) - 1, min(_READ, len(edited)))).astype(int)
    # Where all are changed alike, the middle one.
    change = moved[edited] + weights[edited]
    most = edited[np.flatnonzero(change == change.max())]
    return sorted({*edited[chosen].tolist(), int(most[len(most) // 2])})
