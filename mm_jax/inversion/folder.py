"""Images inverted into a folder: latents, reconstructions, errors, a tuned generator, a report.

What the folder has is not done again. Latents found now are handed on in memory, and written once,
each as soon as it is there. Shapes: N images, R side of the generator's images, L rows of W+,
D latent width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mm_jax import io, media, rendering
from mm_jax.alignment.faces import Aligned, open_faces, say
from mm_jax.alignment.framing import framing_of
from mm_jax.alignment.options import AlignOptions
from mm_jax.artifacts import Latents, fitted_latents, load_latents, save_latents
from mm_jax.buckets import bucket
from mm_jax.checks import check_latent_shape
from mm_jax.deltas import load_delta, save_delta
from mm_jax.descent import full_batches
from mm_jax.encoders.encoder import Encoder, open_encoder
from mm_jax.errors import DataError
from mm_jax.faces.identity import FaceIdentity, load_identity, open_identity
from mm_jax.faces.readings import OTHER_PERSON
from mm_jax.inversion.invert import Inversion, invert
from mm_jax.inversion.judge import InversionVerdict, Likeness, judge_inversions, reader_for
from mm_jax.inversion.options import InversionSources, InvertOptions, TuneOptions
from mm_jax.inversion.tuning import tune_generator
from mm_jax.media.image_files import names_of
from mm_jax.perceptual.arcface import ArcFace
from mm_jax.perceptual.lpips import Lpips, load_lpips
from mm_jax.progress import ProgressFn, foretold, silent
from mm_jax.report import Banner, Columns, Figure, Section, Svg, Table, parts, plots, write_report
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once

__all__ = [
    "FaceImages",
    "InversionNetworks",
    "Inverted",
    "arrays_of",
    "batch_for",
    "invert_batch",
    "invert_into",
    "open_images",
    "open_networks",
    "outputs",
    "perhaps",
]

LATENTS, ERRORS, TUNED = "latents.npz", "errors.json", "generator"
_BATCH = 16
# So many images that the generator does not know may share a tuned copy.
_SHARED = 8
_TUNED_FILES = (f"{TUNED}/config.json", f"{TUNED}/params.safetensors")


@dataclasses.dataclass(frozen=True)
class FaceImages:
    """Images to invert.

    Attributes:
        names: [N] distinct names of files.
        images: [N, R, R, 3] float32 in [-1, 1], of the generator's size.
        starts: [N, L, D] latents to begin with, or None.
        found: [N] where they were cropped from whole images.
    """

    names: tuple[str, ...]
    images: np.ndarray
    starts: np.ndarray | None = None
    found: Sequence[Aligned] = ()

    def only(self, places: Sequence[int]) -> FaceImages:
        """The images at some places, for inversion: without where they were cropped."""
        return FaceImages(
            names=tuple(self.names[i] for i in places),
            images=self.images[list(places)],
            starts=None if self.starts is None else self.starts[list(places)],
        )


@dataclasses.dataclass(frozen=True)
class InversionNetworks:
    """The networks that help: an encoder to begin with, and what compares images; or None."""

    encoder: Encoder | None = None
    lpips: Lpips | None = None
    identity: ArcFace | FaceIdentity | None = None


@dataclasses.dataclass(frozen=True)
class Inverted:
    """What became of the images.

    Attributes:
        latents: [N, L, D] with their names.
        generator: what renders them: the given one, or the copy that was tuned to the images.
        verdict: how like the renderings are to the images.
    """

    latents: Latents
    generator: Generator
    verdict: InversionVerdict


def open_networks(
    gen: Generator, generator_name: str, sources: InversionSources
) -> InversionNetworks:
    """The networks that the options name.

    Raises:
        UsageError: an unknown name. DataError: a damaged folder, or one that does not fit `gen`.
    """
    # The identity "auto" is opened when it is known that it is needed.
    return InversionNetworks(
        encoder=None if sources.start else open_encoder(sources.encoder, generator_name, gen),
        lpips=load_lpips(sources.lpips) if sources.lpips else None,
        identity=open_identity("none" if sources.identity == "auto" else sources.identity, gen),
    )


def open_images(
    gen: Generator, paths: Sequence[Path], align: AlignOptions, *, start: str = ""
) -> FaceImages:
    """The faces of image files, cropped as the generator's own images are.

    Args:
        gen: the generator.
        paths: of the images.
        align: how faces are found.
        start: file of latents to begin with, or "".

    Raises:
        UsageError, DataError: as `mm_jax.alignment.faces.open_faces`, or a bad file of latents.
    """
    found = open_faces(
        paths, names_of(paths), align, size=gen.config.resolution, framing=framing_of(gen)
    )
    return FaceImages(
        names=tuple(face.name for face in found),
        images=np.stack([face.image for face in found]),
        starts=_starts(start, gen, len(found)) if start else None,
        found=found,
    )


def _starts(path: str, gen: Generator, count: int) -> np.ndarray:
    """Start latents [N, L, D] from a file: one for all images, or one for each in their order."""
    wanted = (gen.config.num_ws, gen.config.w_dim)
    ws = np.asarray(fitted_latents(load_latents(path), wanted).ws)
    check_latent_shape(path, ws.shape[1:], wanted, gen.name)
    if len(ws) not in (1, count):
        raise DataError(f"{path} must hold one latent or {count}, got {len(ws)}")
    return np.broadcast_to(ws, (count, *wanted))


def outputs(names: Sequence[str], *, tune: bool | None) -> list[str]:
    """Names of the files that `invert_into` writes; `perhaps` names further ones."""
    each = [file for name in names for file in (_found(name), _drawn(name), _pair(name))]
    return [*each, LATENTS, ERRORS, *(_TUNED_FILES if tune else ()), parts.REPORT]


def perhaps(names: Sequence[str], *, tune: bool | None) -> list[str]:
    """Names of the files that `invert_into` writes where the generator does not know images."""
    if tune is False:
        return []
    return [*map(_pulled, names), *(() if tune else _TUNED_FILES)]


def _found(name: str) -> str:
    return f"codes/{name}.npz"


def _pulled(name: str) -> str:
    return f"pivots/{name}.npz"


def _drawn(name: str) -> str:
    return f"pictures/{name}.png"


def _pair(name: str) -> str:
    return f"pairs/{name}.png"


def batch_for(gen: Generator, given: int | None) -> int:
    """Images inverted at once: as given, or as many as fit in about 2 GiB and at most 16."""
    return given or min(images_at_once(gen.config, gradient=True), _BATCH)


def invert_batch(
    gen: Generator,
    images: np.ndarray,
    networks: InversionNetworks,
    options: InvertOptions,
    *,
    starts: np.ndarray | None = None,
    progress: ProgressFn = silent,
) -> Inversion:
    """`mm_jax.invert` of one batch of images, from `starts`, the encoder, or else the mean.

    Args:
        gen: the generator.
        images: [N, R, R, 3] float32 in [-1, 1].
        networks: that help; without an encoder the search begins at the mean.
        options: how it is done.
        starts: [N, L, D] latents to begin with instead.
        progress: called with the steps.

    Raises:
        DataError, UsageError: as `mm_jax.invert`.
    """
    start: Any = "mean" if networks.encoder is None else "encoder"
    return invert(
        gen,
        images,
        options=options,
        start=start if starts is None else starts,
        encoder=networks.encoder,
        lpips=networks.lpips,
        identity=networks.identity,
        progress=progress,
    )


def arrays_of(found: Inversion, place: int) -> dict[str, Any]:
    """The arrays that are stored of one image; `load_latents` opens their file."""
    return {
        "ws": found.ws[place : place + 1],
        "losses": found.losses[place],
        "psnr": found.psnr[place],
        **{f"style.{name}": style[place] for name, style in (found.styles or {}).items()},
    }


def invert_into(
    run: RunFolder,
    gen: Generator,
    faces: FaceImages,
    networks: InversionNetworks,
    options: InvertOptions,
    tuning: TuneOptions,
    *,
    sources: InversionSources,
    generator_name: str,
    batch: int | None = None,
    tell: Callable[[str], None] = say,
    progress: ProgressFn = silent,
) -> Inverted:
    """Write those of `outputs` and `perhaps` that the folder lacks.

    Images are inverted and judged. Those that the generator does not know are inverted again, held
    to the mean latent, and a copy of the generator is tuned to them, unless `sources` say
    otherwise.

    Args:
        run: the open folder.
        gen: the generator.
        faces: the images.
        networks: that help.
        options: how images are inverted.
        tuning: how the generator is tuned to them.
        sources: whether it is tuned, and what holds the identity.
        generator_name: the bundled name or folder of `gen`, which a tuned copy refers to.
        batch: images per step, by default as many as fit in about 2 GiB and at most 16.
        tell: is given a line on what is done about images that are not known.
        progress: called with the steps.

    Raises:
        DataError: a stored file of the folder is damaged, or the optimisation diverges.
        UsageError: options that do not fit the models.
    """
    batch = batch_for(gen, batch)
    stored = None if run.missing([ERRORS]) else _load_judged(run, faces.names)
    reader = None if stored is not None else reader_for(gen)
    ws, curves = _find_latents(gen, faces, networks, run, options, batch, progress)
    if stored is not None:
        pulled, tuned = stored.pulled, stored.tuned
    else:
        pulled, tuned = [], bool(sources.tune)
        if sources.tune is not False:
            drawn = rendering.render_all(gen, ws, batch=batch, progress=progress)
            first = judge_inversions(
                gen, faces.images, drawn, ws, lpips=networks.lpips, reader=reader
            )
            # Where no face tells who it is, only --tune can.
            pulled = [i for i, one in enumerate(first) if one.face is not None and not one.known]
            tuned = tuned or 0 < len(pulled) <= _SHARED
            if pulled:
                tell(_plan(faces, [first[i] for i in pulled], pulled, tuning, sources))
    if pulled:
        if sources.identity == "auto":
            networks = dataclasses.replace(networks, identity=load_identity(gen))
        held = options.replace(mean_weight=max(options.mean_weight, tuning.pull))
        some = _find_latents(
            gen, faces.only(pulled), networks, run, held, batch, progress, file=_pulled
        )
        ws, curves = ws.copy(), curves.copy()
        ws[pulled], curves[pulled] = some
    latents = Latents(ws, faces.names)
    if run.missing([LATENTS]):
        save_latents(run.file(LATENTS), latents)
    renderer = gen
    if tuned:
        how = tuning.replace(
            **{
                f"{name}_weight": getattr(options, f"{name}_weight")
                for name in ("pixel", "laplacian", "lpips", "identity")
            }
        )
        renderer = _tuned(
            run, gen, faces, ws, how, networks, generator_name=generator_name, batch=batch,
            tell=tell, progress=progress,
        )  # fmt: skip
    drawn = _draw(renderer, faces, ws, run, batch, progress)
    if stored is None:
        judged = judge_inversions(gen, faces.images, drawn, ws, lpips=networks.lpips, reader=reader)
        _save_judged(run, faces.names, judged, curves, pulled, tuned=tuned)
    else:
        judged = stored.judged
    verdict = InversionVerdict(dict(zip(faces.names, judged, strict=True)), tuned=tuned)
    if run.missing([parts.REPORT]):
        _report(gen, faces, curves, verdict, run, steps=options.steps)
    return Inverted(latents, renderer, verdict)


class _Judged(NamedTuple):
    """What an earlier call found: verdicts, which images were pulled, whether one tuned."""

    judged: list[Likeness]
    pulled: list[int]
    tuned: bool


def _save_judged(
    run: RunFolder,
    names: Sequence[str],
    judged: Sequence[Likeness],
    curves: np.ndarray,
    pulled: Sequence[int],
    *,
    tuned: bool,
) -> None:
    errors = {
        name: {
            **judged[i].to_dict(),
            "loss": float(curves[i].min()),
            "pulled": i in pulled,
            "tuned": tuned,
        }
        for i, name in enumerate(names)
    }
    io.write_json(run.file(ERRORS), errors)


def _load_judged(run: RunFolder, names: Sequence[str]) -> _Judged:
    stored = io.read_json(run.file(ERRORS))
    try:
        entries = [stored[name] for name in names]
        return _Judged(
            [Likeness.from_dict(entry) for entry in entries],
            [i for i, entry in enumerate(entries) if entry["pulled"]],
            any(entry["tuned"] for entry in entries),
        )
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{run.file(ERRORS)} has no verdict on every image: delete it, or add --overwrite"
        ) from error


def _plan(
    faces: FaceImages,
    judged: Sequence[Likeness],
    places: Sequence[int],
    tuning: TuneOptions,
    sources: InversionSources,
) -> str:
    """The line that says which images are not known, and what is done about it."""
    words = [
        f"{faces.names[i]} ({one.psnr:.1f} dB, "
        + ("no face left)" if one.identity is None else f"identity {one.identity:.2f})")
        for i, one in zip(places, judged, strict=True)
    ]
    if len(places) > _SHARED and not sources.tune:
        then = (
            f"no copy is tuned to more than {_SHARED} images, which would hardly share one: give "
            "them one by one, or --tune"
        )
    else:
        skip = "" if sources.tune else "; --notune leaves it out"
        then = f"then a copy is tuned, {tuning.steps} steps{skip}"
    return f"the generator does not know {', '.join(words)}: inverted again near the mean, {then}"


def _find_latents(
    gen: Generator,
    faces: FaceImages,
    networks: InversionNetworks,
    run: RunFolder,
    options: InvertOptions,
    batch: int,
    progress: ProgressFn,
    *,
    file: Callable[[str], str] = _found,
) -> tuple[np.ndarray, np.ndarray]:
    """Latents [N, L, D] and loss curves [N, steps + 1]; each is written as soon as it is found."""
    found: dict[int, dict[str, Any]] = {}
    todo = [i for i, name in enumerate(faces.names) if run.missing([file(name)])]
    missing = len(todo)
    # Few images, and what is left of an interrupted run, are padded: one program serves them.
    size = min(batch, bucket(len(faces.names)))
    todo = np.resize(todo, max(size, missing)).tolist() if todo else []
    batches = list(full_batches(len(todo), size)) if todo else []
    for number, (places, count) in enumerate(batches):
        chosen = [todo[place] for place in places]

        def told(label: str, done: int, total: int, /, number: int = number) -> None:
            progress(label, number * total + done, len(batches) * total)

        result = invert_batch(
            gen,
            faces.images[chosen],
            networks,
            options,
            starts=None if faces.starts is None else faces.starts[chosen],
            progress=told,
        )
        for place, i in enumerate(chosen[:count]):
            if i not in found:
                found[i] = arrays_of(result, place)
                io.save_npz(run.file(file(faces.names[i])), **found[i])
    for i, name in enumerate(faces.names):
        if i not in found:
            found[i] = io.load_npz(run.file(file(name)), required={"ws": 3, "losses": 1})
    every = [found[i] for i in range(len(faces.names))]
    return np.concatenate([one["ws"] for one in every]), np.stack([one["losses"] for one in every])


def _tuned(
    run: RunFolder,
    gen: Generator,
    faces: FaceImages,
    ws: np.ndarray,
    options: TuneOptions,
    networks: InversionNetworks,
    *,
    generator_name: str,
    batch: int,
    tell: Callable[[str], None],
    progress: ProgressFn,
) -> Generator:
    """The copy of the generator as it is stored (in half precision), made where it is missing."""
    if run.missing(_TUNED_FILES):
        tuning = tune_generator(
            gen, faces.images, ws, options=options, lpips=networks.lpips,
            identity=networks.identity, batch_size=min(batch, 4), key=jax.random.key(0),
            progress=foretold(progress, tell),
        )  # fmt: skip
        about = {"steps": options.steps, "rate": options.learning_rate, "pictures": len(ws)}
        save_delta(
            tuning.generator,
            run.file(TUNED),
            base=gen,
            base_name=generator_name,
            meta={"name": f"{gen.name}, tuned", "tuning": about},
        )
    tuned = load_delta(run.file(TUNED), gen)
    # With the original's metadata it is rendered by the programs that are compiled already.
    return dataclasses.replace(tuned, meta=gen.meta)


def _draw(
    gen: Generator,
    faces: FaceImages,
    ws: np.ndarray,
    run: RunFolder,
    batch: int,
    progress: ProgressFn,
) -> np.ndarray:
    """Write reconstructions, and pairs with the target on the left; [N, R, R, 3] as written."""
    files = [(_drawn(name), _pair(name)) for name in faces.names]
    todo = [i for i in range(len(ws)) if run.missing(files[i])]
    drawn: dict[int, np.ndarray] = {}
    for places, images in rendering.render_batches(
        gen, ws, only=todo, batch=batch, progress=progress
    ):
        for i, image in zip(places.tolist(), media.to_uint8(images), strict=True):
            own, pair = files[i]
            drawn[i] = media.to_float(image)
            if run.missing([own]):
                media.save_png(run.file(own), image)
            if run.missing([pair]):
                both = np.stack([media.to_uint8(faces.images[i]), image])
                media.save_png(run.file(pair), media.strip(both))
    return np.stack(
        [
            drawn[i] if i in drawn else media.read_image(run.file(own))
            for i, (own, _) in enumerate(files)
        ]
    )


def _report(
    gen: Generator,
    faces: FaceImages,
    curves: np.ndarray,
    verdict: InversionVerdict,
    run: RunFolder,
    *,
    steps: int,
) -> None:
    judged = verdict.judged
    rows = [
        [
            name,
            judged[name].psnr,
            judged[name].laplacian,
            judged[name].lpips,
            judged[name].face,
            judged[name].identity,
            judged[name].from_mean,
            float(curve[0]),
            float(curve.min()),
            judged[name].fault or "usable",
        ]
        for name, curve in zip(faces.names, curves, strict=True)
    ]
    table = Table(
        [
            "image", "PSNR", "Laplacian", "LPIPS", "face found", "identity", "from mean",
            "loss at the start", "lowest loss", "verdict",
        ],
        rows,
        units=["", "dB", "", "", "", "", "", "", "", ""],
        limits={"identity": (None, OTHER_PERSON)},
        caption="Of the images shown, at the generator's size"
        + (", rendered by the tuned generator" if verdict.tuned else "")
        + f". Identity: distance of the faces' descriptors, {OTHER_PERSON:g} and more is another "
        "person. From mean: squared distance of the latent from the mean one, 1 for sampled ones.",
    )  # fmt: skip
    pairs = [
        Figure(
            run.file(_pair(name)),
            caption=judged[name].fault or f"{judged[name].psnr:.1f} dB",
            title=name,
        )
        for name in faces.names
    ]
    sections = [Section("Images", [Columns(pairs, least=220), table])]
    if steps:
        chart = plots.loss_chart(curves.mean(axis=0), title="Loss of the inversion")
        caption = f"mean over {len(curves)} images, at the start and after each step"
        sections.append(Section("Loss", [Svg(chart, caption=caption)]))
    write_report(
        run.path,
        "Inverted images",
        [*sections, parts.settings_section(run.command, run.settings)],
        subtitle=f"Images on the left, what {gen.name} renders for their latents on the right.",
        facts={"images": len(judged), "usable": verdict.usable},
        banner=Banner(verdict.line(), good=verdict.good),
        embed=False,
    )
