"""Pivotal tuning: nearer to the pictures at their codes, and little changed elsewhere."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest

import mm_jax
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion.tuning import Tuning, tune_generator
from mm_jax.nn.network import flatten_tree


@pytest.fixture(scope="module")
def pivots(tiny_generator: Any) -> np.ndarray:
    return np.asarray(mm_jax.sample_latents(tiny_generator, seeds=range(3)))


@pytest.fixture(scope="module")
def wanted(tiny_generator: Any, pivots: np.ndarray) -> np.ndarray:
    """What the generator draws, turned upside down."""
    return np.asarray(mm_jax.synthesize(tiny_generator, pivots))[:, ::-1]


@pytest.fixture(scope="module")
def tune(tiny_generator: Any, pivots: np.ndarray, wanted: np.ndarray) -> Any:
    return functools.partial(
        tune_generator, tiny_generator, wanted, pivots, steps=30, learning_rate=0.02, batch_size=2
    )


@pytest.fixture(scope="module")
def tuned(tune: Any) -> Tuning:
    return tune()


def test_draws_the_pictures(
    tiny_generator: Any, pivots: np.ndarray, wanted: np.ndarray, tuned: Tuning
) -> None:
    assert tuned.losses.shape == (30,) and tuned.psnr.shape == (3,)
    assert np.mean(tuned.losses[-5:]) < 0.7 * np.mean(tuned.losses[:5])
    before = np.square(mm_jax.synthesize(tiny_generator, pivots) - wanted).mean()
    after = np.square(mm_jax.synthesize(tuned.generator, pivots) - wanted).mean()
    assert after < 0.6 * before


def test_only_the_synthesis_changes(tiny_generator: Any, tuned: Tuning) -> None:
    old, new = flatten_tree(tiny_generator.params), flatten_tree(tuned.generator.params)
    changed = {path for path in old if not np.array_equal(old[path], new[path])}
    assert changed
    assert all(path.startswith("synthesis/") for path in changed)
    assert not any(path.endswith("noise_const") for path in changed)


def test_locality_holds_other_pictures(tiny_generator: Any, tune: Any) -> None:
    others = mm_jax.sample_latents(tiny_generator, seeds=range(10, 18))
    original = np.asarray(mm_jax.synthesize(tiny_generator, others))

    def change(gen: mm_jax.Generator) -> float:
        return float(np.abs(mm_jax.synthesize(gen, others) - original).mean())

    free, held = (tune(locality_weight=weight).generator for weight in (0.0, 10.0))
    assert change(held) < 0.7 * change(free)


def test_is_seeded(tune: Any, tuned: Tuning) -> None:
    np.testing.assert_allclose(tune().losses, tuned.losses, rtol=1e-4)
    assert np.abs(tune(key=jax.random.key(7)).losses - tuned.losses).max() > 1e-4


def test_bad_arguments(tiny_generator: Any, tune: Any, pivots: np.ndarray) -> None:
    for words, given in (
        ("steps must be", {"steps": 0}),
        ("batch_size must be", {"batch_size": 0}),
        ("learning_rate must be", {"learning_rate": -1.0}),
        ("locality_weight must be", {"locality_weight": -1.0}),
    ):
        with pytest.raises(UsageError, match=words):
            tune(**given)
    pictures = np.zeros((3, 16, 16, 3), np.float32)
    with pytest.raises(UsageError, match=r"ws must be .*\[3, 6, 12\], got \[2, 6, 12\]"):
        tune_generator(tiny_generator, pictures, pivots[:2])
    with pytest.raises(DataError, match="ws holds NaN"):
        tune_generator(tiny_generator, pictures, np.full_like(pivots, np.nan))
    with pytest.raises(DataError, match="the tuning diverged"):
        tune(learning_rate=1e30)
