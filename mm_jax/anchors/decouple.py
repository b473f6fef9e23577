"""A motion apart from others: "smile, but not age".

What CLIP reads by another prompt changes along a motion too, because the motion holds some of the
other, or because CLIP confuses them. With g_k the mean gradient, over sampled faces, of the degree
that CLIP reads by the k-th of the other prompts, and P the metric of W (`mm_jax.anchors.gradient`
has both), the motion

    d' = d - sum_k a_k P g_k,    a such that g_j' d' = 0 for each j,

changes none of these readings, to first order, on average over faces. Of all such motions it is the
nearest to d in the metric of W: what is taken away are the other prompts' own directions. In the
metric of the latents' numbers it would be taken from where W does not reach. The motion is made as
long as to change its own reading by what it did before.

Shapes: K other prompts, N faces, M degrees, E CLIP's width, L rows of W+, D latent width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from mm_jax.anchors.gradient import (
    covariance_of_w,
    mean_field,
    metric_of_w,
    reading_gradients,
)
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.prompts import MOTIONS, degree_values, degrees_in, fill
from mm_jax.anchors.reading import from_none_to_all, sampled_faces
from mm_jax.artifacts import Subspace
from mm_jax.checks import check_number
from mm_jax.errors import DataError, UsageError
from mm_jax.perceptual.clip import Clip, encode_text
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.calibration import KEY

__all__ = ["FACES", "decouple", "projected", "template_of"]

FACES = 96
# A motion of which less is left was a mixture of the others.
_LEFT = 0.1
_OF_THE_WHOLE = (KEY, "read_back")
# Of the largest singular value: prompts that say the same are one.
_RANK = 1e-2


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


def decouple(
    gen: Generator,
    clip: Clip,
    subspace: Subspace,
    others: Sequence[str],
    *,
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
        degrees: what replaces it, in growing order; by default those of the subspace's own prompts,
            or the paper's.
        faces: N, how many are sampled.
        truncation_psi: of the faces.
        key: which faces; a fixed one unless given, which no seed of `sample_latents` gives.
        batch_size: faces in work at once.
        progress: called with a label, what is done and how much there is.

    Returns:
        a subspace of rank 1. Its metadata's "without" has the prompts, by how much each reading
        changed along the motion before ("moved", of strength 1, to first order), and how much of
        the motion's own effect was left before it was made longer again ("left").

    Raises:
        UsageError: no prompts, or bad ones.
        DataError: gradients that are not finite, or hardly anything is left of the motion.
    """
    if not others:
        raise UsageError("decouple needs at least one other prompt, got none")
    check_number("faces", faces, minimum=2, whole=True)
    own = subspace.meta.get("template")
    degrees = tuple(degrees or degrees_in(subspace.meta) or AnchorOptions.degrees)
    templates = [template_of(other) for other in others]
    if own in templates:
        raise UsageError(f"the motion cannot be decoupled from its own prompt, {own!r}")
    asked = [*templates, *([own] if own else [])]
    prompts = [fill(template, degree) for template in asked for degree in degrees]
    # All prompts in one batch: [K M, E], or [(K + 1) M, E] with the motion's own as the last.
    texts = np.asarray(encode_text(clip, prompts, cut=True), np.float32)
    values = from_none_to_all(degree_values(degrees))
    key = jax.random.fold_in(jax.random.key(0), 0xDEC0) if key is None else key
    faces_key, metric_key = jax.random.split(key)
    gradients, _ = reading_gradients(
        gen, clip, sampled_faces(gen, faces_key, faces, truncation_psi=truncation_psi),
        texts.reshape(len(asked), len(degrees), -1), values,
        batch_size=batch_size, progress=progress,
    )  # fmt: skip
    metric = metric_of_w(covariance_of_w(gen, metric_key, AnchorOptions()))  # [D, D]
    moving = np.asarray(subspace.mask)  # [L]
    # Gradients [K + 1, N, L, D] of single faces to their means [K + 1, L, D].
    fields = np.stack([mean_field(one, metric, moving)[0] for one in gradients])
    direction = np.asarray(subspace.direction, np.float64)
    rest = projected(direction, fields[: len(templates)], metric, moving)  # [L, D]
    # How much is left: of the motion's effect on its own reading, or else of its length.
    if own:
        before, after = (float((fields[-1] * move).sum()) for move in (direction, rest))
        left = after / before if abs(before) > 1e-12 else 0.0
    else:
        left = float(np.linalg.norm(rest) / np.linalg.norm(direction))
    if not left >= _LEFT:
        raise DataError(
            f"the motion is hardly more than what {', '.join(others)} move: {left:.0%} of it is "
            "left"
        )
    if own:
        rest = rest / left
    scale = float(np.linalg.norm(rest))
    moved = np.einsum("kld,ld->k", fields[: len(templates)], direction)
    record = {
        "prompts": templates,
        "moved": np.round(moved, 6).tolist(),
        "left": round(left, 6),
    }
    # What was read along the motion before says nothing of this one.
    known = {key: value for key, value in subspace.meta.items() if key not in _OF_THE_WHOLE}
    return dataclasses.replace(
        subspace.component(0),
        basis=(rest / scale)[None].astype(np.float32),
        scale=scale,
        meta={**known, "without": record, "rank": 1},
    )


def projected(
    direction: np.ndarray, fields: np.ndarray, metric: np.ndarray, moving: np.ndarray
) -> np.ndarray:
    """A direction [L, D] less what moves along fields [K, L, D], in the metric of W.

    Args:
        direction: zero in the rows that do not move.
        fields: gradients of what is to stay.
        metric: [D, D] of W.
        moving: [L] bool, the rows that move.
    """
    sums = fields[:, moving].sum(axis=1)  # [K, D], of a move of W in all these rows
    steps = sums @ metric  # [K, D]
    gram = sums @ steps.T
    effects = np.einsum("kld,ld->k", fields, direction)
    # In units of each field's own length, so that a weak reading counts like a strong one.
    lengths = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    scaled = gram / lengths[:, None] / lengths[None, :]
    amounts = np.linalg.lstsq(scaled, effects / lengths, rcond=_RANK)[0] / lengths
    return direction - moving[:, None] * (amounts @ steps)[None, :]
