"""Folders: both formats there and back, whole or absent, and clear words about damage."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mm_jax
from mm_jax.checkpoints import load_tree, save_tree
from mm_jax.errors import DataError, UsageError


@pytest.mark.parametrize("format", ["orbax", "safetensors"])
def test_there_and_back(tiny_generator, tmp_path, format):
    folder = mm_jax.save_generator(tiny_generator, tmp_path / "gen", format=format)
    again = mm_jax.load_generator_dir(folder)
    assert again.config == tiny_generator.config
    assert again.fingerprint == tiny_generator.fingerprint
    assert again.name == "tiny"
    # A second save replaces the first and leaves nothing beside it.
    mm_jax.save_generator(tiny_generator, folder, format=format)
    assert os.listdir(tmp_path) == ["gen"]
    assert mm_jax.load_generator_dir(str(folder)).fingerprint == tiny_generator.fingerprint


def test_half_precision_is_loaded_as_float32(tiny_generator, tmp_path):
    whole = mm_jax.save_generator(tiny_generator, tmp_path / "32", format="safetensors")
    half = mm_jax.save_generator(
        tiny_generator, tmp_path / "16", format="safetensors", dtype="float16"
    )
    sizes = [(folder / "params.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.7 * sizes[0]
    loaded = mm_jax.load_generator_dir(half)
    for a, b in zip(
        jax.tree.leaves(loaded.params), jax.tree.leaves(tiny_generator.params), strict=True
    ):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_config_says_where_a_network_comes_from(tmp_path):
    source = {"file": "net.pt", "sha256": "0" * 64}
    meta = {"source": source, "licence": "CC0", "steps": 7}
    params = {"a": {"kernel": np.ones((2, 3))}, "scale": np.float32(2.0)}
    folder = save_tree(tmp_path / "net", "probe", {"width": 3}, params, meta=meta)
    config = json.loads((folder / "config.json").read_text())
    assert {key: config[key] for key in ("format_version", "kind", "source", "licence")} == {
        "format_version": 1,
        "kind": "probe",
        "source": source,
        "licence": "CC0",
    }
    tree = load_tree(folder, "probe")
    assert tree.architecture == {"width": 3}
    assert tree.meta == {"name": "net", **meta}
    assert tree.params["scale"].shape == ()
    np.testing.assert_array_equal(tree.params["a"]["kernel"], np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("params", "options", "error", "message"),
    [
        ({"a": np.array([np.nan])}, {}, DataError, "parameter a holds NaN"),
        ({"a": np.array([1])}, {}, DataError, "parameter a must be floating point, got int64"),
        ({"a": np.array([1e6])}, {"dtype": "float16"}, DataError, "exceeds float16's range"),
        ({}, {"dtype": "int8"}, UsageError, "dtype must be float32 or float16, got 'int8'"),
        ({}, {"format": "pickle"}, UsageError, "format must be orbax or safetensors, got 'pickle'"),
        ({}, {"format": "orbax", "dtype": "float16"}, UsageError, "for float16 use safetensors"),
    ],
)
def test_refuses_to_save(tmp_path, params, options, error, message):
    with pytest.raises(error, match=message):
        save_tree(tmp_path / "net", "probe", {}, params, **options)
    assert not os.listdir(tmp_path)


def test_never_writes_over_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something other than a network"):
        save_tree(tmp_path, "probe", {}, {"a": np.ones(1)})
    with pytest.raises(DataError, match="it is a file"):
        save_tree(tmp_path / "notes.txt", "probe", {}, {"a": np.ones(1)})
    with pytest.raises(DataError, match="cannot write"):
        save_tree(tmp_path / "notes.txt" / "net", "probe", {}, {"a": np.ones(1)})
    assert os.listdir(tmp_path) == ["notes.txt"]


def damage_config(**changes):
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def truncate_params(folder: Path) -> None:
    os.truncate(folder / "params.safetensors", 500)


DAMAGES = {
    "config.json": (lambda folder: (folder / "config.json").unlink(), "No such file"),
    "not json": (lambda folder: (folder / "config.json").write_text("{"), "not valid json"),
    "not ours": (lambda folder: (folder / "config.json").write_text("[]"), "does not describe"),
    "newer": (damage_config(format_version=2), "format version 2"),
    "kind": (damage_config(kind="probe"), "must hold a generator, got a probe"),
    "no architecture": (damage_config(architecture=None), "no architecture"),
    "bad architecture": (damage_config(architecture={"depth": 3}), "unknown generator setting"),
    "wrong architecture": (damage_config(architecture={"resolution": 8}), "mapping/fc2"),
    "format": (damage_config(params={"format": "zip"}), "no known format"),
    "no params": (lambda folder: (folder / "params.safetensors").unlink(), "no such file"),
    "truncated": (truncate_params, "not a readable safetensors"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_says_what_is_damaged(tiny_generator, tmp_path, damage):
    folder = mm_jax.save_generator(tiny_generator, tmp_path / "gen", format="safetensors")
    hurt, message = DAMAGES[damage]
    hurt(folder)
    with pytest.raises(DataError, match=message):
        mm_jax.load_generator_dir(folder)


def test_damaged_orbax(tiny_generator, tmp_path):
    folder = mm_jax.save_generator(tiny_generator, tmp_path / "gen", format="orbax")
    for file in (folder / "params").rglob("*"):
        if file.is_file():
            file.write_bytes(b"\0")
    with pytest.raises(DataError, match="not a readable orbax folder"):
        mm_jax.load_generator_dir(folder)
    with pytest.raises(DataError, match="is not a folder"):
        mm_jax.load_generator_dir(tmp_path / "nothing")
