"""Images of latents: ours beside a foreign generator, and beside the machine's limits.

On CPUs also with products of bfloat16, and NVlabs' under PyTorch's autocast to it (`python -O`,
since its code asserts that types stay what they are).

python -m benchmarks.synthesis --resolution 256 1024 --batch 1 4
python -m benchmarks.synthesis --peer-path ~/stylegan3
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks import common, peers
from mm_jax.latents import synthesize


def _apart(
    ours: np.ndarray, others: Mapping[str, peers.TorchGenerator], ws: np.ndarray
) -> dict[str, float]:
    """The largest difference from the peers' images, as a fraction of our images' range."""
    if not others:
        return {}
    theirs = (
        peer.images(peer.codes(ws))
        for name, peer in others.items()
        if not name.endswith(common.BFLOAT16)
    )
    return {"apart by": float(max(np.abs(ours - other).max() for other in theirs) / np.ptp(ours))}


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    arguments = common.parse(parser, argv)
    rows, best = [], common.limits(quick=arguments.quick)
    for case, gen, ws in common.generator_cases(arguments):
        works: dict[str, common.Work] = {
            name: lambda g=one, w=ws: synthesize(g, w).block_until_ready()
            for name, one in {common.OURS: gen, **common.in_bfloat16(gen)}.items()
        }
        others: dict[str, peers.TorchGenerator] = {}
        if path := arguments.peer_path:
            others = peers.open_generators(path, gen, autocast=True)
        works |= peers.works(others, ws, "forward")
        seconds = common.alternate(works, repeats=arguments.repeats)
        work = common.macs(gen.config) * len(ws)
        row = {"case": case, **common.rated(seconds, work, best)}
        rows.append(row | _apart(np.asarray(synthesize(gen, ws)), others, ws))
    common.publish("synthesis", rows, arguments, notes=best)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
