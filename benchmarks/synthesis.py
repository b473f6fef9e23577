"""Pictures of codes: ours beside a foreign generator, and beside the machine's limits.

python -m benchmarks.synthesis --resolution 256 1024 --batch 1 4
python -m benchmarks.synthesis --peer-path ~/stylegan3
"""

from __future__ import annotations

from benchmarks import common, peers
from mm_jax.latents import synthesize


def main(argv: list[str] | None = None) -> None:
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    arguments = parser.parse_args(argv)
    rows, best = [], common.limits(quick=arguments.quick)
    for case, gen, ws in common.generator_cases(arguments):
        works: dict[str, common.Work] = {
            common.OURS: lambda g=gen, w=ws: synthesize(g, w).block_until_ready()
        }
        works |= peers.works(arguments.peer_path, gen.config, ws, "forward")
        seconds = common.alternate(works, repeats=arguments.repeats)
        work = common.macs(gen.config) * len(ws)
        rows.append({"case": case, **common.rated(seconds, work, best)})
    common.publish("synthesis", rows, arguments, notes=best)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
