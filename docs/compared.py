"""Put the tables of mm_eval --topic=compared into docs/compared.md, and the shortest into README.

    python -m docs.compared runs/compared/compared.json

The json and the chart are copied beside the page, so that the pages can be compared with them.
In both pages the text between the two marks is replaced by the tables, none of it by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mm_jax import io
from mm_jax.errors import DataError
from mm_jax.evaluation.compared_tables import SEES, tables
from mm_jax.evaluation.results import markdown

__all__ = ["block", "main", "renew", "renew_from", "renewed", "summary"]

DOCS = Path(__file__).resolve().parent
PAGE, FIGURES = DOCS / "compared.md", DOCS / "compared.json"
README = DOCS.parent / "README.md"
# The methods that most people know, and the bound.
IN_README = (
    "ours_refined",
    "ours_video",
    "clip_regression",
    "styleclip",
    "interfacegan_clip",
    "interfacegan_probe",
    "sefa",
    "ganspace",
    "ceiling_regression",
)
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def block(numbers: Mapping[str, Any]) -> str:
    """The tables of a comparison as Markdown."""
    return "\n\n".join(markdown(table) for table in tables(numbers, numbers["claims"]))


def summary(numbers: Mapping[str, Any]) -> str:
    """The mean leakage of the methods that README names, in % of the change of the target."""
    own, peers = [], []
    for name in IN_README:
        if (method := numbers["methods"].get(name)) and (mean := method.get("mean")):
            figures = [f"{100 * mean[key][0]:.1f} %" for key in ("leakage", "largest")]
            row = f"| {method['title']} | {SEES[method['sees']]} | {' | '.join(figures)} |"
            (own if name.startswith("ours") else peers).append(row)
    head = "| direction from | what it sees | mean leakage | largest |\n|---|---|---|---|"
    return "\n".join([head, *own, *peers])


def renewed(page: str, text: str, *, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """A page with other text between its marks.

    Raises:
        DataError: the page does not have each mark once.
    """
    begin, end = marks
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise DataError(f"the page must hold {begin} and {end} once")
    return pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page)


def renew(page: Path, make: Callable[[], str], *, marks: tuple[str, str]) -> int:
    """Put what `make` returns between the marks of a page; returns a script's exit status.

    What cannot be read or made is told in a line on standard error, and the page stays as it is.
    """
    try:
        text = renewed(page.read_text(encoding="utf-8"), make(), marks=marks)
    except (DataError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    io.write_atomic(page, lambda file: file.write(text.encode()))
    return 0


def renew_from(
    argv: list[str], usage: str, page: Path, make: Callable[[str], str], *, marks: tuple[str, str]
) -> int:
    """`renew` by what `make` returns for the text of the one file that `argv` names."""
    if len(argv) != 2:
        print(f"usage: {usage}", file=sys.stderr)
        return 2
    return renew(page, lambda: make(Path(argv[1]).read_text(encoding="utf-8")), marks=marks)


def main(argv: list[str]) -> int:
    """Renew the page from the file that is named; returns the exit status."""
    if len(argv) != 2:
        print("usage: python -m docs.compared runs/compared/compared.json", file=sys.stderr)
        return 2
    try:
        numbers = io.read_json(argv[1])
        if not isinstance(numbers, dict) or not {"methods", "claims"} <= numbers.keys():
            raise DataError(f"{argv[1]} is not a comparison of mm_eval --topic=compared")
        pages = {
            PAGE: renewed(PAGE.read_text(encoding="utf-8"), block(numbers)),
            README: renewed(README.read_text(encoding="utf-8"), summary(numbers)),
        }
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    io.write_json(FIGURES, numbers)
    chart = Path(argv[1]).with_suffix(".svg")
    if chart.exists():
        svg = chart.read_bytes()
        io.write_atomic(FIGURES.with_suffix(".svg"), lambda file: file.write(svg) and None)
    for path, text in pages.items():
        io.write_atomic(path, lambda file, text=text: file.write(text.encode()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
