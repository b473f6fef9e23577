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
  mm_extract --video=turn.mp4 --calibrate=head_turn --outdir=runs/turn
  mm_extract --subspace=boundary.npz --calibrate="a {degree} old person" --outdir=runs/age
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

from etils import epy

from mm_jax import cli
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions, VideoAnchorOptions
from mm_jax.anchors.prompts import MOTIONS, fill
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
    open_subspaces,
)
from mm_jax.subspace.options import SubspaceOptions
from mm_jax.video.options import FrameOptions, VideoOptions

with epy.lazy_imports():
    from mm_jax import artifacts, runs, zoo
    from mm_jax.anchors import decouple, finish, folder, notes, video_files
    from mm_jax.encoders import encoder as encoders
    from mm_jax.faces import identity as identities
    from mm_jax.perceptual import clip as clips
    from mm_jax.perceptual import clip_files
    from mm_jax.report import motions
    from mm_jax.stylegan2 import generator


# Flags of the search for what a prompt describes.
OF_SEARCH = (
    "strategy", "objective", "steps", "learning_rate", "l2_weight", "identity", "identity_weight",
    "augment", "repair", "samples", "matches", "gradients", "refine", "resolution",
)  # fmt: skip


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

    def to_do(self, prompt: str, **how: Any) -> finish.Finish:
        """What is done to a motion once it is found; `prompt` is its own, or "" if it has none."""
        by = {"auto": prompt, "none": ""}.get(self.calibrate, self.calibrate)
        return finish.Finish(
            template=prompt,
            without=tuple(map(decouple.template_of, self.without)),
            calibrate=decouple.template_of(by) if by else "",
            keep=self.keep,
            **how,
        )


def work(call: cli.Call) -> None:
    """Find what the folder lacks: anchors, then their subspace, then images and the report."""
    own = call.read(ExtractOptions)
    if call.is_given("identity_weight") and own.identity == "none":
        raise UsageError("--identity_weight needs --identity")
    call.refuse_beside("latents", *OF_SEEDS, why=STORED)
    for flag in ("anchors", "video", "subspace"):
        others = ("latents", *OF_SEEDS, *OF_SEARCH)
        call.refuse_beside(flag, *others, why="the motion is that of the given files")
    if own.subspace:
        from_subspace(call, own)
    elif own.video:
        from_videos(call, own)
    elif own.anchors:
        from_anchors(call, own)
    else:
        from_prompt(call, own)


def from_prompt(call: cli.Call, own: ExtractOptions) -> None:
    """Find the motion of --motion or --text."""
    gens, how, sources = call.read(GeneratorOptions), call.read(SubspaceOptions), call.read(Starts)
    options = call.read(AnchorOptions, truncation_psi=sources.trunc, label=sources.label)
    if own.motion and options.layers is None:
        options = options.replace(layers=MOTIONS[own.motion].layers)
    if how.method == "compat":  # as in the released code, anchors of one face are optimised
        if options.strategy == "auto":
            options = options.replace(strategy="optimize")
        if not call.is_given("seeds"):
            sources = sources.replace(seeds=sources.seeds[:1])
    given = call.given_fields(AnchorOptions) + ["identity"] * (own.identity != "none")
    options = options.resolved(given)
    template = MOTIONS[own.motion].template if own.motion else own.text
    fill(template, "no")  # refuses one without {degree}
    gen = zoo.load_generator(gens.generator, precision=gens.precision)
    starts = open_latents(gen, sources)
    names = list(starts.names or ())
    how.check_fits(anchors=len(names) * len(options.degrees), rows=gen.config.num_ws)
    to_do = own.to_do(
        template,
        degrees=options.degrees,
        truncation_psi=sources.trunc,
        batch_size=gens.batch,
    )
    clip, identity = clip_files.load_clip(own.clip), identities.open_identity(own.identity, gen)
    outputs = [*folder.tables(names), finish.READ_BACK, *motions.motion_files(names)]
    inputs = fingerprints(gen, sources.latents, judges=(clip, identity))
    run = call.open_run(outputs, apart=["keep"], **inputs)
    if run is None:
        return
    tell(notes.prompt_notes(clip, template, options.degrees))

    def find(progress: ProgressFn) -> list[artifacts.Anchors]:
        return folder.find_anchors(
            gen, clip, template, starts, run.path, options, identity=identity,
            batch_size=gens.batch, progress=progress,
        )  # fmt: skip

    complete(run, own, gen, clip, names, find, how, to_do)


def from_anchors(call: cli.Call, own: ExtractOptions) -> None:
    """Find the motion of the stored anchors of --anchors; it has a prompt if they all have it."""
    gens, how = call.read(GeneratorOptions), call.read(SubspaceOptions)
    gen = zoo.load_generator(gens.generator, precision=gens.precision)
    stored = folder.load_sets(own.anchors, gen)
    names, sets = list(stored), list(stored.values())
    how.check_fits(anchors=sum(len(one.ws) for one in sets), rows=gen.config.num_ws)
    clip, why_not = folder.reading_clip(sets, own.clip if call.is_given("clip") else None)
    if why_not:
        tell([f"the anchors' motion is not read back: {why_not}"])
    asked = None if clip is None else folder.asked_of(sets)
    prompt, degrees = asked or ("", call.read(AnchorOptions).degrees)
    to_do = own.to_do(
        prompt,
        degrees=degrees,
        truncation_psi=call.read(Starts).trunc,
        batch_size=gens.batch,
    )
    if own.keep and not prompt:
        raise UsageError("--keep is for prompts and videos: otherwise nothing is read back")
    if clip is None and to_do.needs_clip:
        if why_not:
            raise UsageError(f"--without and --calibrate need a CLIP: {why_not}")
        clip = clip_files.load_clip(own.clip)
    outputs = [*folder.tables(names, stored=True), *([finish.READ_BACK] if prompt else [])]
    outputs += motions.motion_files(names)
    run = call.open_run(outputs, apart=["keep"], **fingerprints(gen, *own.anchors, judges=clip))
    if run is None:
        return
    complete(run, own, gen, clip, names, lambda _: sets, how, to_do)


def from_subspace(call: cli.Call, own: ExtractOptions) -> None:
    """Read back, calibrate and decouple the subspace of --subspace."""
    gens = call.read(GeneratorOptions)
    gen = zoo.load_generator(gens.generator, precision=gens.precision)
    (file,), (stored,) = open_subspaces([own.subspace], gen)
    degrees = call.read(AnchorOptions).degrees
    to_do = own.to_do(stored.meta.get("template", ""), degrees=degrees, batch_size=gens.batch)
    if not to_do.calibrate:
        raise UsageError(
            "--subspace was not found from a prompt: give one that says what it is, or a motion, "
            "as --calibrate"
        )
    to_do = dataclasses.replace(to_do, template=to_do.calibrate)
    clip = clip_files.load_clip(own.clip)
    outputs = [*folder.tables(()), finish.READ_BACK]
    run = call.open_run(outputs, apart=["keep"], **fingerprints(gen, file, clip=clip))
    if run is None:
        return
    tell(notes.prompt_notes(clip, to_do.calibrate, degrees))
    with shown() as progress:
        found = finish.finish_motion(gen, clip, lambda: stored, run.path, to_do, progress=progress)
    tell(notes.anchor_notes((), (), found.subspace))
    conclude(run, own, found, finish.READ_BACK)


def from_videos(call: cli.Call, own: ExtractOptions) -> None:
    """Find the motion of the videos that --video names."""
    gens, how = call.read(GeneratorOptions), call.read(SubspaceOptions)
    align, follow = call.read(AlignOptions), call.read(VideoOptions)
    frames, options = call.read(FrameOptions), call.read(VideoAnchorOptions)
    to_do = own.to_do("", degrees=call.read(AnchorOptions).degrees, batch_size=gens.batch)
    infos = video_files.open_videos(own.video, frames)
    names = list(infos)
    gen = zoo.load_generator(gens.generator, precision=gens.precision)
    layer_mask(how.layers, gen.config.num_ws)
    encoder = encoders.open_encoder(own.encoder, gens.generator, gen)
    clip = clip_files.load_clip(own.clip) if to_do.needs_clip else None
    files = (*video_files.input_files(own.video), align.landmarks, align.detector_model)
    outputs = [*folder.tables(names), *motions.motion_files(names)]
    outputs += map(video_files.comparison_file, names)
    inputs = fingerprints(gen, *files, encoder=encoder, clip=clip)
    run = call.open_run(outputs, apart=["keep"], **inputs)
    if run is None:
        return

    def find(progress: ProgressFn) -> list[artifacts.Anchors]:
        return [
            video_files.find_video_anchors(
                gen, encoder, info, name, run.path, align=align, video=follow, frames=frames,
                options=options, batch=gens.batch, progress=prefixed(progress, name),
            )
            for name, info in infos.items()
        ]  # fmt: skip

    complete(run, own, gen, clip, names, find, how, to_do)


def complete(
    run: runs.RunFolder,
    own: ExtractOptions,
    gen: generator.Generator,
    clip: clips.Clip | None,
    names: Sequence[str],
    find: Callable[[ProgressFn], list[artifacts.Anchors]],
    how: SubspaceOptions,
    to_do: finish.Finish,
) -> None:
    """Write what the folder lacks: anchors, the subspace of them, images and the report."""
    with shown() as progress:
        sets = find(progress)
        found = finish.finish_motion(
            gen, clip, lambda: folder.subspace_of(sets, how), run.path, to_do,
            still=video_files.still(sets), progress=progress,
        )  # fmt: skip
        progress("subspace", 1, 1)
        motions.show_motion(run, gen, names, sets, found, batch=to_do.batch_size, progress=progress)
    tell(notes.anchor_notes(names, sets, found.subspace))
    conclude(run, own, found)


def tell(lines: Sequence[str]) -> None:
    """Print notes to standard error."""
    for line in lines:
        print(f"note: {line}", file=sys.stderr)


def conclude(
    run: runs.RunFolder,
    own: ExtractOptions,
    found: finish.FinishedMotion,
    page: str = "report.html",
) -> None:
    """Print what came out. Raises DataError if it is not what was asked for."""
    page, file = f"{run.path}/{page}", f"{run.path}/{folder.SUBSPACE}"
    if found.fault and not own.keep:
        raise DataError(
            f"{found.fault}: {found.words}; {page} shows it. "
            + ("" if found.still else "Try other words or another --clip; ")
            + f"--keep writes {folder.SUBSPACE} all the same"
        )
    if own.calibrate not in ("auto", "none") and (why := found.uncalibrated):
        raise DataError(f"{file} is written, but without a calibration: {why}")
    kept = f"{found.fault}, but it is kept: " if found.fault else ""
    print(f"{kept}{found.words}: {file}, {page}. Next: mm_edit --subspace={file} --outdir=FOLDER")


OPTIONS = (
    ExtractOptions, AnchorOptions, SubspaceOptions, AlignOptions, VideoOptions, FrameOptions,
    VideoAnchorOptions, GeneratorOptions, Starts, cli.OutputOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
