"""What a process of its own takes: its seconds, and the most memory that it held.

Linux counts to a process, as it starts a program, what the one that started it holds. So the
program is started by a small Python, which holds next to nothing, and not by the benchmark.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Taken", "run"]


class Taken(NamedTuple):
    """Seconds, and MiB at most."""

    seconds: float
    mib: float


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Taken:
    """Run a program, whose output is not shown, and wait for its end.

    Args:
        command: the program and its arguments.
        environment: further variables for it.

    Raises:
        RuntimeError: it failed; with the end of what it wrote to standard error.
    """
    done = subprocess.run(
        [sys.executable, "-P", __file__, *command],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} ended with status {done.returncode}: {done.stderr[-2000:]}"
        )
    return Taken(**json.loads(done.stdout))


def _start(command: Sequence[str]) -> int:
    """What the small Python does: prints `Taken`; returns the program's exit status."""
    began = time.perf_counter()
    status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    seconds = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    held = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**20
    print(json.dumps({"seconds": seconds, "mib": held}))
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    raise SystemExit(_start(sys.argv[1:]))
