"""Anchors from averaged gradients: cases whose answer is known, and the tiny models."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.anchors.gradient import (
    gradient_motion,
    mean_field,
    positions,
    standard_error,
)
from mm_jax.anchors.metric import direction_along, metric_of_w
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.prompts import degree_values, fill
from mm_jax.anchors.reading import embed_latents, read_degrees
from mm_jax.anchors.text import text_anchors
from mm_jax.errors import DataError
from mm_jax.latents import sample_latents
from mm_jax.perceptual.clip import encode_text

DEGREES = ("no", "50%", "100%")
OPTIONS = AnchorOptions(strategy="gradient", gradients=10, degrees=DEGREES)


def _covariance(rng: np.random.Generator, size: int) -> np.ndarray:
    root = rng.standard_normal((size, size - 1))  # of one dimension W holds nothing
    return root @ root.T


def average_gradients(gradients: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Direction and agreement of gradients [N, D] of a single row."""
    field, agreement = mean_field(gradients[:, None], metric_of_w(covariance), np.ones(1, bool))
    return direction_along(field.sum(axis=0), covariance), agreement


def test_rows_that_do_not_move_do_not_count() -> None:
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((20, 3, 4))
    moving = np.array([True, False, True])
    field, agreement = mean_field(gradients, np.eye(4), moving)
    assert not field[1].any() and field[0].any()
    other = gradients.copy()
    other[:, 1] *= 100
    again, same = mean_field(other, np.eye(4), moving)
    np.testing.assert_array_equal(again, field)
    assert agreement == same


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
def test_a_common_gradient_becomes_the_direction(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    covariance, common = _covariance(rng, 6), rng.standard_normal(6)
    gradients = scale * common * rng.uniform(0.5, 2.0, (40, 1))
    direction, agreement = average_gradients(gradients, covariance)
    wanted = metric_of_w(covariance) @ common
    wanted /= np.sqrt(wanted @ np.linalg.pinv(covariance) @ wanted)
    np.testing.assert_allclose(direction, wanted, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(agreement, 1.0, atol=1e-6)
    # One standard deviation: its Mahalanobis length is one.
    np.testing.assert_allclose(direction @ np.linalg.pinv(covariance) @ direction, 1, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6))
def test_the_metric_is_a_soft_projection(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    spreads = np.array([2.0, 1.0, 1.0, 1.0, 1.0, 1e-4, 1e-4, 0.0])
    covariance = scale * (axes * spreads) @ axes.T
    metric = metric_of_w(covariance)
    np.testing.assert_allclose(metric, metric.T, atol=1e-9)
    # Along its axes: what W holds is kept, however much of it, and the rest is left out.
    kept = np.diag(axes.T @ metric @ axes)
    assert (kept[:5] > 0.9).all() and (kept[5:] < 0.01).all()
    # A gradient along two components of W that vary together is not turned towards the longer one.
    direction = direction_along(axes[:, 0] + axes[:, 1], covariance)
    along = direction @ axes
    assert along[0] == pytest.approx(along[1], rel=0.05)
    np.testing.assert_allclose(along[2:], 0, atol=1e-9 * abs(along[0]))


def test_few_long_gradients_do_not_decide() -> None:
    rng = np.random.default_rng(0)
    gradients = np.array([1.0, 0, 0]) + 0.1 * rng.standard_normal((50, 3))
    gradients[:5] = [0, 1000.0, 0]
    direction, _ = average_gradients(gradients, np.eye(3))
    assert direction[0] > 0.98


def test_unrelated_gradients_do_not_agree() -> None:
    gradients = np.random.default_rng(0).standard_normal((400, 8))
    assert abs(average_gradients(gradients, np.eye(8))[1]) < 0.01


@pytest.mark.parametrize(("value", "message"), [(0.0, "reads the same"), (np.nan, "not finite")])
def test_no_gradient_is_told(value: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        average_gradients(np.full((4, 3), value), np.eye(3))


def test_as_many_faces_as_it_takes(tiny_generator: Any, tiny_clip: Any) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((20_000, 8))
    gradients = np.eye(8)[0] + noise / np.sqrt(8)
    _, agreement = average_gradients(gradients, np.eye(8))
    assert agreement == pytest.approx(0.5, abs=0.05)
    means = gradients.reshape(-1, 50, 8).mean(axis=1)
    error = np.linalg.norm(means - np.eye(8)[0], axis=1).mean()
    assert standard_error(agreement, 50) == pytest.approx(error, rel=0.15)
    assert standard_error(0.0, 50) == standard_error(-0.1, 50) == np.inf
    # Faces that agree are soon enough; of others all are taken.
    for most in (18, 40):
        found = gradient_motion(
            tiny_generator, tiny_clip, texts=encode_text(tiny_clip, ["no smile", "100% smile"]),
            degrees=np.array([0.0, 1.0]), moving=np.ones(6, bool), key=jax.random.key(0),
            options=OPTIONS.replace(gradients=most),
        )  # fmt: skip
        enough = standard_error(found.agreement, found.faces) <= 0.1
        assert found.faces == most or (enough and found.faces % 16 == 0)


def test_positions_invert_the_reading() -> None:
    at = np.linspace(-3, 3, 13)
    values = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(positions(values, at, 0.2 + 0.1 * at), 6 * values - 3, atol=1e-6)
    # The ends, which a reading only nears, and readings that fall on the way.
    steps = positions(np.array([0.0, 1.0]), at, np.tanh(at))
    assert -3 < steps[0] < -1 < 1 < steps[1] < 3
    bumpy = np.where(np.arange(13) == 4, 0.0, np.linspace(0.1, 1, 13))
    assert (np.diff(positions(values, at, bumpy)) > 0).all()
    np.testing.assert_allclose(positions(np.array([0, 1]), at, np.ones(13)), [-3, 3])


def test_the_direction_raises_what_clip_reads(tiny_generator: Any, tiny_clip: Any) -> None:
    texts = encode_text(tiny_clip, [fill("{degree} angry", degree) for degree in DEGREES])
    degrees, rows = degree_values(DEGREES), tiny_generator.config.num_ws
    found = gradient_motion(
        tiny_generator, tiny_clip, texts=texts, degrees=degrees, moving=np.ones(rows, bool),
        key=jax.random.key(0), options=OPTIONS.replace(gradients=24),
    )  # fmt: skip
    ws = np.asarray(sample_latents(tiny_generator, seeds=range(24), truncation_psi=0.7))
    along = np.stack([ws + step * found.direction for step in (-0.3, 0.3)])
    cosines = embed_latents(tiny_generator, tiny_clip, along) @ np.asarray(texts).T
    read = read_degrees(
        cosines, degrees, typical=cosines.mean(axis=(0, 1)), scale=float(tiny_clip.logit_scale)
    )
    assert (read[1] - read[0]).mean() > 0
    assert found.positions.shape == found.readings.shape
    assert (np.diff(found.steps) > 0).all()


def test_anchors_of_several_starts(tiny_generator: Any, tiny_clip: Any) -> None:
    starts = np.asarray(sample_latents(tiny_generator, seeds=[0, 1], truncation_psi=0.7))

    def find(batch_size: int) -> list[Any]:
        found = text_anchors(
            tiny_generator, tiny_clip, template="{degree} angry", start=starts,
            options=OPTIONS.replace(layers=(0, 1, 2)), batch_size=batch_size,
        )  # fmt: skip
        assert isinstance(found, list)
        return found

    found = find(10)
    offsets = np.stack([anchors.ws - anchors.start for anchors in found])  # [N, M, L, D]
    np.testing.assert_allclose(offsets[0], offsets[1], atol=1e-6)
    np.testing.assert_allclose(offsets[0, :, 0], offsets[0, :, 2], atol=1e-6)
    np.testing.assert_array_equal(offsets[:, :, 3:], 0)
    assert found[0].meta["settings"]["gradients"] == 10
    assert len(found[0].meta["positions"]) == len(found[0].meta["readings"])
    for one, other in zip(found, find(3), strict=True):
        np.testing.assert_allclose(one.ws, other.ws, atol=2e-4)
