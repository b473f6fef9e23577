"""What is asked of processes of mm_batch; `start` in conftest.py makes them."""

import time

from mm_jax import media
from mm_jax.batch.journal import DONE, read_journal


def finish(process, *, timeout=900):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def own_line(err):
    """The only line of mm_batch itself; of programs that were kept, XLA may have more to say."""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("mm_batch: ")]
    return line


def records(outdir, shard="0-of-1", name=DONE):
    return list(read_journal(outdir / "shards" / shard / name))


def check_whole(outdir, count):
    """Every item exactly once, every file whole, and nothing else."""
    ids = [record["id"] for record in records(outdir)]
    assert len(ids) == len(set(ids)) == count
    names = {name for record in records(outdir) for name in record["files"]}
    found = {p for p in (outdir / "items").rglob("*") if p.is_file()}
    assert {path.relative_to(outdir / "items").as_posix() for path in found} == names
    assert all(media.read_image(path).shape == (16, 16, 3) for path in found)


def wait_for(outdir, lines, process):
    """Until the journal has so many lines."""
    while len(records(outdir)) < lines and process.poll() is None:
        time.sleep(0.002)
