"""Options of the studio, and what is said where it cannot start."""

from __future__ import annotations

import socket
import sys

import pytest

from mm_jax.errors import UsageError
from mm_jax.sources import GeneratorOptions
from mm_jax.studio.options import StudioOptions


def test_only_this_computer_by_default():
    options = StudioOptions()
    assert options.is_local and options.generator == [GeneratorOptions().generator]
    assert StudioOptions(host="localhost").is_local and StudioOptions(host="::1").is_local
    assert not StudioOptions(host="0.0.0.0").is_local
    for host in ("example.org", "", "127.0.0.1:80"):
        with pytest.raises(UsageError, match="host must be an address"):
            StudioOptions(host=host)
    with pytest.raises(UsageError, match="generator is missing"):
        StudioOptions(generator=[])


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--generator=no_such"], 2, "unknown generator 'no_such'"),
        (["--host=example.org"], 2, "host must be an address"),
        (["--session=none.json"], 1, "cannot read none.json"),
        (["--port=0"], 2, "--port must be at least 1"),
    ],
)
def test_bad_flags_are_refused(binary, capsys, tmp_path, monkeypatch, flags, status, words):
    pytest.importorskip("nicegui")
    monkeypatch.chdir(tmp_path)
    assert binary("mm_studio", "--noopen", *flags) == status
    err = capsys.readouterr().err
    assert words in err and err.startswith("mm_studio: ") and err.count("\n") == 1


def test_a_taken_port_that_was_asked_for_is_refused(binary, capsys):
    pytest.importorskip("nicegui")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        assert binary("mm_studio", "--noopen", f"--port={held.getsockname()[1]}") == 2
    assert "are taken" in capsys.readouterr().err


def test_the_extra_is_named_where_it_is_missing(binary, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "nicegui", None)
    assert binary("mm_studio", "--noopen") == 2
    assert "pip install 'mm-jax[studio]'" in capsys.readouterr().err
