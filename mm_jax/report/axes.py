"""Axes of a chart as SVG text: ticks, grid, labels, and the map from data to pixels."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence

from mm_jax.errors import UsageError

__all__ = ["INK", "MUTED", "PALETTE", "Axis", "Frame", "escape", "nice_ticks", "number"]

# Told apart by people with any colour vision, and readable on white.
PALETTE = ("#2563c9", "#d9541e", "#12866b", "#9a4fb5", "#b7860b", "#c23a6b", "#4f7d9e", "#6b6f76")
INK, MUTED, GRID = "#1d2530", "#68727f", "#e4e8ed"
WIDTH, LEFT, RIGHT, TOP = 560, 64, 16, 16


def escape(text: object) -> str:
    """Text as it may stand between tags or in a quoted attribute."""
    return html.escape(str(text), quote=True)


def number(value: float) -> str:
    """A tick's number, short: 0.25, 1,200, 3e-05."""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}"
    text = f"{value:,.4f}".rstrip("0").rstrip(".")
    return text.replace("-", "\u2212")


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that cover [low, high]; the first and last lie at or outside.

    Raises:
        UsageError: bounds that are not finite or not in order.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UsageError(f"an axis needs finite bounds in order, got {low} and {high}")
    size = max(abs(low), abs(high))
    if high - low <= max(1e-12 * size, 1e-280):
        pad = 0.5 * size if size > 1e-280 else 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * (1 - 1e-9))
    # Bounds may miss a tick by rounding; less than half an interval, or both ends fall on one tick.
    slack = min(1e-9 * size / step, 0.1)
    first, last = math.floor(low / step + slack), math.ceil(high / step - slack)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis: its ends, the numbers at its ticks, and whether distance is logarithmic.

    Attributes:
        low: value at the left or bottom end.
        high: value at the other end.
        ticks: where numbers stand.
        label: with its unit.
        log: distance by decades.
        names: texts in place of the ticks' numbers.
    """

    low: float
    high: float
    ticks: Sequence[float]
    label: str = ""
    log: bool = False
    names: Sequence[str] | None = None

    @classmethod
    def over(
        cls, values: Sequence[float], label: str = "", *, log: bool = False, tight: bool = False
    ) -> Axis:
        """The axis that holds all `values`.

        It ends at round numbers, or, if `tight`, at the outermost values themselves. A logarithmic
        axis ends at powers of ten and ignores values that are not positive.
        """
        if log:
            positive = [value for value in values if value > 0]
            if not positive:
                raise UsageError("a logarithmic axis needs at least one positive value")
            low = math.floor(math.log10(min(positive)) + 1e-9)
            high = max(math.ceil(math.log10(max(positive)) - 1e-9), low + 1)
            ticks = [10.0**power for power in range(low, high + 1)]
            return cls(ticks[0], ticks[-1], ticks, label, log=True)
        low, high = min(values), max(values)
        ticks = nice_ticks(low, high)
        if tight and low < high:
            return cls(low, high, [tick for tick in ticks if low <= tick <= high], label)
        return cls(ticks[0], ticks[-1], ticks, label)

    def at(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high end."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        return (value - low) / (high - low)


@dataclasses.dataclass(frozen=True)
class Frame:
    """The plotting area with its two axes."""

    x: Axis
    y: Axis
    height: int = 300
    legend_rows: int = 0

    @property
    def bottom(self) -> float:
        """Pixel row of the x axis."""
        return self.height - (50 if self.x.label else 32)

    @property
    def top(self) -> float:
        """Pixel row of the upper end of the y axis."""
        return TOP + 22 * self.legend_rows

    def px(self, value: float) -> float:
        """Pixel column of an x value."""
        return LEFT + self.x.at(value) * (WIDTH - LEFT - RIGHT)

    def py(self, value: float) -> float:
        """Pixel row of a y value."""
        return self.bottom - self.y.at(value) * (self.bottom - self.top)

    def backdrop(self) -> str:
        """Grid lines, tick numbers and axis labels."""
        parts = []
        for tick in self.y.ticks:
            row = self.py(tick)
            strong = tick == 0 and not self.y.log
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{row:.1f}" y2="{row:.1f}" '
                f'stroke="{"#9aa4b1" if strong else GRID}"/>'
                f'<text x="{LEFT - 9}" y="{row + 4:.1f}" text-anchor="end">{number(tick)}</text>'
            )
        names = self.x.names or [number(tick) for tick in self.x.ticks]
        for tick, name in zip(self.x.ticks, names, strict=True):
            column = self.px(tick)
            parts.append(
                f'<line x1="{column:.1f}" x2="{column:.1f}" y1="{self.bottom:.1f}" '
                f'y2="{self.bottom + 5:.1f}" stroke="#9aa4b1"/>'
                f'<text x="{column:.1f}" y="{self.bottom + 19:.1f}" '
                f'text-anchor="middle">{escape(name)}</text>'
            )
        middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (self.top + self.bottom) / 2
        if self.x.label:
            parts.append(
                f'<text x="{middle_x:.1f}" y="{self.height - 10}" text-anchor="middle" '
                f'fill="{INK}">{escape(self.x.label)}</text>'
            )
        if self.y.label:
            parts.append(
                f'<text transform="translate(14 {middle_y:.1f}) rotate(-90)" text-anchor="middle" '
                f'fill="{INK}">{escape(self.y.label)}</text>'
            )
        return "".join(parts)

    def svg(self, body: str, title: str) -> str:
        """The whole image: `title` is what a screen reader says."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" '
            f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg" '
            f'font-size="13.5" fill="{MUTED}"><title>{escape(title)}</title>{body}</svg>'
        )
