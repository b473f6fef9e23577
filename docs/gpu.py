"""Put the tables of a run of `make bench-gpu` into benchmarks/README.md.

    python -m docs.gpu runs/bench/gpu.json

The text between the two marks is replaced, which the site's page Performance shows too. Nothing in
the tables is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from docs import compared
from mm_jax import io
from mm_jax.errors import DataError

__all__ = ["block", "main", "table"]

PAGE = Path(__file__).resolve().parents[1] / "benchmarks" / "README.md"
BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"
_WANTED = {"topic", "machine", "rows", "numbers", "limits", "jobs", "peer", "notes"}


def block(run: Mapping[str, Any]) -> str:
    """The tables of a run as Markdown."""
    machine, notes = run["machine"], run["notes"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    limits = ", ".join(f"{name} {_number(value)}" for name, value in run["limits"].items())
    parts = [
        f"{machine['devices']} ({notes['platform']}), host {machine['cores']} cores of "
        f"{machine['processor']}; {versions}; {machine['date']}. Limits in that run: {limits}.",
        _numbers(run["numbers"]),
        _speed(run["rows"]),
        table(
            ("job", "seconds", "a second"),
            (
                (
                    job["case"],
                    job.get("seconds"),
                    _rate(job),
                )
                for job in run["jobs"]
            ),
        ),
        _peer(run["peer"]),
    ]
    if notes["left out"]:
        parts.append(f"Left out, as the time was over: {'; '.join(notes['left out'])}.")
    return "\n\n".join(part for part in parts if part)


def _rate(job: Mapping[str, Any]) -> str | None:
    if "error" in job:
        return job["error"]
    return f"{_number(job['items/s'])} {job['items']}"


def _numbers(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = ["largest error", "rms error"]
    columns += [
        f"{what}, {where}" for what in ("right way", "leakage") for where in ("device", "CPU")
    ]
    body = ((row["case"], *(row.get(column) for column in columns)) for row in rows)
    said = "Differences from the CPU in float32, as fractions of the range."
    return f"{said}\n\n{table(('case', *columns), body)}"


def _speed(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = ("seconds", "images/s", "TFLOP/s", "GB/s", "of the roofline", "temporary [MiB]")
    body = (
        (row["case"], row.get("seconds") or row.get("error"), *(row.get(c) for c in columns[1:]))
        for row in rows
    )
    return table(("case", *columns), body)


def _peer(said: Mapping[str, Any]) -> str:
    if not said["measured"]:
        return f"NVlabs' generator was not measured: {said['why']}."
    with_what = "with" if said["cuda operations"] else "without"
    body = (
        (row["case"], row["peer"], row.get("seconds") or row.get("error"), row.get("images/s"))
        for row in said["rows"]
    )
    columns = ("case", "setting", "seconds", "images/s")
    return f"NVlabs' generator, {with_what} its CUDA operations.\n\n{table(columns, body)}"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as Markdown, with three digits of each number."""
    lines = [columns, ["---"] * len(columns), *([_number(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value)


def _read(file: str) -> Mapping[str, Any]:
    run = io.read_json(file)
    if not isinstance(run, dict) or not run.keys() >= _WANTED or run["topic"] != "gpu":
        raise DataError(f"{file} is not a run of make bench-gpu")
    return run


def main(argv: Sequence[str]) -> int:
    """Renew the page from the file that is named; returns the exit status."""
    if len(argv) != 2:
        print("usage: python -m docs.gpu runs/bench/gpu.json", file=sys.stderr)
        return 2
    return compared.renew(PAGE, lambda: block(_read(argv[1])), marks=(BEGIN, END))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
