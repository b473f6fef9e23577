"""Images and the gradient with respect to W+, alone and inside a loop of the compiled program.

As activations are scaled, not kernels, the gradient costs as many multiply-adds as the image. On
CPUs also with products of bfloat16, and NVlabs' under PyTorch's autocast to it (`python -O`,
since its code asserts that types stay what they are).

  python -m benchmarks.gradient --resolution 256 1024 --batch 1
  python -m benchmarks.gradient --peer-path ~/stylegan3
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from benchmarks import common, peers
from mm_jax.latents import synthesize
from mm_jax.stylegan2.generator import Generator

_STEPS = 3


def _total(ws: jax.Array, gen: Generator) -> jax.Array:
    return jnp.sum(synthesize(gen, ws))


@jax.jit
def gradient(gen: Generator, ws: jax.Array) -> jax.Array:
    """Of the images' sum, with respect to latents [N, L, D]."""
    return jax.grad(_total)(ws, gen)


@jax.jit
def _in_a_loop(gen: Generator, ws: jax.Array) -> jax.Array:
    def step(ws: jax.Array, _: None) -> tuple[jax.Array, None]:
        return ws - 1e-6 * jax.grad(_total)(ws, gen), None

    return jax.lax.scan(step, ws, None, length=_STEPS)[0]


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    arguments = common.parse(parser, argv)
    rows, best = [], common.limits(quick=arguments.quick)
    for case, gen, ws in common.generator_cases(arguments):
        works: dict[str, common.Work] = {
            name: lambda g=one, w=ws: gradient(g, w).block_until_ready()
            for name, one in {common.OURS: gen, **common.in_bfloat16(gen)}.items()
        }
        works |= {
            "in a loop": lambda g=gen, w=ws: _in_a_loop(g, w).block_until_ready(),
        }
        others: dict[str, peers.TorchGenerator] = {}
        if path := arguments.peer_path:
            others = peers.open_generators(path, gen, autocast=True)
        works |= peers.works(others, ws, "gradient")
        seconds = common.alternate(works, repeats=arguments.repeats)
        looped = seconds.pop("in a loop") / _STEPS
        work = 2 * common.macs(gen.config) * len(ws)
        row = {"case": case, **common.rated(seconds, work, best)}
        rows.append({**row, "a step in a loop [s]": looped})
    common.publish("gradient", rows, arguments, notes=best)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
