"""Models by name: known, unknown, missing, damaged."""

from __future__ import annotations

import json

import pytest

import mm_jax
from mm_jax import zoo
from mm_jax.errors import DataError, UsageError


@pytest.fixture
def assets(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "ASSETS", tmp_path)
    return tmp_path


@pytest.fixture
def bundled(assets, tiny_generator):
    """An installation whose only model is a tiny "people"."""
    mm_jax.save_generator(tiny_generator, assets / "people", format="safetensors")
    zoo.record("people")
    return assets / "people"


def test_bundled_model(bundled, tiny_generator):
    gen = mm_jax.load_generator("people")
    assert gen.fingerprint == tiny_generator.fingerprint
    assert zoo.resolve("people", "generator") == bundled
    entry = json.loads((bundled.parent / "MANIFEST.json").read_text())["people"]
    assert entry["kind"] == "generator"
    assert sorted(entry["files"]) == ["config.json", "params.safetensors"]


def test_folder(bundled, tmp_path):
    assert zoo.resolve(bundled, "generator") == bundled
    assert mm_jax.load_generator(str(bundled)).name == "tiny"
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is an empty file, not the folder of a generator"):
        mm_jax.load_generator(tmp_path / "file")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").write_text("{}"), r"config\.json is changed"),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json is missing"),
        (lambda folder: (folder / "more").touch(), "more is unexpected"),
    ],
)
def test_damaged_bundle(bundled, damage, message):
    damage(bundled)
    with pytest.raises(DataError, match=message):
        mm_jax.load_generator("people")


def test_missing_and_unknown(assets):
    with pytest.raises(DataError, match="people is missing from this installation"):
        mm_jax.load_generator("people")
    with pytest.raises(UsageError, match=r"unknown generator 'ffhq': .* people"):
        mm_jax.load_generator("ffhq")
    with pytest.raises(UsageError, match="people-clip is a clip, not a generator"):
        mm_jax.load_generator("people-clip")
    with pytest.raises(UsageError, match="unknown bundled model 'ffhq'"):
        zoo.record("ffhq")
    with pytest.raises(DataError, match="holds no files"):
        zoo.record("people")
    (assets / "MANIFEST.json").write_text("[1]")
    with pytest.raises(DataError, match="not a manifest"):
        zoo.verify("people")


def test_of_a_folder_of_several_networks_the_wanted_one_is_opened(tmp_path, tiny_generator):
    """As mm_convert writes the encoder and the generator of one file."""
    parent = tmp_path / "e4e"
    mm_jax.save_generator(tiny_generator, parent / "generator")
    assert mm_jax.load_generator(parent).fingerprint == tiny_generator.fingerprint
    assert zoo.resolve(parent, "generator") == zoo.resolve(parent / "generator", "generator")
    with pytest.raises(DataError, match="cannot read"):
        mm_jax.load_encoder(parent)
