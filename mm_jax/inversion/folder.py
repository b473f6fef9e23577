"""Images inverted into a folder: latents, reconstructions, errors, a tuned generator, a report.

What the folder has is not done again. Latents found now are handed on in memory, and written once,
each as soon as it is there. Shapes: N images, R side of the generator's images, L rows of W+,
D latent width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mm_jax import io, media, rendering
from mm_jax.alignment.faces import Aligned, open_faces
from mm_jax.alignment.framing import framing_of
from mm_jax.alignment.options import AlignOptions
from mm_jax.artifacts import Latents, fitted_latents, load_latents, save_latents
from mm_jax.buckets import bucket
from mm_jax.checks import check_latent_shape
from mm_jax.deltas import load_delta, save_delta
from mm_jax.descent import full_batches
from mm_jax.encoders.encoder import Encoder, open_encoder
from mm_jax.errors import DataError
from mm_jax.inversion.invert import Inversion, invert
from mm_jax.inversion.losses import laplacian_distance, psnr
from mm_jax.inversion.options import InversionSources, InvertOptions, TuneOptions
from mm_jax.inversion.tuning import tune_generator
from mm_jax.media.image_files import names_of
from mm_jax.perceptual.arcface import ArcFace, load_arcface
from mm_jax.perceptual.lpips import Lpips, load_lpips
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Columns, Figure, Section, Svg, Table, parts, plots, write_report
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
]

LATENTS, ERRORS, TUNED = "latents.npz", "errors.json", "generator"
_BATCH = 16
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


@dataclasses.dataclass(frozen=True)
class InversionNetworks:
    """The networks that help: an encoder to begin with, and what compares images; or None."""

    encoder: Encoder | None = None
    lpips: Lpips | None = None
    arcface: ArcFace | None = None


@dataclasses.dataclass(frozen=True)
class Inverted:
    """What became of the images.

    Attributes:
        latents: [N, L, D] with their names.
        generator: what renders them: the given one, or the copy that was tuned to the images.
        psnr: of each image, in dB.
    """

    latents: Latents
    generator: Generator
    psnr: dict[str, float]

    @property
    def mean_psnr(self) -> float:
        """Mean over the images, in dB."""
        return float(np.mean(list(self.psnr.values())))


def open_networks(
    gen: Generator, generator_name: str, sources: InversionSources
) -> InversionNetworks:
    """The networks that the options name.

    Raises:
        UsageError: an unknown name. DataError: a damaged folder, or one that does not fit `gen`.
    """
    return InversionNetworks(
        encoder=None if sources.start else open_encoder(sources.encoder, generator_name, gen),
        lpips=load_lpips(sources.lpips) if sources.lpips else None,
        arcface=load_arcface(sources.arcface) if sources.arcface else None,
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


def outputs(names: Sequence[str], *, tune: bool) -> list[str]:
    """Names of the files that `invert_into` writes."""
    each = [file for name in names for file in (_found(name), _drawn(name), _pair(name))]
    return [*each, LATENTS, ERRORS, *(_TUNED_FILES if tune else ()), parts.REPORT]


def _found(name: str) -> str:
    return f"codes/{name}.npz"


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
        identity=networks.arcface,
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
    tune: TuneOptions | None,
    *,
    generator_name: str,
    batch: int | None = None,
    progress: ProgressFn = silent,
) -> Inverted:
    """Write those of `outputs` that the folder lacks.

    Args:
        run: the open folder.
        gen: the generator.
        faces: the images.
        networks: that help.
        options: how images are inverted.
        tune: how the generator is tuned to them, or None.
        generator_name: the bundled name or folder of `gen`, which a tuned copy refers to.
        batch: images per step, by default as many as fit in about 2 GiB and at most 16.
        progress: called with the steps.

    Raises:
        DataError: a stored file of the folder is damaged, or the optimisation diverges.
        UsageError: options that do not fit the models.
    """
    batch = batch_for(gen, batch)
    ws, curves = _find_latents(gen, faces, networks, run, options, batch, progress)
    latents = Latents(ws, faces.names)
    if run.missing([LATENTS]):
        save_latents(run.file(LATENTS), latents)
    renderer = gen
    if tune is not None:
        how = tune.replace(
            **{
                name: getattr(options, name)
                for name in ("pixel_weight", "laplacian_weight", "lpips_weight")
            }
        )
        renderer = _tuned(
            run, gen, faces, ws, how, lpips=networks.lpips, generator_name=generator_name,
            batch=batch, progress=progress,
        )  # fmt: skip
    drawn = _draw(renderer, faces, ws, run, batch, progress)
    decibels = dict(zip(faces.names, np.asarray(psnr(drawn, faces.images)).tolist(), strict=True))
    if run.missing([ERRORS]):
        far = np.asarray(laplacian_distance(drawn, faces.images))
        errors = {
            name: {
                "psnr": decibels[name],
                "laplacian": float(far[i]),
                "loss": float(curves[i].min()),
            }
            for i, name in enumerate(faces.names)
        }
        io.write_json(run.file(ERRORS), errors)
    if run.missing([parts.REPORT]):
        _report(gen, faces, curves, decibels, run, steps=options.steps, tuned=tune is not None)
    return Inverted(latents, renderer, decibels)


def _find_latents(
    gen: Generator,
    faces: FaceImages,
    networks: InversionNetworks,
    run: RunFolder,
    options: InvertOptions,
    batch: int,
    progress: ProgressFn,
) -> tuple[np.ndarray, np.ndarray]:
    """Latents [N, L, D] and loss curves [N, steps + 1]; each is written as soon as it is found."""
    found: dict[int, dict[str, Any]] = {}
    todo = [i for i, name in enumerate(faces.names) if run.missing([_found(name)])]
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
                io.save_npz(run.file(_found(faces.names[i])), **found[i])
    for i, name in enumerate(faces.names):
        if i not in found:
            found[i] = io.load_npz(run.file(_found(name)), required={"ws": 3, "losses": 1})
    every = [found[i] for i in range(len(faces.names))]
    return np.concatenate([one["ws"] for one in every]), np.stack([one["losses"] for one in every])


def _tuned(
    run: RunFolder,
    gen: Generator,
    faces: FaceImages,
    ws: np.ndarray,
    options: TuneOptions,
    *,
    lpips: Lpips | None,
    generator_name: str,
    batch: int,
    progress: ProgressFn,
) -> Generator:
    """The copy of the generator as it is stored (in half precision), made where it is missing."""
    if run.missing(_TUNED_FILES):
        tuning = tune_generator(
            gen, faces.images, ws, options=options, lpips=lpips, batch_size=min(batch, 4),
            key=jax.random.key(0), progress=progress,
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
    decibels: dict[str, float],
    run: RunFolder,
    *,
    steps: int,
    tuned: bool,
) -> None:
    rows = [
        [name, decibels[name], float(curve[0]), float(curve.min())]
        for name, curve in zip(faces.names, curves, strict=True)
    ]
    table = Table(
        ["image", "PSNR", "loss at the start", "lowest loss"],
        rows,
        units=["", "dB", "", ""],
        caption="PSNR is of the images shown, at the generator's size"
        + (", rendered by the tuned generator" if tuned else ""),
    )
    pairs = [
        Figure(run.file(_pair(name)), caption=f"{decibels[name]:.1f} dB", title=name)
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
        facts={"images": len(decibels), "mean PSNR": (np.mean([*decibels.values()]).item(), "dB")},
        embed=False,
    )
