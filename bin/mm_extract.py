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
from collections.abc import Sequence

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
)
from mm_jax.subspace.options import SubspaceOptions
from mm_jax.video.options import FrameOptions, VideoOptions

with epy.lazy_imports():
    from mm_jax import runs, zoo
    from mm_jax.anchors import folder, images, notes, readback, video_files
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
        fill(template, "no")  # refuses one without {degree}
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
        clip = clip_files.load_clip(own.clip)
    else:
        clip, why_not = folder.reading_clip(stored, own.clip if call.is_given("clip") else None)
        tell([f"the anchors' motion is not read back: {why_not}"] if why_not else [])
    if own.keep and clip is None:
        raise UsageError("--keep is for prompts and videos: otherwise nothing is read back")
    identity = identities.open_identity(own.identity, gen)
    checked = [] if clip is None else [folder.READ_BACK]
    shown_files = [*images.image_files(names), parts.REPORT]
    outputs = [*folder.tables(names, stored=bool(stored)), *checked, *shown_files]
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
        if clip is None:
            subspace = folder.find_subspace(sets, run.path, how)
        else:
            subspace, found = folder.find_checked(
                gen, clip, sets, run.path, how, keep=own.keep, truncation_psi=sources.trunc,
                batch_size=gens.batch, progress=progress,
            )  # fmt: skip
        tell(said := notes.anchor_notes(names, sets, subspace))
        motions.show_motion(
            run, gen, names, sets, subspace, found=found, notes=said, batch=gens.batch,
            progress=progress,
        )  # fmt: skip
    conclude(run, found=found, keep=own.keep)


def from_videos(
    call: cli.Call, own: ExtractOptions, how: SubspaceOptions, gens: GeneratorOptions
) -> None:
    """Find the subspace of the videos that --video names."""
    align, follow = call.read(AlignOptions), call.read(VideoOptions)
    frames, options = call.read(FrameOptions), call.read(VideoAnchorOptions)
    infos = video_files.open_videos(own.video, frames)
    names = list(infos)
    gen = zoo.load_generator(gens.generator)
    layer_mask(how.layers, gen.config.num_ws)
    encoder = encoders.open_encoder(own.encoder, gens.generator, gen)
    files = (*video_files.input_files(own.video), align.landmarks, align.detector_model)
    outputs = [*folder.tables(names), *images.image_files(names), parts.REPORT]
    outputs += map(video_files.comparison_file, names)
    run = call.open_run(outputs, apart=["keep"], **fingerprints(gen, *files, encoder=encoder))
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
        subspace = folder.find_subspace(sets, run.path, how, write=own.keep or not still)
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
) -> None:
    """Print what came out. Raises DataError if no motion was found, unless it is kept."""
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


OPTIONS = (
    ExtractOptions, AnchorOptions, SubspaceOptions, AlignOptions, VideoOptions, FrameOptions,
    VideoAnchorOptions, GeneratorOptions, Starts, cli.OutputOptions,
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
