"""Move faces along the subspaces of micromotions.

Writes for every code a strip of pictures and a clip, and one report. Strength 1 is the full motion
of the anchors, -1 its opposite. Several subspaces add up; --strength given once is for all of them,
else once for each. Running the same command again does what is missing.

Examples:
  mm_edit --subspace=runs/smile/subspace.npz --seeds=100-103 --outdir=runs/smiling
  mm_edit --subspace=runs/smile/subspace.npz --strength=-1,0,1 --format=png,gif --outdir=runs/three
  mm_edit --subspace=runs/smile/subspace.npz --strength=0:1 --subspace=runs/age/subspace.npz \
--strength=0:0.5 --layers=0-7 --outdir=runs/both
"""

from __future__ import annotations

from mm_jax import cli
from mm_jax.jobs.settings import EditSettings, check_layers
from mm_jax.progress import shown


def define(f: cli.Flags) -> None:
    cli.flag(f, "subspace", [], "Subspace to move along (.npz); repeat to combine.", kind=list)
    cli.flag(f, "strength", ["-1:1"], "LOW:HIGH, or a list of strengths.", kind=list)
    cli.flag(f, "frames", 30, "Frames of a LOW:HIGH range.")
    cli.flag(f, "format", "mp4", "Some of mp4,gif,png,npy: clips, frames, one float32 array.")
    cli.define_settings(f, EditSettings)
    cli.define_generator(f)
    cli.define_latents(f, seeds="100-103")
    cli.define_output(f)


def work(f: cli.Flags) -> None:
    given = {"formats": tuple(f.format.split(",")), "noise_mode": f.noise_mode, "batch": f.batch}
    strengths = cli.read_strengths(f)
    settings = cli.read_settings(f, EditSettings, strengths=strengths, **given)
    gen, latents = cli.load_codes(f)
    check_layers(settings.layers, gen.config.num_ws)
    subspaces = cli.load_subspaces(f.subspace, gen)
    from mm_jax.jobs import edit

    names = latents.names or ()
    outputs = edit.outputs(names, settings)
    run = cli.open_run(f, "mm_edit", outputs, **cli.inputs(gen, f.latents, *f.subspace))
    if run is not None:
        with shown() as progress:
            edit.edit(gen, latents, subspaces, run, settings, progress=progress)
        print(f"{len(names)} faces of {settings.frames} frames: {run.path}/report.html")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
