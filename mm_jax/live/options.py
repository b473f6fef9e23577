"""Options of live reports."""

from __future__ import annotations

import dataclasses

from mm_jax.errors import UsageError
from mm_jax.options import Options, option

__all__ = ["LiveOptions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveOptions(Options):
    """Whether the report moves faces by itself.

    Raises:
        UsageError: a runtime without anything that needs it.
    """

    live: bool = option(
        False, "Sliders in the report that move the faces, drawn in the browser, without a server."
    )
    runtime: str = option(
        "",
        "For --live: onnxruntime-web as npm has it, its .tgz or its folder; by default npm fetches "
        "it once.",
        flag="live_runtime",
    )

    def check(self) -> None:
        """Refuse a runtime that nothing needs."""
        if self.runtime and not self.live:
            raise UsageError("--live_runtime does nothing without --live")
