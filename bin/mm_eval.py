"""Measure what the project claims, one topic at a time.

inversion: likeness and editability of inverted pictures, on unseen renders and generated pictures.
video: motions learned from clips with bad frames, by robust PCA and by plain SVD.
domain: what micromotions found in faces do to pencil drawings, generated and inverted ones, with
the bundled generator of drawings and its judge.

Writes TOPIC.json, a table (TOPIC.md) and report.html, and prints the table. Running the same
command again does what is missing.

Examples:
  mm_eval --topic=inversion --outdir=runs/eval_inversion
  mm_eval --topic=inversion --subspaces=runs/demo --few=16 --outdir=runs/eval_inversion
  mm_eval --topic=video --outdir=runs/eval_video
  mm_eval --topic=domain --subspaces=runs/demo --outdir=runs/eval_domain
"""

from __future__ import annotations

from mm_jax import cli
from mm_jax.errors import UsageError
from mm_jax.evaluation.settings import TOPICS, module_of
from mm_jax.progress import shown


def define(f: cli.Flags) -> None:
    cli.flag(f, "topic", None, "What is measured.", choices=list(TOPICS))
    cli.define_settings(f, *TOPICS.values())
    cli.flag(f, "batch", 16, "Pictures per step; less needs less memory.")
    cli.define_output(f)


def work(f: cli.Flags) -> None:
    cli.positive(f, "batch")
    if not f.topic:
        raise UsageError(f"--topic is missing: one of {', '.join(TOPICS)}")
    settings = cli.read_settings(f, TOPICS[f.topic], batch=f.batch)
    from mm_jax.evaluation import results

    module = module_of(f.topic)
    models = module.open_models(settings)
    networks = {name: model for name, model in models.items() if name != "gen"}
    outputs = [*module.outputs(settings), *results.files_of(f.topic)]
    run = cli.open_run(f, "mm_eval", outputs, **cli.inputs(models["gen"], **networks))
    if run is None:
        return
    with shown() as progress:
        result = module.evaluate(models, run, settings, progress)
    print(results.publish(result, run, f.topic))
    print(f"{run.path}/report.html")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
