"""Do very many items: sample, invert, extract or edit everything that a manifest names.

A manifest is a .jsonl or .csv file with one entry a line, such as {"picture": "a.jpg"}, {"seed": 1}
or {"seeds": "0-99", "motion": "smile"}; see docs/batch.md. Outputs are OUTDIR/items/3f/3f09...,
after a hash of what they are of; OUTDIR/shards/*/journal.jsonl has a line for each finished item,
failed.jsonl one for each that was set aside. Running the same command again does what is missing,
whenever and however it was ended.

Examples:
  mm_batch --kind=sample --seeds=0-9999 --outdir=runs/many
  mm_batch --kind=invert --image='faces/*.jpg' --outdir=runs/codes
  mm_batch --kind=edit --manifest=faces.csv --subspace=smile.npz --strength=-1,1 --outdir=runs/ed
  mm_batch --kind=extract --manifest=prompts.csv --shard=0/8 --outdir=runs/motions
  mm_batch --kind=sample --seeds=0-9999 --outdir=runs/many --engine=ray --ray_address=auto
  mm_batch --kind=sample --seeds=0-9999 --outdir=runs/many --status
"""

from __future__ import annotations

from mm_jax.batch import compat as cli
from mm_jax.batch import flags


def define(f: cli.Flags) -> None:
    flags.define(f)
    cli.define_output(f, overwrite=False)


def work(f: cli.Flags) -> int | None:
    from mm_jax.batch import job

    return job.work(f)


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
