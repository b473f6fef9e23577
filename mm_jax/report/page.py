"""A report as one HTML page that needs nothing from the network.

Styles and charts are inline. Images and videos are embedded, or linked to where they lie beside
the page. All text is escaped.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from mm_jax.errors import DataError, UsageError
from mm_jax.io import PathLike, write_atomic
from mm_jax.media.video_reading import read_frames, video_info
from mm_jax.report.axes import escape
from mm_jax.report.items import (
    Banner,
    Code,
    Columns,
    Figure,
    Html,
    Item,
    Metrics,
    Section,
    Svg,
    Table,
    Text,
    Video,
)
from mm_jax.report.style import CSS, SCRIPT

__all__ = ["render_report", "write_report"]

_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}


# Pixels of the longer side of the image that stands for a video.
_POSTER = 640


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where the page will lie, and whether files go into it."""

    folder: Path
    embed: bool

    def source(self, path: PathLike) -> str:
        """The value of `src`: a data URI, or the path from the page to the file."""
        path = Path(path)
        kind = _TYPES.get(path.suffix.lower())
        if kind is None:
            raise UsageError(f"{path}: a report shows {', '.join(_TYPES)} files")
        if not self.embed:
            if not path.is_file():
                raise DataError(f"cannot read {path}: no such file")
            way = os.path.relpath(path.resolve(), self.folder.resolve())
            return escape(quote(Path(way).as_posix()))
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _caption(title: str, caption: str) -> str:
    if not title and not caption:
        return ""
    bold = f"<b>{escape(title)}</b> " if title else ""
    return f"<figcaption>{bold}{escape(caption)}</figcaption>"


def _cell_text(value: Any, digits: int) -> str:
    if value is None:
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, int):
        return f"{value:,}".replace("-", "\u2212")
    if isinstance(value, float):
        text = f"{value:,.{digits}f}" if math.isfinite(value) else "\u2013"
        return text.replace("-", "\u2212")
    return escape(value)


def _verdict(value: Any, limits: tuple[float | None, float | None] | None) -> str:
    if limits is None or isinstance(value, str | bool) or value is None:
        return ""
    low, high = limits
    outside = (low is not None and not value >= low) or (high is not None and not value <= high)
    return "bad" if outside else "good"


def _table(table: Table) -> str:
    count = len(table.columns)
    if any(len(row) != count for row in table.rows):
        raise UsageError(f"a table of {count} columns has a row of another length")
    if table.units is not None and len(table.units) != count:
        raise UsageError(f"a table of {count} columns has {len(table.units)} units")
    texts = [
        bool(table.rows) and all(isinstance(row[i], str) for row in table.rows)
        for i in range(count)
    ]
    units = table.units or [""] * count
    head = "".join(
        f'<th scope="col"{_classes("text" if text else "")}>{escape(name)}'
        f"{f'<small>{escape(unit)}</small>' if unit else ''}</th>"
        for name, unit, text in zip(table.columns, units, texts, strict=True)
    )
    lines = []
    for row in table.rows:
        cells = []
        for i, value in enumerate(row):
            shown = _cell_text(value, table.digits)
            if i == 0:
                cells.append(f'<th scope="row">{shown}</th>')
                continue
            verdict = _verdict(value, table.limits.get(table.columns[i]))
            cells.append(f"<td{_classes('text' if texts[i] else '', verdict)}>{shown}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<figure><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{_caption(table.title, table.caption)}"
        "</figure>"
    )


def _classes(*names: str) -> str:
    used = " ".join(name for name in names if name)
    return f' class="{used}"' if used else ""


def _banner(banner: Banner) -> str:
    lines = "<br>".join(escape(line) for line in banner.text.splitlines())
    role, kind = ("status", "good") if banner.good else ("alert", "bad")
    return f'<p role="{role}"{_classes("banner", kind)}>{lines}</p>'


def _metrics(metrics: Metrics) -> str:
    tiles = []
    for name, value in metrics.items.items():
        value, unit = value if isinstance(value, tuple) else (value, "")
        small = f" <small>{escape(unit)}</small>" if unit else ""
        shown = _cell_text(value, 2)
        long = _classes("long" if len(shown) > 12 else "")
        tiles.append(f"<div><dt>{escape(name)}</dt><dd{long}>{shown}{small}</dd></div>")
    return f'<dl class="metrics">{"".join(tiles)}</dl>'


def _item(item: Item, place: _Place) -> str:
    match item:
        case Text(body):
            paragraphs = [part for part in re.split(r"\n\s*\n", body.strip()) if part.strip()]
            return "".join(f"<p>{escape(part.strip())}</p>" for part in paragraphs)
        case Html(body):
            return body
        case Code(body):
            return f"<pre>{escape(body.strip())}</pre>"
        case Figure(path, caption, title, wide, crisp, frames):
            alt = escape(title or caption or Path(path).stem)
            classes = _classes("wide" if wide else "", "crisp" if crisp else "")
            image = f'<img{classes} src="{place.source(path)}" alt="{alt}">'
            slide = _slide(frames, alt) if len(frames) > 1 else ""
            return f"<figure>{slide}{image}{_caption(title, caption)}</figure>"
        case Video(path, caption, title, wide, autoplay):
            kind = _TYPES.get(Path(path).suffix.lower(), "")
            source, named = place.source(path), escape(title or caption or Path(path).stem)
            # Nothing is loaded, and no sign of loading shown, before it is played.
            plays = ' autoplay preload="auto"' if autoplay else ' preload="none"'
            video = (
                f"<video{_classes('wide' if wide else '')} controls loop muted playsinline{plays}"
                f' aria-label="{named}"{_poster(path)}>'
                f'<source src="{source}" type="{kind}"></video>'
            )
            return f"<figure>{video}{_caption(title, caption)}</figure>"
        case Svg(markup, caption, title):
            return f"<figure>{markup}{_caption(title, caption)}</figure>"
        case Table():
            return _table(item)
        case Metrics():
            return _metrics(item)
        case Columns(items, least):
            inner = "".join(f"<div>{_item(one, place)}</div>" for one in items)
            return f'<div class="columns" style="--least:{int(least)}px">{inner}</div>'
    raise UsageError(f"a report cannot show a {type(item).__name__}")


def _slide(frames: Sequence[str], alt: str) -> str:
    """A slider over the frames of the image that follows; shown where scripts run."""
    labels = escape(json.dumps(list(frames)))
    middle = len(frames) // 2
    return (
        f'<div class="slide" data-frames="{labels}" hidden><canvas role="img" aria-label="{alt}">'
        f'</canvas><label><input type="range" min="0" max="{len(frames) - 1}" value="{middle}" '
        f'aria-label="Frame of {alt}"><output></output></label></div>'
    )


def _poster(path: PathLike) -> str:
    """The attribute `poster` with a video's first frame; nothing for a video that has none."""
    try:
        _, frame = next(read_frames(video_info(path), [0]))
    except (DataError, StopIteration):
        return ""
    image = Image.fromarray(frame)
    image.thumbnail((_POSTER, _POSTER))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    # Without its size a player that has loaded nothing is 300 x 150 pixels.
    height, width = frame.shape[:2]
    return f' width="{width}" height="{height}" poster="data:image/jpeg;base64,{data}"'


def render_report(
    title: str,
    sections: Sequence[Section],
    *,
    subtitle: str = "",
    metrics: Mapping[str, Any] | None = None,
    banner: Banner | None = None,
    footer: str = "",
    folder: PathLike = ".",
    embed: bool = True,
) -> str:
    """The text of the page; arguments as of `write_report`."""
    place = _Place(Path(folder), embed)
    bar = "".join(
        f'<a href="#s{i}">{escape(section.title)}</a>' for i, section in enumerate(sections)
    )
    parts = []
    for i, section in enumerate(sections):
        intro = f'<p class="intro">{escape(section.intro)}</p>' if section.intro else ""
        items = "".join(_item(item, place) for item in section.items)
        parts.append(f'<section id="s{i}"><h2>{escape(section.title)}</h2>{intro}{items}</section>')
    script = f"<script>{SCRIPT}</script>\n" if any('class="slide"' in p for p in parts) else ""
    lede = f'<p class="lede">{escape(subtitle)}</p>' if subtitle else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<header><div><h1>{escape(title)}</h1>{lede}{_banner(banner) if banner else ''}"
        f"{_metrics(Metrics(metrics)) if metrics else ''}"
        f"</div></header>\n{f'<nav><div>{bar}</div></nav>' if len(sections) > 1 else ''}\n"
        f"<main>\n{chr(10).join(parts)}\n</main>\n"
        f"<footer>{escape(footer)}</footer>\n{script}</body>\n</html>\n"
    )


def write_report(
    outdir: PathLike,
    title: str,
    sections: Sequence[Section],
    *,
    subtitle: str = "",
    metrics: Mapping[str, Any] | None = None,
    banner: Banner | None = None,
    footer: str = "",
    embed: bool = True,
) -> Path:
    """Write `report.html` into a folder.

    Args:
        outdir: the folder.
        title: of the page.
        sections: its parts in order.
        subtitle: a sentence or two below the title.
        metrics: key figures below that: names to values, or to (value, unit).
        banner: what came out, in a box between the two.
        footer: a line at the end.
        embed: images and videos go into the page; else it links to them by relative paths.

    Returns:
        The page's path.

    Raises:
        DataError: an image or video cannot be read, or the page cannot be written.
        UsageError: a file of a kind that pages do not show, or a table whose rows do not fit.
    """
    text = render_report(
        title,
        sections,
        subtitle=subtitle,
        metrics=metrics,
        banner=banner,
        footer=footer,
        folder=outdir,
        embed=embed,
    )
    return write_atomic(Path(outdir) / "report.html", lambda file: file.write(text.encode("utf-8")))
