"""Move faces along the subspaces of micromotions.

Writes for every latent a strip of images and a video, and one report. Strength 1 is the full motion
of the anchors, -1 its opposite. Several subspaces add up; --strength given once is for all of them,
else once for each. Running the same command again does what is missing.

With --image, faces are found in images and inverted first (OUTDIR/inversion, as by mm_invert),
and the edited faces are also put back: NAME_full.png, NAME_full.mp4. With --video, so are all
frames of a video; a LOW:HIGH --strength runs over the video, a list are its keyframes.

With --session, a file that mm_studio saved says what is edited and how: its time line is rendered,
or its motions as they grow to their strengths; --frames=1 is the one picture that the studio shows.

Edits are judged by networks that know photographs of people: is each face still the same person,
and did what was asked for move? The verdict is in the last line, the report and verdict.json. If no
face is of use, the exit status is 1, unless --keep.

Examples:
  mm_edit --subspace=runs/smile/subspace.npz --seeds=100-103 --outdir=runs/smiling
  mm_edit --subspace=runs/smile/subspace.npz --strength=-1,0,1 --format=png,gif --outdir=runs/three
  mm_edit --subspace=runs/smile/subspace.npz --strength=0:1 --subspace=runs/age/subspace.npz \
--strength=0:0.5 --layers=0-7 --outdir=runs/both
  mm_edit --subspace=runs/smile/subspace.npz --image=me.jpg --strength=0:1 --outdir=runs/me
  mm_edit --subspace=runs/smile/subspace.npz --video=me.mp4 --strength=0,1,0 --outdir=runs/video
  mm_edit --session=studio.json --outdir=runs/studio
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
from mm_jax.inversion.options import InversionSources, InvertOptions, JudgeOptions, TuneOptions
from mm_jax.media.image_files import expand
from mm_jax.options import Options, option, seeds_option
from mm_jax.progress import ProgressFn, shown
from mm_jax.sources import (
    OF_SEEDS,
    SEEDS,
    STORED,
    GeneratorOptions,
    LatentOptions,
    fingerprints,
    open_latents,
    open_subspaces,
    subspace_file,
)
from mm_jax.video.options import VideoOptions
from mm_jax.words import counted

with epy.lazy_imports():
    import numpy as np

    from mm_jax import artifacts, io, media, report, runs, zoo
    from mm_jax.alignment import framing
    from mm_jax.anchors import video_files
    from mm_jax.editing import draw, paste_back
    from mm_jax.editing import verdict as verdicts
    from mm_jax.editing import video as editing_video
    from mm_jax.encoders import encoder as encoders
    from mm_jax.inversion import folder, inputs
    from mm_jax.inversion import judge as judging
    from mm_jax.inversion import video as inversion_video
    from mm_jax.media import video_reading, video_writing
    from mm_jax.report import parts
    from mm_jax.studio import frames as studio_frames
    from mm_jax.studio import session_files
    from mm_jax.stylegan2 import generator
    from mm_jax.video import editing as weighting
    from mm_jax.video import faces as video_faces

# What the last line of a run says beside where the report is.
NEXT = "mm_studio lets you drag the strengths yourself"
# The folder in the run's own that holds what mm_invert writes, and the verdict on the edits.
INVERSION, VERDICT = "inversion", "verdict.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoveOptions(Options):
    """What is moved, and how far."""

    subspace: list[str] = option(
        [], "Subspace to move along: .npz, or a bundled one's name; repeat to combine."
    )
    strength: list[str] = option(["-1:1"], "LOW:HIGH, or a list of strengths.")
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


def work(call: cli.Call) -> int | None:
    """Edit latents, images or a video."""
    own, gens, sources = call.read(MoveOptions), call.read(GeneratorOptions), call.read(Sources)
    if own.session:
        edit_session(call, own, gens)
        return None
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
    if not (done := edit(call, own, gens.generator, options)):
        return None
    text, usable = done
    print(f"{text} ({NEXT})" if usable else text)
    return 0 if usable or call.read(JudgeOptions).keep else 1


Done = tuple[str, bool]
"""What was done, in a line, and whether it is of use."""


def edit_latents(call: cli.Call, own: MoveOptions, name: str, options: EditOptions) -> Done | None:
    """Edit the latents of --seeds or --latents."""
    sources = call.read(Sources)
    gen = zoo.load_generator(name)
    layer_mask(options.layers, gen.config.num_ws)
    moved_along = [subspace_file(path, gen) for path in own.subspace]
    subspaces = open_subspaces(moved_along, gen)
    latents = open_latents(gen, sources)
    names = latents.names or ()
    hashes = fingerprints(gen, sources.latents, *moved_along)
    outputs = [*draw.files_of(names, options), VERDICT, parts.REPORT]
    run = call.open_run(outputs, apart=["keep"], **hashes)
    if run is None:
        return None
    with shown() as progress:
        draw.draw(gen, latents, subspaces, run.path, options, progress=progress)
        verdict = judge(run, gen, latents, subspaces, options, progress=progress)
    write_report(run, gen.name, names, [], subspaces, options, verdict)
    what = f"{counted(len(names), 'face')} of {counted(options.frames, 'frame')}"
    return f"{what}; {verdict.line()}: {opened(run)}", verdict.usable > 0


def edit_images(call: cli.Call, own: MoveOptions, name: str, options: EditOptions) -> Done | None:
    """Edit the faces of --image: inverted, edited, and put back."""
    sources, align = call.read(InversionSources), call.read(AlignOptions)
    how, tune = call.read(InvertOptions), call.read(TuneOptions)
    paste = call.read(PasteOptions)
    paths = expand(own.image)
    gen = zoo.load_generator(name)
    networks = inputs.open_networks(gen, name, sources)
    faces = inputs.open_images(gen, paths, align, start=sources.start)
    layer_mask(options.layers, gen.config.num_ws)
    moved_along = [subspace_file(path, gen) for path in own.subspace]
    subspaces = open_subspaces(moved_along, gen)
    hashes = fingerprints(
        gen, *paths, sources.start, align.landmarks, *moved_along,
        encoder=networks.encoder, lpips=networks.lpips, identity=networks.identity,
    )  # fmt: skip
    inverted = folder.outputs(faces.names, tune=sources.tune)
    with shown() as progress:
        full = paste_back.FullImages(faces.found, call.output.outdir, options, paste, progress)
        whole = [file for image in full.names for file in full.files(image)]
        outputs = [*(f"{INVERSION}/{file}" for file in inverted)]
        outputs += [*draw.files_of(faces.names, options), *whole, VERDICT, parts.REPORT]
        check_distinct(outputs)
        extra = [f"{INVERSION}/{file}" for file in folder.perhaps(faces.names, tune=sources.tune)]
        run = call.open_run(outputs, perhaps=extra, apart=["keep"], **hashes)
        if run is None:
            return None
        inner = runs.RunFolder(run.file(INVERSION), run.command, run.settings, inverted)
        found = folder.invert_into(
            inner, gen, faces, networks, how, tune, sources=sources,
            generator_name=name, batch=options.batch, progress=progress,
        )  # fmt: skip
        draw.draw(
            found.generator, found.latents, subspaces, run.path, options, full=full,
            progress=progress,
        )  # fmt: skip
        verdict = judge(
            run, found.generator, found.latents, subspaces, options, faces=faces,
            replaced=paste.paste == "replace", progress=progress,
        )  # fmt: skip
    write_report(run, gen.name, faces.names, full.names, subspaces, options, verdict, found)
    frames = counted(options.frames, "frame")
    return (
        f"{found.verdict.line()}; edited in {frames}: {verdict.line()}: {opened(run)}",
        found.verdict.usable > 0 and verdict.usable > 0,
    )


def judge(
    run: runs.RunFolder,
    gen: generator.Generator,
    latents: artifacts.Latents,
    subspaces: Sequence[artifacts.Subspace],
    options: EditOptions,
    *,
    faces: inputs.FaceImages | None = None,
    replaced: bool = False,
    progress: ProgressFn,
) -> verdicts.EditVerdict:
    """The verdict on the edits, as the folder has it or else written now."""
    if not run.missing([VERDICT]):
        return verdicts.EditVerdict.from_dict(io.read_json(run.file(VERDICT)))
    verdict = verdicts.judge_edit(
        gen, latents, subspaces, options, judging.reader_for(gen),
        images=None if faces is None else faces.images, replaced=replaced, progress=progress,
    )  # fmt: skip
    io.write_json(run.file(VERDICT), verdict.to_dict())
    return verdict


def edit_video(call: cli.Call, own: MoveOptions, name: str, options: EditOptions) -> Done | None:
    """Edit the video of --video."""
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
    moved_along = [subspace_file(path, gen) for path in own.subspace]
    subspaces = open_subspaces(moved_along, gen)
    encoder = encoders.open_encoder(sources.encoder, name, gen)
    files = (*video_files.input_files([own.video]), align.landmarks, align.detector_model)
    drawn = editing_video.files_of(info.path.stem, options.formats, info.frames)
    outputs = [*inversion_video.piece_files(info), *drawn, VERDICT, parts.REPORT]
    hashes = fingerprints(gen, *files, *moved_along, encoder=encoder)
    run = call.open_run(outputs, apart=["keep"], **hashes)
    if run is None:
        return None
    if not run.missing():
        seen = read_verdict(run)
        what = f"{counted(info.frames, 'frame')}; {seen.line('frames')}"
        return f"{what}: {opened(run)}", seen.usable > 0
    batch = inputs.batch_for(gen, options.batch)
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
        if run.missing([VERDICT]):
            verdict = inversion_video.judge_frames(gen, info, face, latents, progress=progress)
            frames = {name: one.to_dict() for name, one in verdict.judged.items()}
            io.write_json(run.file(VERDICT), {"frames": frames})
    verdict = read_verdict(run)
    if run.missing([parts.REPORT]):
        write_video_report(run, info, options, edit.text, verdict)
    what = f"{counted(info.frames, 'frame')}, {int(face.found.sum())} with a face"
    return f"{what}; {verdict.line('frames')}: {opened(run)}", verdict.usable > 0


def read_verdict(run: runs.RunFolder) -> judging.InversionVerdict:
    """The stored verdict on some frames of a video."""
    frames = io.read_json(run.file(VERDICT))["frames"]
    return judging.InversionVerdict(
        {name: judging.Likeness.from_dict(one) for name, one in frames.items()}
    )


def opened(run: runs.RunFolder) -> str:
    """What to look at next."""
    return f"open {run.path}/report.html in a browser"


def edit_session(call: cli.Call, own: MoveOptions, gens: GeneratorOptions) -> None:
    """Render the session of --session."""
    taken = ("subspace", "strength", "seeds", "latents", "image", "video", "generator", "layers")
    given = [f"--{flag}" for flag in taken if call.is_given(flag)]
    if given:
        raise UsageError(f"--session says what is edited: give it without {', '.join(given)}")
    values = session_files.read(session_files.read_text(own.session), own.session)
    gen = zoo.load_generator(session_files.generator_of(values, own.session))
    document = session_files.load(values, gen, own.session)
    session_files.check_renders(document, own.session)
    amounts = session_files.strengths(document, own.frames if call.is_given("frames") else None)
    given_fps = {} if call.is_given("fps") else {"fps": document.fps}
    options = call.read(
        EditOptions, strengths=amounts, noise_mode=gens.noise_mode, batch=gens.batch
    ).replace(**given_fps)
    paste = call.read(PasteOptions)
    latents, subspaces = document.latents(), [motion.masked() for motion in document.motions]
    names = latents.names or ()
    with shown() as progress:
        photos = [face for face in document.faces if face.photo is not None]
        whole = [f"{face.name}_full.png" for face in photos]
        files = [*draw.files_of(names, options), *whole, parts.REPORT]
        run = call.open_run(files, **fingerprints(gen, own.session))
        if run is None:
            return
        for tuned in {id(face.generator): face.generator for face in document.faces}.values():
            # Faces that a copy of the generator was tuned to are rendered by that copy.
            some = [i for i, face in enumerate(document.faces) if face.generator is tuned]
            few = artifacts.Latents(latents.ws[np.array(some)], tuple(names[i] for i in some))
            draw.draw(tuned or gen, few, subspaces, run.path, options, progress=progress)
        for face, file in zip(photos, whole, strict=True):
            if run.missing([file]):
                image = studio_frames.pasted(gen, document, face.name, feather=paste.feather)
                media.save_png(run.file(file), image)
    if run.missing([parts.REPORT]):
        write_report(
            run, gen.name, names, [], subspaces, options, None,
            motions=[motion.name for motion in document.motions],
            pictures=[report.Figure(run.file(f), title=f.removesuffix(".png")) for f in whole],
        )  # fmt: skip
    what = f"{counted(len(names), 'face')} of {counted(options.frames, 'frame')}"
    print(f"{what}: {opened(run)} ({NEXT})")


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
    verdict: verdicts.EditVerdict | None,
    found: folder.Inverted | None = None,
    *,
    motions: Sequence[str] = (),
    pictures: Sequence[report.Figure] = (),
) -> None:
    """The report on edited latents, and on the images that they were put back into."""
    if not run.missing([parts.REPORT]):
        return
    prompts = list(motions) or [
        str(s.meta.get("template", "a subspace without prompt")) for s in subspaces
    ]
    ranges = [strengths_text(row) for row in options.strengths]
    moved = "; ".join(f"{p!r}, {r}" for p, r in zip(prompts, ranges, strict=True))
    labels = parts.strength_labels(options.strengths, options.strip_frames)
    faces, whole = (
        [
            item
            for name in some
            for item in parts.edit_items(run.path, name, options.formats, caption, frames=frames)
        ]
        for some, caption, frames in (
            (names, "by growing strength", labels),
            # Whole images are not square, so their strips stay strips.
            ([f"{name}_full" for name in full], "put back", ()),
        )
    )
    facts, banner = {"faces": len(names), "frames": options.frames}, None
    if verdict is not None:
        lines = [*([] if found is None else [found.verdict.line()]), verdict.line()]
        good = verdict.usable == len(names) and (found is None or found.verdict.good)
        facts["as asked"], banner = verdict.usable, report.Banner("\n".join(lines), good=good)
    report.write_report(
        run.path,
        "Edited faces",
        [
            *([report.Section("Images", [*whole, *pictures])] if whole or pictures else []),
            report.Section("Faces", faces if verdict is None else [*faces, verdict.table()]),
            parts.settings_section(run.command, run.settings),
        ],
        subtitle=f"{moved}, in {generator}",
        facts=facts,
        banner=banner,
        embed=False,
    )


def write_video_report(
    run: runs.RunFolder,
    info: video_reading.VideoInfo,
    options: EditOptions,
    text: str,
    verdict: judging.InversionVerdict,
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
        banner=report.Banner(
            f"Of the frames that were judged, {verdict.line('frames')}", good=verdict.good
        ),
        embed=False,
    )


OPTIONS = (
    MoveOptions, EditOptions, GeneratorOptions, Sources, PasteOptions, VideoOptions,
    EditVideoOptions, InversionSources, InvertOptions, TuneOptions, AlignOptions,
    JudgeOptions, cli.OutputOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
