"""Put the tables of runs of benchmarks into their page.

    python -m docs.benchmarks runs/bench/synthesis.json runs/bench/gradient.json runs/alone/*.json
    python -m docs.benchmarks runs/bench/layers.json runs/bench/startup.json

The text between two marks of benchmarks/README.md is replaced, which the site's page Performance
shows too. Runs of synthesis and gradient with --system-allocator are of a peer as a program of its
own, and those of one topic are of one machine. The other topics have a table for each file, so
machines can be put side by side. Nothing in the tables is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import BFLOAT16
from docs import compared, gpu
from mm_jax import io
from mm_jax.errors import DataError
from mm_jax.stylegan2.precision import PRECISIONS

__all__ = ["BLOCKS", "as_measured", "images", "layers", "main", "table_of", "where"]

PAGE = Path(__file__).resolve().parents[1] / "benchmarks" / "README.md"
_OURS, _LOOP = "mm_jax [s]", "a step in a loop [s]"
_OF_IMAGES = {"synthesis": "images", "gradient": "gradient"}

Run = Mapping[str, Any]


def images(runs: Sequence[Run]) -> str:
    """The table of images and gradients, ours beside a peer that keeps memory too, or does not."""
    kept = [run for run in runs if not run["arguments"].get("system_allocator")]
    alone = {
        (run["topic"], row["case"]): _peer(row)
        for run in runs
        if run not in kept
        for row in run["rows"]
    }
    if not kept:
        raise DataError("a run without --system-allocator is needed")
    body = []
    for run in kept:
        for row in run["rows"]:
            own, peer = row[_OURS], _peer(row)
            other = alone.get((run["topic"], row["case"]))
            body.append((
                f"{_OF_IMAGES[run['topic']]}, {row['case']}", own, peer, _ratio(peer, own),
                other, _ratio(other, own), row.get(_LOOP), f"{row['of the convolution rate']:.0%}",
            ))  # fmt: skip
    columns = (
        "", "mm_jax [s]", "peer, memory kept too [s]", "times as fast",
        "peer, a program of its own [s]", "times as fast", "a step in a loop [s]",
        "of the machine's convolution rate",
    )  # fmt: skip
    limits = (
        f"{run['topic']}: "
        + ", ".join(f"{name} {value:.0f}" for name, value in run["notes"].items())
        for run in kept
    )
    table = gpu.table(columns, body)
    parts = [where(runs), table, *_in_bfloat16(kept)]
    return "\n\n".join([*parts, f"The machine's limits in these runs: {'; '.join(limits)}."])


def _in_bfloat16(runs: Sequence[Run]) -> list[str]:
    """The table of products in bfloat16, ours beside the peer's; none if it was not measured."""
    ours = f"mm_jax{BFLOAT16} [s]"
    body = [
        (
            f"{_OF_IMAGES[run['topic']]}, {row['case']}",
            row[ours],
            row[_OURS] / row[ours],
            _peer(row, low=True),
            *(row.get(f"bfloat16, times as fast as the peer in {p}") for p in PRECISIONS[::-1]),
        )
        for run in runs
        for row in run["rows"]
        if ours in row
    ]
    columns = (
        "in bfloat16", "mm_jax [s]", "times as fast as in float32", "peer, autocast [s]",
        "times as fast", "times as fast as the peer in float32",
    )  # fmt: skip
    return [gpu.table(columns, body)] if body else []


def layers(runs: Sequence[Run]) -> str:
    """The forms of layers that keep the size, and of layers that double it, in milliseconds."""
    rows = [row for run in runs for row in run["rows"]]
    tables = []
    for forms in (("direct", "Winograd"), ("phases", "folded", "as taken")):
        columns = [f"{form}{part} [ms]" for form in forms for part in ("", ", gradient")]
        columns += ["kernel's gradient [ms]", *(f"error, {form}" for form in forms)]
        some = [row for row in rows if columns[0] in row]
        columns = [column for column in columns if any(column in row for row in some)]
        rate = "of the direct rate"
        body = (
            (row["layer"], *(row.get(c) for c in columns), f"{row[rate]:.0%}", row["taken"])
            for row in some
        )
        tables.append(gpu.table(("layer", *columns, rate, "taken"), body))
    return "\n\n".join([where(runs), *tables])


def as_measured(runs: Sequence[Run]) -> str:
    """The rows of each run as they are, for each run a table."""
    parts = []
    for run in runs:
        parts += [where([run]), table_of(run["rows"], _COLUMNS.get(run["topic"], ()))]
    return "\n\n".join(parts)


def table_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as a table, with all columns that any of them has unless some are named."""
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    return gpu.table(columns, ([row.get(c) for c in columns] for row in rows))


#: By topic, the marks' name and what makes the text between them.
BLOCKS: Mapping[str, tuple[str, Callable[[Sequence[Run]], str]]] = {
    "synthesis": ("images", images),
    "gradient": ("images", images),
    "layers": ("layers", layers),
    **{
        topic: (topic, as_measured)
        for topic in (
            "startup", "rpca", "media", "shortcut", "batch", "memory", "precision", "compiling"
        )
    },
}  # fmt: skip
#: The columns that are shown, where they are not all.
_COLUMNS = {
    "compiling": (
        "flags", "programs", "traced [CPU s]", "lowered [CPU s]", "compiled [CPU s]",
        "whole run [CPU s]",
    ),
    "precision": (
        "what", "float32 [GMAC/CPU s]", "bfloat16 [GMAC/CPU s]",
        "bfloat16, sums in float32 [GMAC/CPU s]",
    ),
}  # fmt: skip


def _peer(row: Mapping[str, Any], *, low: bool = False) -> float | None:
    """Seconds of the peer's fastest setting in float32, or in bfloat16, or None."""
    end = f"{BFLOAT16} [s]"
    seconds = [
        value
        for name, value in row.items()
        if name.endswith(" [s]")
        and name not in (_OURS, _OURS.replace(" [s]", end), _LOOP)
        and name.endswith(end) == low
    ]
    return min(seconds, default=None)


def _ratio(peer: float | None, own: float) -> float | None:
    return None if peer is None else round(peer / own, 1)


def where(runs: Sequence[Run]) -> str:
    """The machine on which all runs were made, in a line."""
    machines = [run["machine"] for run in runs]
    one = machines[0]
    if any((m["processor"], m["cores"]) != (one["processor"], one["cores"]) for m in machines):
        raise DataError("the runs are of different machines")
    loads = sorted(machine["load before"] for machine in machines)
    versions = ", ".join(f"{name} {one['versions'][name]}" for name in ("python", "jax"))
    return (
        f"{one['cores']} cores of {one['processor']}; {versions}; load before {loads[0]:g} to "
        f"{loads[-1]:g}; {one['date']}."
    )


def _read(file: str) -> Run:
    run = io.read_json(file)
    if not isinstance(run, dict) or run.get("topic") not in BLOCKS or "rows" not in run:
        raise DataError(f"{file} is not a run of benchmarks.{', '.join(BLOCKS)}")
    return run


def main(argv: Sequence[str]) -> int:
    """Renew the page from the files that are named; returns the exit status."""
    if len(argv) < 2:
        print("usage: python -m docs.benchmarks runs/bench/synthesis.json ..", file=sys.stderr)
        return 2
    try:
        runs = [_read(file) for file in argv[1:]]
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    for name, make in dict.fromkeys(BLOCKS[run["topic"]] for run in runs):
        some = [run for run in runs if BLOCKS[run["topic"]][0] == name]
        marks = (f"<!-- {name}: begin -->", f"<!-- {name}: end -->")
        if compared.renew(PAGE, lambda make=make, some=some: make(some), marks=marks):
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
