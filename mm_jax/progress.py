"""Progress of long work: a function that is called with what is done, silent by default.

Library functions take `progress`, call it as `progress(label, done, total)` and know nothing of
terminals. `silent` does nothing; `shown()` draws a bar with the time left in a terminal. Where the
output is a file or a pipe it writes a line for each finished piece of work, with what that cost,
and one for each minute of a long one.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

from etils import epy

with epy.lazy_imports():
    from rich import console as terminal
    from rich import progress as bar


# Steps after which it is foretold how long work takes, if it takes longer than so many seconds.
_FORETOLD_AFTER, _LONG = 5, 20.0


class ProgressFn(Protocol):
    """How library functions report: `done` of `total` steps of the work called `label`."""

    def __call__(self, label: str, done: int, total: int, /) -> None:
        """Take a report."""
        ...


def silent(label: str, done: int, total: int, /) -> None:
    """Report to nobody."""
    del label, done, total


def prefixed(progress: ProgressFn, prefix: str) -> ProgressFn:
    """Progress whose labels begin with a prefix."""
    return lambda label, done, total, /: progress(f"{prefix}: {label}", done, total)


def foretold(progress: ProgressFn, tell: Callable[[str], None]) -> ProgressFn:
    """Progress that also says once, early on, how long the work will take if it takes long."""
    began: dict[str, tuple[float, int]] = {}
    told: set[str] = set()

    def report(label: str, done: int, total: int, /) -> None:
        now = time.monotonic()
        # The first report is not counted: compilation comes before it.
        first, at = began.setdefault(label, (now, done))
        left = (now - first) / max(done - at, 1) * (total - done)
        if label not in told and done - at >= _FORETOLD_AFTER:
            told.add(label)
            if left > _LONG:
                tell(f"{label}: {total} steps, about {_duration(left)} more")
        progress(label, done, total)

    return report


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@contextlib.contextmanager
def shown(stream: TextIO | None = None) -> Iterator[ProgressFn]:
    """Show progress on `stream` (standard error by default) until the block ends."""
    out: TextIO = stream or sys.stderr
    if not out.isatty():
        yield _Lines(out)
        return
    bars = bar.Progress(
        bar.TextColumn("{task.description}"),
        bar.BarColumn(),
        bar.MofNCompleteColumn(),
        bar.TimeElapsedColumn(),
        bar.TextColumn("left"),
        bar.TimeRemainingColumn(),
        console=terminal.Console(file=out),
    )
    tasks = {}
    with bars:

        def report(label: str, done: int, total: int, /) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total)

        yield report


class _Lines:
    """One line for each piece of work that is finished, and each minute: readable in a log.

    What comes between two pieces of work, such as compiling, counts as the later one's.
    """

    _EVERY = 60.0

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._free = time.monotonic()
        self._began: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def __call__(self, label: str, done: int, total: int, /) -> None:
        now = time.monotonic()
        began = self._began.setdefault(label, self._free)
        spent = now - began
        if done >= total:
            del self._began[label]
            self._told.pop(label, None)
            self._free = now
            self._write(f"{label}: {done}/{total} in {spent:.1f} s")
        elif now - self._told.setdefault(label, began) >= self._EVERY:
            self._told[label] = now
            left = f", about {spent / done * (total - done):.0f} s left" if done else ""
            self._write(f"{label}: {done}/{total} after {spent:.0f} s{left}")

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()
