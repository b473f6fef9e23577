"""Find the subspace of a micromotion: from prompts of growing degree, clips, or stored anchors.

Writes the anchors of every start code or clip, the subspace (subspace.npz), pictures and a report.
Running the same command again does what is missing.

Examples:
  mm_extract --motion=smile --seeds=0-3 --outdir=runs/smile
  mm_extract --text="a person with {degree} smile" --degrees=no,50%,100% --outdir=runs/three
  mm_extract --anchors=runs/smile/anchors_seed0000.npz --method=svd --rank=2 --outdir=runs/svd
  mm_extract --video=clip.mp4 --outdir=runs/turn
"""

from __future__ import annotations

from mm_jax import cli
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.jobs.align_settings import AlignSettings
from mm_jax.jobs.settings import AnchorSettings, SubspaceSettings
from mm_jax.jobs.video_settings import ClipSettings, VideoAnchorSettings


def define(f: cli.Flags) -> None:
    cli.flag(f, "motion", None, "Motion with a prompt of its own.", choices=list(MOTIONS))
    cli.flag(f, "text", "", "Prompt in place of --motion, with one {degree} in it.")
    cli.flag(f, "anchors", [], "Stored anchors in place of a prompt; repeatable.", kind=list)
    cli.flag(f, "video", [], "Clip or folder of frames, in place of a prompt.", kind=list)
    cli.flag(f, "clip", "synthface-clip", "CLIP: a bundled name, a folder, or a hub id.")
    cli.flag(f, "arcface", "", "Folder of a face recogniser; anchors then hold the identity.")
    cli.define_settings(f, AnchorSettings, SubspaceSettings)
    cli.define_settings(f, AlignSettings, ClipSettings, VideoAnchorSettings)
    cli.define_generator(f)
    cli.define_latents(f, seeds="0")
    cli.define_output(f)


def work(f: cli.Flags) -> None:
    search, how = cli.read_search(f), cli.read_settings(f, SubspaceSettings)
    from mm_jax.jobs import extract_clips, extract_prompts

    found = extract_clips.work(f, how) if f.video else extract_prompts.work(f, search, how)
    if found is not None:
        subspace, path = found
        print(f"PC1 ratio {subspace.pc1_ratio:.3f}: {path}/subspace.npz, {path}/report.html")


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
