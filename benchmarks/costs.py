"""What a million images take on other machines: derived from counts, nothing of it is measured.

  python -m benchmarks.costs                    # the table of docs/cluster.md
  python -m benchmarks.costs --utilisation 0.5
  python -m benchmarks.costs --png              # where the rate of encoding comes from

A device does `utilisation` of its peak rate. A sample is an image's multiply-adds, an inversion
twice as many in each step, and a multiply-add is two operations. A machine writes no more PNGs than
its cores encode; inversions write none.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np

from benchmarks import common
from mm_jax import media
from mm_jax.stylegan2.config import GeneratorConfig

__all__ = ["MACHINES", "Machine", "device_hours", "inversions_per_second", "samples_per_second"]


@dataclasses.dataclass(frozen=True)
class Machine:
    """Devices that are rented together.

    Attributes:
        name: of the machine.
        devices: how many there are.
        peak: operations per second of one, of float32 products as JAX computes them by default.
        cores: of the hosts, for each device.
    """

    name: str
    devices: int
    peak: float
    cores: float


# By their makers' data sheets: the GPU in TF32 without sparsity, the TPUs in bfloat16. Cores are
# half of the vCPUs of a3-ultragpu-8g, ct5lp-hightpu-4t and ct6e-standard-8t.
MACHINES = (
    Machine("H200", 1, 494.7e12, 14),
    Machine("TPU v5e-16", 16, 197e12, 14),
    Machine("TPU v6e-8", 8, 918e12, 11.25),
)
# Images that a core encodes in a second, by --png on a core of an "AMD EPYC", 2026-11-26.
ENCODED = {256: 76, 512: 17, 1024: 4.5}


def _computed(machine: Machine, resolution: int, utilisation: float, passes: int) -> float:
    operations = 2 * common.macs(GeneratorConfig(resolution=resolution)) * passes
    return machine.devices * machine.peak * utilisation / operations


def samples_per_second(
    machine: Machine, resolution: int, utilisation: float
) -> tuple[float, float]:
    """What the devices compute, and how much of it the cores write as PNG."""
    computed = _computed(machine, resolution, utilisation, 1)
    return computed, min(computed, machine.devices * machine.cores * ENCODED[resolution])


def inversions_per_second(
    machine: Machine, resolution: int, utilisation: float, *, steps: int
) -> float:
    """Images and gradients, `steps` of them for each inversion."""
    return _computed(machine, resolution, utilisation, 2 * steps)


def device_hours(machine: Machine, rate: float) -> float:
    """Of a million; times the price of a device-hour it is their cost."""
    return machine.devices * 1e6 / rate / 3600


def _table(utilisation: float, steps: int) -> list[str]:
    columns = (
        "machine", "px", "computed/s", "cores to encode that", "written/s",
        "device-hours a million", "inversions/s", "device-hours a million inversions",
    )  # fmt: skip
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for machine in MACHINES:
        for resolution, encoded in ENCODED.items():
            computed, written = samples_per_second(machine, resolution, utilisation)
            inverted = inversions_per_second(machine, resolution, utilisation, steps=steps)
            figures = (
                computed, computed / encoded, written, device_hours(machine, written),
                inverted, device_hours(machine, inverted),
            )  # fmt: skip
            cells = [machine.name, str(resolution), *map(_two_digits, figures)]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"


def _encoded(resolution: int, seconds: float) -> float:
    """Images per second of `media.png_bytes`, of smooth colours with grain.

    With grain of two grey levels an image of 1024 px takes 1.4 MB, about what those of FFHQ take;
    without it, encoding is many times as fast.
    """
    across = np.linspace(-0.8, 0.8, resolution, dtype=np.float32)
    smooth = np.stack([across[None] * across[:, None], across[None] ** 2 + 0 * across[:, None]], -1)
    grain = np.random.default_rng(0).normal(0, 2 / 127.5, (resolution, resolution, 3))
    image = smooth[..., [0, 1, 0]] + grain.astype(np.float32)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        media.png_bytes(image)
        count += 1
    return count / (time.perf_counter() - began)


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utilisation", type=float, default=0.3, help="of a device's peak rate")
    parser.add_argument("--steps", type=int, default=50, help="of an inversion")
    parser.add_argument("--png", action="store_true", help="measure how fast a core encodes here")
    arguments = parser.parse_args(argv)
    if arguments.png:
        for resolution in ENCODED:
            print(f"{resolution} px: {_encoded(resolution, 5.0):.2g} pictures/s")
        return
    print("\n".join(_table(arguments.utilisation, arguments.steps)))


if __name__ == "__main__":
    raise SystemExit(common.start(main))
