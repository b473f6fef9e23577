"""Notebooks as pages of the site: their text and code, and the outputs of their last run.

In the repository notebooks hold no outputs. `make notebooks` runs copies of them in
build/notebooks; a copy that has the same cells as its source lends the page its outputs.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

__all__ = ["BUILD", "NOTEBOOKS", "files", "pages"]

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS, BUILD = ROOT / "notebooks", ROOT / "build" / "notebooks"
SITE = "notebooks"

_PICTURES = {"image/png": "png", "image/gif": "gif", "image/jpeg": "jpg"}


def pages(build: Path = BUILD) -> dict[str, str]:
    """Markdown of each notebook, by its path within the site."""
    return {f"{SITE}/{path.stem}.md": _page(path, build)[0] for path in _notebooks()}


def files(build: Path = BUILD) -> dict[str, bytes]:
    """The notebooks themselves, and the pictures that they drew, by their path within the site."""
    found = {f"{SITE}/{path.name}": path.read_bytes() for path in _notebooks()}
    for path in _notebooks():
        found |= {f"{SITE}/{name}": data for name, data in _page(path, build)[1].items()}
    return found


def _notebooks() -> list[Path]:
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def _page(path: Path, build: Path) -> tuple[str, dict[str, bytes]]:
    """The page of a notebook, and its pictures by name."""
    cells = _cells(path)
    ran = _cells(build / path.name) if (build / path.name).is_file() else []
    whole = list(map(_source, ran)) == list(map(_source, cells))
    said = f"[Download the notebook]({path.name})." + (
        "" if whole else " Its outputs are not part of this build of the site: `make notebooks`."
    )
    parts, pictures = [], {}
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            parts.append(_source(cell))
            if i == 0:
                parts.append(said)
            continue
        parts.append(f"```python\n{_source(cell)}\n```")
        for output in ran[i]["outputs"] if whole else ():
            text, drawn = _output(output, f"{path.stem}-{i}-{len(pictures)}")
            parts.append(text)
            pictures |= drawn
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _output(output: dict[str, Any], name: str) -> tuple[str, dict[str, bytes]]:
    """Markdown of an output, and its picture if it is one."""
    data = output.get("data", {})
    for kind, suffix in _PICTURES.items():
        if kind in data:
            file = f"{name}.{suffix}"
            return f"![What the cell above drew]({file})", {file: base64.b64decode(data[kind])}
    text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
    # Progress and warnings are of the machine that ran it.
    return ("" if output.get("name") == "stderr" or not text else f"```text\n{text}\n```"), {}


def _cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])
