"""What the Markdown of the repository holds: commands, blocks of Python, names of code."""

from __future__ import annotations

import dataclasses
import functools
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Piece:
    """A block or a span of code, and where it stands.

    `kind` is "span", "block" (indented or of no language) or a language.
    """

    file: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def files() -> list[Path]:
    """All Markdown that people read as documentation."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "WORKSPACE.md")]
    cards = sorted((ROOT / "mm_jax/assets").rglob("MODEL_CARD.md"))
    return [*top, ROOT / "benchmarks/README.md", *cards, *sorted((ROOT / "docs").glob("*.md"))]


@functools.cache
def pieces() -> tuple[Piece, ...]:
    """All code in all files, in order."""
    return tuple(piece for file in files() for piece in _pieces_of(file))


def _pieces_of(file: Path) -> Iterator[Piece]:
    for token in MarkdownIt().enable("table").parse(file.read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "fence":
            yield Piece(file, line, token.info.split()[0] if token.info else "block", token.content)
        elif token.type == "code_block":
            yield Piece(file, line, "block", textwrap.dedent(token.content))
        for child in token.children or ():
            if child.type == "code_inline":
                yield Piece(file, line, "span", child.content)


def commands() -> list[tuple[Piece, str]]:
    """All command lines: of blocks each line, of spans those with a program and something else."""
    found = []
    for piece in pieces():
        if piece.kind == "span" and not re.match(r"(mm_\w+|make|python -m \S+) \S", piece.text):
            continue
        if piece.kind in ("span", "block", "sh"):
            for line in piece.text.replace("\\\n", " ").splitlines():
                if re.match(r"(mm_\w+|make|python) ", line):
                    found.append((piece, " ".join(line.split())))
    return found


def python_blocks(file: Path) -> list[Piece]:
    """The blocks of Python of a file."""
    return [piece for piece in pieces() if piece.file == file and piece.kind == "python"]
