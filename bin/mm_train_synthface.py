"""Train the bundled models from nothing: probes, generator, CLIP and encoder of procedural faces.

Hours on two cores. Checkpoints, figures.json and sample sheets go to --outdir; running the same
command again goes on from there. With --install the models replace those of this installation.

Examples:
  mm_train_synthface --outdir=runs/train
  mm_train_synthface --stages=probe,generator --outdir=runs/train
  mm_train_synthface --stages=clip --install --outdir=runs/train
"""

from __future__ import annotations

import json
from pathlib import Path

from mm_jax import cli
from mm_jax.errors import UsageError


def define(f: cli.Flags) -> None:
    cli.flag(f, "stages", "probe,generator,clip,encoder", "Which ones; later ones need earlier.")
    cli.flag(f, "install", False, "Put the trained models into the package's assets.")
    cli.define_output(f, overwrite=False)


def work(f: cli.Flags) -> None:
    from mm_jax.synthface import train

    stages = tuple(part.strip() for part in f.stages.split(","))
    if unknown := [stage for stage in stages if stage not in train.STAGES]:
        raise UsageError(f"unknown stage {unknown[0]!r}, want some of {', '.join(train.STAGES)}")
    if f.dry_run:
        print(json.dumps({"stages": stages, "install": f.install, "outdir": f.outdir}, indent=2))
        return
    figures = train.train(Path(f.outdir), stages=stages, install=f.install)
    print(f"{len(figures)} figures in {f.outdir}/figures.json")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
