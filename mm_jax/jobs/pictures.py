"""Pictures of many codes, a batch at a time: bounded memory, one compiled program, progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import latents as spaces
from mm_jax import parallel
from mm_jax.buckets import bucket, filled
from mm_jax.errors import DataError
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
    as_bytes: bool = False,
    progress: ProgressFn = silent,
    label: str = "pictures",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (indices [n], pictures [n, H, W, 3] float32 in about [-1, 1]) with n <= `batch`.

    Each step is begun before the one before it is yielded, so that the device works on while the
    caller encodes.

    Args:
        gen: the generator.
        ws: [N, L, D] codes.
        only: indices of the codes to draw; by default all of them.
        batch: pictures per step, by default as many as fit in about 2 GiB and at most 16, on each
            device. The last step, or fewer pictures than that, are filled up with repeats, which
            are dropped, so that one program serves all.
        noise_mode: const, none or random.
        noise_keys: for random noise: [N] keys, see `noise_keys_of`.
        as_bytes: yield uint8, by the rule of `media.to_uint8`, converted on the device.
        progress: told after each step.
        label: what progress calls the work.

    Raises:
        DataError: pictures hold NaN or infinity; of bytes only.
    """
    ws = np.asarray(ws)
    indices = np.arange(len(ws)) if only is None else np.asarray(only, int)
    count = len(indices)
    if not count:
        return
    fitting = min(pictures_at_once(gen.config), _BATCH) * parallel.width(gen)
    batch = min(batch or fitting, bucket(count))
    mode = cast(NoiseMode, noise_mode)  # `synthesize` refuses any other
    progress(label, 0, count)
    begun: tuple[int, np.ndarray, tuple[jax.Array, ...]] | None = None
    for first in range(0, count, batch):
        taken = filled(indices[first : first + batch], batch)
        keys = None if noise_keys is None else noise_keys[taken]
        images = spaces.synthesize(gen, ws[taken], noise_mode=mode, noise_key=keys)
        before, begun = begun, (first, taken, _to_bytes(images) if as_bytes else (images,))
        if before is not None:
            yield _finished(*before, count, progress, label)
    assert begun is not None  # as there is a picture
    yield _finished(*begun, count, progress, label)


# A program of its own, so that the pictures are the same to the last bit whether converted or not.
@jax.jit
def _to_bytes(images: jax.Array) -> tuple[jax.Array, jax.Array]:
    levels = jnp.rint((jnp.clip(images, -1.0, 1.0) + 1.0) * 127.5)
    return levels.astype(jnp.uint8), jnp.isfinite(images).all()


def _finished(
    first: int,
    taken: np.ndarray,
    result: tuple[jax.Array, ...],
    count: int,
    progress: ProgressFn,
    label: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Wait for a step and drop what fills it up."""
    images, *finite = result
    if finite and not finite[0]:
        raise DataError("pictures hold NaN or infinity")
    size = min(len(taken), count - first)
    drawn = np.asarray(images)[:size]
    progress(label, first + size, count)
    return taken[:size], drawn


def all_pictures(gen: Generator, ws: np.ndarray | jax.Array, **options) -> np.ndarray:
    """Pictures [..., H, W, 3] of codes [..., L, D] in one array; options as in `batches`."""
    ws = np.asarray(ws)
    flat = ws.reshape(-1, *ws.shape[-2:])
    images = np.concatenate([chunk for _, chunk in batches(gen, flat, **options)])
    return images.reshape(*ws.shape[:-2], *images.shape[1:])
