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
        if arguments.peer_path:
            for name, peer in peers.open_generators(arguments.peer_path, gen.config).items():
                codes = peer.codes(ws)
                works[name] = lambda p=peer, w=codes: p.forward(w)
        seconds = common.alternate(works, repeats=arguments.repeats)
        rate = common.macs(gen.config) * len(ws) / seconds[common.OURS] / 1e9
        rows.append(
            {
                "case": case,
                **common.compared(seconds),
                "GMAC/s": rate,
                "of the convolution rate": rate / best["convolution [GMAC/s]"],
            }
        )
    common.publish("synthesis", rows, arguments, notes=best)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
