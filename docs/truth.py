"""Put what is measured against known factors into the pages that tell of it.

    python -m docs.truth runs/demo/truth.json
    python -m docs.truth runs/eval_video/video.json
    python -m docs.truth runs/eval_domain/domain.json

The text between the two marks of the file's page is replaced by the table; nothing in it is written
by hand. Which page it is, a file tells by its name. Where the page shows an image of the run, it is
taken from the file's folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from docs.compared import renew
from docs.gpu import table
from mm_jax import io
from mm_jax.errors import DataError

__all__ = ["PAGES", "demo", "domain", "main", "video"]

# How tables call the motions, where a column is one.
_NAMES = {
    "smile": "smile", "anger": "anger", "aging": "ageing", "closing_eyes": "closing eyes",
    "head_turn": "head turn",
}  # fmt: skip
_FIGURES = ("spearman", "leakage_mean", "leakage_max")


class _Page(NamedTuple):
    """Where a table goes, how it is made, the name of its marks, and which image it shows.

    The image NAME.webp beside the page is made of `image`, a file of the run.
    """

    file: Path
    make: Callable[[Mapping[str, Any]], str]
    name: str
    image: str = ""

    @property
    def marks(self) -> tuple[str, str]:
        return f"<!-- {self.name}: begin -->", f"<!-- {self.name}: end -->"


def demo(truths: Mapping[str, Any]) -> str:
    """The table of truth.json of mm_demo: a row for each motion."""
    rows = [
        [
            f"{name} (from a video)" if name == "head_turn" else name,
            *(
                f"{one[key]:.3f}"
                for key in ("spearman", "right_way", "leakage_mean", "leakage_max")
            ),
        ]
        for name, one in truths.items()
    ]
    rows.append(["*aim*", "≥ 0.95", "≥ 0.95", "≤ 0.1", "≤ 0.3"])
    return table(["motion", "Spearman", "right way", "mean leakage", "largest leakage"], rows)


def video(metrics: Mapping[str, Any]) -> str:
    """The table of video.json of mm_eval: a row for each condition, a column for each motion."""
    motions = list(metrics)
    conditions = list(metrics[motions[0]]["conditions"])
    rows = [
        [label, *(_figures(metrics[motion]["conditions"][label]) for motion in motions)]
        for label in conditions
    ]
    rows.append(
        [
            "*cosine with the direction from prompts*",
            *(f"{metrics[motion]['cosine_text_video']:.3f}" for motion in motions),
        ]
    )
    first = conditions[0]
    dropped = [
        {one["frame"] for one in metrics[motion]["conditions"][first]["dropped"]}
        for motion in motions
    ]
    spoiled = [metrics[motion]["spoiled"] for motion in motions]
    rows.append(
        [
            "*spoiled frames that were dropped*",
            *(
                f"{len(gone & set(bad))} of {len(bad)}"
                for gone, bad in zip(dropped, spoiled, strict=True)
            ),
        ]
    )
    return table(["condition", *(_called(name) for name in motions)], rows)


def domain(metrics: Mapping[str, Any]) -> str:
    """The table of domain.json of mm_eval: a row for each case, a column for each motion."""
    truths = metrics["truths"]
    motions = list(next(iter(truths.values())))
    rows = [
        [case, *(_figures(found[motion]) for motion in motions)] for case, found in truths.items()
    ]
    return table(["", *(_called(name) for name in motions)], rows)


def _called(motion: str) -> str:
    return _NAMES.get(motion, motion)


def _figures(one: Mapping[str, float]) -> str:
    values = [one[key] for key in _FIGURES]
    return f"{values[0]:.3f}, {values[1]:.3f}, {values[2]:.2f}"


_DOCS = Path(__file__).parent
PAGES = {
    "truth.json": _Page(_DOCS / "all-of-it.md", demo, "demo", "overview.png"),
    "video.json": _Page(_DOCS / "clips.md", video, "video"),
    "domain.json": _Page(_DOCS / "domain.md", domain, "domain", "shared.png"),
}
"""The page of each file, by its name."""


def main(argv: list[str]) -> int:
    """Renew the page of the file that is named; returns the exit status."""
    if len(argv) != 2 or Path(argv[1]).name not in PAGES:
        print(f"usage: python -m docs.truth FOLDER/({'|'.join(PAGES)})", file=sys.stderr)
        return 2
    page = PAGES[Path(argv[1]).name]

    def make() -> str:
        values = io.read_json(argv[1])
        try:
            text = page.make(values)
        except (AttributeError, KeyError, StopIteration, TypeError) as error:
            raise DataError(f"{argv[1]} is not a {Path(argv[1]).name} of this version") from error
        if page.image:
            with Image.open(Path(argv[1]).with_name(page.image)) as image:
                shown = image.convert("RGB")
            to = page.file.with_name(f"{page.name}.webp")
            io.write_atomic(to, lambda file: shown.save(file, "webp", quality=90, method=6))
        return text

    return renew(page.file, make, marks=page.marks)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
