"""Train the bundled models: probes, generator, CLIP, encoder and sketches of procedural faces.

Hours on two cores. Checkpoints, figures.json and sample sheets go to --outdir; running the same
command again goes on from there. A stage takes what it needs from --outdir, or else what is
bundled. With --install the models replace those of this installation.

Examples:
  mm_train_synthface --outdir=runs/train
  mm_train_synthface --stages=probe,generator --outdir=runs/train
  mm_train_synthface --stages=generator --continue_from=synthface --keep_mapping --outdir=runs/on
  mm_train_synthface --stages=clip --install --outdir=runs/train
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from etils import epy

from mm_jax import cli
from mm_jax.options import Options, option

with epy.lazy_imports():
    from mm_jax.synthface import train


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """What is trained."""

    stages: str = option(
        "probe,generator,clip,encoder,sketch", "Which ones; later ones need earlier."
    )
    continue_from: str = option(
        "",
        "Generator to train on, by bundled name or folder; by default it is trained from nothing.",
    )
    keep_mapping: bool = option(False, "Keep its mapping network, hence its W; else a new one.")
    install: bool = option(False, "Put the trained models into the package's assets.")


def work(call: cli.Call) -> None:
    """Train the stages that the folder lacks."""
    own, output = call.read(TrainOptions), call.output
    stages = tuple(part.strip() for part in own.stages.split(","))
    options = {**dataclasses.asdict(own), "stages": stages}
    train.check(stages, own.continue_from, own.keep_mapping)
    if output.dry_run:
        print(json.dumps({**options, "outdir": output.outdir}, indent=2))
        return
    figures = train.train(Path(output.outdir), **options)
    print(f"{len(figures)} figures in {output.outdir}/figures.json")


OPTIONS = (TrainOptions, cli.FolderOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
