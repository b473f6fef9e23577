"""Forms of the layers' convolutions, one batch of each size of configuration f: which is quickest.

Convolutions that keep the size: direct, and by Winograd's minimal filtering, with the largest error
of either in units of the result's standard deviation, against float64 at some pixels. Convolutions
that double it, with their filter: in phases, and folded into one. Each also with its gradient in x,
which is another convolution, of those that double the size one of stride 2. What the library takes
is marked, with its rate relative to the direct convolution's of the larger size, and with the
gradient in the kernel alone.

  python -m benchmarks.layers
  python -m benchmarks.layers --resolution 64 128 256 512 1024 --batch 4
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from mm_jax.stylegan2 import conv, resample, winograd

_PIXELS = 64
_RATE = "of the direct rate"


def _gradient(form: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Of a form that is linear in x: its adjoint, at the result for x itself."""

    def adjoint(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y, pull = jax.vjp(lambda x: form(x, kernel), x)
        return pull(y)[0]

    return adjoint


def _kernel_gradient(form: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Of a form that is linear in the kernel: its adjoint there, without the result itself."""

    def adjoint(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> jax.Array:
        return jax.vjp(lambda kernel: form(x, kernel), kernel)[1](dy)[0]

    return adjoint


def _error(y: np.ndarray, x: np.ndarray, kernel: np.ndarray) -> float:
    """The largest, at some pixels away from the border."""
    random = np.random.default_rng(0)
    rows, columns = random.integers(1, x.shape[1] - 1, (2, _PIXELS))
    windows = [x[0, r - 1 : r + 2, c - 1 : c + 2] for r, c in zip(rows, columns, strict=True)]
    want = np.einsum("phwi,hwio->po", np.stack(windows).astype(np.float64), kernel)
    return float(np.abs(y[0, rows, columns] - want).max() / want.std())


def _arrays(batch: int, side: int, fan_in: int, fan_out: int) -> tuple[jax.Array, jax.Array]:
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, side, side, fan_in), np.float32)
    kernel = random.standard_normal((3, 3, fan_in, fan_out), np.float32)
    return jnp.asarray(x), jnp.asarray(kernel / np.float32(np.sqrt(9 * fan_in)))


def _timed(
    forms: Mapping[str, Callable[..., jax.Array]], x: jax.Array, kernel: jax.Array, repeats: int
) -> dict[str, Any]:
    works: dict[str, common.Work] = {}
    for name, form in forms.items():
        for label, function in ((name, form), (f"{name}, gradient", _gradient(form))):
            run = functools.partial(jax.jit(function), x, kernel)
            works[label] = lambda run=run: run().block_until_ready()
    taken = list(forms.values())[-1]
    run = functools.partial(jax.jit(_kernel_gradient(taken)), x, kernel, taken(x, kernel))
    works["kernel's gradient"] = lambda: run().block_until_ready()
    seconds = common.alternate(works, repeats=repeats)
    return {f"{name} [ms]": 1e3 * value for name, value in seconds.items()}


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, nargs="+", default=[32, 64, 128, 256, 512, 1024])
    parser.add_argument("--batch", type=int, default=1)
    arguments = common.parse(parser, argv)
    config = common.sized(1024, quick=arguments.quick)
    same = {
        "direct": functools.partial(conv.direct, padding=((1, 1), (1, 1))),
        "Winograd": winograd.convolve,
        "as taken": conv.conv2d,
    }
    doubling = {
        "phases": resample.in_phases,
        "folded": resample.folded,
        "as taken": resample.up_conv2d,
    }
    rows: list[dict[str, Any]] = []
    for side in [16] if arguments.quick else arguments.resolution:
        before, channels = config.channels_at(side // 2), config.channels_at(side)
        x, kernel = _arrays(arguments.batch, side, channels, channels)
        row: dict[str, Any] = {"layer": f"{side} px, {channels} to {channels}"}
        row |= _timed(same, x, kernel, arguments.repeats)
        for name in ("direct", "Winograd"):
            y = np.asarray(same[name](x, kernel))
            row[f"error, {name}"] = _error(y, np.asarray(x), np.asarray(kernel))
        # Milliseconds of the direct form for each product of pixels and channels.
        direct = row["direct [ms]"] / (side**2 * channels**2)
        row[_RATE] = row["direct [ms]"] / row["as taken [ms]"]
        row["taken"] = "Winograd" if winograd.pays(x.shape, kernel.shape) else "direct"
        rows.append(row)
        x, kernel = _arrays(arguments.batch, side // 2, before, channels)
        row = {"layer": f"{side // 2} to {side} px, {before} to {channels}"}
        row |= _timed(doubling, x, kernel, arguments.repeats)
        row[_RATE] = direct * (side // 2) ** 2 * before * channels / row["as taken [ms]"]
        rows.append({**row, "taken": "phases, gradient by stride 2"})
    common.publish("layers", rows, arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
