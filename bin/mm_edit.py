"""Move faces along the subspaces of micromotions.

Writes for every code a strip of pictures and a clip, and one report. Strength 1 is the full motion
of the anchors, -1 its opposite. Several subspaces add up; --strength given once is for all of them,
else once for each. Running the same command again does what is missing.

With --image, faces are found in pictures and inverted first (OUTDIR/inversion, as by mm_invert),
and the edited faces are also put back: NAME_full.png, NAME_full.mp4. With --video, so are all
frames of a clip; a LOW:HIGH --strength runs over the clip, a list are its keyframes.

Examples:
  mm_edit --subspace=runs/smile/subspace.npz --seeds=100-103 --outdir=runs/smiling
  mm_edit --subspace=runs/smile/subspace.npz --strength=-1,0,1 --format=png,gif --outdir=runs/three
  mm_edit --subspace=runs/smile/subspace.npz --strength=0:1 --subspace=runs/age/subspace.npz \
--strength=0:0.5 --layers=0-7 --outdir=runs/both
  mm_edit --subspace=runs/smile/subspace.npz --image=me.jpg --strength=0:1 --outdir=runs/me
  mm_edit --subspace=runs/smile/subspace.npz --video=me.mp4 --strength=0,1,0 --outdir=runs/clip
"""

from __future__ import annotations

from mm_jax import cli
from mm_jax.jobs import invert_flags
from mm_jax.jobs.align_settings import PasteSettings
from mm_jax.jobs.settings import EditSettings
from mm_jax.jobs.video_settings import ClipSettings, EditVideoSettings


def define(f: cli.Flags) -> None:
    cli.flag(f, "subspace", [], "Subspace to move along (.npz); repeat to combine.", kind=list)
    cli.flag(f, "strength", ["-1:1"], "LOW:HIGH, or a list of strengths.", kind=list)
    cli.flag(f, "frames", 30, "Frames of a LOW:HIGH range.")
    cli.flag(f, "format", "mp4", "Some of mp4,gif,png,npy: clips, frames, one float32 array.")
    cli.define_settings(f, EditSettings)
    cli.define_generator(f)
    cli.define_latents(f, seeds="100-103")
    cli.flag(f, "image", [], "Picture to edit, pattern or folder of them; repeatable.", kind=list)
    cli.flag(f, "video", "", "Clip, or folder of frames, to edit.")
    cli.define_settings(f, PasteSettings, ClipSettings, EditVideoSettings)
    invert_flags.define(f)
    cli.define_output(f)


def work(f: cli.Flags) -> None:
    given = {"formats": tuple(f.format.split(",")), "noise_mode": f.noise_mode, "batch": f.batch}
    strengths = ((0.0,),) if f.video and not f.subspace else cli.read_strengths(f)
    settings = cli.read_settings(f, EditSettings, strengths=strengths, **given)
    from mm_jax.jobs import edit_run, edit_video

    still = edit_run.edit_photos if f.image else edit_run.edit_codes
    if done := (edit_video.edit_clip if f.video else still)(f, settings):
        print(done)


def main(argv: list[str] | None = None) -> int:
    return cli.run(__doc__ or "", define, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
