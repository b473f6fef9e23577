"""What becomes of items, as it becomes known: entered into the journals, counted and shown.

Whoever computes, a process by itself or workers elsewhere, this is where an item becomes done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mm_jax.batch.journal import Journal
from mm_jax.progress import ProgressFn, silent

__all__ = ["Ledger", "Outcome", "Record"]

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        done: items that were finished in it.
        failed: items that were set aside in it.
        stopped: whether `stop` ended it.
        reason: why the last of those was set aside.
    """

    done: int
    failed: int
    stopped: bool
    reason: str = ""


class Ledger:
    """The journals of one run.

    Args:
        done, failed: the journals.
        progress: called as ("items", finished, total) whenever items are entered.
        total: items that there are going to be.
    """

    def __init__(
        self, done: Journal, failed: Journal, *, progress: ProgressFn = silent, total: int = 0
    ):
        self._done, self._failed = done, failed
        self._progress, self._total = progress, total
        self._counts = {"done": 0, "failed": 0}
        self._reason = ""
        progress("items", 0, total)

    def enter(self, done: Sequence[Record], failed: Sequence[Record]) -> None:
        """Enters items whose files are in the store, and items that are set aside.

        Raises:
            DataError: a journal cannot be written.
        """
        self._done.append(done)
        self._failed.append(failed)
        self._counts["done"] += len(done)
        self._counts["failed"] += len(failed)
        if failed:
            self._reason = failed[-1]["reason"]
        if done or failed:
            self._progress("items", sum(self._counts.values()), self._total)

    def outcome(self, *, stopped: bool) -> Outcome:
        """How the run ended."""
        return Outcome(self._counts["done"], self._counts["failed"], stopped, self._reason)
