"""Charts as inline SVG, drawn without a plotting library.

Every function returns the text of one `<svg>` element that scales to the width of the page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mm_jax.errors import DataError
from mm_jax.report.axes import INK, LEFT, PALETTE, RIGHT, WIDTH, Axis, Frame, escape

__all__ = ["Series", "bar_chart", "line_chart", "loss_chart", "response_chart", "spectrum_chart"]

QUIET = "#c3cad3"


@dataclasses.dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: for the legend; an unnamed line is not in it.
        x: [S] numbers.
        y: [S] numbers.
        spread: [S] half the height of the band about the line, or None.
        quiet: drawn thin and grey, as a backdrop to the others.
        markers: a dot at every point.
        colour: as CSS writes it; the next of the palette unless given.
    """

    name: str
    x: Any
    y: Any
    spread: Any = None
    quiet: bool = False
    markers: bool = False
    colour: str | None = None


def _finite(values: Any, what: str) -> list[float]:
    array = np.asarray(values, np.float64).reshape(-1)
    if array.size == 0 or not np.isfinite(array).all():
        raise DataError(f"{what} of a chart must be finite numbers, at least one of them")
    return array.tolist()


def _path(frame: Frame, x: Sequence[float], y: Sequence[float]) -> str:
    points = (f"{frame.px(a):.1f} {frame.py(b):.1f}" for a, b in zip(x, y, strict=True))
    return "M" + "L".join(points)


def _legend(entries: Sequence[tuple[str, str]]) -> tuple[str, int]:
    """Names with their colours above the plot, in as many rows as they need."""
    parts, row, column = [], 0, float(LEFT)
    for name, colour in entries:
        width = 40 + 7.2 * len(name)
        if column + width > WIDTH - RIGHT and column > LEFT:
            row, column = row + 1, float(LEFT)
        y = 15 + 22 * row
        parts.append(
            f'<line x1="{column:.0f}" x2="{column + 16:.0f}" y1="{y}" y2="{y}" stroke="{colour}" '
            f'stroke-width="3" stroke-linecap="round"/>'
            f'<text x="{column + 22:.0f}" y="{y + 4}" fill="{INK}">{escape(name)}</text>'
        )
        column += width
    return "".join(parts), row + 1 if entries else 0


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    log_y: bool = False,
    height: int = 300,
) -> str:
    """Lines over a common x axis, with bands where a series has a spread.

    Raises:
        DataError: no series, numbers that are not finite, or lengths that differ.
    """
    if not series:
        raise DataError("a line chart needs at least one series, got none")
    lines = []
    for one in series:
        x, y = _finite(one.x, "x values"), _finite(one.y, "y values")
        band = None if one.spread is None else _finite(one.spread, "spreads")
        if len(x) != len(y) or (band is not None and len(band) != len(y)):
            raise DataError(f"series {one.name!r} has {len(x)} x values and {len(y)} y values")
        lines.append((one, x, y, band))
    heights = [value for _, _, y, _ in lines for value in y]
    for _, _, y, band in lines:
        heights += [a + s * b for a, b in zip(y, band or [], strict=bool(band)) for s in (-1, 1)]
    loud = [one for one in series if not one.quiet]
    colours = {id(one): one.colour or PALETTE[i % len(PALETTE)] for i, one in enumerate(loud)}
    named = [(one.name, colours[id(one)]) for one in loud if one.name]
    quiet = [one.name for one in series if one.quiet and one.name]
    if quiet:
        named.append((quiet[0] if len(set(quiet)) == 1 else "others", QUIET))
    legend, rows = _legend(named if len(named) > 1 else [])
    x_axis = Axis.over([value for _, x, _, _ in lines for value in x], x_label, tight=True)
    frame = Frame(x_axis, Axis.over(heights, y_label, log=log_y), height, rows)
    body = [frame.backdrop(), legend]
    for one, x, y, band in sorted(lines, key=lambda line: not line[0].quiet):
        colour = colours.get(id(one), QUIET)
        if band is not None:
            upper = [a + b for a, b in zip(y, band, strict=True)]
            lower = [a - b for a, b in zip(y, band, strict=True)]
            outline = _path(frame, x, upper) + "L" + _path(frame, x[::-1], lower[::-1])[1:] + "Z"
            body.append(f'<path d="{outline}" fill="{colour}" fill-opacity=".14"/>')
        body.append(
            f'<path d="{_path(frame, x, y)}" fill="none" stroke="{colour}" '
            f'stroke-width="{1.4 if one.quiet else 2.4}" stroke-linejoin="round" '
            f'stroke-linecap="round"/>'
        )
        if one.markers:
            body += [
                f'<circle cx="{frame.px(a):.1f}" cy="{frame.py(b):.1f}" r="3.4" fill="#fff" '
                f'stroke="{colour}" stroke-width="2"/>'
                for a, b in zip(x, y, strict=True)
            ]
    return frame.svg("".join(body), title)


def bar_chart(
    values: Any,
    *,
    title: str,
    names: Sequence[str] | None = None,
    x_label: str = "",
    y_label: str = "",
    highlight: Sequence[int] = (),
    cumulative: Any = None,
    height: int = 300,
) -> str:
    """Upright bars from zero.

    Args:
        values: [R] numbers.
        title: what a screen reader says.
        names: [R] texts below the bars; 1, 2, ... unless given.
        x_label: below the axis.
        y_label: beside the axis.
        highlight: indices of bars in the strong colour; all if empty.
        cumulative: [R] fractions in [0, 1] written above the bars as percentages, or None.
        height: in units of which the chart is 560 wide.

    Raises:
        DataError: no values, numbers that are not finite, or lengths that differ.
    """
    bars = _finite(values, "bars")
    fractions = None if cumulative is None else _finite(cumulative, "fractions")
    names = [str(i + 1) for i in range(len(bars))] if names is None else list(names)
    if len(names) != len(bars) or (fractions is not None and len(fractions) != len(bars)):
        raise DataError(f"{len(bars)} bars, but {len(names)} names or another number of fractions")
    room = 1.12 if fractions is not None else 1.0
    places = list(range(len(bars)))
    x_axis = Axis(-0.6, len(bars) - 0.4, places, x_label, names=names)
    frame = Frame(x_axis, Axis.over([0.0, *bars, room * max(bars)], y_label), height)
    half = min(0.38 * (frame.px(1) - frame.px(0)), 26.0)
    body = [frame.backdrop()]
    for i, value in enumerate(bars):
        strong = not highlight or i in highlight
        column, foot, tip = frame.px(i), frame.py(0), frame.py(value)
        body.append(
            f'<rect x="{column - half:.1f}" y="{min(foot, tip):.1f}" width="{2 * half:.1f}" '
            f'height="{max(abs(foot - tip), 0.5):.1f}" rx="2" '
            f'fill="{PALETTE[0] if strong else "#b9c6dc"}"/>'
        )
        if fractions is not None:
            body.append(
                f'<text x="{column:.1f}" y="{min(foot, tip) - 7:.1f}" text-anchor="middle" '
                f'font-size="11">{100 * fractions[i]:.0f}%</text>'
            )
    return frame.svg("".join(body), title)


def spectrum_chart(singular_values: Any, *, title: str, rank: int = 1, max_bars: int = 12) -> str:
    """Singular values as bars, with the fraction of variance that the first ones hold together.

    Args:
        singular_values: [R], or [L, R] by rows, which are added up in quadrature.
        title: what a screen reader says.
        rank: how many components were kept; their bars are in the strong colour.
        max_bars: at most so many bars.
    """
    array = np.asarray(singular_values, np.float64)
    squares = np.square(array) if array.ndim == 1 else np.square(array).sum(axis=0)
    _finite(squares, "singular values")
    total = squares.sum()
    return bar_chart(
        np.sqrt(squares)[:max_bars],
        title=title,
        x_label="component  (above the bars: variance explained so far)",
        y_label="singular value",
        highlight=range(rank),
        cumulative=(np.cumsum(squares) / (total if total > 0 else 1.0))[:max_bars],
    )


def response_chart(
    strengths: Any,
    readings: Any,
    *,
    names: Sequence[str],
    target: int,
    title: str,
    unit: str = "standard deviations",
) -> str:
    """How the factors that a probe reads answer to the strength of an edit.

    The target's mean over identities in colour, with a band of one standard deviation; every other
    factor's mean in grey. All are changes from the strength nearest to 0.

    Args:
        strengths: [S] numbers.
        readings: [N, S, F] in units of `unit`.
        names: [F] of the factors.
        target: index of the factor that the motion is about.
        title: what a screen reader says.
        unit: of the readings.

    Raises:
        DataError: shapes that do not agree, or numbers that are not finite.
    """
    values = np.asarray(readings, np.float64)
    amounts = np.asarray(_finite(strengths, "strengths"))
    if values.ndim != 3 or values.shape[1] != len(amounts) or values.shape[2] != len(names):
        raise DataError(
            f"readings must be [N, {len(amounts)}, {len(names)}], got {list(values.shape)}"
        )
    order = np.argsort(amounts)
    change = values - values[:, [int(np.abs(amounts).argmin())]]
    mean, spread = change.mean(axis=0)[order], change.std(axis=0)[order]
    x = amounts[order]
    quiet = [
        Series("all other factors", x, mean[:, f], quiet=True)
        for f in range(len(names))
        if f != target
    ]
    main = Series(names[target], x, mean[:, target], spread=spread[:, target], markers=True)
    return line_chart(
        [main, *quiet], title=title, x_label="strength of the edit", y_label=f"change ({unit})"
    )


def loss_chart(losses: Any, *, title: str, names: Sequence[str] | None = None) -> str:
    """Loss against optimisation step.

    Args:
        losses: [steps], or [steps, C] for several curves.
        title: what a screen reader says.
        names: [C] of the curves; more than four are coloured as a sequence, light to dark.

    Raises:
        DataError: another shape, or numbers that are not finite.
    """
    array = np.asarray(losses, np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"losses must be [steps] or [steps, curves], got {list(array.shape)}")
    labels = [""] * array.shape[1] if names is None else [str(name) for name in names]
    if len(labels) != array.shape[1]:
        raise DataError(f"{array.shape[1]} curves, but {len(labels)} names")
    steps = np.arange(1, len(array) + 1)
    colours: list[str | None] = [None] * len(labels)
    if len(labels) > 4:
        # A sequence needs only its two ends in the legend.
        colours = _ramp(len(labels))
        labels = [labels[0], *[""] * (len(labels) - 2), labels[-1]]
    series = [
        Series(label, steps, curve, colour=colour)
        for label, curve, colour in zip(labels, array.T, colours, strict=True)
    ]
    return line_chart(series, title=title, x_label="step", y_label="loss")


def _ramp(count: int) -> list[str | None]:
    """Colours for curves in an order, from light to dark."""
    light, dark = np.array([150, 190, 240]), np.array([16, 42, 110])
    shades = (light + (dark - light) * fraction for fraction in np.linspace(0, 1, count))
    return ["#" + "".join(f"{round(part):02x}" for part in shade) for shade in shades]
