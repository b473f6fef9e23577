"""The most memory that a process holds for images, and for gradients, ours beside a peer's.

Each figure is of a process of its own that does the work three times: with weights, libraries and
all. On a GPU, whose memory JAX reserves at its start, it says nothing.

  python -m benchmarks.memory --resolution 256 1024 --batch 1 4
  python -m benchmarks.memory --peer-path ~/stylegan3
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import jax

from benchmarks import common, peers, process
from benchmarks.gradient import gradient
from mm_jax.latents import synthesize

_TIMES = 3


def _inside(arguments: argparse.Namespace) -> None:
    """What the process of its own does."""
    _, gen, ws = next(common.generator_cases(arguments))
    if arguments.inside == "ours":
        work = synthesize if arguments.work == "forward" else gradient
        for _ in range(_TIMES):
            jax.block_until_ready(work(gen, ws))
    else:
        found = peers.open_generators(arguments.peer_path, gen)
        name = next(iter(found))
        for _ in range(_TIMES):
            peers.works({name: found[name]}, ws, arguments.work)[name]()


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--work", choices=("forward", "gradient"), help=argparse.SUPPRESS)
    parser.add_argument("--inside", choices=("ours", "peer"), help=argparse.SUPPRESS)
    arguments = common.parse(parser, argv)
    if arguments.inside:
        _inside(arguments)
        return

    def peak(inside: str, work: str, resolution: int, batch: int) -> float:
        flags = [f"--inside={inside}", f"--work={work}", f"--resolution={resolution}"]
        flags += [f"--batch={batch}", *(["--quick"] if arguments.quick else [])]
        flags += [f"--peer-path={arguments.peer_path}"] if arguments.peer_path else []
        flags += ["--system-allocator"] if arguments.system_allocator else []
        command = [sys.executable, "-m", "benchmarks.memory", *flags]
        return process.run(command).mib

    rows = []
    for resolution in arguments.resolution[: 1 if arguments.quick else None]:
        for batch in [2] if arguments.quick else arguments.batch:
            for work in ("forward", "gradient"):
                case = (work, resolution, batch)
                row: dict[str, Any] = {"case": f"{work}, {resolution} px, batch {batch}"}
                row["mm_jax [MiB]"] = peak("ours", *case)
                if arguments.peer_path:
                    row["peer [MiB]"] = peak("peer", *case)
                rows.append(row)
    common.publish("memory", rows, arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
