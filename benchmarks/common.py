"""What all benchmarks share: arguments, fair timing, the machine's own limits, results in files."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import io, runs
from mm_jax.allocator import keep_freed_memory
from mm_jax.errors import UsageError
from mm_jax.stylegan2.config import BASE_RESOLUTION, GeneratorConfig
from mm_jax.stylegan2.generator import Generator, make_generator

__all__ = [
    "Work",
    "alternate",
    "compared",
    "generator_cases",
    "limits",
    "macs",
    "parse",
    "parser",
    "publish",
    "random_generator",
    "rated",
    "sized",
    "start",
]

# Does the work once and waits until it is done.
Work = Callable[[], object]
# Threads of the work before wait actively for a while: they would take cores from the next.
_PAUSE = 0.2
OURS = "mm_jax"
# Ends the names of settings whose products are of bfloat16.
BFLOAT16 = ", bfloat16"


def parser(doc: str) -> argparse.ArgumentParser:
    """The arguments that every benchmark has."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--outdir", default="runs/bench", help="folder for TOPIC.json and TOPIC.md")
    made.add_argument("--repeats", type=int, default=5, help="runs of each, after one to warm up")
    made.add_argument(
        "--peer-path",
        help="what is measured beside, see README.md; NVlabs' checkout imports pkg_resources, "
        "which setuptools has no longer from 81 on: pip install torch 'setuptools<81'",
    )
    made.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    made.add_argument(
        "--system-allocator",
        action="store_true",
        help="leave memory to the C library, as a program that does not call keep_freed_memory",
    )
    return made


def parse(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; memory is kept as by the binaries, unless they say otherwise."""
    arguments = made.parse_args(argv)
    if not arguments.system_allocator:
        keep_freed_memory()
    return arguments


def start(main: Callable[[], None]) -> int:
    """Run a benchmark as a program: bad arguments are one line and exit status 2."""
    try:
        main()
    except UsageError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        return 2
    return 0


def alternate(works: Mapping[str, Work], *, repeats: int) -> dict[str, float]:
    """Median seconds of each, taken in turns (A B A B ..), so that a busy moment meets all."""
    for work in works.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            time.sleep(_PAUSE)
            began = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def compared(seconds: Mapping[str, float], *, ours: str = OURS) -> dict[str, Any]:
    """Columns of a row: the seconds of each, and how many times as fast we are as the fastest."""
    row: dict[str, Any] = {f"{name} [s]": value for name, value in seconds.items()}
    others = [value for name, value in seconds.items() if name != ours]
    if others:
        row["times as fast"] = min(others) / seconds[ours]
    return row


def rated(
    seconds: Mapping[str, float], multiply_adds: int, best: Mapping[str, float]
) -> dict[str, Any]:
    """Columns of a row: those of `compared`, our rate, and its share of that of convolutions.

    Settings whose names end with `BFLOAT16` are compared with each other, and with the peer's
    fastest in float32.
    """
    exact = {name: value for name, value in seconds.items() if not name.endswith(BFLOAT16)}
    rate = multiply_adds / seconds[OURS] / 1e9
    share = rate / best["convolution [GMAC/s]"]
    row = {**compared(exact), "GMAC/s": rate, "of the convolution rate": share}
    low = {name: value for name, value in seconds.items() if name.endswith(BFLOAT16)}
    row |= {f"{name} [s]": value for name, value in low.items()}
    ours = low.pop(OURS + BFLOAT16, None)
    for label, peers in (("peer in bfloat16", low), ("peer in float32", exact)):
        others = [value for name, value in peers.items() if name != OURS]
        if ours and others:
            row[f"bfloat16, times as fast as the {label}"] = min(others) / ours
    return row


def in_bfloat16(gen: Generator) -> dict[str, Generator]:
    """The generator with products of bfloat16 under its name for a table; none but on CPUs."""
    if jax.default_backend() != "cpu":
        return {}
    return {OURS + BFLOAT16: gen.with_precision("bfloat16")}


def macs(config: GeneratorConfig, *, resolution: int | None = None) -> int:
    """Multiply-adds of one image's 3x3 convolutions, without those that meet inserted zeros."""
    total = 0
    for r in config.block_resolutions:
        if resolution is not None and r > resolution:
            break
        channels = config.channels_at(r)
        if r > BASE_RESOLUTION:
            total += 9 * (r // 2) ** 2 * config.channels_at(r // 2) * channels
        total += 9 * r**2 * channels**2
    return total


def limits(*, quick: bool, repeats: int = 3) -> dict[str, float]:
    """What the device does at best: GMAC/s of matmuls and convolutions in float32, GB/s of copies.

    Each is the best of a few sizes, of which none is known to be the fastest everywhere.
    """

    def filled(*shape: int) -> jax.Array:
        return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)

    @jax.jit
    def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
        return a @ b

    @jax.jit
    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        names = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=names)

    @jax.jit
    def copy(x: jax.Array) -> jax.Array:
        return -x

    sizes = (64,) if quick else (1024, 2048, 4096)
    matrices = [(filled(n, n), n**3) for n in sizes]
    layers = ((8, 8),) if quick else ((512, 64), (256, 128), (128, 256), (64, 512))
    maps = [(filled(1, r, r, c), filled(3, 3, c, c), 9 * r * r * c * c) for c, r in layers]
    block = filled(1 << (16 if quick else 26))
    works: dict[str, Work] = {
        **{f"matmul {m}": lambda a=a: matmul(a, a).block_until_ready() for a, m in matrices},
        **{
            f"convolution {m}": lambda x=x, k=k: convolve(x, k).block_until_ready()
            for x, k, m in maps
        },
        f"copy {2 * block.nbytes}": lambda: copy(block).block_until_ready(),
    }
    best = {"matmul": 0.0, "convolution": 0.0, "copy": 0.0}
    for name, seconds in alternate(works, repeats=repeats).items():
        kind, amount = name.split()
        best[kind] = max(best[kind], int(amount) / seconds / 1e9)
    return {
        "matmul [GMAC/s]": best["matmul"],
        "convolution [GMAC/s]": best["convolution"],
        "copy [GB/s]": best["copy"],
    }


def random_generator(config: GeneratorConfig) -> Generator:
    """A generator of random weights: how long it takes does not depend on them."""
    random = np.random.default_rng(0)

    def draw(leaf: Any) -> jax.Array:
        return jnp.asarray(random.standard_normal(leaf.shape, np.float32))

    return make_generator(config, jax.tree.map(draw, dict(Generator.shapes(config))))


def sized(resolution: int, *, quick: bool) -> GeneratorConfig:
    """Configuration f at a resolution; a tiny one of 16 pixels if it is to be quick."""
    if quick:
        return GeneratorConfig(resolution=16, channel_max=8, z_dim=8, w_dim=8)
    return GeneratorConfig(resolution=resolution)


def generator_cases(
    arguments: argparse.Namespace,
) -> Iterator[tuple[str, Generator, np.ndarray]]:
    """Yield (name, generator, latents [N, L, D]) for each resolution and batch asked for."""
    for resolution in arguments.resolution[: 1 if arguments.quick else None]:
        gen = random_generator(sized(resolution, quick=arguments.quick))
        for batch in [2] if arguments.quick else arguments.batch:
            shape = (batch, gen.config.num_ws, gen.config.w_dim)
            ws = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
            yield f"{gen.config.resolution} px, batch {batch}", gen, ws


def _processor() -> str:
    """The processor's own name where the system tells it, and its family and model.

    Virtual machines hide the rest: AMD EPYC may be of family 25, Zen 4, or 26, Zen 5.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    said = {}  # of the first core
    for line in lines:
        key, _, value = line.partition(":")
        said.setdefault(key.strip(), value.strip())
    if "model name" not in said:
        return platform.processor() or platform.machine()
    numbers = [f"{key.split()[-1]} {said[key]}" for key in ("cpu family", "model") if key in said]
    return said["model name"] + (f" ({', '.join(numbers)})" if numbers else "")


def _machine(outdir: str) -> dict[str, Any]:
    devices = sorted({device.device_kind for device in jax.devices()})
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "devices": f"{len(jax.devices())} x {', '.join(devices)}",
        "load before": round(os.getloadavg()[0], 1),
        "versions": runs.versions(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "outdir": outdir,
    }


def publish(
    topic: str,
    rows: Sequence[Mapping[str, Any]],
    arguments: argparse.Namespace,
    *,
    notes: Mapping[str, Any] | None = None,
    further: Mapping[str, Any] | None = None,
) -> None:
    """Write TOPIC.json and TOPIC.md and print the latter.

    Args:
        topic: name of the benchmark.
        rows: of the table; columns are in the order in which they first occur.
        arguments: as given.
        notes: figures that belong to no row, such as the machine's limits.
        further: what else the json holds; it is not printed.
    """
    machine = _machine(arguments.outdir)
    command = {k: v for k, v in vars(arguments).items() if v not in (None, False)}
    whole = {"topic": topic, "machine": machine, "arguments": command, "rows": rows}
    whole |= further or {}
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [
        f"## {topic}",
        "",
        f"{machine['cores']} cores of {machine['processor']}, {machine['devices']}, "
        f"load {machine['load before']}; "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        + f"; {machine['date']}",
        "",
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
    ]
    lines += ["| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in rows]
    if notes:
        lines += ["", *(f"{name}: {_cell(value)}" for name, value in notes.items())]
    folder = Path(arguments.outdir)
    io.write_json(folder / f"{topic}.json", {**whole, "notes": dict(notes or {})})
    text = "\n".join(lines) + "\n"
    io.write_atomic(folder / f"{topic}.md", lambda file: file.write(text.encode()))
    print(text)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
