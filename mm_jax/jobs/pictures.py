"""Pictures of many codes, a batch at a time: bounded memory, one compiled program, progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import jax
import numpy as np

from mm_jax import latents as spaces
from mm_jax.buckets import bucket
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import pictures_at_once
from mm_jax.stylegan2.networks import NoiseMode

__all__ = ["all_pictures", "batches", "noise_keys_of"]

_BATCH = 16


def noise_keys_of(noise_mode: str, seed: int, places: Sequence[int]) -> jax.Array | None:
    """Keys [N] of random noise that depend on `seed` and each code's place alone; else None.

    A picture then has the same noise whatever batch it falls into, or run after an interruption.
    """
    if noise_mode != "random":
        return None
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), np.asarray(places))


def batches(
    gen: Generator,
    ws: np.ndarray | jax.Array,
    *,
    only: Sequence[int] | None = None,
    batch: int | None = None,
    noise_mode: str = "const",
    noise_keys: jax.Array | None = None,
    progress: ProgressFn = silent,
    label: str = "pictures",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (indices [n], pictures [n, H, W, 3] float32 in about [-1, 1]) with n <= `batch`.

    Args:
        gen: the generator.
        ws: [N, L, D] codes.
        only: indices of the codes to draw; by default all of them.
        batch: pictures per step, by default as many as fit in about 2 GiB and at most 16. The last
            step, or fewer pictures than that, are filled up with repeats, which are dropped, so
            that one program serves all.
        noise_mode: const, none or random.
        noise_keys: for random noise: [N] keys, see `noise_keys_of`.
        progress: told after each step.
        label: what progress calls the work.
    """
    ws = np.asarray(ws)
    indices = np.arange(len(ws)) if only is None else np.asarray(only, int)
    count = len(indices)
    if not count:
        return
    batch = min(batch or min(pictures_at_once(gen.config), _BATCH), bucket(count))
    mode = cast(NoiseMode, noise_mode)  # `synthesize` refuses any other
    progress(label, 0, count)
    for first in range(0, count, batch):
        taken = indices[np.minimum(np.arange(first, first + batch), count - 1)]
        keys = None if noise_keys is None else noise_keys[taken]
        images = spaces.synthesize(gen, ws[taken], noise_mode=mode, noise_key=keys)
        size = min(batch, count - first)
        progress(label, first + size, count)
        yield taken[:size], np.asarray(images)[:size]


def all_pictures(gen: Generator, ws: np.ndarray | jax.Array, **options) -> np.ndarray:
    """Pictures [..., H, W, 3] of codes [..., L, D] in one array; options as in `batches`."""
    ws = np.asarray(ws)
    flat = ws.reshape(-1, *ws.shape[-2:])
    images = np.concatenate([chunk for _, chunk in batches(gen, flat, **options)])
    return images.reshape(*ws.shape[:-2], *images.shape[1:])
