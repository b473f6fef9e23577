"""Find the latent codes of faces in pictures.

Faces are found and cut out as the generator's own pictures are, unless they are --aligned. Writes
the codes (latents.npz, for mm_edit --latents), what the generator draws for them beside the
pictures, errors.json and a report. Running the same command again goes on picture by picture.
--tune fine-tunes a copy of the generator to the pictures; it is written to OUTDIR/generator.

Examples:
  mm_invert --image=face.png --outdir=runs/mine
  mm_invert --image='faces/*.jpg' --steps=100 --mean_weight=0.01 --outdir=runs/faces
  mm_invert --image=crops --aligned --encoder=none --steps=500 --space=w --outdir=runs/w
  mm_invert --image=face.png --tune --outdir=runs/tuned
"""

from __future__ import annotations

from mm_jax import cli
from mm_jax.jobs import invert_flags
from mm_jax.jobs.invert_settings import InvertSettings, TuneSettings
from mm_jax.progress import shown


def define(f: cli.Flags) -> None:
    cli.flag(f, "image", [], "Picture, pattern or folder of them; repeatable.", kind=list)
    cli.flag(f, "generator", "synthface", "Name of a bundled generator, or a folder of one.")
    invert_flags.define(f)
    cli.flag(f, "batch", None, "Pictures per step; by default what fits in 2 GiB.", kind=int)
    cli.define_output(f)


def work(f: cli.Flags) -> None:
    cli.positive(f, "batch")
    settings, tune = cli.read_settings(f, InvertSettings), cli.read_settings(f, TuneSettings)
    from mm_jax.jobs import invert, invert_inputs

    gen, faces, looks, facts = invert_inputs.load(f)
    run = cli.open_run(f, "mm_invert", invert.outputs(faces.names, tune), **facts)
    if run is None:
        return
    with shown() as progress:
        dbs = invert.invert_faces(
            gen, faces, looks, run, settings, tune,
            generator_name=f.generator, batch=f.batch, progress=progress,
        )  # fmt: skip
    mean = sum(dbs.values()) / len(dbs)
    print(f"{len(dbs)} pictures at {mean:.1f} dB: {run.path}/latents.npz, {run.path}/report.html")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
