"""The output folder of a conversion: it appears whole, with a record of where it comes from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mm_jax import io, runs
from mm_jax.errors import DataError, UsageError

__all__ = ["RECORD", "is_done", "new_folder"]

RECORD = "conversion.json"
# What decides the results, beside which conversion it is.
_DECIDES = ("source", "settings")


def is_done(outdir: io.PathLike, record: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Whether the folder holds the results of an equal conversion already.

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
        if all(earlier.get(key) == record[key] for key in _DECIDES):
            return True
    raise UsageError(
        f"{outdir} holds something else: choose another --outdir, or add --overwrite to one that "
        "holds an earlier conversion"
    )


@contextlib.contextmanager
def new_folder(outdir: io.PathLike, record: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to fill, which takes the place of `outdir` when all went well."""
    with io.whole_folder(outdir, mark=RECORD, what="a conversion") as folder:
        yield folder
        io.write_json(folder / RECORD, {**record, "versions": runs.versions()})
