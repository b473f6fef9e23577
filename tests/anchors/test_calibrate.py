"""Calibration by CLIP, and motions apart from others, on tiny networks."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from mm_jax.anchors import calibrate as calibration_module
from mm_jax.anchors.calibrate import WHY_NOT, calibrate, calibrated, uncalibrated
from mm_jax.anchors.prompts import MOTIONS, fill
from mm_jax.anchors.reading import embed_latents, read_degrees, sampled_faces
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import Subspace
from mm_jax.editing.affine import apply_edit
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import sample_latents
from mm_jax.perceptual.clip import encode_text
from mm_jax.subspace.calibration import Calibration, growing
from mm_jax.subspace.decompose import extract_subspace

DEGREES = ("no", "50%", "100%")
SMILE = MOTIONS["smile"].template


@pytest.fixture(scope="module")
def smile(tiny_generator: Any, tiny_clip: Any) -> Subspace:
    anchors = text_anchors(
        tiny_generator, tiny_clip, template=SMILE, degrees=DEGREES,
        start=sample_latents(tiny_generator, seeds=[0])[0], gradients=16,
    )  # fmt: skip
    found = extract_subspace(anchors)
    # A random CLIP hardly tells its degrees apart: strength 1 goes far.
    return dataclasses.replace(found, scale=10 * found.scale)


def reading(gen: Any, clip: Any, ws: np.ndarray, template: str, unmoved: int = 1) -> np.ndarray:
    """[N, S] degrees of latents [N, S, L, D], of which those at one strength are not moved."""
    texts = np.asarray(encode_text(clip, [fill(template, degree) for degree in DEGREES]))
    cosines = embed_latents(gen, clip, ws) @ texts.T
    return read_degrees(
        cosines, np.array([0, 0.5, 1]), typical=cosines[:, unmoved].mean(axis=0),
        scale=float(clip.logit_scale),
    )  # fmt: skip


def test_the_readings_are_those_of_sampled_faces(
    tiny_generator: Any, tiny_clip: Any, smile: Subspace
) -> None:
    key = jax.random.key(5)
    found = calibrate(tiny_generator, tiny_clip, smile, faces=6, key=key)
    at = found.strengths
    assert at[0] == -2 and at[-1] == 2 and 10 <= len(at) <= 17
    faces = sampled_faces(tiny_generator, key, 6)
    moved = np.asarray(apply_edit(faces, smile, at.astype(np.float32)))
    unmoved = int(np.abs(at).argmin())
    read = reading(tiny_generator, tiny_clip, moved, SMILE, unmoved).mean(axis=0)
    np.testing.assert_allclose(found.readings, growing(at, read), atol=2e-3)
    kept = calibrated(smile, found)
    again = Calibration.of(kept.meta)
    assert again is not None and again.saturates == pytest.approx(found.saturates, abs=1e-5)


def test_a_motion_that_is_not_the_prompts_is_not_calibrated(
    tiny_generator: Any, tiny_clip: Any, smile: Subspace, monkeypatch: Any
) -> None:
    still = dataclasses.replace(smile, scale=smile.scale * 1e-6)
    with pytest.raises(DataError, match="nothing to calibrate by"):
        calibrate(tiny_generator, tiny_clip, still, faces=4)
    with pytest.raises(UsageError, match="calibrate needs a template and degrees"):
        calibrate(tiny_generator, tiny_clip, dataclasses.replace(smile, meta={}))
    width = np.shape(encode_text(tiny_clip, ["a smile"]))[1]
    broken = np.full((1, calibration_module.COARSE, width), np.nan)
    monkeypatch.setattr(calibration_module, "embed_latents", lambda *_, **__: broken)
    with pytest.raises(DataError, match="NaN or infinity"):
        calibrate(tiny_generator, tiny_clip, smile, faces=4)


def one_sided() -> Calibration:
    """As CLIP reads a head that turns from left to right by prompts about the right alone."""
    at = np.linspace(-2, 2, 9)
    return Calibration.measured(at, np.clip(at - 0.5, 0, 1))


def test_what_is_not_read_about_rest_calibrates_nothing(smile: Subspace) -> None:
    even = Calibration.measured(np.linspace(-2, 2, 9), np.linspace(0, 1, 9))
    for old in (smile, calibrated(smile, even)):
        with pytest.raises(
            DataError, match=r"from strength 0\.50 to 1\.50 only, not about 0"
        ) as told:
            calibrated(old, one_sided())
        plain = uncalibrated(old, why=str(told.value))
        assert Calibration.of(plain.meta) is None and "0.50" in plain.meta[WHY_NOT]
    # The range may begin or end at rest, and a calibration takes the place of the reason for none.
    at = np.linspace(-2, 2, 9)
    for read in (np.clip(at, 0, 1), np.clip(at, -1, 0)):
        again = calibrated(plain, Calibration.measured(at, read))
        assert Calibration.of(again.meta) is not None and WHY_NOT not in again.meta
