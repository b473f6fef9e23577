"""Find the latents of faces in images.

Faces are found and cropped as the generator's own images are, unless they are --aligned. Writes
the latents (latents.npz, for mm_edit --latents), what the generator renders for them beside the
images, errors.json and a report, with a verdict: is each the same person? Running the same command
again resumes image by image. Where the generator does not know the images, a copy of it is
fine-tuned to them; it is written to OUTDIR/generator. --notune leaves that out, --tune does it in
any case. If no image is rebuilt so that it is of use, the exit status is 1, unless --keep.

Examples:
  mm_invert --image=face.png --outdir=runs/mine
  mm_invert --image='faces/*.jpg' --steps=100 --mean_weight=0.1 --outdir=runs/faces
  mm_invert --image=crops --aligned --encoder=none --steps=500 --space=w --outdir=runs/w
  mm_invert --image=face.png --tune --outdir=runs/tuned
"""

from __future__ import annotations

import dataclasses

from etils import epy

from mm_jax import cli
from mm_jax.alignment.options import AlignOptions
from mm_jax.inversion.options import (
    InversionPlan,
    InversionSources,
    InvertOptions,
    JudgeOptions,
    TuneOptions,
)
from mm_jax.media.image_files import expand
from mm_jax.options import Options, option
from mm_jax.progress import shown
from mm_jax.sources import fingerprints, precision_option

with epy.lazy_imports():
    from mm_jax import zoo
    from mm_jax.inversion import folder, inputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """Which images, and for which generator."""

    image: list[str] = option([], "Image, pattern or folder of them; repeatable.")
    generator: str = option(zoo.GENERATOR, "Name of a bundled generator, or a folder of one.")
    batch: int | None = option(
        None, "Images per step; by default what fits in 2 GiB.", kind=int, minimum=1
    )
    precision: str = precision_option()


def work(call: cli.Call) -> int | None:
    """Invert the images that the folder lacks."""
    own, align = call.read(ImageOptions), call.read(AlignOptions)
    sources = call.read(InversionSources)
    plan = InversionPlan(
        sources=sources, invert=call.read(InvertOptions), tuning=call.read(TuneOptions)
    )
    paths = expand(own.image)
    gen = zoo.load_generator(own.generator, precision=own.precision)
    networks = inputs.open_networks(gen, own.generator, sources)
    faces = inputs.open_images(gen, paths, align, start=sources.start)
    hashes = fingerprints(
        gen, *paths, sources.start, align.landmarks,
        encoder=networks.encoder, lpips=networks.lpips, identity=networks.identity,
    )  # fmt: skip
    run = call.open_run(
        folder.outputs(faces.names, tune=sources.tune),
        perhaps=folder.perhaps(faces.names, tune=sources.tune),
        apart=["keep"],
        **hashes,
    )
    if run is None:
        return None
    with shown() as progress:
        found = folder.invert_into(
            run, gen, faces, networks, plan, generator_name=own.generator, batch=own.batch,
            progress=progress,
        )  # fmt: skip
    print(
        f"{found.verdict.line()}: {run.path}/report.html. "
        f"Next: mm_edit --latents={run.path}/latents.npz --subspace=FILE --outdir=FOLDER"
    )
    return 0 if found.verdict.usable or call.read(JudgeOptions).keep else 1


OPTIONS = (
    ImageOptions, InversionSources, InvertOptions, TuneOptions, AlignOptions, JudgeOptions,
    cli.OutputOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
