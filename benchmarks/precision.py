"""Products in float32 and bfloat16: does this processor multiply bfloat16 faster?

Matmuls, the 36 products of Winograd's form, and a direct 3x3 convolution, each in float32, in
bfloat16, and in bfloat16 with sums in float32 (`preferred_element_type`). Beside the rate by the
clock is that by CPU seconds, which other processes disturb less.

  python -m benchmarks.precision
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import common

_FORMS: dict[str, tuple[Any, Any]] = {
    "float32": (jnp.float32, None),
    "bfloat16": (jnp.bfloat16, None),
    "bfloat16, sums in float32": (jnp.bfloat16, jnp.float32),
}


def _works(size: int, side: int) -> dict[str, tuple[Callable[..., Any], list[np.ndarray], int]]:
    """By name: a function of two arrays and the type of sums, the arrays, and multiply-adds."""
    random = np.random.default_rng(0)

    def filled(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, np.float32)

    def matmul(a: jax.Array, b: jax.Array, kind: Any) -> jax.Array:
        return lax.dot(a, b, preferred_element_type=kind)

    def products(a: jax.Array, b: jax.Array, kind: Any) -> jax.Array:
        return jnp.einsum("pti,pio->pto", a, b, preferred_element_type=kind)

    def convolution(a: jax.Array, b: jax.Array, kind: Any) -> jax.Array:
        names = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            a, b, (1, 1), "SAME", dimension_numbers=names, preferred_element_type=kind
        )

    channels, tiles = size // 3, side * side // 16
    return {
        f"matmul of {size}": (matmul, [filled(size, size), filled(size, size)], size**3),
        f"36 products, {tiles} x {channels} x {channels}": (
            products,
            [filled(36, tiles, channels), filled(36, channels, channels)],
            36 * tiles * channels**2,
        ),
        f"convolution, {side} px, {channels} to {channels}": (
            convolution,
            [filled(1, side, side, channels), filled(3, 3, channels, channels)],
            9 * side**2 * channels**2,
        ),
    }


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    arguments = common.parse(common.parser(__doc__ or ""), argv)
    rows = []
    for name, (function, arrays, work) in _works(
        *((48, 8) if arguments.quick else (1536, 64))
    ).items():
        row: dict[str, Any] = {"what": name}
        for form, (dtype, kind) in _FORMS.items():
            given = [jnp.asarray(array, dtype) for array in arrays]
            compiled = jax.jit(function, static_argnums=2).lower(*given, kind).compile()
            jax.block_until_ready(compiled(*given))
            clock, busy = [], []
            for _ in range(arguments.repeats):
                began, used = time.perf_counter(), time.process_time()
                jax.block_until_ready(compiled(*given))
                clock.append(time.perf_counter() - began)
                busy.append(time.process_time() - used)
            row[f"{form} [GMAC/s]"] = work / min(clock) / 1e9
            row[f"{form} [GMAC/CPU s]"] = work / min(busy) / 1e9
        rows.append(row)
    common.publish("precision", rows, arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
