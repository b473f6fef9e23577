"""From `mm_studio` to a face that a slider moves, in a real Chromium that runs already.

Each run is a process of its own; the first has no compiled programs at hand and keeps them for the
others. The times are those since the command: the address is printed, the first image is on the
screen, the image that follows from the first slider's first step is.

  python -m benchmarks.studio_start
"""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

from benchmarks import common
from mm_jax.errors import UsageError
from tests.studio.browser import READY, Server, browser, chromium, slide

_TITLE = "Smile"


def _run(chrome: Any, folder: str) -> dict[str, float]:
    """Seconds since the command, of each thing that happens."""
    began = time.perf_counter()
    taken = {}
    server = Server(f"--compile_cache={folder}")
    try:
        taken["address"] = time.perf_counter() - began
        context = chrome.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(server.url)
        page.wait_for_selector(READY, timeout=300_000)
        taken["first image"] = time.perf_counter() - began
        slide(page, _TITLE, 0.7)
        taken["slider moved"] = time.perf_counter() - began
        context.close()
    finally:
        server.stop()
    return taken


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    arguments = common.parse(common.parser(__doc__ or ""), argv)
    if chromium() is None:
        raise UsageError("there is no chromium and no google-chrome on the PATH")
    rows = []
    with browser() as chrome, tempfile.TemporaryDirectory() as folder:
        first = _run(chrome, folder)
        rows.append({"programs": "compiled now", **first})
        later = [_run(chrome, folder) for _ in range(1 if arguments.quick else arguments.repeats)]
        kept = {name: statistics.median(run[name] for run in later) for name in first}
        rows.append({"programs": "kept", **kept})
    common.publish("studio_start", rows, arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
