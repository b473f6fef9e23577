"""The checked way in: shapes, metadata, the sampling strategy, and every bad argument."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.sample import average_matches, sample_matches
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import Anchors, load_anchors, save_anchors
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import sample_latents, synthesize
from mm_jax.perceptual.clip import encode_image, encode_text

TEMPLATE = "a person with {degree} smile"
DEGREES = ("no", "40%", "100%")


@pytest.fixture(scope="module")
def run(tiny_generator: Any, tiny_clip: Any) -> Any:
    return functools.partial(
        text_anchors,
        tiny_generator,
        tiny_clip,
        template=TEMPLATE,
        degrees=DEGREES,
        # One shape of program, whatever the number of starts.
        batch_size=3,
        resolution=8,
    )


@pytest.fixture(scope="module")
def starts(tiny_generator: Any) -> np.ndarray:
    return np.asarray(sample_latents(tiny_generator, seeds=[0, 1], truncation_psi=0.7))


def test_one_start_and_several(run: Any, starts: np.ndarray, tmp_path: Any) -> None:
    run = functools.partial(run, steps=10)
    one = run(start=starts[1])
    assert isinstance(one, Anchors)
    assert one.ws.shape == (3, 6, 12) and one.ws.dtype == np.float32
    np.testing.assert_array_equal(one.start, starts[1])
    np.testing.assert_allclose(one.degrees, [0, 0.4, 1])
    several = run(start=starts)
    assert isinstance(several, list) and len(several) == 2
    np.testing.assert_allclose(several[1].ws, one.ws, atol=1e-5)
    assert isinstance(run(start=starts[:1]), list)

    save_anchors(tmp_path / "smile.npz", one)
    loaded = load_anchors(tmp_path / "smile.npz")
    assert loaded.meta == one.meta
    assert loaded.meta["prompts"][1] == "a person with 40% smile"
    assert loaded.meta["labels"] == list(DEGREES)
    assert loaded.meta["clip"] == loaded.meta["generator"] == "tiny"
    assert len(loaded.meta["generator_fingerprint"]) == 64
    assert loaded.meta["settings"]["layers"] == [0, 1, 2, 3, 4, 5]
    assert np.shape(loaded.meta["losses"]) == (3, 10)


def test_sampling(run: Any, starts: np.ndarray, tiny_generator: Any, tiny_clip: Any) -> None:
    reports: list[tuple[str, int, int]] = []
    options = dict(strategy="sample", samples=50, keep=5, batch_size=16, key=jax.random.key(1))
    found = run(
        start=starts,
        layers=range(4),
        progress=lambda *report: reports.append(report),
        **options,
    )
    assert [done for _, done, _ in reports] == [16, 32, 48, 50]
    # The same offsets from every start, the same in every row that takes part, none in the others.
    offsets = np.stack([np.asarray(a.ws - a.start[None]) for a in found])
    np.testing.assert_allclose(offsets[0], offsets[1], atol=1e-5)
    np.testing.assert_allclose(offsets[0, :, 0], offsets[0, :, 3], atol=1e-5)
    np.testing.assert_array_equal(offsets[:, :, 4:], 0)
    assert np.abs(offsets[0, 0, 0]).max() > 0.05
    assert found[0].meta["settings"]["samples"] == 50
    # Matching pictures match their prompt better than pictures do on average.
    assert min(found[0].meta["margins"]) > 0

    by_one = run(start=starts, layers=range(4), **{**options, "batch_size": 7})
    np.testing.assert_allclose(by_one[0].ws, found[0].ws, atol=1e-5)


def test_sampling_scores_what_it_averages(tiny_generator: Any, tiny_clip: Any) -> None:
    """Keeping one latent of each prompt, its own picture has the margin that is reported.

    What all latents have cancels in the sum over two prompts.
    """
    texts = encode_text(tiny_clip, ["no angry", "100% angry"])
    matches = sample_matches(
        tiny_generator,
        tiny_clip,
        texts=texts,
        key=jax.random.key(2),
        options=AnchorOptions(samples=20, keep=1),
    )
    codes = np.repeat((matches.mean[None] + matches.offsets)[:, None], 6, axis=1)
    cosines = np.asarray(encode_image(tiny_clip, synthesize(tiny_generator, codes)) @ texts.T)
    own = np.diag(cosines) - cosines.mean(axis=1)
    np.testing.assert_allclose(own.sum(), matches.margins.sum(), atol=1e-5)


@given(st.integers(0, 2**16), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_averages_follow_what_the_prompts_ask(seed: int, keep: int) -> None:
    """Latents whose score depends on one axis: the means are ordered along that axis."""
    random = np.random.RandomState(seed)
    ws = random.randn(400, 5)
    slopes = np.array([-1.0, 0.0, 1.0])
    shared = random.randn(400, 1)  # how much a picture looks like any of the prompts
    cosines = 0.05 * ws[:, :1] * slopes[None] + shared + np.array([[0.3, 0.1, -0.2]])
    matches = average_matches(ws, cosines, scale=20.0, keep=keep)
    assert matches.offsets[0, 0] < -0.5 and matches.offsets[2, 0] > 0.5
    np.testing.assert_allclose(matches.mean, ws.mean(axis=0), atol=1e-5)
    assert matches.margins[2] > matches.margins[1]


def test_auto_is_the_strategy_that_is_asked_for() -> None:
    auto = AnchorOptions()
    assert auto.resolved().strategy == "gradient"
    assert auto.resolved(["gradients", "layers"]).strategy == "gradient"
    # What only one of them uses, by name or by another value than the default.
    assert auto.resolved(["steps"]).strategy == auto.resolved(["identity"]).strategy == "optimize"
    assert AnchorOptions(steps=3).resolved().strategy == "optimize"
    assert AnchorOptions(samples=64).resolved().strategy == "sample"
    named = AnchorOptions(strategy="gradient", steps=3)
    assert named.resolved().strategy == "gradient"  # of a group that has them all
    with pytest.raises(UsageError, match="steps is for strategy=optimize, but the strategy is gra"):
        named.resolved(["steps"])
    with pytest.raises(UsageError, match="samples is for strategy=sample, but the strategy is opt"):
        auto.resolved(["steps", "samples"])
    with pytest.raises(UsageError, match="identity is for strategy=optimize, but the"):
        AnchorOptions(strategy="sample").resolved(["identity"])


def check(error: Any) -> None:
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "a smile"}, "holds it 0 times"),
        ({"template": "{degree} {degree}"}, "holds it 2 times"),
        ({"template": "{degree} " + "smile " * 30}, "the model reads at most 16"),
        ({"degrees": (0, 1)}, r"got 0 \(int\)"),
        ({"degrees": ("no",)}, "at least two degrees"),
        ({"strategy": "guess"}, "strategy must be one of auto, gradient, optimize, sample, got"),
        ({"objective": "l1"}, "objective must be one of cosine, contrast, got 'l1'"),
        ({"preprocess": "none"}, "preprocess must be one of"),
        ({"resolution": 12}, "resolution must be one of 4, 8, 16, got 12"),
        ({"resolution": 32}, "resolution must be one of"),
        ({"layers": [6]}, "rows 0 to 5 of W\\+, got 6"),
        ({"layers": [-1]}, "got -1"),
        ({"layers": []}, "at least one row"),
        ({"layers": [True] * 6}, "must be row numbers, got True"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number"),
        ({"l2_weight": -1.0}, "l2_weight must be at least 0, got -1.0"),
        ({"l2_weight": "1"}, "l2_weight must be a finite number"),
        ({"identity_weight": 0.1}, "identity_weight needs an identity"),
        ({"identity": len, "identity_weight": 0}, "identity_weight must be above 0, got 0"),
        ({"identity": 3, "identity_weight": 1.0}, "must be a function, got int"),
        ({"augment": -1}, "augment must be at least 0, got -1"),
        ({"wobble": 2}, "unknown option 'wobble'; the options are degrees, strategy"),
        ({"strategy": "sample", "samples": 1, "keep": 1}, "samples must be at least 2, got 1"),
        ({"strategy": "sample", "samples": 8, "keep": 9}, "at most the 8 samples, got 9"),
        ({"strategy": "sample", "truncation_psi": np.inf}, "truncation_psi must be a finite"),
    ],
)
def test_bad_options(run: Any, starts: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        run(start=starts[0], **options)
    check(error)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.zeros(12), r"one w of shape \[12\]: repeat it over rows"),
        (np.zeros((1, 12)), r"one w of shape \[1, 12\]"),
        (np.zeros((12, 6)), r"must be \[6, 12\] or \[N, 6, 12\], got \[12, 6\]"),
        (np.zeros((2, 2, 6, 12)), r"got \[2, 2, 6, 12\]"),
        (np.zeros((0, 6, 12)), r"must be .*, got \[0, 6, 12\]"),
        (np.full((6, 12), "w"), "must be numbers, got <U1"),
    ],
)
def test_bad_starts(run: Any, start: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        run(start=start)
    check(error)


def test_start_with_nan(run: Any, starts: np.ndarray) -> None:
    spoilt = starts.copy()
    spoilt[1, 2, 3] = np.nan
    with pytest.raises(DataError, match="start holds NaN or infinity") as error:
        run(start=spoilt)
    check(error)
