"""Helpers for tests that run mm_batch in processes; `start` in conftest.py starts them."""

import time

from mm_jax import media
from mm_jax.batch.journal import DONE, read_journal


def finish(process, *, timeout=900):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def own_line(err):
    """The only line of mm_batch itself; XLA may print more about cached programs."""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("mm_batch: ")]
    return line


def records(outdir, shard="0-of-1", name=DONE):
    return list(read_journal(outdir / "shards" / shard / name))


def check_whole(outdir, count):
    """Check that each item is in the journal once, and its files are whole and the only ones."""
    ids = [record["id"] for record in records(outdir)]
    assert len(ids) == len(set(ids)) == count
    names = {name for record in records(outdir) for name in record["files"]}
    found = {p for p in (outdir / "items").rglob("*") if p.is_file()}
    assert {path.relative_to(outdir / "items").as_posix() for path in found} == names
    assert all(media.read_image(path).shape == (16, 16, 3) for path in found)


def wait_for(outdir, lines, process):
    """Wait until the journal has so many lines."""
    while len(records(outdir)) < lines and process.poll() is None:
        time.sleep(0.002)
