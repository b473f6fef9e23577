"""mm_sample: codes to pictures."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from mm_jax import io, media
from mm_jax.artifacts import Latents, save_latents
from mm_jax.jobs import pictures
from mm_jax.jobs.background import Background
from mm_jax.progress import ProgressFn, silent
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator

__all__ = ["outputs", "sample"]

LATENTS, GRID, ARRAY = "latents.npz", "grid.png", "images.npy"


def outputs(latents: Latents, *, image_format: str) -> list[str]:
    """Names of the files that `sample` writes."""
    assert latents.names is not None
    each = [ARRAY] if image_format == "npy" else [f"{name}.png" for name in latents.names]
    return [LATENTS, *each, GRID]


def sample(
    gen: Generator,
    latents: Latents,
    run: RunFolder,
    *,
    image_format: str = "png",
    grid: tuple[int, int],
    noise_mode: str = "const",
    noise_seed: int = 0,
    batch: int | None = None,
    progress: ProgressFn = silent,
) -> list[str]:
    """Write those of `outputs` that the folder lacks.

    Args:
        gen: the generator.
        latents: codes [N, L, D], each with a name.
        run: the open folder.
        image_format: "png" writes one picture per code; "npy" one float32 [N, H, W, 3], unclipped.
        grid: columns and rows of the sheet; it shows as many of the first pictures as it can hold.
        noise_mode: const, none or random.
        noise_seed: seed of random noise, which depends on it and a code's place in `latents`.
        batch: pictures per step, as in `pictures.batches`.
        progress: told of the pictures.

    Returns:
        The names of the files written.
    """
    missing = run.missing()
    keys = pictures.noise_keys_of(noise_mode, noise_seed, range(len(latents.ws)))
    draw = functools.partial(
        pictures.batches,
        gen,
        latents.ws,
        batch=batch,
        noise_mode=noise_mode,
        noise_keys=keys,
        progress=progress,
    )
    if LATENTS in missing:
        save_latents(run.file(LATENTS), latents)
    if ARRAY in missing:
        shape = (len(latents.ws), gen.config.resolution, gen.config.resolution, 3)
        io.write_atomic(run.file(ARRAY), lambda file: _write_npy(file, shape, draw()))
    assert latents.names is not None
    files = [f"{name}.png" for name in latents.names] if image_format == "png" else []
    on_sheet = range(min(len(latents.ws), grid[0] * grid[1])) if GRID in missing else range(0)
    wanted = {i for i, name in enumerate(files) if name in missing} | set(on_sheet)
    sheet = []
    with Background() as background:
        for indices, images in draw(only=sorted(wanted), as_bytes=True):
            for index, image in zip(indices, images, strict=True):
                if files and files[index] in missing:
                    background.png(run.file(files[index]), image)
                if index in on_sheet:
                    sheet.append(image)
    if GRID in missing:
        media.save_png(run.file(GRID), media.grid(np.stack(sheet), grid[0]))
    return missing


def _write_npy(file: BinaryIO, shape: tuple[int, ...], stream: Iterator) -> None:
    """A float32 `.npy`, a batch at a time: the whole need not fit into memory."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for _, images in stream:
        file.write(np.ascontiguousarray(images, "<f4").tobytes())
