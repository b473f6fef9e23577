"""Draw pictures of sampled or stored latent codes.

Writes one picture per code, a sheet of all of them and the codes themselves (latents.npz).
Running the same command again does what is missing.

Examples:
  mm_sample --seeds=0-7,12 --outdir=runs/faces
  mm_sample --seeds=0-31 --trunc=0.5 --grid=8x4 --outdir=runs/tame
  mm_sample --latents=runs/faces/latents.npz --noise_mode=none --format=npy --outdir=runs/arrays
"""

from __future__ import annotations

from mm_jax import cli, flag_types
from mm_jax.progress import shown


def define(f: cli.Flags) -> None:
    cli.define_generator(f)
    cli.define_latents(f, seeds="0-7")
    cli.flag(
        f, "format", "png", "Pictures, or one float32 array [N,H,W,3].", choices=["png", "npy"]
    )
    cli.flag(
        f, "grid", "", "COLUMNSxROWS of the sheet of pictures; by default a square of up to 64."
    )
    cli.flag(f, "noise_seed", 0, "Seed of --noise_mode=random.")
    cli.define_output(f)


def work(f: cli.Flags) -> None:
    gen, latents = cli.load_codes(f)
    grid = flag_types.parse_grid(f.grid, count=len(latents.ws))
    from mm_jax.jobs import sample

    run = cli.open_run(
        f,
        "mm_sample",
        sample.outputs(latents, image_format=f.format),
        **cli.inputs(gen, f.latents),
    )
    if run is None:
        return
    options = {"noise_mode": f.noise_mode, "noise_seed": f.noise_seed, "batch": f.batch}
    with shown() as progress:
        sample.sample(
            gen, latents, run, image_format=f.format, grid=grid, **options, progress=progress
        )
    print(f"{len(latents.ws)} pictures in {run.path}; a sheet of them is {run.file(sample.GRID)}")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
