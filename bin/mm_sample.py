"""Render images of sampled or stored latents.

Writes one image per latent, a sheet of all of them and the latents themselves (latents.npz).
Running the same command again does what is missing.

Examples:
  mm_sample --seeds=0-7,12 --outdir=runs/faces
  mm_sample --seeds=0-31 --trunc=0.5 --grid=8x4 --outdir=runs/tame
  mm_sample --latents=runs/faces/latents.npz --noise_mode=none --format=npy --outdir=runs/arrays
"""

from __future__ import annotations

import dataclasses
from typing import BinaryIO

from etils import epy

from mm_jax import cli, parsers
from mm_jax.options import Options, option, seeds_option
from mm_jax.progress import shown
from mm_jax.sources import (
    OF_SEEDS,
    SEEDS,
    STORED,
    GeneratorOptions,
    LatentOptions,
    fingerprints,
    open_latents,
)
from mm_jax.words import counted

with epy.lazy_imports():
    import numpy as np

    from mm_jax import artifacts, io, media, rendering, zoo
    from mm_jax.media import background

LATENTS, GRID, ARRAY = "latents.npz", "grid.png", "images.npy"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources(LatentOptions):
    """Which latents."""

    seeds: tuple[int, ...] = seeds_option("0-7", SEEDS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions(Options):
    """What is written of them."""

    format: str = option("png", "Images, or one float32 array [N,H,W,3].", choices=("png", "npy"))
    grid: str = option("", "COLUMNSxROWS of the sheet of images; by default a square of up to 64.")
    noise_seed: int = option(0, "Seed of --noise_mode=random.", minimum=0)


def work(call: cli.Call) -> None:
    """Write those of the files that the folder lacks."""
    own, how, sources = call.read(SampleOptions), call.read(GeneratorOptions), call.read(Sources)
    call.refuse_beside("latents", *OF_SEEDS, why=STORED)
    gen = zoo.load_generator(how.generator, precision=how.precision)
    latents = open_latents(gen, sources)
    names, count = latents.names or (), len(latents.ws)
    columns, rows = parsers.parse_grid(own.grid, count=count)
    images = [f"{name}.png" for name in names] if own.format == "png" else []
    outputs = [LATENTS, *(images or [ARRAY]), GRID]
    run = call.open_run(outputs, **fingerprints(gen, sources.latents))
    if run is None:
        return
    missing = run.missing()
    keys = rendering.noise_keys(how.noise_mode, own.noise_seed, range(count))
    with shown() as progress:
        rendered = {
            "batch": how.batch,
            "noise_mode": how.noise_mode,
            "noise_keys": keys,
            "progress": progress,
        }
        if LATENTS in missing:
            artifacts.save_latents(run.file(LATENTS), latents)
        if ARRAY in missing:
            shape = (count, gen.config.resolution, gen.config.resolution, 3)

            def put(file: BinaryIO) -> None:
                # A float32 .npy, batch by batch: the whole need not fit into memory.
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for _, some in rendering.render_batches(gen, latents.ws, **rendered):
                    file.write(np.ascontiguousarray(some, "<f4").tobytes())

            io.write_atomic(run.file(ARRAY), put)
        on_sheet = range(min(count, columns * rows)) if GRID in missing else range(0)
        todo = {i for i, file in enumerate(images) if file in missing} | set(on_sheet)
        sheet = []
        with background.Background() as files:
            for indices, some in rendering.render_batches(
                gen, latents.ws, only=sorted(todo), as_bytes=True, **rendered
            ):
                for index, image in zip(indices, some, strict=True):
                    if images and images[index] in missing:
                        files.png(run.file(images[index]), image)
                    if index in on_sheet:
                        sheet.append(image)
        if GRID in missing:
            media.save_png(run.file(GRID), media.grid(np.stack(sheet), columns))
    on_sheet = min(count, columns * rows)
    of_them = "all of them" if on_sheet == count else f"the first {on_sheet}"
    print(
        f"{counted(count, 'image')} in {run.path}; {run.file(GRID)} shows {of_them}. Next: "
        f"mm_edit --latents={run.file(LATENTS)} --subspace=FILE --outdir=FOLDER"
    )


OPTIONS = (GeneratorOptions, Sources, SampleOptions, cli.OutputOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
