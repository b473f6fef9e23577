"""The degree that CLIP reads, and what is made of it: failed anchors, and the degree read back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.anchors.optimize import optimize_latents
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.readback import MIN_DEGREE, ReadBack, read_back
from mm_jax.anchors.reading import embed_latents, read_degrees
from mm_jax.anchors.repair import find_failed, out_of_order, repair
from mm_jax.artifacts import Subspace
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import sample_latents
from mm_jax.perceptual.clip import encode_text
from mm_jax.subspace.decompose import mirrored

DEGREES = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
SCALE = 14.4  # of the bundled CLIP

# Cosines of anchors (rows) to prompts, as optimisations with the bundled models left them: one that
# went well, one whose last two anchors went the wrong way, two that lost an end.
SOUND = [
    [0.37, 0.26, -0.01, -0.26, -0.35, -0.32],
    [0.27, 0.35, 0.22, -0.04, -0.25, -0.35],
    [-0.03, 0.21, 0.35, 0.26, 0.01, -0.27],
    [-0.26, -0.05, 0.22, 0.35, 0.24, -0.04],
    [-0.31, -0.17, 0.12, 0.34, 0.32, 0.09],
    [-0.30, -0.26, -0.05, 0.23, 0.36, 0.25],
]
TWO_LOST = [
    [0.35, 0.24, -0.01, -0.24, -0.32, -0.28],
    [0.24, 0.35, 0.25, 0.01, -0.21, -0.32],
    [0.07, 0.29, 0.34, 0.18, -0.06, -0.27],
    [-0.13, 0.11, 0.31, 0.33, 0.14, -0.13],
    [0.05, -0.17, -0.27, -0.27, -0.25, -0.22],
    [0.19, -0.06, -0.23, -0.29, -0.27, -0.21],
]
LAST_LOST = [
    [0.36, 0.15, -0.14, -0.34, -0.32, -0.09],
    [0.23, 0.34, 0.22, -0.02, -0.26, -0.33],
    [0.04, 0.28, 0.33, 0.17, -0.11, -0.32],
    [-0.16, 0.12, 0.31, 0.30, 0.09, -0.18],
    [-0.29, -0.03, 0.22, 0.35, 0.24, -0.03],
    [0.37, 0.05, -0.28, -0.42, -0.29, 0.03],
]
FIRST_LOST = [
    [0.06, -0.30, -0.47, -0.32, 0.03, 0.39],
    [0.19, 0.31, 0.23, -0.01, -0.25, -0.32],
    [-0.20, 0.08, 0.30, 0.32, 0.12, -0.15],
    [-0.33, -0.09, 0.19, 0.35, 0.27, 0.02],
    [-0.36, -0.29, -0.05, 0.23, 0.34, 0.25],
    [-0.22, -0.35, -0.27, -0.00, 0.26, 0.37],
]


def test_the_matching_prompt_is_the_degree_that_is_read() -> None:
    cosines = np.eye(6)
    read = read_degrees(cosines, DEGREES, typical=np.zeros(6), scale=50.0)
    np.testing.assert_allclose(read, DEGREES, atol=1e-6)
    # In the range of the degrees, whatever that is; what every image has in common has no part.
    shift = np.arange(6) / 3
    other = read_degrees(cosines + shift, 4 * DEGREES - 2, typical=shift, scale=50.0)
    np.testing.assert_allclose(other, read)
    np.testing.assert_allclose(
        read_degrees(np.zeros((2, 6)), DEGREES, typical=np.zeros(6), scale=50.0), 0.5
    )


def test_anchors_that_went_the_wrong_way_are_found() -> None:
    cosines = np.array([SOUND, TWO_LOST, LAST_LOST, FIRST_LOST])
    wanted = np.zeros((4, 6), bool)
    wanted[1, 4:] = wanted[2, 5] = wanted[3, 0] = True
    np.testing.assert_array_equal(find_failed(cosines, DEGREES, scale=SCALE), wanted)
    # Those that are left out in the end, if trying again does not help, are the same here.
    np.testing.assert_array_equal(find_failed(cosines, DEGREES, scale=SCALE, margin=3.0), wanted)
    # The order in which degrees are listed has no influence, nor have the other starts.
    turned = cosines[1:2, ::-1, ::-1]
    found = find_failed(turned, DEGREES[::-1], scale=SCALE)
    np.testing.assert_array_equal(found[0, ::-1], wanted[1])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
@settings(deadline=None)
def test_what_is_left_does_not_fall(values: list[float]) -> None:
    readings = np.array(values)
    gone = out_of_order(readings)
    left = readings[~gone]
    assert (np.maximum.accumulate(left) - left <= 0.2 + 1e-12).all()
    assert not out_of_order(np.sort(readings)).any()


def test_failed_anchors_are_begun_again(tiny_generator: Any, tiny_clip: Any) -> None:
    """Anchors put into the place of another degree's are found, and replaced by better ones."""
    prompts = ["a person with no smile", "a person with 50% smile", "to the right angry gray hair"]
    texts = encode_text(tiny_clip, prompts)
    start: Any = np.asarray(sample_latents(tiny_generator, seeds=[0, 1], truncation_psi=0.7))
    options = AnchorOptions(degrees=("no", "50%", "100%"), steps=20, l2_weight=0.0)
    shared: dict[str, Any] = {"texts": texts, "options": options}
    good = optimize_latents(tiny_generator, tiny_clip, start=start, **shared)
    ws, losses, similarities = (np.array(part) for part in good)
    ws[1, 0], ws[1, 2] = good.ws[1, 2], good.ws[1, 0]
    losses[1, [0, 2]], similarities[1, [0, 2]] = 2.0, -1.0
    # A CLIP that is surer of what it sees, so that its small differences count.
    sure = dataclasses.replace(tiny_clip, params={**tiny_clip.params, "logit_scale": np.log(100.0)})
    mended, retried, _ = repair(
        tiny_generator, sure, type(good)(ws, losses, similarities), start=start,
        degrees=np.array([0.0, 0.5, 1.0]), **shared,
    )  # fmt: skip
    assert retried[1, [0, 2]].all() and not retried[0].any()
    assert (mended.losses[1, :, -1] < good.losses[1, :, -1] + 0.02).all()
    np.testing.assert_array_equal(mended.ws[~retried], ws[~retried])


def made(rise: float, others: float = 0.0, noise: float = 0.0) -> ReadBack:
    strengths = np.linspace(-1, 1, 5)
    random = np.random.RandomState(0)
    readings = 0.5 + 0.5 * rise * strengths[None] + noise * random.randn(20, 5)
    controls = 0.5 + 0.5 * others * strengths[None] + 0.01 * random.randn(16, 1) * strengths
    return ReadBack(strengths=strengths, readings=readings, controls=controls)


def test_what_counts_as_found() -> None:
    assert made(0.6).found and made(0.6).spearman == pytest.approx(1.0)
    assert made(0.6).degree == pytest.approx(0.6, abs=0.05)
    assert not made(0.1).found  # hardly moves
    assert not made(0.6, others=0.5).found  # so does everything else
    assert not made(0.4, noise=1.0).found  # follows nothing
    assert made(0.6, others=-0.3).degree == pytest.approx(0.6)  # a fall of others is no merit
    # What is just too little does not look enough.
    short = dataclasses.replace(made(MIN_DEGREE - 0.001), controls=np.zeros((16, 5)))
    assert not short.found and "degree read back 0.29, " in short.describe()
    turned = made(-0.6, others=-0.1)
    assert not turned.found and turned.reversed().found
    # A motion that begins at what most faces are, below which CLIP reads nothing lower.
    bent = dataclasses.replace(made(0.8), readings=made(0.8).readings.clip(0.5) + 0.2 * (
        made(0.8).strengths == -1))  # fmt: skip
    assert bent.found and bent.begin == 2 and bent.rise == pytest.approx(0.4)
    assert not bent.reversed().found
    again = ReadBack.from_dict(turned.to_dict())
    assert again.degree == pytest.approx(turned.degree, abs=1e-3)
    with pytest.raises(DataError, match="not what was read back"):
        ReadBack.from_dict({"strengths": [1]})


def test_reading_back(tiny_generator: Any, tiny_clip: Any) -> None:
    """Random directions of a random CLIP have no degree; the opposite motion reads the opposite."""
    random = np.random.RandomState(0)
    basis = random.standard_normal((1, 6, 12)).astype(np.float32)
    subspace = Subspace(
        basis / np.linalg.norm(basis), 3.0, np.ones(1), np.zeros((6, 12)), 1.0, np.ones(6, bool)
    )
    asked: dict[str, Any] = {
        "template": "a person with {degree} smile", "degrees": ("no", "50%", "100%"), "faces": 6,
    }  # fmt: skip
    found = read_back(tiny_generator, tiny_clip, subspace, **asked)
    assert found.readings.shape == (6, 5) and found.controls.shape == (16, 5)
    assert abs(found.degree) < MIN_DEGREE
    opposite = read_back(tiny_generator, tiny_clip, mirrored(subspace), batch_size=4, **asked)
    np.testing.assert_allclose(opposite.readings, found.reversed().readings, atol=1e-5)
    np.testing.assert_allclose(opposite.controls, found.reversed().controls, atol=1e-5)
    with pytest.raises(UsageError, match="needs a template and degrees"):
        read_back(tiny_generator, tiny_clip, subspace)


def test_vectors_do_not_depend_on_the_batch(tiny_generator: Any, tiny_clip: Any) -> None:
    ws = np.asarray(sample_latents(tiny_generator, seeds=range(6))).reshape(2, 3, 6, 12)
    one = embed_latents(tiny_generator, tiny_clip, ws)
    assert one.shape == (2, 3, tiny_clip.embed_dim)
    np.testing.assert_allclose(
        embed_latents(tiny_generator, tiny_clip, ws, batch_size=4), one, atol=1e-5
    )
