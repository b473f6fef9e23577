"""Find five micromotions, from prompts and a video, and measure how they move unseen faces.

Works on the bundled models: a StyleGAN2 of rendered people, a CLIP and a probe that reads factors
off images. Writes strips, videos, subspaces, truth.json and report.html, and prints the metrics.
Running the same command again does what is missing.

Examples:
  mm_demo --outdir=runs/demo
  mm_demo --motions=smile,aging --faces=200-207 --outdir=runs/two
  mm_demo --gradients=512 --identities=1000-1255 --outdir=runs/long
"""

from __future__ import annotations

import dataclasses
import time

from etils import epy

from mm_jax import cli
from mm_jax.demo.options import DemoOptions
from mm_jax.options import Options, option
from mm_jax.progress import shown
from mm_jax.sources import fingerprints

with epy.lazy_imports():
    from mm_jax import zoo
    from mm_jax.demo import report
    from mm_jax.demo import run as demo
    from mm_jax.encoders import encoder as encoders
    from mm_jax.perceptual import clip_files, probe


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """Which models."""

    generator: str = option(zoo.GENERATOR, "Name of a bundled generator, or a folder of one.")
    clip: str = option(zoo.CLIP, "CLIP: a bundled name, a folder, or a hub id.")
    judge: str = option(zoo.JUDGE, "Probe that reads factors: bundled name, or folder.")
    encoder: str = option("auto", "Guesses the latents of a video: name, folder, none, or auto.")
    install: bool = option(False, "Put the subspaces into the package, as the bundled motions.")


def work(call: cli.Call) -> None:
    """Do what the folder lacks, and print the metrics."""
    began = time.monotonic()
    models, options = call.read(ModelOptions), call.read(DemoOptions)
    gen, clip = zoo.load_generator(models.generator), clip_files.load_clip(models.clip)
    for name in options.videos:
        zoo.bundled_video(name)  # an unknown one is refused before work
    judge = probe.load_probe(models.judge)
    encoder = None
    if options.videos:
        encoder = encoders.open_encoder(models.encoder, models.generator, gen)
    inputs = fingerprints(gen, clip=clip, judge=judge, encoder=encoder)
    run = call.open_run(demo.outputs(options), apart=["install"], **inputs)
    if run is None:
        return
    with shown() as progress:
        truths = demo.run_demo(gen, clip, judge, encoder, run, options, progress=progress)
    report.print_truth(truths)
    if models.install:
        with shown() as progress:
            where = demo.install_motions(
                gen, clip, models.generator, run, options, progress=progress
            )
        print(f"Installed: {where}")
    page = run.file("report.html").resolve()
    took = time.monotonic() - began
    print(
        f"Done in {took:.0f} s. Open {page.as_uri()} in a browser; mm_studio lets you drag the "
        "motions yourself."
    )


OPTIONS = (ModelOptions, DemoOptions, cli.OutputOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
