"""Put the tables of mm_eval --topic=inversion into docs/inversion.md.

    python -m docs.inversion runs/eval_inversion/inversion.md

The text between the two marks is replaced by the tables; nothing in it is written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from docs.compared import renew_from
from mm_jax.errors import DataError

__all__ = ["MARKS", "PAGE", "main", "tables_of"]

PAGE = Path(__file__).parent / "inversion.md"
MARKS = ("<!-- inversion: begin -->", "<!-- inversion: end -->")


def tables_of(markdown: str) -> str:
    """The two tables, each with its title and caption.

    Raises:
        DataError: they are not there.
    """
    if not all(f"**{title}**" in markdown for title in ("Likeness", "Editability")):
        raise DataError("the file must be inversion.md of mm_eval --topic=inversion --subspaces")
    return markdown.strip()


def main(argv: list[str]) -> int:
    """Renew the page from the file that is named; returns the exit status."""
    usage = "python -m docs.inversion runs/eval_inversion/inversion.md"
    return renew_from(argv, usage, PAGE, tables_of, marks=MARKS)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
