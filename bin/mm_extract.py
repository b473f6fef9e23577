"""Find the subspace of a micromotion: from prompts of growing degree, videos, or stored anchors.

Writes the anchors of every start latent or video, the subspace (subspace.npz), images and a report.
Running the same command again does what is missing.

Examples:
  mm_extract --motion=smile --seeds=0-3 --outdir=runs/smile
  mm_extract --text="a person with {degree} smile" --degrees=no,50%,100% --outdir=runs/three
  mm_extract --anchors=runs/smile/anchors_seed0000.npz --method=svd --rank=2 --outdir=runs/svd
  mm_extract --video=clip.mp4 --outdir=runs/turn
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from etils import epy

from mm_jax import cli
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions, VideoAnchorOptions
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.checks import layer_mask
from mm_jax.errors import UsageError
from mm_jax.options import Options, option
from mm_jax.progress import ProgressFn, prefixed, shown
from mm_jax.sources import GeneratorOptions, LatentOptions, fingerprints, open_latents
from mm_jax.subspace.options import SubspaceOptions
from mm_jax.video.options import FrameOptions, VideoOptions

with epy.lazy_imports():
    import numpy as np

    from mm_jax import artifacts, media, rendering, report, runs, zoo
    from mm_jax.anchors import folder, prompts, video_files
    from mm_jax.editing import affine
    from mm_jax.encoders import encoder as encoders
    from mm_jax.faces import identity as identities
    from mm_jax.media import video_reading
    from mm_jax.perceptual import clip_files
    from mm_jax.report import parts
    from mm_jax.stylegan2 import generator

MOTION = "motion.png"
# What the image of the motion shows of each start latent.
STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0)
# Frames that a comparison of a video and its reconstruction shows at most.
SHOWN = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractOptions(Options):
    """What the motion is found from."""

    motion: str | None = option(None, "Motion with a prompt of its own.", choices=tuple(MOTIONS))
    text: str = option("", "Prompt in place of --motion, with one {degree} in it.")
    anchors: list[str] = option([], "Stored anchors in place of a prompt; repeatable.")
    video: list[str] = option([], "Video or folder of frames, in place of a prompt; repeatable.")
    clip: str = option("synthface-clip", "CLIP: a bundled name, a folder, or a hub id.")
    identity: str = option(
        "none",
        "What holds the identity of anchors: none, faces (the bundled recogniser), or the folder "
        "of an ArcFace.",
        alias="arcface",
    )
    encoder: str = option(
        "auto",
        "Encoder that guesses the latents of videos: a bundled name, a folder, none, or auto (the "
        "bundled one for the bundled generator, else none).",
    )

    def check(self) -> None:
        """Refuse none or several sources."""
        if sum(map(bool, (self.text, self.motion, self.anchors, self.video))) != 1:
            raise UsageError("give exactly one of --motion, --text, --anchors and --video")
        if self.identity != "none" and (self.anchors or self.video):
            raise UsageError("--identity is for anchors that are optimised")


def work(call: cli.Call) -> None:
    """Find what the folder lacks: anchors, then their subspace, then images and the report."""
    own, how = call.read(ExtractOptions), call.read(SubspaceOptions)
    gens = call.read(GeneratorOptions)
    if call.is_given("identity_weight") and own.identity == "none":
        raise UsageError("--identity_weight needs --identity")
    if own.video:
        from_videos(call, own, how, gens)
        return
    sources, options, template = call.read(LatentOptions), None, ""
    if not own.anchors:
        motion = MOTIONS.get(own.motion or "")
        template = motion.template if motion else own.text
        prompts.fill(template, "no")
        options = call.read(AnchorOptions, truncation_psi=sources.trunc)
        options = options.replace(layers=options.layers or (motion.layers if motion else None))
        if own.identity != "none" and options.strategy != "optimize":
            raise UsageError("--identity is for anchors that are optimised")
    gen = zoo.load_generator(gens.generator)
    starts = open_latents(gen, sources)
    stored = folder.load_sets(own.anchors, gen)
    names = list(stored) or list(starts.names or ())
    count = sum(len(s.ws) for s in stored.values())
    if options is not None:
        count = len(names) * len(options.degrees)
    how.check_fits(anchors=count, rows=gen.config.num_ws)
    critics = None
    if options is not None:
        critics = clip_files.load_clip(own.clip), identities.open_identity(own.identity, gen)
    outputs = [*folder.tables(names, stored=bool(stored)), *images_of(names)]
    inputs = fingerprints(gen, sources.latents, *own.anchors, judges=critics)
    run = call.open_run(outputs, **inputs)
    if run is None:
        return
    with shown() as progress:
        sets = list(stored.values())
        if options is not None and critics is not None:
            sets = folder.find_anchors(
                gen, critics[0], template, starts, run.path, options, identity=critics[1],
                batch_size=gens.batch, progress=progress,
            )  # fmt: skip
        finish(run, gen, names, sets, how, batch=gens.batch, progress=progress)


def from_videos(
    call: cli.Call, own: ExtractOptions, how: SubspaceOptions, gens: GeneratorOptions
) -> None:
    """Find the subspace of the videos that --video names."""
    align, follow = call.read(AlignOptions), call.read(VideoOptions)
    frames, options = call.read(FrameOptions), call.read(VideoAnchorOptions)
    names = [Path(path).stem for path in own.video]
    if len(set(names)) < len(names):
        raise UsageError("two videos have the same name: rename one")
    infos = [video_reading.video_info(path) for path in own.video]
    for info in infos:
        video_files.frames_of(info, frames)
    gen = zoo.load_generator(gens.generator)
    layer_mask(how.layers, gen.config.num_ws)
    encoder = encoders.open_encoder(own.encoder, gens.generator, gen)
    compared = [f"clip_{name}.png" for name in names]
    files = (*video_files.input_files(own.video), align.landmarks, align.detector_model)
    outputs = [*folder.tables(names), *images_of(names), *compared]
    run = call.open_run(outputs, **fingerprints(gen, *files, encoder=encoder))
    if run is None:
        return
    sets, sections = [], []
    with shown() as progress:
        for name, info, strip in zip(names, infos, compared, strict=True):
            file = run.file(folder.anchor_file(name))
            if run.missing([file.name, strip]):
                anchors, faces = video_files.anchors_of_video(
                    gen, encoder, info, align=align, video=follow, frames=frames, options=options,
                    batch=gens.batch, progress=prefixed(progress, name),
                )  # fmt: skip
                # Frames [n, R, R, 3], and below each what its latent reconstructs.
                count = min(SHOWN, len(faces))
                some = np.unique(np.rint(np.linspace(0, len(faces) - 1, count)).astype(int))
                ws = np.asarray(anchors.ws)[some]
                rebuilt = rendering.render_all(gen, ws, batch=gens.batch)
                both = np.stack([faces[some], rebuilt])
                media.save_png(run.file(strip), media.strip(both, gap=2))
                artifacts.save_anchors(file, anchors)
            else:
                anchors = artifacts.load_anchors(file)
            sets.append(anchors)
            sections.append(parts.video_section(name, anchors, run.file(strip)))
        finish(run, gen, names, sets, how, sections, batch=gens.batch, progress=progress)


def images_of(names: Sequence[str]) -> list[str]:
    """Names of the files that `finish` writes beside the subspace."""
    return [*(f"anchors_{name}.png" for name in names), MOTION, parts.REPORT]


def finish(
    run: runs.RunFolder,
    gen: generator.Generator,
    names: Sequence[str],
    sets: Sequence[artifacts.Anchors],
    options: SubspaceOptions,
    further: Sequence[report.Section] = (),
    *,
    batch: int | None,
    progress: ProgressFn,
) -> None:
    """The subspace of all sets of anchors, images of both, and the report."""
    subspace = folder.find_subspace(sets, run.path, options)
    strips = []
    for name, anchors in zip(names, sets, strict=True):
        file = run.file(f"anchors_{name}.png")
        if run.missing([file.name]):
            ws = np.concatenate([np.asarray(anchors.start)[None], np.asarray(anchors.ws)])
            label = "images of anchors"
            images = rendering.render_all(gen, ws, batch=batch, progress=progress, label=label)
            media.save_png(file, media.strip(images))
        labels = ", ".join(map(str, anchors.meta.get("labels", ())))
        caption = f"the start latent, then its anchors {labels}"
        strips.append(report.Figure(file, caption=caption, title=name))
    if run.missing([MOTION]):
        starts = np.stack([np.asarray(anchors.start) for anchors in sets])
        edited = np.asarray(affine.apply_edit(starts, subspace, STRENGTHS))
        label = "images of the motion"
        images = rendering.render_all(gen, edited, batch=batch, progress=progress, label=label)
        media.save_png(run.file(MOTION), media.strip(images))
    if run.missing([parts.REPORT]):
        videos = ", ".join(str(s.meta["clip"]) for s in sets if "clip" in s.meta)
        title = str(subspace.meta.get("template", videos or "Subspace of stored anchors"))
        caption = "the start latents, at strengths " + ", ".join(f"{s:g}" for s in STRENGTHS)
        motion = report.Figure(run.file(MOTION), caption=caption, title="The motion")
        charts = parts.subspace_charts(sets, subspace, title=title)
        sections = [
            report.Section("Motion", [motion, charts]),
            report.Section("Anchors", strips),
            *further,
            parts.settings_section(run.command, run.settings),
        ]
        subtitle = f"A micromotion of {gen.name}, found from {len(sets)} set(s) of anchors"
        facts = parts.subspace_facts(subspace)
        report.write_report(run.path, title, sections, subtitle=subtitle, facts=facts)
    print(f"PC1 ratio {subspace.pc1_ratio:.3f}: {run.path}/subspace.npz, {run.path}/report.html")


OPTIONS = (
    ExtractOptions, AnchorOptions, SubspaceOptions, AlignOptions, VideoOptions, FrameOptions,
    VideoAnchorOptions, GeneratorOptions, LatentOptions, cli.OutputOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
