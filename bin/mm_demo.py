"""Find five micromotions, from prompts and a clip, and measure how they move unseen faces.

Works on the bundled models: a StyleGAN2 of procedural faces, a CLIP and a probe that reads factors
off pictures. Writes strips, clips, subspaces, truth.json and report.html, and prints the figures.
Running the same command again does what is missing.

Examples:
  mm_demo --outdir=runs/demo
  mm_demo --motions=smile,aging --faces=200-207 --outdir=runs/two
  mm_demo --steps=60 --starts=0-5 --identities=1000-1255 --outdir=runs/long
"""

from __future__ import annotations

import time

from mm_jax import cli
from mm_jax.jobs.settings import DemoSettings
from mm_jax.progress import shown


def define(f: cli.Flags) -> None:
    cli.flag(f, "generator", "synthface", "Name of a bundled generator, or a folder of one.")
    cli.flag(f, "clip", "synthface-clip", "CLIP: a bundled name, a folder, or a hub id.")
    cli.flag(f, "judge", "synthface-judge", "Probe that reads factors: bundled name, or folder.")
    cli.flag(f, "encoder", "auto", "Guesses the codes of a clip: name, folder, none, or auto.")
    cli.flag(f, "batch", 16, "Pictures per step; less needs less memory.")
    cli.define_settings(f, DemoSettings)
    cli.define_output(f)


def work(f: cli.Flags) -> None:
    began = time.monotonic()
    settings = cli.read_settings(f, DemoSettings, batch=f.batch)
    from mm_jax import demo
    from mm_jax.jobs.demo_report import print_truth
    from mm_jax.jobs.encoders import open_encoder
    from mm_jax.perceptual import load_clip
    from mm_jax.synthface.probe import load_probe
    from mm_jax.zoo import load_generator

    gen, clip, judge = load_generator(f.generator), load_clip(f.clip), load_probe(f.judge)
    encoder = open_encoder(f.encoder, f.generator, gen) if settings.clips else None
    facts = cli.inputs(gen, clip=clip, judge=judge, encoder=encoder)
    run = cli.open_run(f, "mm_demo", demo.outputs(settings), **facts)
    if run is None:
        return
    with shown() as progress:
        truths = demo.run_demo(gen, clip, judge, encoder, run, settings, progress=progress)
    print_truth(truths)
    report = run.file("report.html").resolve()
    print(f"Done in {time.monotonic() - began:.0f} s. Open {report.as_uri()} in a browser.")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
