"""Find the subspace of a micromotion, from prompts of growing degree or from stored anchors.

Writes the anchors of every start code, the subspace (subspace.npz), pictures of both and a report.
Running the same command again does what is missing.

Examples:
  mm_extract --motion=smile --seeds=0-3 --outdir=runs/smile
  mm_extract --text="a person with {degree} smile" --degrees=no,50%,100% --outdir=runs/three
  mm_extract --motion=smile --arcface=models/arcface --outdir=runs/same_person
  mm_extract --anchors=runs/smile/anchors_seed0000.npz --method=svd --rank=2 --outdir=runs/svd
"""

from __future__ import annotations

from mm_jax import cli
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.jobs.settings import AnchorSettings, SubspaceSettings
from mm_jax.progress import shown


def define(f: cli.Flags) -> None:
    cli.flag(f, "motion", None, "Motion with a prompt of its own.", choices=list(MOTIONS))
    cli.flag(f, "text", "", "Prompt in place of --motion, with one {degree} in it.")
    cli.flag(f, "anchors", [], "Stored anchors in place of a prompt; repeatable.", kind=list)
    cli.flag(f, "clip", "synthface-clip", "CLIP: a bundled name, a folder, or a hub id.")
    cli.flag(f, "arcface", "", "Folder of a face recogniser; anchors then hold the identity.")
    cli.define_settings(f, AnchorSettings, SubspaceSettings)
    cli.define_generator(f)
    cli.define_latents(f, seeds="0")
    cli.define_output(f)


def work(f: cli.Flags) -> None:
    search, how = cli.read_search(f), cli.read_settings(f, SubspaceSettings)
    gen, starts = cli.load_codes(f)
    from mm_jax.jobs import extract

    stored = extract.load_sets(f.anchors, gen)
    names = list(stored) or list(starts.names or ())
    codes = len(names) * len(search.degrees) if search else sum(len(s.ws) for s in stored.values())
    how.check(anchors=codes, rows=gen.config.num_ws)
    judges = extract.load_judges(f.clip, f.arcface) if search else None
    facts = cli.inputs(gen, f.latents, *f.anchors, judges=judges)
    run = cli.open_run(f, "mm_extract", extract.outputs(names, from_prompts=bool(search)), **facts)
    if run is None:
        return
    with shown() as progress:
        sets = list(stored.values())
        if search and judges:
            sets = extract.find_anchors(gen, judges, starts, run.path, search, progress=progress)
        subspace = extract.extract(gen, names, sets, run, how, batch=f.batch, progress=progress)
    print(f"PC1 ratio {subspace.pc1_ratio:.3f}: {run.path}/subspace.npz, {run.path}/report.html")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
