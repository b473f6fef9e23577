"""What `test_ray.py` runs: mm_batch whose workers say who they are, and die or dawdle on demand.

    ray_check.py FOLDER [--flag=value ..]

A worker that is open leaves FOLDER/PID with the accelerators it sees in it. One that is given the
seed in FOLDER/deadly kills itself; one that finds FOLDER/starting does so before it is open. While
there is FOLDER/slow, a batch takes the seconds in it longer.
"""

import contextlib
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

from mm_jax.batch import ray_pool
from mm_jax.batch.worker import Worker

BIN = Path(__file__).resolve().parents[2] / "bin" / "mm_batch.py"
FOLDER = Path(sys.argv[1]).resolve()


class Watched(Worker):
    """Pickled as it stands here, with FOLDER."""

    def open(self, opening, cpus):
        if (FOLDER / "starting").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        where = super().open(opening, cpus)
        (FOLDER / str(os.getpid())).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        return where

    def do(self, items):
        deadly = FOLDER / "deadly"
        if deadly.exists() and int(deadly.read_text()) in {item.entry["seed"] for item in items}:
            os.kill(os.getpid(), signal.SIGKILL)
        with contextlib.suppress(FileNotFoundError):
            time.sleep(float((FOLDER / "slow").read_text()))
        return super().do(items)


if __name__ == "__main__":
    ray_pool.Worker = Watched
    spec = importlib.util.spec_from_file_location("mm_batch", BIN)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.exit(module.main(["mm_batch", *sys.argv[2:]]))
