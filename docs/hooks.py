"""What mkdocs calls while it builds the site: adds what is made from the code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# mkdocs loads this file by its path, from wherever it is started.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs import live, notebooks, pages


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to those of the folder."""
    from mkdocs.structure.files import File  # pyright: ignore[reportMissingImports]

    for path, text in pages.generated().items():
        files.append(File.generated(config, path, content=text))
    for path, file in live.built_files().items():
        files.append(File.generated(config, path, abs_src_path=str(file)))
    for path, content in notebooks.files().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The live face is put in; links that leave `docs/` lead to pages of the site."""
    uri = page.file.src_uri
    if page.file.generated_by:
        return markdown
    text = pages.linked(f"docs/{uri}", uri, markdown)
    return text.replace(live.MARKER, live.markup(uri)) if live.MARKER in text else text
