"""An mm_batch for test_ray.py, whose workers say who they are, and die or dawdle on demand.

    ray_check.py FOLDER [--flag=value ..]

A worker with open models creates FOLDER/PID, which holds the accelerators it sees. One that is
given a seed in FOLDER/deadly kills itself; so does one that finds FOLDER/starting, before it opens
the models. As long as there is FOLDER/slow, each item takes as many seconds longer as it says.
"""

import contextlib
import dataclasses
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

from mm_jax.batch import ray_engine
from mm_jax.batch.ray_engine import do_part

BIN = Path(__file__).resolve().parents[2] / "bin" / "mm_batch.py"
FOLDER = Path(sys.argv[1]).resolve()


def watched(job, items):
    """Stand in for `do_part`; pickled by value, with FOLDER, as it is in the main module."""
    if (FOLDER / "starting").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    mark = FOLDER / str(os.getpid())
    if not mark.exists():
        do_part(job, [])
        mark.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    with contextlib.suppress(FileNotFoundError):
        deadly = {int(seed) for seed in (FOLDER / "deadly").read_text().split()}
        if deadly & {item.entry["seed"] for item in items}:
            os.kill(os.getpid(), signal.SIGKILL)
    began = time.monotonic()
    with contextlib.suppress(FileNotFoundError):
        time.sleep(float((FOLDER / "slow").read_text()) * len(items))
    report = do_part(job, items)
    return dataclasses.replace(report, seconds=time.monotonic() - began)


if __name__ == "__main__":
    ray_engine.do_part = watched
    ray_engine._PART = 1.0  # so that a test sees many parts
    spec = importlib.util.spec_from_file_location("mm_batch", BIN)
    assert spec is not None and spec.loader is not None
    module = sys.modules["mm_batch"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.exit(module.main(["mm_batch", *sys.argv[2:]]))
