"""Move faces along the subspaces of micromotions.

Writes for every latent a strip of images and a video, and one report. Strength 1 is the full motion
of the anchors, -1 its opposite. Several subspaces add up; --strength given once is for all of them,
else once for each. Running the same command again does what is missing.

With --calibrated, equal steps of strength change what CLIP reads by equal amounts; 0 and 1 stay
where they are. mm_extract calibrates the motions of prompts. A note says where strengths go beyond
what a motion's calibration knows.

With --image, faces are found in images and inverted first (OUTDIR/inversion, as by mm_invert),
and the edited faces are also put back: NAME_full.png, NAME_full.mp4. With --video, so are all
frames of a video; a LOW:HIGH --strength runs over the video, a list are its keyframes.

With --live the report has sliders that move the faces. The generator itself draws them, in the
browser and without a server; it needs the extra onnx, and npm once, or --live_runtime.

With --session, a file that mm_studio saved says what is edited and how: its time line is rendered,
or its motions as they grow to their strengths; --frames=1 is the one image that the studio shows.

Edits are judged by networks that know photographs of people: is each face still the same person,
and did what was asked for move? The verdict is in the last line, the report and verdict.json. If no
face is of use, the exit status is 1, unless --keep.

Examples:
  mm_edit --subspace=runs/smile/subspace.npz --seeds=100-103 --outdir=runs/smiling
  mm_edit --subspace=runs/smile/subspace.npz --strength=-1,0,1 --format=png,gif --outdir=runs/three
  mm_edit --subspace=runs/smile/subspace.npz --strength=0:1 --subspace=runs/age/subspace.npz \
--strength=0:0.5 --layers=0-7 --outdir=runs/both
  mm_edit --subspace=runs/smile/subspace.npz --strength=0:1 --calibrated --outdir=runs/evenly
  mm_edit --subspace=runs/smile/subspace.npz --image=me.jpg --strength=0:1 --outdir=runs/me
  mm_edit --subspace=runs/smile/subspace.npz --video=me.mp4 --strength=0,1,0 --outdir=runs/video
  mm_edit --subspace=smile --subspace=aging --live --outdir=runs/live
  mm_edit --session=studio.json --outdir=runs/studio
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from etils import epy

from mm_jax import cli
from mm_jax.alignment.options import AlignOptions, PasteOptions
from mm_jax.checks import layer_mask
from mm_jax.editing.options import EditOptions, EditVideoOptions, strengths_of
from mm_jax.errors import UsageError
from mm_jax.inversion.options import (
    InversionPlan,
    InversionSources,
    InvertOptions,
    JudgeOptions,
    TuneOptions,
)
from mm_jax.live.options import LiveOptions
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
    from mm_jax import artifacts, runs, zoo
    from mm_jax.anchors import video_files
    from mm_jax.editing import (
        calibrated,
        draw,
        image_folder,
        paste_back,
        verdict,
        video,
        video_folder,
    )
    from mm_jax.encoders import encoder as encoders
    from mm_jax.inversion import inputs
    from mm_jax.live import folder as live_folder
    from mm_jax.media import video_reading, video_writing
    from mm_jax.report import edits, parts
    from mm_jax.studio import session_files, session_render
    from mm_jax.stylegan2 import generator

# What the last line of a run says beside where the report is.
NEXT = "mm_studio lets you drag the strengths yourself"
# Flags that add to a run and change nothing that it has.
LIVE = ("live", "live_runtime")
APART = ("keep", *LIVE)
# Flags of the copy that is tuned to images.
OF_TUNING = ("tune", "tune_steps", "tune_rate", "locality_weight")
# Flags that say what is edited, which a session does by itself.
OF_SESSION = (
    "subspace", "strength", "calibrated", "seeds", "latents", "image", "video", "generator",
    "layers",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoveOptions(Options):
    """What is moved, and how far."""

    subspace: list[str] = option(
        [],
        "Subspace to move along: .npz, or a bundled one's name; repeat to combine.",
        names=zoo.motion_names,
    )
    strength: list[str] = option(["-1:1"], "LOW:HIGH, or a list of strengths.")
    calibrated: bool = option(
        False, "Strengths in even steps of what is seen, by each subspace's calibration."
    )
    frames: int = option(30, "Frames of a LOW:HIGH range.")
    image: list[str] = option([], "Image to edit, pattern or folder of them; repeatable.")
    video: str = option("", "Video, or folder of frames, to edit.")
    session: str = option("", "Session of mm_studio (.json) to render.")

    def strengths(self) -> tuple[tuple[float, ...], ...]:
        """[E][S]: for each subspace its strength in every frame."""
        if self.video and not self.subspace:
            return ((0.0,),)
        return strengths_of(self.strength, subspaces=len(self.subspace), frames=self.frames)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources(LatentOptions):
    """Which latents, without --image and --video."""

    seeds: tuple[int, ...] = seeds_option("100-103", SEEDS)


Done = tuple[str, bool]
"""What was done, in a line, and whether it is of use."""


def work(call: cli.Call) -> int | None:
    """Edit latents, images, a video, or what a session says."""
    own, latents = call.read(MoveOptions), call.read(Sources).latents
    call.refuse_beside("session", *OF_SESSION, why="the session says what is edited")
    call.refuse_beside("session", "live", why="mm_studio has its sliders")
    call.refuse_beside("video", "live", why="it moves single faces")
    call.refuse_beside("video", *OF_TUNING, why="no copy of the generator is tuned to a video")
    if sum(map(bool, (latents, own.image, own.video))) > 1:
        raise UsageError("give one of --video, --image or --latents, not two of them")
    call.refuse_beside("latents", *OF_SEEDS, why=STORED)
    for flag in ("image", "video"):
        call.refuse_beside(flag, *OF_SEEDS, why="the faces are those that are given")
    if own.session:
        done = edit_session(call, own)
    elif own.video:
        done = edit_video(call, own)
    else:
        done = edit_images(call, own) if own.image else edit_latents(call, own)
    if done is None:
        return None
    text, usable = done
    print(f"{text} ({NEXT})" if usable else text)
    return 0 if usable or call.read(JudgeOptions).keep else 1


def edit_latents(call: cli.Call, own: MoveOptions) -> Done | None:
    """Edit the latents of --seeds or --latents."""
    gen, files, subspaces, options = open_motions(call, own)
    live, sources = check_live(call, gen, options), call.read(Sources)
    latents = open_latents(gen, sources)
    names = latents.names or ()
    outputs = [*draw.files_of(names, options), verdict.VERDICT, *live_folder.live_files(live)]
    outputs.append(parts.REPORT)
    run = call.open_run(outputs, apart=APART, **fingerprints(gen, sources.latents, *files))
    if run is None:
        return None
    with shown() as progress:
        draw.draw(gen, latents, subspaces, run.path, options, progress=progress)
        judged = verdict.judge_into(run.path, gen, latents, subspaces, options, progress=progress)
    sliders = live_folder.add_live(
        run, live, gen, latents, subspaces, layers=options.layers, strengths=options.strengths
    )
    edits.write_edit_report(
        run, names, edits.motion_names(subspaces), options, generator=gen.name, verdict=judged,
        live=sliders,
    )  # fmt: skip
    return f"{of_frames(names, options)}; {judged.line()}: {opened(run)}", judged.usable > 0


def edit_images(call: cli.Call, own: MoveOptions) -> Done | None:
    """Edit the faces of --image: inverted, edited, and put back."""
    sources, align = call.read(InversionSources), call.read(AlignOptions)
    paste = call.read(PasteOptions)
    # What the images show is moved itself, so the generator need not render it to the pixel.
    moved = paste.paste == "move" and not sources.tune
    if moved:
        sources = sources.replace(tune=False)
    plan = InversionPlan(
        sources=sources, invert=call.read(InvertOptions), tuning=call.read(TuneOptions)
    )
    paths, name = expand(own.image), call.read(GeneratorOptions).generator
    gen, files, subspaces, options = open_motions(call, own)
    live = check_live(call, gen, options)
    networks = inputs.open_networks(gen, name, sources)
    faces = inputs.open_images(gen, paths, align, start=sources.start)
    hashes = fingerprints(
        gen, *paths, sources.start, align.landmarks, *files,
        encoder=networks.encoder, lpips=networks.lpips, identity=networks.identity,
    )  # fmt: skip
    full = paste_back.FullImages(faces.found, call.output.outdir, options, paste)
    outputs = image_folder.outputs(faces.names, full, options, tune=sources.tune)
    outputs += [*live_folder.live_files(live), parts.REPORT]
    extra = image_folder.perhaps(faces.names, tune=sources.tune)
    run = call.open_run(outputs, perhaps=extra, apart=APART, **hashes)
    if run is None:
        return None
    with shown() as progress:
        found, judged = image_folder.edit_images(
            run, gen, faces, networks, subspaces, options, full=full, plan=plan,
            generator_name=name, progress=progress,
        )  # fmt: skip
    # The generator that draws the faces may be a copy that was tuned to them.
    sliders = live_folder.add_live(
        run, live, found.generator, found.latents, subspaces, layers=options.layers,
        strengths=options.strengths,
    )  # fmt: skip
    inverted = None if moved else found.verdict
    edits.write_edit_report(
        run, faces.names, edits.motion_names(subspaces), options, generator=gen.name,
        full=full.names, inverted=inverted, verdict=judged, live=sliders,
    )  # fmt: skip
    usable = judged.usable > 0 and (inverted is None or inverted.usable > 0)
    how = of_frames(faces.names, options)
    if inverted is not None:
        how = f"{inverted.line()}; edited in {counted(options.frames, 'frame')}"
    return f"{how}: {judged.line()}: {opened(run)}", usable


def edit_video(call: cli.Call, own: MoveOptions) -> Done | None:
    """Edit the video of --video."""
    sources, align = call.read(InversionSources), call.read(AlignOptions)
    how = call.read(
        EditVideoOptions, align=align, follow=call.read(VideoOptions),
        invert=call.read(InvertOptions), pull=call.read(TuneOptions).pull,
        paste=call.read(PasteOptions),
    )  # fmt: skip
    if not own.subspace and how.amplify == 1:
        raise UsageError("nothing to do: give --subspace, or --amplify for the video's own motion")
    if not own.subspace and call.is_given("strength"):
        raise UsageError("--strength is how far along a subspace: give --subspace beside it")
    if how.amplify != 1 and not call.is_given("strength"):
        own = own.replace(strength=["0"])  # the subspaces say which motion is amplified
    info = video_reading.video_info(own.video)
    gen, files, subspaces, options = open_motions(call, own)
    video.check_formats(info, options.formats)
    encoder = encoders.open_encoder(sources.encoder, call.read(GeneratorOptions).generator, gen)
    read = (*video_files.input_files([own.video]), align.landmarks, align.detector_model)
    outputs = [*video_folder.outputs(info, options.formats), parts.REPORT]
    run = call.open_run(outputs, apart=APART, **fingerprints(gen, *read, *files, encoder=encoder))
    if run is None:
        return None
    what = counted(info.frames, "frame")
    if run.missing():
        with shown() as progress:
            done = video_folder.edit_video(
                run, gen, encoder, info, subspaces, options, how, progress=progress
            )
        edits.write_video_report(run, info, options, words=done.words, verdict=done.verdict)
        what += f", {done.faces} with a face"
    judged = video_folder.read_verdict(run)
    return f"{what}; {judged.line()}: {opened(run)}", judged.usable > 0


def edit_session(call: cli.Call, own: MoveOptions) -> Done | None:
    """Render the session of --session."""
    precision = call.read(GeneratorOptions).precision
    gen, document = session_files.open_session(own.session, precision=precision)
    frames = own.frames if call.is_given("frames") else None
    options = edit_options(call, session_files.strengths(document, frames))
    if not call.is_given("fps"):
        options = options.replace(fps=document.fps)
    outputs = [*session_render.outputs(document, options), parts.REPORT]
    run = call.open_run(outputs, apart=LIVE, **fingerprints(gen, own.session))
    if run is None:
        return None
    feather = call.read(PasteOptions).feather
    with shown() as progress:
        session_render.render(gen, document, run.path, options, feather=feather, progress=progress)
    names, motions = ([one.name for one in some] for some in (document.faces, document.motions))
    edits.write_edit_report(
        run, names, motions, options, generator=gen.name,
        images=session_render.photo_files(document),
    )  # fmt: skip
    return f"{of_frames(names, options)}: {opened(run)}", True


def edit_options(call: cli.Call, strengths: tuple[tuple[float, ...], ...]) -> EditOptions:
    """What is rendered, once it is sure that it can be written."""
    gens = call.read(GeneratorOptions)
    options = call.read(
        EditOptions, strengths=strengths, noise_mode=gens.noise_mode, batch=gens.batch
    )
    for suffix in ("mp4", "gif"):
        if suffix in options.formats:
            video_writing.check_encoder(f"video.{suffix}", (64, 64))
    return options


def open_motions(
    call: cli.Call, own: MoveOptions
) -> tuple[generator.Generator, list[str], list[artifacts.Subspace], EditOptions]:
    """The generator, files and values of the subspaces, and options with their own strengths."""
    options = edit_options(call, own.strengths())
    gens = call.read(GeneratorOptions)
    gen = zoo.load_generator(gens.generator, precision=gens.precision)
    layer_mask(options.layers, gen.config.num_ws)
    files, subspaces = open_subspaces(own.subspace, gen)
    if own.subspace:
        strengths, notes = calibrated.own_strengths(
            own.subspace, subspaces, options.strengths, even=own.calibrated
        )
        options = options.replace(strengths=strengths)
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
    return gen, files, subspaces, options


def check_live(call: cli.Call, gen: generator.Generator, options: EditOptions) -> LiveOptions:
    """The options of --live, once it is sure that it can be done."""
    live, dry_run = call.read(LiveOptions), call.output.dry_run
    live_folder.check_live(live, gen.config, noise_mode=options.noise_mode, dry_run=dry_run)
    return live


def of_frames(names: Sequence[str], options: EditOptions) -> str:
    """How much was drawn."""
    return f"{counted(len(names), 'face')} of {counted(options.frames, 'frame')}"


def opened(run: runs.RunFolder) -> str:
    """What to look at next."""
    return f"open {run.path}/{parts.REPORT} in a browser"


OPTIONS = (
    MoveOptions, EditOptions, GeneratorOptions, Sources, PasteOptions, VideoOptions,
    EditVideoOptions, InversionSources, InvertOptions, TuneOptions, AlignOptions,
    JudgeOptions, LiveOptions, cli.OutputOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
