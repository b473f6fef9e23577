"""Networks of the golden sets, and a tiny one of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest

from mm_jax.stylegan2.generator import Generator, make_generator
from weights_convert.nvlabs import params_from_nvlabs
from weights_convert.rosinality import params_from_rosinality

Golden = tuple[Generator, dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def rosinality(rule: ModuleType, goldens: Path) -> Callable[[str], Golden]:
    """Size -> (generator, expected arrays)."""

    def load(size: str) -> Golden:
        folder = goldens / "rosinality" / size
        state = rule.weights(folder / "manifest.json")
        mean = state.pop("latent_avg")
        state = {key.removeprefix("g_ema."): value for key, value in state.items()}
        return make_generator(*params_from_rosinality(state, latent_avg=mean)), expected(folder)

    return load


@pytest.fixture(scope="session")
def nvlabs(rule: ModuleType, goldens: Path) -> Callable[[str], Golden]:
    """Variant -> (generator, expected arrays)."""

    def load(variant: str) -> Golden:
        folder = goldens / "nvlabs" / variant
        state = rule.weights(folder / "manifest.json", "G_ema.")
        clamp = 256.0 if variant == "clamp256" else None
        return make_generator(*params_from_nvlabs(state, conv_clamp=clamp)), expected(folder)

    return load


@pytest.fixture(scope="session")
def tiny(tiny_generator: Generator) -> Generator:
    """The tiny generator with noise, biases and a mean that are not zero."""
    params = jax.tree_util.tree_map_with_path(_enliven, tiny_generator.params)
    return make_generator(tiny_generator.config, params, meta=tiny_generator.meta)


def _enliven(path: Any, leaf: jax.Array) -> jax.Array:
    if path[-1].key in ("w_avg", "noise_strength", "bias"):
        return leaf + 0.3 * jax.random.normal(jax.random.key(len(path)), leaf.shape)
    return leaf


def expected(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "expected.npz") as arrays:
        return dict(arrays)
