"""Find the subspace of a micromotion: from prompts of growing degree, videos, or stored anchors.

Writes the anchors of every start latent or video, the subspace (subspace.npz), images and a report.
Running the same command again does what is missing.

Prompts are followed by the gradients of many sampled faces. --strategy=optimize is the paper's way,
a latent for each degree; so are options that only it has, such as --steps or --identity, and
--method=compat, which takes one face and decomposes its anchors as the released code does.

Of prompts, the asked degree is read back: other faces are moved along the finished motion, and CLIP
reads off them how far the degree rises, compared with prompts about other things (readback.json;
about 0 is nothing, 1 is all). Where nothing was found the program says so, ends with status 1 and
writes no subspace.npz; with --keep it does. So it does where a video's face does not move.

Of a motion that was found, strengths are calibrated by what CLIP reads along it, for mm_edit
--calibrated; of a video's with --calibrate=PROMPT. --subspace does this for a subspace that there
is already, from wherever. --without=PROMPT takes out of a motion what another prompt is about.

A prompt is in words that the CLIP knows. The bundled one knows 212, listed with its wordings in
mm_jax/assets/MODEL_CARD.md; other words are named in a note. Degrees are numbers ("no", "30%",
"-50%", "0.5"), or words from the least to the greatest ("slightly,very").

Examples:
  mm_extract --motion=smile --seeds=0-3 --outdir=runs/smile
  mm_extract --text="a person with {degree} smile" --degrees=no,50%,100% --outdir=runs/three
  mm_extract --text="a {degree} smiling person" --degrees=not,slightly,very --outdir=runs/words
  mm_extract --anchors=runs/smile/anchors_seed0000.npz --method=svd --rank=2 --outdir=runs/svd
  mm_extract --motion=smile --without=aging --without="a person with {degree} long hair" \
--outdir=runs/smile_alone
  mm_extract --motion=smile --strategy=optimize --seeds=0-3 --outdir=runs/as_in_the_paper
  mm_extract --video=clip.mp4 --calibrate=head_turn --outdir=runs/turn
  mm_extract --subspace=boundary.npz --calibrate="a {degree} old person" --outdir=runs/age
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from mm_jax import cli
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions, VideoAnchorOptions
from mm_jax.anchors.prompts import MOTIONS, fill
from mm_jax.checks import layer_mask
from mm_jax.errors import DataError, UsageError
from mm_jax.options import Options, option, seeds_option
from mm_jax.progress import prefixed, shown
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
from mm_jax.subspace.options import SubspaceOptions
from mm_jax.video.options import FrameOptions, VideoOptions

with epy.lazy_imports():
    from mm_jax import runs, zoo
    from mm_jax.anchors import decouple, folder, images, notes, readback, video_files
    from mm_jax.encoders import encoder as encoders
    from mm_jax.faces import identity as identities
    from mm_jax.perceptual import clip_files
    from mm_jax.report import motions, parts


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
    subspace: str = option("", "Stored subspace, in place of a prompt: to calibrate, or decouple.")
    without: list[str] = option(
        [], "What the motion is to leave alone: a motion or a prompt; repeatable."
    )
    calibrate: str = option(
        "auto",
        "What strengths are calibrated by: a motion or a prompt; auto is the motion's own prompt, "
        "if it has one, none does without.",
    )
    clip: str = option(zoo.CLIP, "CLIP: a bundled name, a folder, or a hub id.")
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
        sources = (self.text, self.motion, self.anchors, self.video, self.subspace)
        if sum(map(bool, sources)) != 1:
            raise UsageError(
                "give exactly one of --motion, --text, --anchors, --video and --subspace"
            )
        if self.identity != "none" and not (self.text or self.motion):
            raise UsageError("--identity is for anchors that are optimised")

    def finish(self, own: str, **how: Any) -> folder.Finish:
        """What is done to the subspace of a motion with its own prompt, or "" without."""
        by = {"auto": own, "none": ""}.get(self.calibrate, self.calibrate)
        return folder.Finish(
            without=tuple(map(decouple.template_of, self.without)),
            calibrate=decouple.template_of(by) if by else "",
            **how,
        )


def work(call: cli.Call) -> None:
    """Find what the folder lacks: anchors, then their subspace, then images and the report."""
    own, how = call.read(ExtractOptions), call.read(SubspaceOptions)
    gens = call.read(GeneratorOptions)
    if call.is_given("identity_weight") and own.identity == "none":
        raise UsageError("--identity_weight needs --identity")
    call.refuse_beside("latents", *OF_SEEDS, why=STORED)
    for flag in ("anchors", "video", "subspace"):
        call.refuse_beside(flag, "latents", *OF_SEEDS, why="the motion is that of the given files")
    if own.video:
        from_videos(call, own, how, gens)
    elif own.subspace:
        from_subspace(call, own, gens)
    else:
        from_prompts(call, own, how, gens)


def anchor_options(
    call: cli.Call, own: ExtractOptions, starts: Starts, method: str
) -> AnchorOptions:
    """How anchors are found from prompts; the strategy is the one that the flags ask for."""
    given = call.given_fields(AnchorOptions) + ["identity"] * (own.identity != "none")
    options = call.read(AnchorOptions, truncation_psi=starts.trunc, label=starts.label)
    if method == "compat" and options.strategy == "auto":
        options = options.replace(strategy="optimize")
    motion = MOTIONS.get(own.motion or "")
    options = options.replace(layers=options.layers or (motion.layers if motion else None))
    return options.resolved(given)


def from_prompts(
    call: cli.Call, own: ExtractOptions, how: SubspaceOptions, gens: GeneratorOptions
) -> None:
    """Find the subspace of prompts, or of the stored anchors of --anchors."""
    sources, options, template = call.read(Starts), None, ""
    if how.method == "compat" and not call.is_given("seeds"):
        sources = sources.replace(seeds=sources.seeds[:1])
    if not own.anchors:
        template = MOTIONS[own.motion].template if own.motion else own.text
        fill(template, "no")  # refuses one without {degree}
        options = anchor_options(call, own, sources, how.method)
    gen = zoo.load_generator(gens.generator)
    starts = open_latents(gen, sources)
    stored = folder.load_sets(own.anchors, gen)
    names = list(stored) or list(starts.names or ())
    count = sum(len(s.ws) for s in stored.values())
    if options is not None:
        count = len(names) * len(options.degrees)
    how.check_fits(anchors=count, rows=gen.config.num_ws)
    asked = (template, options.degrees) if options else folder.asked_of(list(stored.values()))
    finish = own.finish(
        asked[0] if asked else "",
        degrees=tuple(asked[1]) if asked else call.read(AnchorOptions).degrees,
        truncation_psi=sources.trunc, batch_size=gens.batch,
    )  # fmt: skip
    clip, why_not = None, ""
    if options is None and asked:
        clip, why_not = folder.reading_clip(stored, own.clip if call.is_given("clip") else None)
        tell([f"the anchors' motion is not read back: {why_not}"] if why_not else [])
    elif asked or finish.needs_clip:
        clip = clip_files.load_clip(own.clip)
    if clip is None and (own.without or own.calibrate not in ("auto", "none")):
        raise UsageError(f"--without and --calibrate need a CLIP: {why_not}")
    read = clip is not None and asked is not None
    if own.keep and not read:
        raise UsageError("--keep is for prompts and videos: otherwise nothing is read back")
    identity = identities.open_identity(own.identity, gen)
    shown_files = [*images.image_files(names), parts.REPORT]
    outputs = [
        *folder.tables(names, stored=bool(stored)), *([folder.READ_BACK] if read else []),
        *shown_files,
    ]  # fmt: skip
    judges = None if clip is None else (clip, identity)
    inputs = fingerprints(gen, sources.latents, *own.anchors, judges=judges)
    run = call.open_run(outputs, apart=["keep"], **inputs)
    if run is None:
        return
    with shown() as progress:
        sets, found = list(stored.values()), None
        if options is not None and clip is not None:
            tell(notes.prompt_notes(clip, template, options.degrees))
            sets = folder.find_anchors(
                gen, clip, template, starts, run.path, options, identity=identity,
                batch_size=gens.batch, progress=progress,
            )  # fmt: skip
        if clip is not None and read:
            subspace, found = folder.find_checked(
                gen, clip, sets, run.path, how, keep=own.keep, finish=finish, progress=progress
            )
        else:
            subspace = folder.find_subspace(
                sets, run.path, how, finish=lambda one: finish.whole(gen, clip, one, progress)
            )
        tell(said := notes.anchor_notes(names, sets, subspace))
        motions.show_motion(
            run, gen, names, sets, subspace, found=found, notes=said, batch=gens.batch,
            progress=progress,
        )  # fmt: skip
    conclude(run, found=found, keep=own.keep)


def from_subspace(call: cli.Call, own: ExtractOptions, gens: GeneratorOptions) -> None:
    """Read back, calibrate and decouple the subspace of --subspace."""
    gen = zoo.load_generator(gens.generator)
    (file,), (stored,) = open_subspaces([own.subspace], gen)
    options = call.read(AnchorOptions)
    finish = own.finish(
        stored.meta.get("template", ""), degrees=options.degrees, batch_size=gens.batch
    )
    if not finish.calibrate:
        raise UsageError(
            "--subspace was not found from a prompt: give one that says what it is, or a motion, "
            "as --calibrate"
        )
    clip = clip_files.load_clip(own.clip)
    outputs = [*folder.tables(()), folder.READ_BACK]
    run = call.open_run(outputs, apart=["keep"], **fingerprints(gen, file, clip=clip))
    if run is None:
        return
    tell(notes.prompt_notes(clip, finish.calibrate, options.degrees))
    with shown() as progress:
        _, found = folder.check_stored(
            gen, clip, stored, run.path, finish.calibrate, keep=own.keep, finish=finish,
            progress=progress,
        )  # fmt: skip
    conclude(run, found=found, keep=own.keep, page=folder.READ_BACK)


def from_videos(
    call: cli.Call, own: ExtractOptions, how: SubspaceOptions, gens: GeneratorOptions
) -> None:
    """Find the subspace of the videos that --video names."""
    align, follow = call.read(AlignOptions), call.read(VideoOptions)
    frames, options = call.read(FrameOptions), call.read(VideoAnchorOptions)
    finish = own.finish("", degrees=call.read(AnchorOptions).degrees, batch_size=gens.batch)
    infos = video_files.open_videos(own.video, frames)
    names = list(infos)
    gen = zoo.load_generator(gens.generator)
    layer_mask(how.layers, gen.config.num_ws)
    encoder = encoders.open_encoder(own.encoder, gens.generator, gen)
    clip = clip_files.load_clip(own.clip) if finish.needs_clip else None
    files = (*video_files.input_files(own.video), align.landmarks, align.detector_model)
    outputs = [*folder.tables(names), *images.image_files(names), parts.REPORT]
    outputs += map(video_files.comparison_file, names)
    inputs = fingerprints(gen, *files, encoder=encoder, clip=clip)
    run = call.open_run(outputs, apart=["keep"], **inputs)
    if run is None:
        return
    with shown() as progress:
        sets = [
            video_files.find_video_anchors(
                gen, encoder, info, name, run.path, align=align, video=follow, frames=frames,
                options=options, batch=gens.batch, progress=prefixed(progress, name),
            )
            for name, info in infos.items()
        ]  # fmt: skip
        still = video_files.still(sets)
        subspace = folder.find_subspace(
            sets, run.path, how, write=own.keep or not still,
            finish=lambda one: finish.whole(gen, clip, one, progress),
        )  # fmt: skip
        progress("subspace", 1, 1)
        tell(said := notes.anchor_notes(names, sets, subspace))
        motions.show_motion(
            run, gen, names, sets, subspace, still=still, notes=said, batch=gens.batch,
            progress=progress,
        )  # fmt: skip
    conclude(run, still=still, keep=own.keep)


def tell(lines: Sequence[str]) -> None:
    """Print notes to standard error."""
    for line in lines:
        print(f"note: {line}", file=sys.stderr)


def conclude(
    run: runs.RunFolder,
    *,
    found: readback.ReadBack | None = None,
    still: str | None = None,
    keep: bool,
    page: str = "",
) -> None:
    """Print what came out. Raises DataError if no motion was found, unless it is kept."""
    page, file = f"{run.path}/{page or parts.REPORT}", f"{run.path}/{folder.SUBSPACE}"
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


OPTIONS = (
    ExtractOptions, AnchorOptions, SubspaceOptions, AlignOptions, VideoOptions, FrameOptions,
    VideoAnchorOptions, GeneratorOptions, Starts, cli.OutputOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
