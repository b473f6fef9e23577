"""The folder of compiled programs, and the time that compiling takes."""

import os
import stat
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from mm_jax import compile_cache
from mm_jax.compile_cache import Spent, keep_programs, timed, user_folder

NAMES = ["jax_compilation_cache_dir", *compile_cache._SETTINGS]


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    """JAX's settings as they are, restored afterwards; no test sees the user's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = {name: jax.config.values[name] for name in NAMES}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def folder_of_jax():
    return jax.config.values["jax_compilation_cache_dir"]


def test_the_users_folder_is_private_and_bounded(tmp_path, capsys):
    keep_programs("auto")
    folder = tmp_path / "home" / "mm_jax" / "compiled"
    assert folder_of_jax() == str(folder) == str(user_folder())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert jax.config.values["jax_persistent_cache_min_compile_time_secs"] == 0
    assert jax.config.values["jax_compilation_cache_max_size"] > 0
    assert capsys.readouterr() == ("", "")


def test_a_relative_cache_home_is_ignored(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert user_folder().is_absolute()


def test_another_folder_and_none(tmp_path):
    keep_programs(str(tmp_path / "mine"))
    assert folder_of_jax() == str(tmp_path / "mine")
    keep_programs("off")
    assert folder_of_jax() is None


def test_what_the_user_has_set_for_jax_stands(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "theirs"))
    keep_programs("auto")
    assert folder_of_jax() is None  # JAX itself reads the variable as it is imported
    before = jax.config.values["jax_compilation_cache_max_size"]
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "5")
    keep_programs(str(tmp_path / "mine"))
    assert folder_of_jax() == str(tmp_path / "mine")
    assert jax.config.values["jax_compilation_cache_max_size"] == before


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: f.chmod(0o777), "others can write to"),
        (lambda f: f.chmod(0o770), "others can write to"),
        (lambda f: (f.rmdir(), f.write_text("")), "File exists"),
    ],
)
def test_a_folder_that_cannot_be_trusted_or_used_is_refused(tmp_path, capsys, spoil, words):
    folder = tmp_path / "cache"
    folder.mkdir()
    spoil(folder)
    keep_programs(str(folder))
    said = capsys.readouterr().err
    assert words in said and str(folder) in said and said.count("\n") == 1
    assert folder_of_jax() is None


def test_a_folder_of_somebody_else_is_refused(tmp_path, capsys, monkeypatch):
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    keep_programs(str(tmp_path / "cache"))
    assert "belongs to another user" in capsys.readouterr().err
    assert folder_of_jax() is None


def test_programs_that_were_not_finished_are_dropped(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    for name in ("whole-cache", "whole-atime", "half-cache", "note"):
        (folder / name).write_bytes(b"8 bytes.")
    keep_programs(str(folder))
    left = {path.name for path in folder.iterdir()} - {".lockfile"}
    assert left == {"whole-cache", "whole-atime", "note"}


def test_compiling_is_told_apart():
    with timed() as spent:
        jax.jit(lambda x: jnp.sin(x) + 17.25)(jnp.ones(3)).block_until_ready()
    assert spent.compiling > 0
    was = spent.compiling
    jax.jit(lambda x: jnp.sin(x) + 18.25)(jnp.ones(3)).block_until_ready()
    assert spent.compiling == was


def test_programs_that_take_time_are_counted(monkeypatch):
    def made():
        before = compile_cache.programs()
        jax.jit(lambda x: jnp.sin(x) + 17.25)(jnp.ones(3)).block_until_ready()
        return compile_cache.programs() - before

    monkeypatch.setattr(compile_cache, "_NOTICED", 0.0)
    assert made() == 0  # not within a block
    with timed():
        assert made() >= 1
        monkeypatch.setattr(compile_cache, "_NOTICED", 60.0)
        assert made() == 0


def test_compiling_is_never_more_than_all():
    assert str(Spent(compiling=1e9)) == "0.0 s, of which compiling 0.0 s"


def test_a_long_compilation_is_told_while_it_lasts(capsys, monkeypatch):
    monkeypatch.setattr(compile_cache, "_LONG", 0.0)
    with timed() as spent:
        jax.jit(lambda x: jnp.fft.fft(jnp.sin(x) @ x.T)).lower(jnp.ones((8, 8))).compile()
    assert spent.compiling > 0
    told = capsys.readouterr().err
    # What is kept nowhere is not said to be kept.
    assert "compiling" in told and (
        ("kept for the next run" in told) == bool(jax.config.values["jax_compilation_cache_dir"])
    )
    monkeypatch.setattr(compile_cache, "_LONG", 60.0)
    with timed():
        jax.jit(lambda x: jnp.cos(x) + 3).lower(jnp.ones(5)).compile()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("version", "given", "wanted"),
    [
        ("0.10.1", "", "--xla_cpu_use_fusion_emitters=false"),
        ("0.10.1", "--xla_x=1", "--xla_x=1 --xla_cpu_use_fusion_emitters=false"),
        ("0.10.1", "--xla_cpu_use_fusion_emitters=true", "--xla_cpu_use_fusion_emitters=true"),
        # XLA ends the process at flags that it does not know.
        ("0.12.0.1", "", ""),
        ("0.99.0", "", ""),
    ],
)
def test_the_quicker_generator_is_chosen_where_it_is_known(monkeypatch, version, given, wanted):
    monkeypatch.setenv("XLA_FLAGS", given)
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    compile_cache.compile_quickly()
    assert os.environ["XLA_FLAGS"] == wanted


def test_the_installed_xla_starts_with_the_flags_that_it_is_given():
    code = "import jax; from mm_jax import compile_cache as c; c.compile_quickly(); jax.devices()"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
