"""Directions refined by sampled faces: a linear CLIP whose answer is known in closed form."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.anchors.gradient import SampledFaces, gradient_motion, sampled_faces
from mm_jax.anchors.metric import direction_along, live_axes
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.prompts import degree_values, fill
from mm_jax.anchors.reading import embed_latents, read_degrees
from mm_jax.anchors.refine import refined
from mm_jax.anchors.text import text_anchors
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import sample_latents
from mm_jax.perceptual.clip import encode_text

K, EMBED, WIDTH = 6, 9, 8
DEGREES = ("no", "50%", "100%")


def _linear_world(seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """Faces whose vector shows each coordinate of W along an axis of its own, and W's axes [D, K].

    The prompts speak of the first coordinate, and of nothing else that faces show; the gradient
    holds half as much of the second. No two coordinates go along with each other.
    """
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0][:, :K]
    axes = axes * rng.uniform(0.5, 2.0, K)
    shown = np.linalg.qr(rng.standard_normal((EMBED, EMBED)))[0]
    z = rng.standard_normal((400, K))
    z = np.linalg.qr(z - z.mean(axis=0))[0] * 20.0  # of mean 0 and covariance 1
    read = np.array([1.0, 0.5, *np.zeros(K - 2)])
    said = np.stack([np.linspace(0, 1, 4), [0, 0.1, 0.1, 0], [0, 0.1, -0.1, 0]], axis=1)
    world = {
        "gradient": np.linalg.pinv(axes).T @ read,
        "covariance": axes @ axes.T,
        "w": rng.standard_normal(WIDTH) + z @ axes.T,
        "vectors": rng.standard_normal(EMBED) + z @ shown[:K],
        "texts": rng.standard_normal(EMBED) + said @ shown[[0, K, K + 1]],
    }
    return world, axes


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
def test_what_the_prompts_do_not_speak_of_is_given_up(seed: int, scale: float) -> None:
    world, axes = _linear_world(seed)
    world["gradient"] = scale * world["gradient"]  # its length does not count
    found = np.linalg.pinv(axes) @ refined(**world)
    # The directions of the gradient, and of the first coordinate, by which the prompts order faces.
    inverse = np.linalg.pinv(axes).T
    start = sum(
        along / np.linalg.norm(along)
        for along in (
            np.linalg.pinv(axes) @ direction_along(one, world["covariance"])
            for one in (world["gradient"], inverse[:, 0])
        )
    )
    # All coordinates but the first cost 1, which is (K - 1) / K on average.
    kept = 1 / (1 + K / (2.5 * (K - 1)))
    wanted = start * [1.0, *[kept] * (K - 1)]
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-6)


def test_nothing_is_given_up_where_prompts_speak_of_all() -> None:
    world, axes = _linear_world(1)
    # What faces show is all along one axis, by the first coordinate and half of the second.
    shown = world["texts"][-1] - world["texts"][0]
    z = (world["w"] - world["w"].mean(axis=0)) @ np.linalg.pinv(axes).T
    world["vectors"] = (z[:, :1] + 0.5 * z[:, 1:2]) * shown
    wanted = direction_along(world["gradient"], world["covariance"])
    found = refined(**world)
    cosine = (np.linalg.pinv(axes) @ found) @ (np.linalg.pinv(axes) @ wanted)
    assert cosine == pytest.approx(np.linalg.norm(np.linalg.pinv(axes) @ wanted), rel=1e-6)


def test_axes_hold_the_covariance() -> None:
    world, _ = _linear_world(2)
    axes = live_axes(world["covariance"])
    assert axes.shape == (WIDTH, K)
    np.testing.assert_allclose(axes @ axes.T, world["covariance"], atol=1e-9)
    # What is next to nothing is left out.
    tiny = world["covariance"] + 1e-5 * np.eye(WIDTH)
    assert live_axes(tiny).shape == (WIDTH, K)


def test_the_axes_of_w_may_be_turned() -> None:
    world, _ = _linear_world(3)
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((WIDTH, WIDTH)))[0]
    turned = {
        **world,
        "gradient": turn @ world["gradient"],
        "covariance": turn @ world["covariance"] @ turn.T,
        "w": world["w"] @ turn.T,
    }
    np.testing.assert_allclose(refined(**turned), turn @ refined(**world), atol=1e-6)


def test_prompts_that_no_face_tells_apart_are_told() -> None:
    world, _ = _linear_world(4)
    with pytest.raises(DataError, match="no difference between the prompts"):
        refined(**{**world, "texts": np.ones((4, EMBED))})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refine": 10}, "at least 64 faces, got 10"),
        ({"refine": 64, "layers": (0, 1)}, "give layers without it"),
        ({"refine": 64, "strategy": "sample"}, "refine is for strategy=gradient"),
    ],
)
def test_what_cannot_be_refined_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AnchorOptions(**changes).resolved(tuple(changes))


def test_sampled_faces_are_for_refining(tiny_generator: Any, tiny_clip: Any) -> None:
    faces = SampledFaces(np.zeros((64, WIDTH)), np.zeros((64, EMBED)))
    with pytest.raises(UsageError, match="sampled needs strategy=gradient and refine"):
        text_anchors(
            tiny_generator, tiny_clip, template="{degree} angry", sampled=faces,
            start=np.zeros((tiny_generator.config.num_ws, tiny_generator.config.w_dim)),
            strategy="gradient", degrees=DEGREES,
        )  # fmt: skip


def test_the_refined_direction_raises_what_clip_reads(tiny_generator: Any, tiny_clip: Any) -> None:
    texts = encode_text(tiny_clip, [fill("{degree} angry", degree) for degree in DEGREES])
    degrees, rows = degree_values(DEGREES), tiny_generator.config.num_ws

    def find(refine: int, batch_size: int = 16, shared: bool = False) -> np.ndarray:
        options = AnchorOptions(strategy="gradient", gradients=16, degrees=DEGREES, refine=refine)
        key = jax.random.key(0)
        return gradient_motion(
            tiny_generator, tiny_clip, texts=texts, degrees=degrees, moving=np.ones(rows, bool),
            key=key, batch_size=batch_size, options=options,
            sampled=sampled_faces(tiny_generator, tiny_clip, key, options) if shared else None,
        ).direction  # fmt: skip

    plain, better = find(0), find(128)
    assert not np.allclose(plain, better)
    np.testing.assert_allclose(find(128, shared=True), better, atol=1e-4)
    np.testing.assert_allclose(find(128, batch_size=5), better, atol=1e-4)
    ws = np.asarray(sample_latents(tiny_generator, seeds=range(24), truncation_psi=0.7))
    along = np.stack([ws + step * better for step in (-0.3, 0.3)])
    cosines = embed_latents(tiny_generator, tiny_clip, along) @ np.asarray(texts).T
    read = read_degrees(
        cosines, degrees, typical=cosines.mean(axis=(0, 1)), scale=float(tiny_clip.logit_scale)
    )
    assert (read[1] - read[0]).mean() > 0
