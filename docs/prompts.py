"""Measure what is read back of the prompts in docs/prompts.md, and renew the table there.

    python -m docs.prompts runs/prompts

Each prompt is a run of `mm_extract` in a folder of its own; what a folder has is not done again.
The text between the two marks of the page is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bin import mm_extract
from docs.compared import renew
from docs.gpu import table
from mm_jax import io
from mm_jax.anchors.finish import READ_BACK
from mm_jax.errors import DataError

__all__ = ["PROMPTS", "block", "main", "measure"]

PAGE = Path(__file__).resolve().parent / "prompts.md"
MARKS = ("<!-- prompts: begin -->", "<!-- prompts: end -->")
_DEGREES = ("--degrees=no,20%,40%,60%,80%,100%",)
_WORDS = ("--degrees=not,slightly,very,completely",)
#: By the folder of a run: what the table calls it, and its flags.
PROMPTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **{
        name: (f"`--motion={name}`", (f"--motion={name}", *_DEGREES))
        for name in ("smile", "anger", "aging", "closing_eyes", "head_turn")
    },
    "smile_optimized": (
        "`--motion=smile --strategy=optimize`",
        ("--motion=smile", "--strategy=optimize", *_DEGREES),
    ),
    "words": (
        "a {degree} smiling person, by not, slightly, very, completely",
        ("--text=a {degree} smiling person", *_WORDS),
    ),
    **{
        text.replace(" ", "_").replace("{degree}", "x"): (text, (f"--text={text}", *_DEGREES))
        for text in (
            "a person with {degree} grey hair",
            "a person with {degree} beard",
            "a person with {degree} long hair",
            "a {degree} sad person",
            "a person with mouth {degree} open",
            "a person with {degree} raised eyebrows",
            "a person with {degree} blue eyes",
            "a person with a {degree} big nose",
            "a person with {degree} full lips",
            "a {degree} purple elephant riding a bicycle",
            "eine Person mit {degree} Lächeln",
        )
    },
}


def block(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of what was read back, by the names of `PROMPTS`."""
    rows = []
    for name, (shown, _) in PROMPTS.items():
        one = found[name]
        start = one["from_strength"]
        words = shown if start < 0 else f"{shown}, from strength {start:g}"
        figures = (f"{one['degree_read_back']:.2f}", f"{one['spearman']:.2f}")
        rows.append([words, *figures, "yes" if one["found"] else "no"])
    return table(["prompt", "degree read back", "Spearman", "found"], rows)


def measure(folder: Path) -> dict[str, Mapping[str, Any]]:
    """What is read back of each prompt, from its run in a folder.

    Raises:
        DataError: a run came to no reading.
    """
    found = {}
    for name, (_, flags) in PROMPTS.items():
        file = folder / name / READ_BACK
        if not file.exists():
            # Status 1 says that nothing was found, which the file tells too.
            mm_extract.main(["mm_extract", *flags, f"--outdir={folder / name}"])
        if not file.exists():
            raise DataError(f"mm_extract {' '.join(flags)} wrote no {READ_BACK}")
        found[name] = io.read_json(file)
    return found


def main(argv: Sequence[str]) -> int:
    """Measure and renew the page; returns the exit status."""
    if len(argv) != 2:
        print("usage: python -m docs.prompts runs/prompts", file=sys.stderr)
        return 2
    return renew(PAGE, lambda: block(measure(Path(argv[1]))), marks=MARKS)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
