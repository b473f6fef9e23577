"""The HTML report and its charts."""

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
from mm_jax.report.page import render_report, write_report

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
    "render_report",
    "write_report",
]
