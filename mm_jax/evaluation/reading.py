"""Factors that a probe reads from images and from the images of latents, a batch at a time."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from mm_jax import rendering
from mm_jax.perceptual.probe import Probe, read_factors
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator

__all__ = ["factor_scale", "r_squared", "read_images", "read_latents"]


def read_images(probe: Probe, images: np.ndarray, *, batch: int = 16) -> np.ndarray:
    """Factors [N, F] of images [N, H, H, 3], floats in [-1, 1] or uint8.

    The last batch is filled up, so one program does.
    """
    read = []
    for first in range(0, len(images), batch):
        part = images[first : first + batch]
        if part.dtype == np.uint8:
            part = part.astype(np.float32) / 127.5 - 1
        full = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        read.append(np.asarray(read_factors(probe, jnp.asarray(full)))[: len(part)])
    return np.concatenate(read)


def factor_scale(readings: np.ndarray) -> np.ndarray:
    """[F] standard deviation of each factor over the readings [N, F] of a population.

    It is the unit in which changes of factors are compared; a factor that does not vary has 1e-6.
    """
    return np.maximum(readings.std(axis=0), 1e-6)


def r_squared(read: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Coefficient of determination of each column: ``[N, F], [N, F] -> [F]``."""
    residual = np.mean((read - truth) ** 2, axis=0)
    return 1 - residual / np.var(truth, axis=0)


def read_latents(
    gen: Generator,
    probe: Probe,
    ws: Any,
    *,
    batch: int = 16,
    progress: ProgressFn = silent,
    label: str = "reading",
) -> np.ndarray:
    """Factors [..., F] that the probe reads from the images of latents [..., L, D]."""
    ws = np.asarray(ws)
    flat = ws.reshape(-1, *ws.shape[-2:])
    read = [
        read_images(probe, images, batch=batch)
        for _, images in rendering.render_batches(
            gen, flat, batch=batch, progress=progress, label=label
        )
    ]
    values = np.concatenate(read)
    return values.reshape(*ws.shape[:-2], values.shape[-1])
