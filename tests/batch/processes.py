"""What is asked of processes of mm_batch; `start` in conftest.py makes them."""

import time

from mm_jax.batch.journal import DONE, read_journal


def finish(process):
    out, err = process.communicate(timeout=900)
    return process.returncode, out, err


def own_line(err):
    """The only line of mm_batch itself; of programs that were kept, XLA may have more to say."""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("mm_batch: ")]
    return line


def records(outdir, shard="0-of-1"):
    return list(read_journal(outdir / "shards" / shard / DONE))


def wait_for(outdir, lines, process):
    """Until the journal has so many lines."""
    while len(records(outdir)) < lines and process.poll() is None:
        time.sleep(0.002)
