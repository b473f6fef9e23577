"""Progress of long work: a function that is called with what is done, silent by default.

Library functions take `progress`, call it as `progress(label, done, total)` and know nothing of
terminals. `silent` does nothing; `shown()` draws a bar with the time left in a terminal. Where the
output is a file or a pipe it writes a line for each finished piece of work, with what that cost,
and one for each minute of a long one. Within a program (`staged`), what is shown is added up by
stage, too, so that the last line and the report say what each of them cost.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Protocol, TextIO

from etils import epy

from mm_jax import compile_cache

with epy.lazy_imports():
    from rich import console as terminal
    from rich import progress as bar


# Steps after which it is foretold how long work takes, if it takes longer than so many seconds.
_FORETOLD_AFTER, _LONG = 5, 20.0
# Stages that the line at the end names, those that took longest.
_NAMED = 6


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


class Pace:
    """How quickly one piece of work goes on, from its reports.

    Steps during which a program was compiled or loaded say nothing about those that follow, so they
    are not counted; neither are those before the first report, which is when that usually happens.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._seconds = 0.0
        self._last: tuple[int, float, int] | None = None

    def report(self, done: int) -> None:
        """Take note that so many steps are done now."""
        now, programs = time.monotonic(), compile_cache.programs()
        if self._last is not None:
            before, then, programs_then = self._last
            if done == before:
                return  # the next step is still under way
            if done < before:
                self.steps, self._seconds = 0, 0.0  # begun anew
            elif programs == programs_then and done > before:
                self.steps += done - before
                self._seconds += now - then
        self._last = (done, now, programs) if done else None

    def left(self, steps: int) -> float | None:
        """Seconds that so many steps will take; None as long as there is nothing to go by."""
        return self._seconds / self.steps * steps if self.steps else None


def foretold(progress: ProgressFn, tell: Callable[[str], None]) -> ProgressFn:
    """Progress that also says once, early on, how long the work will take if it takes long."""
    paces: dict[str, Pace] = {}
    told: set[str] = set()

    def report(label: str, done: int, total: int, /) -> None:
        pace = paces.setdefault(label, Pace())
        pace.report(done)
        left = pace.left(total - done)
        if label not in told and pace.steps >= _FORETOLD_AFTER and left is not None:
            told.add(label)
            if left > _LONG:
                tell(f"{label}: {total} steps, about {_duration(left)} more")
        progress(label, done, total)

    return report


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _time_left(pace: Pace, steps: int) -> str:
    left = pace.left(steps)
    return "" if left is None else f"about {_duration(left)} left"


class Stages:
    """Seconds since its creation, by stage; each second belongs to one stage.

    The time between two reports, whatever was done in it, belongs to the work that reports at its
    end. What is left, after the last report, belongs to none.
    """

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def passed(self, stage: str) -> None:
        """All that passed since the last call belongs to this stage."""
        now = time.monotonic()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def __str__(self) -> str:
        if not self.seconds:
            return ""
        named = longest(self.seconds, _NAMED)
        rest = time.monotonic() - self._began - sum(named.values())
        words = [f"{stage} {took:.1f} s" for stage, took in named.items()]
        return ", ".join([*words, f"the rest {rest:.1f} s"])


def longest(seconds: Mapping[str, float], count: int) -> dict[str, float]:
    """The stages that took longest, in their own order."""
    chosen = sorted(seconds, key=lambda stage: -seconds[stage])[:count]
    return {stage: took for stage, took in seconds.items() if stage in chosen}


_stages: ContextVar[Stages | None] = ContextVar("stages", default=None)


@contextlib.contextmanager
def staged() -> Iterator[Stages]:
    """Adds up what each stage costs of the work that is `shown` within the block."""
    stages = Stages()
    token = _stages.set(stages)
    try:
        yield stages
    finally:
        _stages.reset(token)


def stages_so_far() -> Mapping[str, float]:
    """Seconds by stage of the program that runs; none outside one."""
    stages = _stages.get()
    return {} if stages is None else dict(stages.seconds)


@contextlib.contextmanager
def shown(stream: TextIO | None = None) -> Iterator[ProgressFn]:
    """Show progress on `stream` (standard error by default) until the block ends.

    What a program did before is its stage "opening".
    """
    with _drawn(stream or sys.stderr) as draw:
        stages = _stages.get()
        if stages is None:
            yield draw
            return
        stages.passed("opening")

        def report(label: str, done: int, total: int, /) -> None:
            stages.passed(label)
            draw(label, done, total)

        yield report


@contextlib.contextmanager
def _drawn(out: TextIO) -> Iterator[ProgressFn]:
    if not out.isatty():
        yield _Lines(out)
        return
    bars = bar.Progress(
        bar.TextColumn("{task.description}"),
        bar.BarColumn(),
        bar.MofNCompleteColumn(),
        bar.TimeElapsedColumn(),
        bar.TextColumn("{task.fields[left]}"),
        console=terminal.Console(file=out),
    )
    tasks: dict[str, bar.TaskID] = {}
    paces: dict[str, Pace] = {}
    with bars:

        def report(label: str, done: int, total: int, /) -> None:
            if label not in tasks:
                tasks[label], paces[label] = bars.add_task(label, total=total, left=""), Pace()
            paces[label].report(done)
            left = _time_left(paces[label], total - done) if done < total else ""
            bars.update(tasks[label], completed=done, total=total, left=left)

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
        self._paces: dict[str, Pace] = {}

    def __call__(self, label: str, done: int, total: int, /) -> None:
        now = time.monotonic()
        began = self._began.setdefault(label, self._free)
        pace = self._paces.setdefault(label, Pace())
        pace.report(done)
        spent = now - began
        if done >= total:
            del self._began[label], self._paces[label]
            self._told.pop(label, None)
            self._free = now
            self._write(f"{label}: {done}/{total} in {spent:.1f} s")
        elif now - self._told.setdefault(label, began) >= self._EVERY:
            self._told[label] = now
            left = _time_left(pace, total - done)
            self._write(f"{label}: {done}/{total} after {spent:.0f} s{left and f', {left}'}")

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()
