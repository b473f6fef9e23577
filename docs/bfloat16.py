"""Put the tables of runs of `python -m benchmarks.bfloat16` into benchmarks/README.md.

    python -m docs.bfloat16 runs/bench/bfloat16.json

The text between the two marks is replaced, which the site's page Performance shows too. Several
files are of runs that each measured some of the parts, on one machine. Nothing in the tables is
written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs import benchmarks, compared
from mm_jax import io
from mm_jax.errors import DataError

__all__ = ["block", "main"]

PAGE = Path(__file__).resolve().parents[1] / "benchmarks" / "README.md"
BEGIN, END = "<!-- bfloat16: begin -->", "<!-- bfloat16: end -->"


def block(runs: Sequence[Mapping[str, Any]]) -> str:
    """The tables of runs as Markdown."""
    parts = [benchmarks.where(runs)]
    for run in runs:
        parts += [benchmarks.table_of(rows) for rows in run["parts"].values()]
    return "\n\n".join(parts)


def _read(file: str) -> Mapping[str, Any]:
    run = io.read_json(file)
    if not isinstance(run, dict) or run.get("topic") != "bfloat16" or "parts" not in run:
        raise DataError(f"{file} is not a run of python -m benchmarks.bfloat16")
    return run


def main(argv: Sequence[str]) -> int:
    """Renew the page from the files that are named; returns the exit status."""
    if len(argv) < 2:
        print("usage: python -m docs.bfloat16 runs/bench/bfloat16.json", file=sys.stderr)
        return 2
    return compared.renew(
        PAGE, lambda: block([_read(file) for file in argv[1:]]), marks=(BEGIN, END)
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
