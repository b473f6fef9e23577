"""Find the subspace of a micromotion: from prompts of growing degree, videos, or stored anchors.

Writes the anchors of every start latent or video, the subspace (subspace.npz), images and a report.
Running the same command again does what is missing.

Of prompts, the asked degree is read back: other faces are moved along the finished motion, and CLIP
reads off them how far the degree rises, compared with prompts about other things (readback.json;
about 0 is nothing, 1 is all). Where nothing was found the program says so, ends with status 1 and
writes no subspace.npz; with --keep it does. So it does where a video's face does not move.

A prompt is in words that the CLIP knows. The bundled one knows 36, listed with its wordings in
mm_jax/assets/MODEL_CARD.md; other words are named in a note. Degrees are numbers ("no", "30%",
"-50%", "0.5"), or words from the least to the greatest ("slightly,very").

Examples:
  mm_extract --motion=smile --seeds=0-3 --outdir=runs/smile
  mm_extract --text="a person with {degree} smile" --degrees=no,50%,100% --outdir=runs/three
  mm_extract --text="a {degree} smiling person" --degrees=not,slightly,very --outdir=runs/words
  mm_extract --anchors=runs/smile/anchors_seed0000.npz --method=svd --rank=2 --outdir=runs/svd
  mm_extract --video=clip.mp4 --outdir=runs/turn
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epy

from mm_jax import cli
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions, VideoAnchorOptions
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.checks import layer_mask
from mm_jax.errors import DataError, UsageError
from mm_jax.options import Options, option, seeds_option
from mm_jax.progress import ProgressFn, prefixed, shown
from mm_jax.sources import (
    OF_SEEDS,
    SEEDS,
    STORED,
    GeneratorOptions,
    LatentOptions,
    fingerprints,
    open_latents,
)
from mm_jax.subspace.options import SubspaceOptions
from mm_jax.video.options import FrameOptions, VideoOptions
from mm_jax.words import counted

with epy.lazy_imports():
    import numpy as np

    from mm_jax import artifacts, media, rendering, report, runs, zoo
    from mm_jax.alignment import faces as alignment_faces
    from mm_jax.anchors import folder, prompts, video_files
    from mm_jax.editing import affine
    from mm_jax.encoders import encoder as encoders
    from mm_jax.faces import identity as identities
    from mm_jax.media import video_reading
    from mm_jax.perceptual import clip, clip_files, clip_words
    from mm_jax.report import parts
    from mm_jax.stylegan2 import generator

MOTION = "motion.png"
# What the image of the motion shows of each start latent.
STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0)
# Frames that a comparison of a video and its reconstruction shows at most.
SHOWN = 16
# Robust PCA that takes this fraction of the motion's energy for outliers has removed much of it.
MUCH = 0.5
KNOWN_WORDS = "the bundled one's words are listed in mm_jax/assets/MODEL_CARD.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Starts(LatentOptions):
    """Which latents the motion starts from; one alone says much of itself and little of faces."""

    seeds: tuple[int, ...] = seeds_option("0-3", SEEDS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractOptions(Options):
    """What the motion is found from."""

    motion: str | None = option(None, "Motion with a prompt of its own.", choices=tuple(MOTIONS))
    text: str = option("", "Prompt in place of --motion, with one {degree} in it.")
    anchors: list[str] = option([], "Stored anchors in place of a prompt; repeatable.")
    video: list[str] = option([], "Video or folder of frames, in place of a prompt; repeatable.")
    clip: str = option("synthface-clip", "CLIP: a bundled name, a folder, or a hub id.")
    keep: bool = option(False, "Write subspace.npz also where the motion was not found.")
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
    call.refuse_beside("latents", *OF_SEEDS, why=STORED)
    for flag in ("anchors", "video"):
        call.refuse_beside(flag, "latents", *OF_SEEDS, why="the motion is that of the given files")
    if own.video:
        from_videos(call, own, how, gens)
        return
    sources, options, template = call.read(Starts), None, ""
    if not own.anchors:
        motion = MOTIONS.get(own.motion or "")
        template = motion.template if motion else own.text
        prompts.fill(template, "no")
        options = call.read(AnchorOptions, truncation_psi=sources.trunc, label=sources.label)
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
    if options is not None:
        judge = clip_files.load_clip(own.clip)
    else:
        judge = judge_of(stored, own.clip if call.is_given("clip") else None)
    if own.keep and judge is None:
        raise UsageError("--keep is for prompts and videos: otherwise nothing is read back")
    identity = identities.open_identity(own.identity, gen)
    checked = [] if judge is None else [folder.READ_BACK]
    outputs = [*folder.tables(names, stored=bool(stored)), *checked, *images_of(names)]
    judges = None if judge is None else (judge, identity)
    inputs = fingerprints(gen, sources.latents, *own.anchors, judges=judges)
    run = call.open_run(outputs, apart=["keep"], **inputs)
    if run is None:
        return
    with shown() as progress:
        sets = list(stored.values())
        if options is not None and judge is not None:
            tell(prompt_notes(judge, template, options.degrees))
            sets = folder.find_anchors(
                gen, judge, template, starts, run.path, options, identity=identity,
                batch_size=gens.batch, progress=progress,
            )  # fmt: skip
        finish(
            run, gen, names, sets, how, judge=judge, keep=own.keep, trunc=sources.trunc,
            batch=gens.batch, progress=progress,
        )  # fmt: skip


def judge_of(stored: Mapping[str, artifacts.Anchors], name: str | None) -> clip.Clip | None:
    """The CLIP that reads back stored anchors, by default their own; None without one prompt."""
    sets = list(stored.values())
    if folder.asked_of(sets) is None:
        return None
    name = name or str(sets[0].meta.get("clip", "synthface-clip"))
    try:
        return clip_files.load_clip(name)
    except (DataError, UsageError) as error:
        tell([f"the anchors' motion is not read back: {error}"])
        return None


def tell(notes: Sequence[str]) -> None:
    """Print notes to standard error."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def prompt_notes(judge: clip.Clip, template: str, degrees: Sequence[str]) -> list[str]:
    """What is to be said about a prompt before the work."""
    texts = [prompts.fill(template, degree) for degree in degrees]
    notes = clip_words.wording_notes(judge, texts, known=KNOWN_WORDS)
    if words := prompts.words_without_number(degrees):
        named = ", ".join(f"“{word}”" for word in words)
        notes.append(
            f"--degrees: no number in {named}: all degrees count by their order, evenly spaced"
        )
    return notes


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
        for note in info.notes:
            alignment_faces.say(f"{info.path}: {note}")
    gen = zoo.load_generator(gens.generator)
    layer_mask(how.layers, gen.config.num_ws)
    encoder = encoders.open_encoder(own.encoder, gens.generator, gen)
    compared = [f"clip_{name}.png" for name in names]
    files = (*video_files.input_files(own.video), align.landmarks, align.detector_model)
    outputs = [*folder.tables(names), *images_of(names), *compared]
    inputs = fingerprints(gen, *files, encoder=encoder)
    run = call.open_run(outputs, apart=["keep"], **inputs)
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
        finish(
            run, gen, names, sets, how, sections, still=video_files.still(sets), keep=own.keep,
            batch=gens.batch, progress=progress,
        )  # fmt: skip


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
    judge: clip.Clip | None = None,
    still: str | None = None,
    keep: bool = False,
    trunc: float = 0.7,
    batch: int | None,
    progress: ProgressFn,
) -> None:
    """The subspace of all sets of anchors, images of both, and the report.

    `judge` reads a motion of prompts back; `still` says why a video shows none.

    Raises:
        DataError: the motion was not found, and is not kept.
    """
    found = None
    if judge is None:
        subspace = folder.find_subspace(sets, run.path, options, write=keep or not still)
    else:
        subspace, found = folder.find_checked(
            gen, judge, sets, run.path, options, keep=keep, truncation_psi=trunc,
            batch_size=batch, progress=progress,
        )  # fmt: skip
    notes = anchor_notes(names, sets, subspace)
    tell(notes)
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
        videos = ", ".join(str(s.meta["clip"]) for s in sets if s.meta.get("source") == "video")
        title = str(subspace.meta.get("template", videos or "Subspace of stored anchors"))
        caption = "the start latents, at strengths " + ", ".join(f"{s:g}" for s in STRENGTHS)
        labels = parts.strength_labels([STRENGTHS], range(len(STRENGTHS)))
        motion = report.Figure(run.file(MOTION), caption=caption, title="The motion", frames=labels)
        first = [] if found is None else [parts.read_back_chart(found, template=title)]
        charts = parts.subspace_charts(sets, subspace, title=title, first=first)
        sections = [
            report.Section("Motion", [motion, charts]),
            report.Section("Anchors", [*map(report.Text, notes), *strips]),
            *further,
            parts.settings_section(run.command, run.settings),
        ]
        subtitle = f"A micromotion of {gen.name}, found from {counted(len(sets), 'set')} of anchors"
        facts = parts.subspace_facts(subspace, found)
        banner = None
        if still:
            banner = report.Banner(f"No motion was found: {still}.", good=False)
        elif found is not None:
            text = found.describe() if found.found else f"Nothing was found: {found.describe()}."
            banner = report.Banner(text, good=found.found)
        report.write_report(
            run.path, title, sections, subtitle=subtitle, banner=banner, facts=facts
        )
    page, file = f"{run.path}/{parts.REPORT}", f"{run.path}/{folder.SUBSPACE}"
    then = f"Next: mm_edit --subspace={file} --outdir=FOLDER"
    if still and keep:
        print(f"no motion was found, but it is kept: {still}: {file}, {page}")
    elif still:
        raise DataError(
            f"no motion was found: {still}; {page} shows it. --keep writes {folder.SUBSPACE} all "
            "the same"
        )
    elif found is None:
        print(f"{file}, not read back, as there is no prompt: see {page}. {then}")
    elif found.found:
        print(f"{found.describe()}: {file}, {page}. {then}")
    elif keep:
        print(f"nothing was found, but it is kept: {found.describe()}: {file}, {page}")
    else:
        raise DataError(
            f"nothing was found: {found.describe()}; {page} shows it. Try other words or another "
            f"--clip; --keep writes {folder.SUBSPACE} all the same"
        )


def anchor_notes(
    names: Sequence[str], sets: Sequence[artifacts.Anchors], subspace: artifacts.Subspace
) -> list[str]:
    """What is to be said about anchors of prompts and their decomposition."""
    notes = []
    for name, anchors in zip(names, sets, strict=True):
        if not anchors.meta.get("rises", True):
            used = "left out" if any(s.meta.get("rises", True) for s in sets) else "used as it is"
            notes.append(f"{name}: what CLIP reads does not rise with the degree; {used}")
        if again := anchors.meta.get("retried"):
            notes.append(f"{name}: begun again from the nearest degree: {', '.join(again)}")
        left_out = [d["degree"] for d in anchors.meta.get("dropped", ()) if "degree" in d]
        if left_out:
            notes.append(f"{name}: left out, as CLIP reads another degree: {', '.join(left_out)}")
    share = subspace.meta.get("rpca", {}).get("sparse_energy", 0.0)
    if share > MUCH:
        notes.append(
            f"robust PCA took {share:.0%} of the anchors' motion for outliers, with few anchors "
            "more than is right; --method=svd takes all of it"
        )
    return notes


OPTIONS = (
    ExtractOptions, AnchorOptions, SubspaceOptions, AlignOptions, VideoOptions, FrameOptions,
    VideoAnchorOptions, GeneratorOptions, Starts, cli.OutputOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
