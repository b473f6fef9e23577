"""A runtime of some bytes in place of npm's."""

from __future__ import annotations

import pytest

from mm_jax import io
from mm_jax.live import runtime


@pytest.fixture
def fake_runtime(tmp_path, monkeypatch):
    """The folder of a runtime that was made before, in a cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / f"cache/mm_jax/{runtime.PACKAGE}-{runtime.VERSION}"
    folder.mkdir(parents=True)
    for module, program in runtime.RUNTIMES.values():
        (folder / module).write_text(f"// {module}")
        (folder / f"{program}.gz").write_bytes(program.encode())
    io.write_json(folder / runtime.MADE, runtime._made_of())
    return folder
