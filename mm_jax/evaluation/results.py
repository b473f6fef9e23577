"""The result of a topic, and its three files: json, a Markdown table, a report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mm_jax import io
from mm_jax.report import Section, Table, parts, write_report
from mm_jax.runs import RunFolder

__all__ = ["Result", "files_of", "markdown", "publish"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """All that was found about a topic.

    Attributes:
        title: of the report.
        subtitle: what was measured, on what.
        metrics: plain json values.
        tables: with titles and captions; they are the Markdown, and the report's first section.
        sections: further ones of the report.
        key_metrics: those at the top of the report.
    """

    title: str
    subtitle: str
    metrics: Mapping[str, Any]
    tables: Sequence[Table]
    sections: Sequence[Section] = ()
    key_metrics: Mapping[str, Any] | None = None


def files_of(topic: str) -> list[str]:
    """Names of the files that `publish` writes."""
    return [f"{topic}.json", f"{topic}.md", parts.REPORT]


def publish(result: Result, run: RunFolder, topic: str) -> str:
    """Write the files of a topic; returns the Markdown."""
    text = "\n\n".join(markdown(table) for table in result.tables) + "\n"
    io.write_json(run.file(f"{topic}.json"), dict(result.metrics))
    io.write_atomic(run.file(f"{topic}.md"), lambda file: file.write(text.encode()))
    write_report(
        run.path,
        result.title,
        [
            Section("Figures", list(result.tables)),
            *result.sections,
            parts.settings_section(run.command, run.settings),
        ],
        subtitle=result.subtitle,
        metrics=result.key_metrics,
    )
    return text


def markdown(table: Table) -> str:
    """A table as Markdown, its title in bold above and its caption below."""

    def cell(value: Any) -> str:
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return "\u2013"
        return f"{value:.{table.digits}f}" if isinstance(value, float) else str(value)

    units = table.units or [""] * len(table.columns)
    heads = [
        f"{name} ({unit})" if unit else str(name)
        for name, unit in zip(table.columns, units, strict=True)
    ]
    rows = [heads, ["---"] * len(heads), *([cell(value) for value in row] for row in table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    parts = [f"**{table.title}**", "\n".join(lines), table.caption]
    return "\n\n".join(part for part in parts if part.strip("*"))
