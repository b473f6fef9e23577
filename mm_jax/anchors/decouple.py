"""A motion apart from others: "smile, but not age".

What CLIP reads by another prompt changes along a motion too, because the motion holds some of the
other, or because the generator draws it along with the motion. That is measured, and taken back.
With r_k(w) the degree that CLIP reads by the k-th of the other prompts off the image of w, in
standard deviations over sampled faces, and d the motion,

    c_k = mean over faces of (r_k(w + d) - r_k(w - d)) / 2,    d' = d - sum_k c_k b_k,

where b_k is how w changes with r_k among sampled faces while the other readings and the motion's
own stay: the coefficients of the regression of W on all readings at once. This is done twice, since
the b_k are not exact. At last the motion is made as long as to change its own reading by what it
did before.

Both are differences between whole images. Gradients of the readings, which tell what changes to
first order, follow CLIP's blind spots at each face: taking these away made leakage larger.

Shapes: K other prompts, N faces, M degrees, E CLIP's width, L rows of W+, D latent width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.prompts import MOTIONS, degree_values, degrees_in, fill
from mm_jax.anchors.reading import embed_latents, read_degrees, sampled_faces
from mm_jax.artifacts import Subspace
from mm_jax.checks import check_number
from mm_jax.errors import DataError, UsageError
from mm_jax.perceptual.clip import Clip, encode_text
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.calibration import KEY

__all__ = [
    "FACES",
    "decouple",
    "slopes",
    "taken_back",
    "template_of",
]

#: Faces that tell how W goes along with readings.
FACES = 1024
# Other faces along which is measured what a motion changes, and how often that is taken back.
_MOVED, _ROUNDS = 32, 2
# A motion of which less is left was a mixture of the others. So it was if a prompt's reading that
# had changed by so much, in standard deviations, still does by more than this part of that.
_LEFT, _CHANGED, _STILL = 0.1, 0.3, 0.6
# Of the largest singular value: readings that say the same are one.
_RANK = 0.05
_OF_THE_WHOLE = (KEY, "read_back")


def template_of(text: str) -> str:
    """The prompt of a motion's name, or the prompt itself.

    Raises:
        UsageError: neither a motion's name nor a prompt with one `{degree}`.
    """
    if text in MOTIONS:
        return MOTIONS[text].template
    if "{" not in text:
        raise UsageError(
            f"{text!r} is neither a prompt with {{degree}} nor a motion; those are "
            f"{', '.join(MOTIONS)}"
        )
    fill(text, "no")
    return text


class _Readings(NamedTuple):
    """The degrees that CLIP reads by K prompts, in standard deviations over sampled faces."""

    texts: np.ndarray  # [K, M, E]
    degrees: np.ndarray  # [M]
    typical: np.ndarray  # [K, M], mean cosines
    spread: np.ndarray  # [K]
    scale: float  # CLIP's factor on cosines

    @classmethod
    def of(
        cls, clip: Clip, templates: Sequence[str], degrees: Sequence[str], vectors: np.ndarray
    ) -> _Readings:
        """By prompts, with the spread over faces that CLIP sees as vectors [N, E]."""
        prompts = [fill(template, degree) for template in templates for degree in degrees]
        texts = np.asarray(encode_text(clip, prompts, cut=True), np.float32)
        texts = texts.reshape(len(templates), len(degrees), -1)
        typical = vectors.mean(axis=0) @ texts.swapaxes(1, 2)
        found = cls(
            texts, degree_values(degrees), typical, np.ones(len(texts)), float(clip.logit_scale)
        )
        # A reading that is the same for all faces stays as it is: nothing.
        return found._replace(spread=np.maximum(found(vectors).std(axis=0), 1e-6))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Readings [..., K] of vectors [..., E]."""
        cosines = np.einsum("...e,kme->...km", vectors, self.texts)
        read = read_degrees(cosines, self.degrees, typical=self.typical, scale=self.scale)
        return read / self.spread


def decouple(
    gen: Generator,
    clip: Clip,
    subspace: Subspace,
    others: Sequence[str],
    *,
    own: str | None = None,
    degrees: Sequence[str] | None = None,
    faces: int = FACES,
    truncation_psi: float = 0.7,
    key: jax.Array | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> Subspace:
    """A subspace whose first direction leaves alone what other prompts are about.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        subspace: of the motion; its further components are dropped.
        others: K prompts with one `{degree}` each, or names of motions.
        own: the prompt of what the motion is about, by default the one that it was found from.
        degrees: what replaces `{degree}`, in growing order; by default those of the subspace's own
            prompts, or the paper's.
        faces: N, how many are sampled.
        truncation_psi: of the faces.
        key: which faces; a fixed one unless given, which no seed of `sample_latents` gives.
        batch_size: faces in work at once.
        progress: called with a label, what is done and how much there is.

    Returns:
        a subspace of rank 1. Its metadata's "without" has the K prompts, by how much each reading
        changed along the motion of strength 1 before and after ("moved", "after", in standard
        deviations over faces), and how much of the motion's own effect was left before it was made
        longer again ("left").

    Raises:
        UsageError: no prompts, or bad ones.
        DataError: readings that are not finite, hardly anything is left of the motion, or CLIP
            cannot tell it from one of the others.
    """
    if not others:
        raise UsageError("decouple needs at least one other prompt, got none")
    own = own or subspace.meta.get("template")
    degrees = tuple(degrees or degrees_in(subspace.meta) or AnchorOptions.degrees)
    named = list(map(template_of, others))
    if own in named:
        raise UsageError(f"the motion cannot be decoupled from its own prompt, {own!r}")
    check_number("faces", faces, minimum=4, whole=True)
    key = jax.random.fold_in(jax.random.key(0), 0xDEC0) if key is None else key
    how = {"batch_size": batch_size, "progress": progress}
    seen = sampled_faces(gen, key, faces, truncation_psi=truncation_psi)  # [N, L, D]
    vectors = embed_latents(gen, clip, seen, label="looking at faces", **how)  # [N, E]
    # The motion's own reading is the last.
    readings = _Readings.of(clip, [*named, *([own] if own else [])], degrees, vectors)
    read, w, count = readings(vectors), seen[:, 0], len(named)  # [N, K + 1], [N, D]
    if not np.isfinite(read).all():
        raise DataError("the images of sampled faces cannot be compared: they hold NaN or infinity")
    moving = np.asarray(subspace.mask)  # [L]
    steps = slopes(w, read)[:count, None, :] * moving[None, :, None]  # [K, L, D]
    still = sampled_faces(
        gen, jax.random.fold_in(key, 1), _MOVED, truncation_psi=truncation_psi
    )  # [F, L, D]

    def changes(direction: np.ndarray) -> np.ndarray:
        """Mean changes [K + 1] of the readings along a direction [L, D]."""
        ends = np.stack([still - direction[None], still + direction[None]])
        low, high = readings(embed_latents(gen, clip, ends, label="without others", **how))
        return (high - low).mean(axis=0) / 2

    before = np.asarray(subspace.direction, np.float64)
    apart, found = taken_back(before, changes, steps)
    moved, after = found[0], found[-1]
    # How much is left: of the motion's effect on its own reading, or else of its length.
    if own:
        left = after[-1] / moved[-1] if abs(moved[-1]) > 1e-6 else 0.0
    else:
        left = float(np.linalg.norm(apart) / np.linalg.norm(before))
    if not left >= _LEFT:
        raise DataError(
            f"the motion is hardly more than what {', '.join(others)} move: {left:.0%} of it is "
            "left"
        )
    if own:
        apart, after = apart / left, after / left
    for text, was, now in zip(named, moved, after, strict=False):
        if abs(was) > _CHANGED and abs(now) > _STILL * abs(was):
            raise DataError(
                f"CLIP does not tell the motion from {text!r}, which goes along with it"
            )
    scale = float(np.linalg.norm(apart))
    record = {
        "prompts": named,
        "moved": np.round(moved[:count], 4).tolist(),
        "after": np.round(after[:count], 4).tolist(),
        "left": round(float(left), 4),
    }
    # What was read along the motion before says nothing of this one.
    known = {name: value for name, value in subspace.meta.items() if name not in _OF_THE_WHOLE}
    return dataclasses.replace(
        subspace.component(0),
        basis=(apart / scale)[None].astype(np.float32),
        scale=scale,
        meta={**known, "without": record, "rank": 1},
    )


def slopes(w: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """How w changes with each reading while the others stay: coefficients [K, D].

    Args:
        w: [N, D] latents.
        readings: [N, K] of their images; one that is the same for all has coefficients of 0.
    """
    design = readings - readings.mean(axis=0, dtype=np.float64)[None]
    centred = w - w.mean(axis=0, dtype=np.float64)[None]
    return np.linalg.lstsq(design, centred, rcond=_RANK)[0]


def taken_back(
    direction: np.ndarray, changes: Callable[[np.ndarray], np.ndarray], steps: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A direction [L, D] less what it changes beside its own, and the changes on the way.

    Args:
        direction: of the motion.
        changes: measures the changes of at least K readings along a direction.
        steps: [K, L, D], each of which changes one of the first K readings by about 1.

    Returns:
        The direction, and the changes of `direction` and of what it was after each round.
    """
    found = [changes(direction)]
    for _ in range(_ROUNDS):
        direction = direction - np.einsum("k,kld->ld", found[-1][: len(steps)], steps)
        found.append(changes(direction))
    return direction, found
