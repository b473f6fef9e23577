"""One resumable training loop for all bundled models: checkpoints, progress, sample sheets."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization

from mm_jax.io import write_atomic

Carry = Any


@dataclasses.dataclass(frozen=True)
class Loop:
    """What `run_loop` needs: ``step(carry, index) -> (carry, {name: scalar})``."""

    name: str
    outdir: Path
    steps: int
    start: Callable[[], Carry]
    step: Callable[[Carry, int], tuple[Carry, dict[str, jax.Array]]]
    sheet: Callable[[Carry, int], np.ndarray] | None = None
    log_every: int = 100
    save_every: int = 500


def run_loop(loop: Loop) -> Carry:
    """Run to ``loop.steps``, resuming from ``outdir/<name>.ckpt`` where there is one.

    Writes ``<name>.jsonl`` (means of the metrics since the last line, pictures per second are
    left to the reader: each line has the wall time) and ``<name>.png`` (the sample sheet).
    """
    loop.outdir.mkdir(parents=True, exist_ok=True)
    path = loop.outdir / f"{loop.name}.ckpt"
    if not path.exists():
        carry, first = loop.start(), 0
    else:
        # Only the structure of a fresh start is wanted here, not the work of making one.
        shape = {"step": 0, "carry": jax.eval_shape(loop.start)}
        saved = serialization.from_bytes(shape, path.read_bytes())
        first, carry = int(saved["step"]), jax.tree.map(jax.numpy.asarray, saved["carry"])
        print(f"{loop.name}: resumed at step {first}", flush=True)
    sums: dict[str, float] = {}
    since, began = 0, time.time()
    for index in range(first, loop.steps):
        carry, metrics = loop.step(carry, index)
        for name, value in metrics.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        since += 1
        done = index + 1
        if done % loop.log_every == 0 or done == loop.steps:
            rate = since / (time.time() - began)
            means = {name: round(total / since, 5) for name, total in sums.items()}
            left = (loop.steps - done) / rate
            with open(loop.outdir / f"{loop.name}.jsonl", "a") as log:
                log.write(json.dumps({"step": done, "time": time.time(), **means}) + "\n")
            shown = "  ".join(f"{n} {v:.4f}" for n, v in means.items())
            print(
                f"{loop.name} {done}/{loop.steps}  {shown}  {rate:.2f} steps/s  "
                f"ETA {int(left // 60)}:{int(left % 60):02d}",
                flush=True,
            )
            sums, since, began = {}, 0, time.time()
        if done % loop.save_every == 0 or done == loop.steps:
            data = serialization.to_bytes({"step": done, "carry": carry})
            write_atomic(path, lambda file, data=data: file.write(data))
            if loop.sheet is not None:
                _save_sheet(loop.outdir / f"{loop.name}.png", loop.sheet(carry, index))
    return carry


def _save_sheet(path: Path, pictures: np.ndarray) -> None:
    from mm_jax.media import grid, save_png

    save_png(path, grid(pictures, cols=8))
