"""Put the tables of mm_eval --topic=compared into docs/compared.md.

    python -m docs.compared runs/compared/compared.json

The json is copied beside the page, so that the page can be compared with it, and the text between
the two marks is replaced by the tables. Nothing in them is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm_jax import io
from mm_jax.errors import DataError
from mm_jax.evaluation.compared_tables import tables
from mm_jax.evaluation.results import markdown

__all__ = ["block", "main", "renewed"]

DOCS = Path(__file__).resolve().parent
PAGE, FIGURES = DOCS / "compared.md", DOCS / "compared.json"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def block(numbers: Mapping[str, Any]) -> str:
    """The tables of a comparison as Markdown."""
    return "\n\n".join(markdown(table) for table in tables(numbers, numbers["claims"]))


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


def main(argv: list[str]) -> int:
    """Renew the page from the file that is named; returns the exit status."""
    if len(argv) != 2:
        print("usage: python -m docs.compared runs/compared/compared.json", file=sys.stderr)
        return 2
    try:
        numbers = io.read_json(argv[1])
        if not isinstance(numbers, dict) or not {"methods", "claims"} <= numbers.keys():
            raise DataError(f"{argv[1]} is not a comparison of mm_eval --topic=compared")
        page = renewed(PAGE.read_text(encoding="utf-8"), block(numbers))
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    io.write_json(FIGURES, numbers)
    io.write_atomic(PAGE, lambda file: file.write(page.encode()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
