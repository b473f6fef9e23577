"""`python -m mm_jax`: what it finds, what it calls wrong, and that it stays off the network."""

import json
import shutil
import socket
from importlib import metadata

import pytest

import mm_jax
from mm_jax import __main__ as program
from mm_jax import doctor, zoo
from mm_jax.perceptual.hugging_face import towers_in_use


@pytest.fixture
def call(capsys, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network is not needed")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    def run(*args):
        status = program.main(["__main__.py", *args])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """A copy of one bundled model, which a test may damage."""
    name = "faces/tiny_detector"
    shutil.copytree(zoo.ASSETS / name, tmp_path / name)
    recorded = json.loads((zoo.ASSETS / zoo.MANIFEST).read_text())
    (tmp_path / zoo.MANIFEST).write_text(json.dumps({name: recorded[name]}))
    monkeypatch.setattr(zoo, "ASSETS", tmp_path)
    monkeypatch.setattr(zoo, "BUNDLED", {name: "face_network", "people": "generator"})
    return tmp_path / name


def test_json_holds_what_was_found(call):
    status, out, err = call("--json")
    found = json.loads(out)
    assert (status, err, doctor.problems(found)) == (0, "", [])
    assert found["mm_jax"] == mm_jax.__version__
    assert found["packages"]["jax"] == metadata.version("jax")
    assert found["devices"]["found"]
    assert found["clip_towers"] == towers_in_use()
    assert set(found["models"]) == set(zoo.BUNDLED)
    assert found["models"]["people"] == doctor.WHOLE
    assert "pytest" not in found["extras"]["test"]


def test_text_says_the_same(call, assets):
    status, out, _ = call()
    assert status == 0
    assert f"jax {'':13}{metadata.version('jax')}".split() in [s.split() for s in out.splitlines()]
    assert "faces/tiny_detector  whole" in out
    assert f"CLIP\n  towers  {towers_in_use()}\n" in out
    assert out.splitlines()[-1] == "Nothing is wrong with this installation."


def test_damaged_and_lost_models_are_told_from_those_that_were_never_there(call, assets):
    assert doctor.examine()["models"]["people"] == doctor.ABSENT
    (assets / "config.json").write_text("{}")
    status, out, _ = call()
    assert status == 1
    assert out.splitlines()[-1].endswith("is damaged: config.json is changed")
    shutil.rmtree(assets)
    status, out, _ = call()
    assert status == 1
    assert "faces/tiny_detector is missing" in out.splitlines()[-1]


def test_excluded_and_missing_packages_are_wrong(call, assets, monkeypatch):
    def version(name):
        if name == "optax":
            raise metadata.PackageNotFoundError(name)
        return "0.10.2" if name == "jax" else real(name)

    real = metadata.version
    monkeypatch.setattr(doctor.metadata, "version", version)
    status, out, _ = call()
    assert status == 1
    assert out.splitlines()[-2] == "optax is missing"
    assert out.splitlines()[-1].startswith("jax 0.10.2 does not do: jax")


def test_home_and_unrelated_variables_stay_out(monkeypatch, assets):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/home/ann/programs")
    monkeypatch.setenv("MY_TOKEN", "secret")
    text = json.dumps(doctor.examine())
    assert "~/programs" in text
    assert "ann" not in text
    assert "secret" not in text
