"""Dialogs and small helpers that the panels share."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nicegui import ui

from mm_jax.errors import DataError
from mm_jax.studio.widgets import button, main_button

__all__ = ["PICK", "as_file", "ask_buttons", "asking", "picks", "title_of"]

#: JavaScript that lets people choose a file for the upload of a kind.
PICK = 'getElement(document.querySelector(".upload-{kind}").id.slice(1)).$refs.qRef.pickFiles()'


@contextlib.contextmanager
def asking(title: str, *, wide: bool = False) -> Iterator[ui.dialog]:
    """A dialog to be filled in the block."""
    with ui.dialog() as dialog, ui.card().classes("ask wide" if wide else "ask") as sheet:
        sheet.props["role"] = "dialog"
        sheet.props["aria-label"] = title
        ui.label(title).classes("ask-title")
        yield dialog


def ask_buttons(dialog: ui.dialog, text: str) -> None:
    """The buttons below what a dialog asks: it gives True, or None where it was cancelled."""
    with ui.element("div").classes("actions end"):
        button("Cancel", None, lambda: dialog.submit(None))
        main_button(text, None, lambda: dialog.submit(True))


def picks(own: ui.element, kind: str) -> None:
    """Let a click choose a file for an upload; browsers allow that in a click only."""
    own.on("click", js_handler=f"() => {PICK.format(kind=kind)}")


def title_of(name: str) -> str:
    """A name as people write it."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


@contextlib.contextmanager
def as_file(data: bytes, name: str) -> Iterator[Path]:
    """The path of a temporary file with these bytes, gone after the block.

    Raises:
        DataError: as the block, with the file's name in place of its path.
    """
    with tempfile.TemporaryDirectory(prefix="mm_studio_") as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            yield path
        except DataError as error:
            # People know the file by its name, and the server's folders are not theirs to see.
            raise DataError(str(error).replace(f"{folder}{os.sep}", "")) from error
