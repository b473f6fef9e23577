"""Binaries that are called in this process, on the small random models."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from mm_jax.checkpoints import save_generator
from mm_jax.faces.readings import Readings
from mm_jax.inversion import folder

BIN = Path(__file__).resolve().parents[2] / "bin"


@pytest.fixture(scope="session")
def generator_dir(tiny_generator, tmp_path_factory):
    return save_generator(
        tiny_generator, tmp_path_factory.mktemp("models") / "tiny", format="safetensors"
    )


@pytest.fixture(scope="session")
def binary():
    """`binary("mm_sample", "--seeds=0")` is its exit status; the user's cache is left alone."""

    def run(name, *args):
        spec = importlib.util.spec_from_file_location(name, BIN / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module.main([name, "--compile_cache=off", *map(str, args)])

    return run


@pytest.fixture
def no_face_left(monkeypatch):
    """A reader that finds a face in each image, and none in what is then rendered for it."""
    calls = []

    def reader(images):
        calls.append(images)
        found = np.full(len(images), len(calls) % 2 == 1)
        return Readings({}, np.zeros((len(found), 128), np.float32), found)

    monkeypatch.setattr(folder, "reader_for", lambda gen: reader)


@pytest.fixture
def call(binary, capsys, monkeypatch, tmp_path):
    """As `binary`, in an empty folder: `call("mm_sample", "--seeds=0")` is (status, out, err)."""
    monkeypatch.chdir(tmp_path)

    def run(name, *args):
        status = binary(name, *args)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def fails(call):
    """Calls a binary that must fail with one line and leave nothing in the working folder."""

    def run(status, words, name, *args):
        before = sorted(Path().rglob("*"))
        got, _, err = call(name, *args)
        assert got == status, err
        assert words in err
        assert err.startswith(f"{name}: ")
        assert err.count("\n") == 1
        assert sorted(Path().rglob("*")) == before

    return run
