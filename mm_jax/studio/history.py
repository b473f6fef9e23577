"""Undo and redo: a list of documents."""

from __future__ import annotations

from mm_jax.studio.document import Document

__all__ = ["History"]

_MAX_STEPS = 100


class History:
    """A document with what it was before, and what was undone.

    A drag is many changes and one step: `show` changes the present document, `commit` makes the
    present one a step.

    Args:
        document: to begin with.
    """

    def __init__(self, document: Document) -> None:
        self._past: list[Document] = []
        self._future: list[Document] = []
        self._committed = document
        self.present = document

    def show(self, document: Document) -> None:
        """Change the document without making it a step."""
        self.present = document

    def commit(self, document: Document | None = None) -> None:
        """Make the given or the present document a step that can be undone."""
        document = self.present if document is None else document
        if document is not self._committed:
            self._past = [*self._past, self._committed][-_MAX_STEPS:]
            self._future = []
        self.present = self._committed = document

    def amend(self, document: Document) -> None:
        """Change the document so that undo does not see it, such as what a job has found out."""
        self.present = self._committed = document

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step that was undone."""
        return bool(self._future)

    def undo(self) -> None:
        """Go a step back; nothing where there is none."""
        if self._past:
            self._future.append(self._committed)
            self.present = self._committed = self._past.pop()

    def redo(self) -> None:
        """Go a step forth that was undone; nothing where there is none."""
        if self._future:
            self._past.append(self._committed)
            self.present = self._committed = self._future.pop()
