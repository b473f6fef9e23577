"""What the first run of a program pays for compiling, with nothing kept: programs by their cost.

Each command runs in a process of its own, with an empty folder of compiled programs. CPU seconds of
tracing, lowering and compiling are those of the whole process meanwhile, so they hold on a busy
machine too; on two idle cores the clock shows less, as parts are compiled side by side.

  python -m benchmarks.compiling
  python -m benchmarks.compiling --only sample,extract --image face.jpg
"""

from __future__ import annotations

import collections
import importlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

import jax

from benchmarks import common

_EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "traced",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowered",
    "/jax/core/compile/backend_compile_duration": "compiled",
}
# Shorter ones are told together: they are single operations.
_SMALL = 0.15

COMMANDS: dict[str, list[str]] = {
    "sample": ["mm_sample"],
    "edit": ["mm_edit", "--subspace=smile"],
    # Few steps: the programs are those of many.
    "extract": ["mm_extract", "--motion=smile", "--seeds=0", "--steps=10"],
    "gradient": ["mm_extract", "--motion=smile", "--strategy=gradient"],
    "image": ["mm_edit", "--subspace=smile", "--strength=0:1", "--tune_steps=10"],
    "demo": ["mm_demo"],
}


class _Spent:
    """CPU seconds by what was done and for which program."""

    def __init__(self) -> None:
        self.began: dict[tuple[int, str], list[float]] = collections.defaultdict(list)
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self.programs: dict[str, list[float]] = collections.defaultdict(list)

    def begin(self, event: str, value: float | int, **metadata: Any) -> None:
        """A step begins."""
        del value, metadata
        if event in _EVENTS:
            self.began[threading.get_ident(), event].append(time.process_time())

    def end(self, event: str, duration_secs: float, **metadata: Any) -> None:
        """A step ends; those within others of their kind are counted with them."""
        del duration_secs
        begun = self.began[threading.get_ident(), event] if event in _EVENTS else []
        began = begun.pop() if begun else None
        if began is None or begun:
            return
        spent = time.process_time() - began
        self.seconds[_EVENTS[event]] += spent
        if _EVENTS[event] == "compiled":
            self.programs[str(metadata.get("fun_name"))].append(spent)


def _inside(command: Sequence[str]) -> None:
    """Run a program in this process and print, as the last line, what was spent."""
    spent = _Spent()
    jax.monitoring.register_scalar_listener(spent.begin)
    jax.monitoring.register_event_duration_secs_listener(spent.end)
    program = importlib.import_module(f"bin.{command[0]}")
    status = program.main([command[0], *command[1:]])
    programs = {name: [len(each), sum(each)] for name, each in spent.programs.items()}
    whole = {"status": status, "all": time.process_time(), "programs": programs, **spent.seconds}
    print(json.dumps(whole))


def _run(command: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        flags = [f"--compile_cache={folder}/programs", f"--outdir={folder}/out"]
        own = [sys.executable, "-m", "benchmarks.compiling", "--inside", *command, *flags]
        done = subprocess.run(own, check=False, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return json.loads(lines[-1])


def row_of(name: str, command: Sequence[str], spent: dict[str, Any]) -> dict[str, Any]:
    """A row of the table: totals, and the programs that cost most."""
    programs = spent["programs"]
    by_cost = sorted(programs.items(), key=lambda item: -item[1][1])
    large = [
        f"{title.removeprefix('jit(').removesuffix(')')} {cost:.1f}" + (f" ({n})" if n > 1 else "")
        for title, (n, cost) in by_cost
        if cost / n >= _SMALL
    ]
    return {
        "command": name,
        "programs": sum(n for n, _ in programs.values()),
        "traced [CPU s]": spent.get("traced", 0.0),
        "lowered [CPU s]": spent.get("lowered", 0.0),
        "compiled [CPU s]": spent.get("compiled", 0.0),
        "whole run [CPU s]": spent["all"],
        "exit status": spent["status"] or 0,
        "largest, CPU s (how many)": ", ".join(large[:8]),
        "flags": " ".join(command),
    }


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--inside"]:
        _inside(arguments[1:])
        return
    parser = common.parser(__doc__ or "")
    parser.add_argument(
        "--only", default="sample,edit,extract,gradient", help=f"of {list(COMMANDS)}"
    )
    parser.add_argument("--image", help="for the command image: a photograph with a face")
    given = common.parse(parser, arguments)
    rows = []
    for name in ["sample"] if given.quick else given.only.split(","):
        if name not in COMMANDS:
            parser.error(f"no command {name!r}, known are {', '.join(COMMANDS)}")
        if name == "image" and not given.image:
            parser.error("the command image needs --image")
        command = [*COMMANDS[name], *([f"--image={given.image}"] if name == "image" else [])]
        command += ["--seeds=0"] if given.quick else []
        rows.append(row_of(name, command, _run(command)))
    common.publish("compiling", rows, given)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
