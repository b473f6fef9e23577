"""Measure what the project claims, one topic at a time.

inversion: reconstruction and editability of inverted images, unseen renders and generated ones.
video: motions learned from videos with bad frames, by robust PCA and by plain SVD.
domain: what micromotions found in faces do to pencil drawings, generated and inverted ones, with
the bundled generator of drawings and its judge.
compared: micromotions beside the usual methods (GANSpace, SeFa, InterFaceGAN, StyleCLIP and
others), measured against known factors; InterFaceGAN needs scikit-learn, the extra compare.
faces: what networks that know real faces read from edits of any generator, and whether the person
stays the same; needs --subspaces.

Writes TOPIC.json, a table (TOPIC.md) and report.html, and prints the table. Running the same
command again does what is missing.

Examples:
  mm_eval --topic=inversion --outdir=runs/eval_inversion
  mm_eval --topic=inversion --subspaces=runs/demo --few=16 --outdir=runs/eval_inversion
  mm_eval --topic=video --outdir=runs/eval_video
  mm_eval --topic=domain --subspaces=runs/demo --outdir=runs/eval_domain
  mm_eval --topic=compared --jobs=2 --outdir=runs/compared
  mm_eval --topic=compared --unseen=5000-5015 --few=8 --repetitions=2 --samples=512 \
      --starts=2 --optimize_steps=10 --averaged=24 --outdir=runs/compared_few
  mm_eval --topic=faces --subspaces=runs/demo --edits=smile,aging --outdir=runs/eval_faces
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from etils import epy

from mm_jax import cli
from mm_jax.errors import DataError, UsageError
from mm_jax.evaluation.options import TOPICS
from mm_jax.options import Options, option
from mm_jax.progress import shown
from mm_jax.sources import fingerprints

with epy.lazy_imports():
    from mm_jax.evaluation import compared, domain, faces, inversion, results, video


# Flags that change how results are found, not which.
APART = ("jobs",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopicOptions(Options):
    """What is measured."""

    topic: str | None = option(None, "What is measured.", choices=tuple(TOPICS))


def work(call: cli.Call) -> None:
    """Measure what the folder lacks, and print the tables."""
    topic = call.read(TopicOptions).topic
    if topic is None:
        raise UsageError(f"--topic is missing: one of {', '.join(TOPICS)}")
    options = call.read(TOPICS[topic])
    folder = getattr(options, "subspaces", "")
    if folder and not Path(folder).is_dir():
        raise DataError(
            f"--subspaces={folder}: no such folder; give the one that mm_demo wrote, or one whose "
            "folders hold a subspace.npz each"
        )
    module = {
        "inversion": inversion, "video": video, "domain": domain, "faces": faces,
        "compared": compared,
    }[topic]  # fmt: skip
    models = module.open_models(options)
    networks = {name: model for name, model in models.items() if name != "gen"}
    outputs = [*module.outputs(options), *results.files_of(topic)]
    run = call.open_run(outputs, apart=APART, **fingerprints(models["gen"], **networks))
    if run is None:
        return
    with shown() as progress:
        result = module.evaluate(models, run, options, progress)
    print(results.publish(result, run, topic))
    print(f"Open {run.path}/report.html in a browser.")


OPTIONS = (TopicOptions, *TOPICS.values(), cli.OutputOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
