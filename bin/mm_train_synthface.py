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

import json
from pathlib import Path

from mm_jax import cli


def define(f: cli.Flags) -> None:
    cli.flag(
        f, "stages", "probe,generator,clip,encoder,sketch", "Which ones; later ones need earlier."
    )
    cli.flag(
        f,
        "continue_from",
        "",
        "Generator to train on, by bundled name or folder; by default it is trained from nothing.",
    )
    cli.flag(f, "keep_mapping", False, "Keep its mapping network, hence its W; else a new one.")
    cli.flag(f, "install", False, "Put the trained models into the package's assets.")
    cli.define_output(f, overwrite=False)


def work(f: cli.Flags) -> None:
    from mm_jax.synthface import train

    stages = tuple(part.strip() for part in f.stages.split(","))
    names = ("continue_from", "keep_mapping", "install")
    options = {"stages": stages, **{name: getattr(f, name) for name in names}}
    train.check(stages, f.continue_from, f.keep_mapping)
    if f.dry_run:
        print(json.dumps({**options, "outdir": f.outdir}, indent=2))
        return
    figures = train.train(Path(f.outdir), **options)
    print(f"{len(figures)} figures in {f.outdir}/figures.json")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
