"""Calibration by CLIP, and motions apart from others, on tiny networks."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from mm_jax.anchors import calibrate as calibration_module
from mm_jax.anchors.calibrate import calibrate, calibrated
from mm_jax.anchors.decouple import decouple, projected, template_of
from mm_jax.anchors.prompts import MOTIONS, fill
from mm_jax.anchors.reading import embed_latents, read_degrees, sampled_faces
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import Subspace
from mm_jax.editing.affine import apply_edit
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import sample_latents
from mm_jax.perceptual.clip import encode_text
from mm_jax.subspace.calibration import Calibration
from mm_jax.subspace.decompose import extract_subspace

DEGREES = ("no", "50%", "100%")
SMILE = MOTIONS["smile"].template


@pytest.fixture(scope="module")
def smile(tiny_generator: Any, tiny_clip: Any) -> Subspace:
    anchors = text_anchors(
        tiny_generator, tiny_clip, template=SMILE, degrees=DEGREES,
        start=sample_latents(tiny_generator, seeds=[0])[0], gradients=16,
    )  # fmt: skip
    return extract_subspace(anchors)


def reading(gen: Any, clip: Any, ws: np.ndarray, template: str) -> np.ndarray:
    """[N, S] degrees of latents [N, S, L, D]; the second strength is that of unmoved faces."""
    texts = np.asarray(encode_text(clip, [fill(template, degree) for degree in DEGREES]))
    cosines = embed_latents(gen, clip, ws) @ texts.T
    return read_degrees(
        cosines, np.array([0, 0.5, 1]), typical=cosines[:, 1].mean(axis=0),
        scale=float(clip.logit_scale),
    )  # fmt: skip


def test_the_readings_are_those_of_sampled_faces(
    tiny_generator: Any, tiny_clip: Any, smile: Subspace
) -> None:
    key = jax.random.key(5)
    found = calibrate(tiny_generator, tiny_clip, smile, faces=6, key=key)
    assert found.strengths[0] == -2 and found.strengths[-1] == 2
    assert len(found.strengths) >= 12
    low, high = found.saturates
    assert low < high
    faces = sampled_faces(tiny_generator, key, 6)
    at = [low, 0.0, high]
    read = reading(tiny_generator, tiny_clip, np.asarray(apply_edit(faces, smile, at)), SMILE)
    stored = np.interp(at, found.strengths, found.readings)
    np.testing.assert_allclose(read.mean(axis=0), stored, atol=0.05)
    kept = calibrated(smile, found)
    again = Calibration.of(kept.meta)
    assert again is not None and again.saturates == pytest.approx(found.saturates)


def test_a_motion_that_is_not_the_prompts_is_not_calibrated(
    tiny_generator: Any, tiny_clip: Any, smile: Subspace, monkeypatch: Any
) -> None:
    still = dataclasses.replace(smile, scale=smile.scale * 1e-6)
    with pytest.raises(DataError, match="nothing to calibrate by"):
        calibrate(tiny_generator, tiny_clip, still, faces=4)
    with pytest.raises(UsageError, match="calibrate needs a template and degrees"):
        calibrate(tiny_generator, tiny_clip, dataclasses.replace(smile, meta={}))
    monkeypatch.setattr(
        calibration_module, "embed_latents", lambda *_, **__: np.full((1, 9, 4), np.nan)
    )
    with pytest.raises(DataError, match="NaN or infinity"):
        calibrate(tiny_generator, tiny_clip, smile, faces=4)


def test_a_projection_leaves_other_readings_alone() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((5, 5))
    covariance = mixing @ mixing.T
    fields = rng.standard_normal((2, 4, 5))
    moving = np.array([True, True, True, False])
    direction = rng.standard_normal((4, 5)) * moving[:, None]
    rest = projected(direction, fields, covariance, moving)
    np.testing.assert_allclose(np.einsum("kld,ld->k", fields, rest), 0, atol=1e-9)
    np.testing.assert_array_equal(rest[3], 0)
    # A gradient's own direction without others is a projection in the metric of W.
    own = rng.standard_normal((4, 5))
    mine = covariance @ own[moving].sum(axis=0)
    found = projected(moving[:, None] * mine[None], fields, covariance, moving)[0]
    sums = fields[:, moving].sum(axis=1)
    root = np.linalg.cholesky(covariance).T
    a, b = root @ own[moving].sum(axis=0), (sums @ root.T).T
    left = a - b @ np.linalg.lstsq(b, a, rcond=None)[0]
    np.testing.assert_allclose(found, root.T @ left, atol=1e-9)
    # The same prompt twice takes away no more than once.
    twice = projected(direction, np.concatenate([fields, fields[:1]]), covariance, moving)
    np.testing.assert_allclose(twice, rest, atol=1e-6)


def test_smile_but_not_age(tiny_generator: Any, tiny_clip: Any, smile: Subspace) -> None:
    others = ["aging", "a person with {degree} anger"]
    key = jax.random.key(3)
    found = decouple(tiny_generator, tiny_clip, smile, others, faces=12, key=key)
    record = found.meta["without"]
    assert record["prompts"] == [MOTIONS["aging"].template, others[1]]
    assert 0.1 < record["left"] <= 1.5
    assert found.rank == 1 and float(np.linalg.norm(found.basis)) == pytest.approx(1, abs=1e-5)
    # Of a short move, on the same faces.
    faces = sampled_faces(tiny_generator, jax.random.split(key)[0], 12)

    def rise(subspace: Subspace, template: str) -> float:
        moved = np.asarray(apply_edit(faces, subspace, [-0.02, 0.0, 0.02]))
        read = reading(tiny_generator, tiny_clip, moved, template)
        return float((read[:, 2] - read[:, 0]).mean())

    for template in record["prompts"]:
        assert abs(rise(found, template)) < 0.35 * abs(rise(smile, template))
    assert rise(found, SMILE) == pytest.approx(rise(smile, SMILE), rel=0.3)


def test_what_cannot_be_decoupled(tiny_generator: Any, tiny_clip: Any, smile: Subspace) -> None:
    with pytest.raises(UsageError, match="its own prompt"):
        decouple(tiny_generator, tiny_clip, smile, ["smile"])
    with pytest.raises(UsageError, match="at least one"):
        decouple(tiny_generator, tiny_clip, smile, [])
    with pytest.raises(UsageError, match="neither a prompt"):
        template_of("happiness")
    other = dataclasses.replace(smile, meta={**smile.meta, "template": "a {degree} old person"})
    with pytest.raises(DataError, match="hardly more than what"):
        decouple(tiny_generator, tiny_clip, other, [SMILE], faces=8, key=jax.random.key(1))
