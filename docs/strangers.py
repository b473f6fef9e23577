"""Put the table of mm_eval --topic=faces into docs/compared.md.

    python -m docs.strangers runs/eyes/faces.md

The text between the two marks is replaced by the table; nothing in it is written by hand.
"""

from __future__ import annotations

import sys

from docs.compared import PAGE, renew_from
from mm_jax.errors import DataError

__all__ = ["MARKS", "main", "table_of"]

MARKS = ("<!-- strangers: begin -->", "<!-- strangers: end -->")


def table_of(markdown: str) -> str:
    """The table in a topic's Markdown.

    Raises:
        DataError: there is none.
    """
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    if len(rows) < 3:
        raise DataError("the file must be faces.md of mm_eval --topic=faces, it holds no table")
    return "\n".join(rows)


def main(argv: list[str]) -> int:
    """Renew the page from the file that is named; returns the exit status."""
    usage = "python -m docs.strangers runs/eyes/faces.md"
    return renew_from(argv, usage, PAGE, table_of, marks=MARKS)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
