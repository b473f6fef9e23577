"""Move faces along the subspaces of micromotions.

Writes for every latent a strip of images and a video, and one report. Strength 1 is the full motion
of the anchors, -1 its opposite. Several subspaces add up; --strength given once is for all of them,
else once for each. Running the same command again does what is missing.

With --image, faces are found in images and inverted first (OUTDIR/inversion, as by mm_invert),
and the edited faces are also put back: NAME_full.png, NAME_full.mp4. With --video, so are all
frames of a video; a LOW:HIGH --strength runs over the video, a list are its keyframes.

Examples:
  mm_edit --subspace=runs/smile/subspace.npz --seeds=100-103 --outdir=runs/smiling
  mm_edit --subspace=runs/smile/subspace.npz --strength=-1,0,1 --format=png,gif --outdir=runs/three
  mm_edit --subspace=runs/smile/subspace.npz --strength=0:1 --subspace=runs/age/subspace.npz \
--strength=0:0.5 --layers=0-7 --outdir=runs/both
  mm_edit --subspace=runs/smile/subspace.npz --image=me.jpg --strength=0:1 --outdir=runs/me
  mm_edit --subspace=runs/smile/subspace.npz --video=me.mp4 --strength=0,1,0 --outdir=runs/video
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from etils import epy

from mm_jax import cli
from mm_jax.alignment.options import AlignOptions, PasteOptions
from mm_jax.checks import layer_mask
from mm_jax.editing.options import EditOptions, EditVideoOptions, strengths_of, strengths_text
from mm_jax.errors import UsageError
from mm_jax.inversion.options import InversionSources, InvertOptions, TuneOptions
from mm_jax.media.image_files import expand
from mm_jax.options import Options, option, seeds_option
from mm_jax.progress import shown
from mm_jax.sources import (
    OF_SEEDS,
    SEEDS,
    STORED,
    GeneratorOptions,
    LatentOptions,
    fingerprints,
    open_latents,
    open_subspaces,
)
from mm_jax.video.options import VideoOptions
from mm_jax.words import counted

with epy.lazy_imports():
    from mm_jax import artifacts, report, runs, zoo
    from mm_jax.alignment import framing
    from mm_jax.anchors import video_files
    from mm_jax.editing import draw, paste_back
    from mm_jax.editing import video as editing_video
    from mm_jax.encoders import encoder as encoders
    from mm_jax.inversion import folder
    from mm_jax.inversion import video as inversion_video
    from mm_jax.media import video_reading, video_writing
    from mm_jax.report import parts
    from mm_jax.video import editing as weighting
    from mm_jax.video import faces as video_faces

# The folder in the run's own that holds what mm_invert writes.
INVERSION = "inversion"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoveOptions(Options):
    """What is moved, and how far."""

    subspace: list[str] = option([], "Subspace to move along (.npz); repeat to combine.")
    strength: list[str] = option(["-1:1"], "LOW:HIGH, or a list of strengths.")
    frames: int = option(30, "Frames of a LOW:HIGH range.")
    image: list[str] = option([], "Image to edit, pattern or folder of them; repeatable.")
    video: str = option("", "Video, or folder of frames, to edit.")

    def strengths(self) -> tuple[tuple[float, ...], ...]:
        """[E][S]: for each subspace its strength in every frame."""
        if self.video and not self.subspace:
            return ((0.0,),)
        return strengths_of(self.strength, subspaces=len(self.subspace), frames=self.frames)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources(LatentOptions):
    """Which latents, without --image and --video."""

    seeds: tuple[int, ...] = seeds_option("100-103", SEEDS)


def work(call: cli.Call) -> None:
    """Edit latents, images or a video."""
    own, gens, sources = call.read(MoveOptions), call.read(GeneratorOptions), call.read(Sources)
    if sum(map(bool, (sources.latents, own.image, own.video))) > 1:
        raise UsageError("give one of --video, --image or --latents, not two of them")
    call.refuse_beside("latents", *OF_SEEDS, why=STORED)
    for flag in ("image", "video"):
        call.refuse_beside(flag, *OF_SEEDS, why="the faces are those that are given")
    options = call.read(
        EditOptions, strengths=own.strengths(), noise_mode=gens.noise_mode, batch=gens.batch
    )
    for suffix in ("mp4", "gif"):
        if suffix in options.formats:
            video_writing.check_encoder(f"video.{suffix}", (64, 64))
    edit = edit_video if own.video else edit_images if own.image else edit_latents
    if done := edit(call, own, gens.generator, options):
        print(done)


def edit_latents(call: cli.Call, own: MoveOptions, name: str, options: EditOptions) -> str | None:
    """Edit the latents of --seeds or --latents; returns what was done."""
    sources = call.read(Sources)
    gen = zoo.load_generator(name)
    layer_mask(options.layers, gen.config.num_ws)
    subspaces = open_subspaces(own.subspace, gen)
    latents = open_latents(gen, sources)
    names = latents.names or ()
    inputs = fingerprints(gen, sources.latents, *own.subspace)
    run = call.open_run([*draw.files_of(names, options), parts.REPORT], **inputs)
    if run is None:
        return None
    with shown() as progress:
        draw.draw(gen, latents, subspaces, run.path, options, progress=progress)
    write_report(run, gen.name, names, [], subspaces, options)
    return f"{counted(len(names), 'face')} of {counted(options.frames, 'frame')}: {opened(run)}"


def edit_images(call: cli.Call, own: MoveOptions, name: str, options: EditOptions) -> str | None:
    """Edit the faces of --image: inverted, edited, and put back; returns what was done."""
    sources, align = call.read(InversionSources), call.read(AlignOptions)
    how, tune = call.read(InvertOptions), call.read(TuneOptions)
    paste = call.read(PasteOptions)
    paths = expand(own.image)
    gen = zoo.load_generator(name)
    networks = folder.open_networks(gen, name, sources)
    faces = folder.open_images(gen, paths, align, start=sources.start)
    layer_mask(options.layers, gen.config.num_ws)
    subspaces = open_subspaces(own.subspace, gen)
    inputs = fingerprints(
        gen, *paths, sources.start, align.landmarks, *own.subspace,
        encoder=networks.encoder, lpips=networks.lpips, arcface=networks.arcface,
    )  # fmt: skip
    inverted = folder.outputs(faces.names, tune=sources.tune)
    with shown() as progress:
        full = paste_back.FullImages(faces.found, call.output.outdir, options, paste, progress)
        whole = [file for image in full.names for file in full.files(image)]
        outputs = [*(f"{INVERSION}/{file}" for file in inverted)]
        outputs += [*draw.files_of(faces.names, options), *whole, parts.REPORT]
        check_distinct(outputs)
        run = call.open_run(outputs, **inputs)
        if run is None:
            return None
        inner = runs.RunFolder(run.file(INVERSION), run.command, run.settings, inverted)
        found = folder.invert_into(
            inner, gen, faces, networks, how, tune if sources.tune else None,
            generator_name=name, batch=options.batch, progress=progress,
        )  # fmt: skip
        draw.draw(
            found.generator, found.latents, subspaces, run.path, options, full=full,
            progress=progress,
        )  # fmt: skip
    write_report(run, gen.name, faces.names, full.names, subspaces, options)
    whose = f"{counted(len(found.psnr), 'face')} of {counted(len(full.names), 'image')}"
    frames = counted(options.frames, "frame")
    how_near = f"reconstructed at {found.mean_psnr:.1f} dB"
    return f"{whose}, {how_near} and edited in {frames}: {opened(run)}"


def edit_video(call: cli.Call, own: MoveOptions, name: str, options: EditOptions) -> str | None:
    """Edit the video of --video; returns what was done."""
    if not set(options.formats) <= set(editing_video.FORMATS):
        formats = ",".join(options.formats)
        known = ", ".join(editing_video.FORMATS)
        raise UsageError(f"--format={formats}: videos are written as {known}")
    align, follow, how = call.read(AlignOptions), call.read(VideoOptions), call.read(InvertOptions)
    paste, moving = call.read(PasteOptions), call.read(EditVideoOptions)
    sources = call.read(InversionSources)
    if not own.subspace and moving.amplify == 1:
        raise UsageError("nothing to do: give --subspace, or --amplify for the video's own motion")
    info = video_reading.video_info(own.video)
    editing_video.check_formats(info, options.formats)
    gen = zoo.load_generator(name)
    layer_mask(options.layers, gen.config.num_ws)
    subspaces = open_subspaces(own.subspace, gen)
    encoder = encoders.open_encoder(sources.encoder, name, gen)
    files = (*video_files.input_files([own.video]), align.landmarks, align.detector_model)
    drawn = editing_video.files_of(info.path.stem, options.formats, info.frames)
    outputs = [*inversion_video.piece_files(info), *drawn, parts.REPORT]
    run = call.open_run(outputs, **fingerprints(gen, *files, *own.subspace, encoder=encoder))
    if run is None:
        return None
    if not run.missing():
        return f"{counted(info.frames, 'frame')}: {opened(run)}"
    batch = folder.batch_for(gen, options.batch)
    options = options.replace(batch=batch)
    with shown() as progress:
        face = video_faces.follow_face(
            info, range(info.frames), align, follow, framing.framing_of(gen), progress=progress
        )
        latents = inversion_video.VideoLatents(
            gen, encoder, info, face, run.path, smoothing=follow.smoothing
        )
        latents.find(
            how.replace(temporal_weight=moving.temporal_weight), batch=batch,
            progress=progress,
        )  # fmt: skip
        amplified = moving.amplify != 1 and not call.is_given("strength")
        strengths = [] if amplified else options.strengths
        edit = editing_video.VideoEdit(
            latents, subspaces, strengths, moving.amplify, options.layers, info.frames
        )
        if run.missing(drawn):
            weights = weighting.fade_in_and_out(face.found, face.times, width=follow.smoothing)
            editing_video.draw_video(
                gen, latents, edit, weights, info, face, run,
                options=options, paste=paste, progress=progress,
            )  # fmt: skip
    if run.missing([parts.REPORT]):
        write_video_report(run, info, options, edit.text)
    frames = counted(info.frames, "frame")
    return f"{frames}, {int(face.found.sum())} with a face: {opened(run)}"


def opened(run: runs.RunFolder) -> str:
    """What to look at next."""
    return f"open {run.path}/report.html in a browser"


def check_distinct(outputs: Sequence[str]) -> None:
    """Refuse images such as me.jpg and me_full.jpg, whose files would be one."""
    seen: set[str] = set()
    twice = next((name for name in outputs if name in seen or seen.add(name)), None)
    if twice is not None:
        raise UsageError(f"two of the images would both be written to {twice}: rename one")


def write_report(
    run: runs.RunFolder,
    generator: str,
    names: Sequence[str],
    full: Sequence[str],
    subspaces: Sequence[artifacts.Subspace],
    options: EditOptions,
) -> None:
    """The report on edited latents, and on the images that they were put back into."""
    if not run.missing([parts.REPORT]):
        return
    prompts = [str(s.meta.get("template", "a subspace without prompt")) for s in subspaces]
    ranges = [strengths_text(row) for row in options.strengths]
    moved = "; ".join(f"{p!r}, {r}" for p, r in zip(prompts, ranges, strict=True))
    faces, whole = (
        [
            item
            for name in some
            for item in parts.edit_items(run.path, name, options.formats, caption)
        ]
        for some, caption in (
            (names, "by growing strength"),
            ([f"{name}_full" for name in full], "put back"),
        )
    )
    report.write_report(
        run.path,
        "Edited faces",
        [
            *([report.Section("Images", whole)] if whole else []),
            report.Section("Faces", faces),
            parts.settings_section(run.command, run.settings),
        ],
        subtitle=f"{moved}, in {generator}",
        facts={"faces": len(names), "frames": options.frames},
        embed=False,
    )


def write_video_report(
    run: runs.RunFolder, info: video_reading.VideoInfo, options: EditOptions, text: str
) -> None:
    """The report on an edited video."""
    name = info.path.stem
    caption = "frames before, and below after"
    strip = report.Figure(run.file(f"{name}_strip.png"), caption=caption, title=name)
    items: list[report.Item] = [strip]
    if "mp4" in options.formats:
        items.append(report.Video(run.file(f"{name}_edited.mp4")))
    elif "gif" in options.formats:
        items.append(report.Figure(run.file(f"{name}_edited.gif"), wide=False))
    report.write_report(
        run.path,
        "Edited video",
        [report.Section("Video", items), parts.settings_section(run.command, run.settings)],
        subtitle=f"{info.path.name}: {text}",
        facts={"frames": info.frames, "frames per second": round(float(info.fps), 3)},
        embed=False,
    )


OPTIONS = (
    MoveOptions, EditOptions, GeneratorOptions, Sources, PasteOptions, VideoOptions,
    EditVideoOptions, InversionSources, InvertOptions, TuneOptions, AlignOptions, cli.OutputOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
