"""The output folder of a conversion: written atomically, with a record of its source."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mm_jax import io, runs
from mm_jax.errors import DataError, UsageError

__all__ = ["RECORD", "is_done", "new_folder"]

RECORD = "conversion.json"


def is_done(outdir: io.PathLike, record: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Whether the folder already holds the results of the same conversion.

    Raises:
        UsageError: it holds something else, and is not to be overwritten.
        DataError: its record cannot be read.
    """
    outdir = Path(outdir)
    if overwrite or not outdir.is_dir() or not any(outdir.iterdir()):
        return False
    if (outdir / RECORD).is_file():
        earlier = io.read_json(outdir / RECORD)
        if not isinstance(earlier, dict):
            raise DataError(f"{outdir / RECORD} was not written by this program")
        if earlier.get("source") == record["source"] and _same(
            earlier.get("settings"), record["settings"]
        ):
            return True
    raise UsageError(
        f"{outdir} holds something else: choose another --outdir, or add --overwrite to one that "
        "holds an earlier conversion"
    )


def _same(earlier: Any, settings: Mapping[str, Any]) -> bool:
    """Whether settings are those of an earlier version, which may have had fewer of them."""
    return isinstance(earlier, Mapping) and all(
        value == earlier[name] if name in earlier else value in (None, "auto")
        for name, value in settings.items()
    )


@contextlib.contextmanager
def new_folder(outdir: io.PathLike, record: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to fill, which replaces `outdir` on success."""
    with io.whole_folder(outdir, mark=RECORD, what="a conversion") as folder:
        yield folder
        io.write_json(folder / RECORD, {**record, "versions": runs.versions()})
