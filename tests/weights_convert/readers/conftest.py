"""Shared by the tests of readers: builders of files, and reading of bytes through a file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from mm_jax.errors import DataError
from weights_convert.readers import Foreign, Limits, read_file
from weights_convert.readers.foreign import Refused


@pytest.fixture(scope="session")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "checkpoint_builders", Path(__file__).with_name("builders.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Foreign]:
    """Bytes -> what a file of them holds."""
    folder = tmp_path_factory.mktemp("checkpoints")
    path = folder / "file"

    def from_bytes(content: bytes, limits: Limits | None = None) -> Foreign:
        # A file that is still mapped must not change: each has an inode of its own.
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        return read_file(path, limits=limits or Limits())

    return from_bytes


@pytest.fixture(scope="session")
def refused(read: Callable[..., Foreign]) -> Callable[..., str]:
    """Bytes -> the one line that says why they are refused."""

    def message(content: bytes, limits: Limits | None = None) -> str:
        with pytest.raises(DataError) as caught:
            read(content, limits)
        assert isinstance(caught.value.__cause__, Refused)
        text = str(caught.value)
        assert text.isprintable() and len(text) < 500 and "/file " in text
        return text

    return message
