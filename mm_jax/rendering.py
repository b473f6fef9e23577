"""Images of many latents, a batch at a time: bounded memory, one compiled program, progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import latents as spaces
from mm_jax import parallel
from mm_jax.buckets import bucket, filled
from mm_jax.errors import DataError
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once
from mm_jax.stylegan2.networks import NoiseMode

__all__ = ["noise_keys", "render_all", "render_batches", "render_groups"]

_BATCH = 16


def noise_keys(noise_mode: str, seed: int, places: Sequence[int]) -> jax.Array | None:
    """Keys [N] of random noise that depend only on `seed` and each latent's place; else None.

    An image then has the same noise whichever batch it falls into, also when a run is resumed.
    """
    if noise_mode != "random":
        return None
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), np.asarray(places))


def render_batches(
    gen: Generator,
    ws: np.ndarray | jax.Array,
    *,
    only: Sequence[int] | None = None,
    batch: int | None = None,
    noise_mode: str = "const",
    noise_keys: jax.Array | None = None,
    as_bytes: bool = False,
    progress: ProgressFn = silent,
    label: str = "images",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (indices [n], images [n, H, W, 3] float32 in about [-1, 1]) with n <= `batch`.

    The next step is started before the current one is yielded, so the device keeps working while
    the caller encodes.

    Args:
        gen: the generator.
        ws: [N, L, D] latents.
        only: indices of the latents to render; all of them by default.
        batch: images per step; by default as many as fit in about 2 GiB, at most 16 per device.
            A short step is padded with repeats, which are dropped, so that one program serves all.
        noise_mode: const, none or random.
        noise_keys: for random noise: [N] keys, see `noise_keys`.
        as_bytes: yield uint8, converted on the device by the rule of `mm_jax.media.to_uint8`.
        progress: called after each step.
        label: what progress calls the work.

    Raises:
        DataError: images hold NaN or infinity; checked for bytes only.
    """
    ws = np.asarray(ws)
    indices = np.arange(len(ws)) if only is None else np.asarray(only, int)
    count = len(indices)
    if not count:
        return
    fitting = min(images_at_once(gen.config), _BATCH) * parallel.width(gen)
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
    assert begun is not None  # as there is an image
    yield _finished(*begun, count, progress, label)


# A separate program, so that the images are bitwise the same whether converted or not.
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
    """Wait for a step and drop its padding."""
    images, *finite = result
    if finite and not finite[0]:
        raise DataError("images hold NaN or infinity")
    size = min(len(taken), count - first)
    drawn = np.asarray(images)[:size]
    progress(label, first + size, count)
    return taken[:size], drawn


def render_all(gen: Generator, ws: np.ndarray | jax.Array, **options: Any) -> np.ndarray:
    """Images [..., H, W, 3] of latents [..., L, D] in one array; options as in `render_batches`."""
    ws = np.asarray(ws)
    flat = ws.reshape(-1, *ws.shape[-2:])
    images = np.concatenate([chunk for _, chunk in render_batches(gen, flat, **options)])
    return images.reshape(*ws.shape[:-2], *images.shape[1:])


def render_groups(
    gen: Generator, groups: Sequence[np.ndarray], **options: Any
) -> Iterator[np.ndarray]:
    """Yield the images [n, H, W, 3] of each group of latents [n, L, D], one group after another.

    Batches are filled across groups, so that one program serves groups of all sizes; options as in
    `render_batches`.
    """
    if not groups:
        return
    stream = render_batches(gen, np.concatenate(groups), **options)
    held: list[np.ndarray] = []
    for group in groups:
        while sum(map(len, held)) < len(group):
            held.append(next(stream)[1])
        images = np.concatenate(held)
        yield images[: len(group)]
        held = [images[len(group) :]]
