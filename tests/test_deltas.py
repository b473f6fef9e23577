"""Deltas of generators: what is written opens as the generator that it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import mm_jax
from mm_jax.checkpoints import save_generator
from mm_jax.deltas import is_delta, load_delta, save_delta
from mm_jax.errors import DataError
from mm_jax.nn.network import flatten_tree


def changed(gen: Any, amount: float) -> mm_jax.Generator:
    """The generator with another 8 px block."""
    params = jax.tree.map(lambda leaf: leaf, dict(gen.params))
    block = params["synthesis"]["b8"]
    params["synthesis"]["b8"] = jax.tree.map(lambda leaf: leaf + amount * np.cos(leaf), block)
    return mm_jax.Generator(gen.config, params, gen.meta)


@pytest.fixture
def base_dir(tiny_generator: Any, tmp_path: Path) -> Path:
    return save_generator(tiny_generator, tmp_path / "base", format="safetensors")


@pytest.fixture
def delta(tiny_generator: Any, base_dir: Path, tmp_path: Path) -> Path:
    tuned = changed(tiny_generator, 0.01)
    about = {"name": "moved"}
    return save_delta(
        tuned, tmp_path / "delta", base=tiny_generator, base_name=base_dir, meta=about
    )


def test_round_trip(tiny_generator: Any, delta: Path) -> None:
    tuned = changed(tiny_generator, 0.01)
    loaded = mm_jax.load_generator(delta)
    assert loaded.name == "moved"
    want, have = flatten_tree(tuned.params), flatten_tree(loaded.params)
    base = flatten_tree(tiny_generator.params)
    for path, value in want.items():
        # Half precision of the difference, not of the value.
        far = np.abs(np.asarray(value) - base[path]).max(initial=0)
        np.testing.assert_allclose(have[path], value, atol=1e-3 * far + 1e-7)
    codes = mm_jax.sample_latents(tiny_generator, seeds=range(2))
    np.testing.assert_allclose(
        mm_jax.synthesize(loaded, codes), mm_jax.synthesize(tuned, codes), atol=1e-3
    )


def test_holds_only_what_changed(delta: Path, base_dir: Path) -> None:
    assert is_delta(delta) and not is_delta(base_dir) and not is_delta(delta / "nothing")
    size, whole = ((f / "params.safetensors").stat().st_size for f in (delta, base_dir))
    assert size < 0.4 * whole


def test_refuses_another_base(tiny_generator: Any, delta: Path, tmp_path: Path) -> None:
    other = changed(tiny_generator, 0.5)
    with pytest.raises(DataError, match="made from another generator"):
        load_delta(delta, other)
    save_generator(other, tmp_path / "base", format="safetensors")
    with pytest.raises(DataError, match="made from another generator"):
        mm_jax.load_generator(delta)


def test_a_missing_base_is_said(delta: Path, base_dir: Path, tmp_path: Path) -> None:
    base_dir.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"is a delta of .*base, which is not there"):
        mm_jax.load_generator(delta)


def test_a_delta_of_a_delta_is_refused(tiny_generator: Any, delta: Path, tmp_path: Path) -> None:
    other = save_delta(
        changed(tiny_generator, 0.5), tmp_path / "two", base=tiny_generator, base_name=delta
    )
    with pytest.raises(DataError, match="which is a delta too"):
        mm_jax.load_generator(other)


def test_what_no_delta_can_be(tiny_generator: Any, delta: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="generators are equal"):
        save_delta(tiny_generator, tmp_path / "d", base=tiny_generator, base_name="base")
    config = json.loads((delta / "config.json").read_text())
    config["kind"] = "generator"
    (delta / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="is missing"):
        mm_jax.load_generator(delta)
