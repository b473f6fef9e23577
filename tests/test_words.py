"""Counts in words, and the command that installs something for this interpreter."""

import sys
import sysconfig

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_jax.words import counted, distinct, how_to_install


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [(1, "face", "1 face"), (0, "face", "0 faces"), (1200, "entry", "1,200 entries"),
     (2, "day", "2 days")],
)  # fmt: skip
def test_counts(number, noun, words):
    assert counted(number, noun) == words


@given(st.lists(st.sampled_from(["a", "a_2", "a_3", "b"])))
def test_equal_names_are_numbered(names):
    found = distinct(names)
    assert len(set(found)) == len(found) == len(names)
    for i, (name, own) in enumerate(zip(names, found, strict=True)):
        # A name that is free stays, as do the names before it, whatever follows.
        assert own == name or name in found[:i]
        assert own.startswith(name) and distinct(names[:i]) == found[:i]
    assert distinct(["smile", "smile", "smile"], between=" ") == ["smile", "smile 2", "smile 3"]


def test_the_interpreter_in_use_is_named(tmp_path, monkeypatch):
    assert how_to_install("mm-jax[dlib]") == f"{sys.executable} -m pip install 'mm-jax[dlib]'"
    # Debian's own Python takes packages in a virtual environment only.
    (tmp_path / "EXTERNALLY-MANAGED").write_text("")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert "-m venv .venv && .venv/bin/python -m pip install av" in how_to_install("av")
