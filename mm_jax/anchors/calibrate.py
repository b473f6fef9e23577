"""What CLIP reads along a motion: the calibration of its strengths, by faces that are sampled.

Sampled faces are moved along the motion, and CLIP reads off their images which of a prompt's
degrees they have (`mm_jax.anchors.reading`). The mean over the faces, made to grow, is the
calibration (`mm_jax.subspace.calibration`). No known factor takes part. The direction may come from
anywhere: prompts, a video, another project's file; what it needs is a prompt that says what it is.

Shapes: N faces, T strengths, M prompts, E CLIP's width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mm_jax.anchors.prompts import asked, degree_values, fill
from mm_jax.anchors.reading import embed_latents, read_degrees, sampled_faces
from mm_jax.artifacts import Subspace
from mm_jax.checks import check_number
from mm_jax.editing.affine import apply_edit
from mm_jax.errors import DataError
from mm_jax.perceptual.clip import Clip, encode_text
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.calibration import KEY, Calibration, growing, rising_range

__all__ = ["FACES", "WHY_NOT", "calibrate", "calibrated", "uncalibrated"]

FACES = 16
#: In the metadata of a subspace: why it has no calibration, if one was tried.
WHY_NOT = "uncalibrated"
# The strengths that are tried first, from -REACH to REACH, and how many follow where it rises.
REACH, COARSE, FINE = 2.0, 9, 8


def calibrate(
    gen: Generator,
    clip: Clip,
    subspace: Subspace,
    *,
    template: str | None = None,
    degrees: Sequence[str] | None = None,
    faces: int = FACES,
    truncation_psi: float = 0.7,
    key: jax.Array | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> Calibration:
    """Read the degree along a motion, at 17 strengths from -2 to 2.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        subspace: its first direction is the motion.
        template: a prompt with one `{degree}`; by default the one that the subspace was found from.
        degrees: what replaces it, in growing order; likewise.
        faces: N, how many are sampled.
        truncation_psi: of the faces.
        key: which faces; a fixed one unless given, which no seed of `sample_latents` gives.
        batch_size: images in work at once.
        progress: called with a label, what is done and how much there is.

    Raises:
        UsageError: no template or degrees, in arguments and subspace, or bad ones.
        DataError: the readings are not finite, or hardly rise.
    """
    template, degrees = asked("calibrate", subspace.meta, template, degrees)
    check_number("faces", faces, minimum=2, whole=True)
    values = degree_values(degrees)
    texts = np.asarray(encode_text(clip, [fill(template, degree) for degree in degrees], cut=True))
    key = jax.random.fold_in(jax.random.key(0), 0xCA11) if key is None else key
    ws = sampled_faces(gen, key, faces, truncation_psi=truncation_psi)

    def cosines_at(strengths: np.ndarray) -> np.ndarray:
        """[N, T, M] of the faces at strengths [T]."""
        edited = apply_edit(ws, subspace, strengths.astype(np.float32))
        vectors = embed_latents(
            gen, clip, edited, batch_size=batch_size, progress=progress, label="calibrating"
        )
        return vectors @ texts.T

    at = np.linspace(-REACH, REACH, COARSE)
    cosines = cosines_at(at)
    low, high = _around(at, _means(cosines, at, values, clip))
    more = np.linspace(low, high, FINE + 2)[1:-1]
    more = more[np.abs(more[:, None] - at[None]).min(axis=1) > 1e-3 * REACH]
    cosines = np.concatenate([cosines, cosines_at(more)], axis=1)
    order = np.argsort(at := np.concatenate([at, more]))
    at, cosines = at[order], cosines[:, order]
    return Calibration.measured(at, _means(cosines, at, values, clip))


def _means(cosines: np.ndarray, at: np.ndarray, values: np.ndarray, clip: Clip) -> np.ndarray:
    """Mean reading [T] of cosines [N, T, M]; typical is what the unmoved faces have."""
    if not np.isfinite(cosines).all():
        raise DataError("the images of the motion cannot be compared: they hold NaN or infinity")
    typical = cosines[:, np.abs(at).argmin()].mean(axis=0)
    return read_degrees(
        cosines, values, typical=typical, scale=float(clip.logit_scale)
    ).mean(axis=0)  # fmt: skip


def _around(at: np.ndarray, readings: np.ndarray) -> tuple[float, float]:
    """The range in which readings [T] rise, and the point beyond it at each end."""
    grown = growing(at, readings)
    if not grown[-1] > grown[0]:
        return float(at[0]), float(at[-1])
    low, high = rising_range(at, grown)
    first, last = np.searchsorted(at, low), np.searchsorted(at, high)
    return float(at[max(first - 1, 0)]), float(at[min(last + 1, len(at) - 1)])


def calibrated(subspace: Subspace, calibration: Calibration) -> Subspace:
    """The subspace with a calibration in its metadata.

    Raises:
        DataError: what is read does not change about strength 0, where every edit begins. So it is
            where prompts grade another part of the motion, as those of a turn to the right do for a
            head that turns from left to right.
    """
    low, high = calibration.saturates
    if not low <= 0 <= high:
        raise DataError(
            f"what CLIP reads changes from strength {low:.2f} to {high:.2f} only, not about 0, so "
            "that even steps are not known there: calibrate by another prompt"
        )
    return dataclasses.replace(subspace, meta={**_plain(subspace), KEY: calibration.to_dict()})


def uncalibrated(subspace: Subspace, *, why: str) -> Subspace:
    """The subspace without a calibration, and in its metadata why it has none."""
    return dataclasses.replace(subspace, meta={**_plain(subspace), WHY_NOT: why})


def _plain(subspace: Subspace) -> dict[str, Any]:
    return {key: value for key, value in subspace.meta.items() if key not in (KEY, WHY_NOT)}
