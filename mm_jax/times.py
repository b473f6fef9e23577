"""How long runs took, remembered in the user's cache folder, so that a --dry_run can say it.

What is remembered is the seconds for each file that a run wrote, compiling left out, of the last
run of a program with the same generator and the same numbers among its settings.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm_jax import compile_cache, io
from mm_jax.errors import DataError

__all__ = ["expected", "remember"]

# Runs that are remembered; the oldest go first.
_MAX_KEPT = 200
# Settings that decide how long a file takes, beside numbers.
_DECIDE = ("generator_fingerprint", "method", "optimizer", "space", "format", "kind")


def remember(command: str, settings: Mapping[str, Any], files: int, seconds: float) -> None:
    """Note how long a run took; where that is not possible, nothing is lost but an estimate."""
    if files < 1:
        return
    with contextlib.suppress(DataError):
        held = _held()
        key = _key(command, settings)
        held.pop(key, None)
        held[key] = seconds / files
        kept = dict(list(held.items())[-_MAX_KEPT:])
        io.write_json(_file(), kept)


def expected(command: str, settings: Mapping[str, Any], files: int) -> float | None:
    """Seconds that a run will take, by the last one of its kind; None where there was none."""
    with contextlib.suppress(DataError):
        each = _held().get(_key(command, settings))
        if isinstance(each, int | float):
            return float(each) * files
    return None


def _file() -> Path:
    return compile_cache.user_folder().parent / "times.json"


def _held() -> dict[str, Any]:
    if not _file().is_file():
        return {}
    held = io.read_json(_file())
    return held if isinstance(held, dict) else {}


def _key(command: str, settings: Mapping[str, Any]) -> str:
    decide = {
        name: value
        for name, value in settings.items()
        if isinstance(value, int | float) or name in _DECIDE
    }
    text = json.dumps([command, decide], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
