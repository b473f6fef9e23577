"""The elements of a report: plain data that `mm_jax.report.page` turns into HTML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mm_jax.io import PathLike

__all__ = [
    "Banner",
    "Code",
    "Columns",
    "Figure",
    "Html",
    "Item",
    "Metrics",
    "Section",
    "Svg",
    "Table",
    "Text",
    "Video",
]


@dataclasses.dataclass(frozen=True)
class Banner:
    """What came out, in a box at the top of the page.

    Attributes:
        text: one or two sentences; lines below each other.
        good: whether the run did what was asked.
    """

    text: str
    good: bool


@dataclasses.dataclass(frozen=True)
class Text:
    """Plain paragraphs, separated by blank lines."""

    body: str


@dataclasses.dataclass(frozen=True)
class Code:
    """Lines in a fixed-width face, such as a command."""

    body: str


@dataclasses.dataclass(frozen=True)
class Html:
    """Markup that goes into the page as it is; it is never made of text from elsewhere."""

    body: str


@dataclasses.dataclass(frozen=True)
class Figure:
    """An image file with its caption.

    Attributes:
        path: the file, absolute or from the working folder.
        caption: what the reader should see in it.
        title: a few words in bold before the caption.
        wide: stretched to the width of the page.
        crisp: enlarged without smoothing.
        frames: labels of the square frames that stand side by side in the image, rows of them below
            each other; they can then be gone through by a slider, too.
    """

    path: PathLike
    caption: str = ""
    title: str = ""
    wide: bool = True
    crisp: bool = False
    frames: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Video:
    """A video file with controls; it loops, without sound. Attributes as of `Figure`.

    Until it is played its first frame is shown, which is in the page.
    """

    path: PathLike
    caption: str = ""
    title: str = ""
    wide: bool = True
    autoplay: bool = False


@dataclasses.dataclass(frozen=True)
class Svg:
    """A chart of `mm_jax.report.plots` with its caption. Its markup is put in as it is."""

    markup: str
    caption: str = ""
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of texts and numbers.

    Attributes:
        columns: [C] heads.
        rows: rows of C cells; a float is shown to `digits` decimals, None as a dash.
        units: [C] shown small under the heads; None for none at all.
        caption: below the table.
        title: a few words in bold before the caption.
        digits: decimals of floats.
        limits: by column head, a pair (min, max) of what is wanted, either None: numbers
            outside are marked as bad, others as good.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    units: Sequence[str] | None = None
    caption: str = ""
    title: str = ""
    digits: int = 3
    limits: Mapping[str, tuple[float | None, float | None]] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True)
class Metrics:
    """A few key numbers in large type: names to values, which may be (value, unit)."""

    items: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Columns:
    """Items side by side where the page is wide enough, below each other where it is not.

    Attributes:
        items: what stands in the columns.
        least: a column's least width in pixels.
    """

    items: Sequence[Item]
    least: int = 320


Item = Text | Code | Figure | Html | Video | Svg | Table | Metrics | Columns


@dataclasses.dataclass(frozen=True)
class Section:
    """A titled part of the page.

    Attributes:
        title: also its entry in the bar at the top.
        items: in order.
        intro: one paragraph below the title.
    """

    title: str
    items: Sequence[Item]
    intro: str = ""
