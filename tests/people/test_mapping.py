"""What W holds: descriptions of factors along orthogonal directions."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.people import mapping
from mm_jax.people.factors import (
    FACTORS,
    HAIR_STYLES,
    NUM_FACTORS,
    Z_DIM,
    factors_from_z,
    hair_style,
    index,
)
from mm_jax.people.mapping import WIDTH, describe, frame, frame_error, held, train_mapping
from mm_jax.stylegan2.config import GeneratorConfig

CONFIG = GeneratorConfig(
    resolution=8,
    z_dim=Z_DIM,
    w_dim=64,
    mapping_layers=1,
    mapping_lr_multiplier=1.0,
    channels=(4, 4),
)
OTHERS = [k for k, name in enumerate(FACTORS) if name != "hair_style"]


@pytest.fixture(scope="module")
def factors():
    return jax.jit(factors_from_z)(jax.random.normal(jax.random.key(5), (8000, Z_DIM)))


def test_descriptions_are_standardised(factors):
    shown = np.asarray(describe(factors))
    assert shown.shape == (8000, WIDTH) and NUM_FACTORS - 1 + len(HAIR_STYLES) == WIDTH
    np.testing.assert_allclose(shown.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(shown[:, : NUM_FACTORS - 1].std(axis=0), 1, atol=0.03)


def test_factors_are_described_linearly_and_styles_one_by_one(factors):
    shown, values = np.asarray(describe(factors)), np.asarray(factors)
    for column, k in enumerate(OTHERS):
        assert np.corrcoef(shown[:, column], values[:, k])[0, 1] > 0.9999
    styles = shown[:, NUM_FACTORS - 1 :]
    np.testing.assert_array_equal(styles.argmax(axis=1), hair_style(values))
    np.testing.assert_allclose(np.ptp(styles, axis=0), mapping.STYLE_SCALE, rtol=1e-5)
    # Within a style nothing says where in its interval the factor is.
    moved = values.copy()
    moved[:, index("hair_style")] = (hair_style(values) + 0.5) * 2 / len(HAIR_STYLES) - 1
    np.testing.assert_array_equal(describe(jnp.asarray(moved)), shown)


@pytest.mark.parametrize("width", [64, 192])
def test_the_frames_rows_are_orthogonal(width):
    rows = np.asarray(frame(width), np.float64)
    assert rows.shape == (WIDTH, width)
    np.testing.assert_allclose(rows @ rows.T, np.eye(WIDTH) * width / WIDTH, atol=1e-5)


def test_the_error_of_w(factors):
    few = factors[:500]
    w = describe(few) @ frame(128)
    assert float(frame_error(w, few)) < 1e-9
    np.testing.assert_allclose(jnp.var(w), 1, atol=0.25)
    np.testing.assert_allclose(
        frame_error(jnp.zeros_like(w), few), jnp.mean(jnp.square(describe(few))), rtol=1e-4
    )
    # Across the frame w is free.
    rows = np.asarray(frame(128))
    free = np.random.default_rng(0).normal(size=(500, 128)).astype(np.float32)
    free -= free @ rows.T @ rows / np.sum(rows[0] ** 2)
    assert float(frame_error(w + free, few)) < 1e-8


def test_training_puts_factors_into_w(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "STEPS", 120)
    monkeypatch.setattr(mapping, "CHUNK", 20)
    monkeypatch.setattr(mapping, "BATCH", 64)
    made = train_mapping(tmp_path, CONFIG)
    share = held(CONFIG, made)
    assert set(share) == {*(FACTORS[k] for k in OTHERS), *(f"hair_{s}" for s in HAIR_STYLES)}
    assert np.mean(list(share.values())) > 0.3
    np.testing.assert_allclose(made["w_avg"], 0, atol=0.4)
    again = train_mapping(tmp_path, CONFIG)  # is finished
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), made, again))


def test_the_networks_need_neither_numba_nor_scipy():
    blocked = "import sys; sys.modules.update(numba=None, scipy=None); "
    modules = ("factors", "mapping", "generated")
    code = blocked + "; ".join(f"import mm_jax.people.{name}" for name in modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
