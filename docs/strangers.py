"""Put the table of mm_eval --topic=faces into docs/compared.md.

    python -m docs.strangers runs/eyes/faces.md

The text between the two marks is replaced by the table; nothing in it is written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from docs.compared import PAGE, renewed
from mm_jax import io
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
    if len(argv) != 2:
        print("usage: python -m docs.strangers runs/eyes/faces.md", file=sys.stderr)
        return 2
    try:
        table = table_of(Path(argv[1]).read_text(encoding="utf-8"))
        page = renewed(PAGE.read_text(encoding="utf-8"), table, marks=MARKS)
    except (DataError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    io.write_atomic(PAGE, lambda file: file.write(page.encode()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
