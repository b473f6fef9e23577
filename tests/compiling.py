"""Which programs are compiled while something runs: what a first run pays for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax

_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def programs() -> Iterator[list[str]]:
    """Yields a list that the names of compiled programs are appended to."""
    names: list[str] = []

    def note(event: str, duration_secs: float, **metadata: Any) -> None:
        del duration_secs
        if event == _COMPILED:
            names.append(str(metadata.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
