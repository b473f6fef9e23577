"""mm_invert: pictures to codes, and on request a generator tuned to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mm_jax import io, media
from mm_jax.artifacts import Latents, save_latents
from mm_jax.buckets import bucket
from mm_jax.deltas import load_delta, save_delta
from mm_jax.descent import full_batches
from mm_jax.encoders.encoder import Encoder
from mm_jax.inversion.invert import Inversion, invert
from mm_jax.inversion.losses import laplacian_distance, psnr
from mm_jax.inversion.tuning import tune_generator
from mm_jax.jobs import pictures, reports
from mm_jax.jobs.faces import Aligned
from mm_jax.jobs.invert_settings import InvertSettings, TuneSettings
from mm_jax.perceptual.arcface import ArcFace
from mm_jax.perceptual.lpips import Lpips
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Columns, Figure, Section, Svg, Table, plots, write_report
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import pictures_at_once

__all__ = [
    "LATENTS",
    "TUNED",
    "Faces",
    "Looks",
    "batch_for",
    "invert_faces",
    "invert_pictures",
    "kept",
    "outputs",
]

LATENTS, ERRORS, TUNED = "latents.npz", "errors.json", "generator"
_BATCH = 16
_TUNED_FILES = (f"{TUNED}/config.json", f"{TUNED}/params.safetensors")


@dataclasses.dataclass(frozen=True)
class Faces:
    """Pictures to invert.

    Attributes:
        names: [N] distinct names of files.
        images: [N, R, R, 3] float32 in [-1, 1], of the generator's size.
        starts: [N, L, D] codes to begin with, or None.
        found: [N] where they were cut out of whole pictures.
    """

    names: tuple[str, ...]
    images: np.ndarray
    starts: np.ndarray | None = None
    found: Sequence[Aligned] = ()


@dataclasses.dataclass(frozen=True)
class Looks:
    """The networks that help: an encoder to begin with, and what compares pictures; or None."""

    encoder: Encoder | None = None
    lpips: Lpips | None = None
    arcface: ArcFace | None = None


def outputs(names: Sequence[str], tune: TuneSettings) -> list[str]:
    """Names of the files that `invert_faces` writes."""
    each = [file for name in names for file in (_found(name), _drawn(name), _pair(name))]
    return [*each, LATENTS, ERRORS, *(_TUNED_FILES if tune.tune else ()), reports.REPORT]


def _found(name: str) -> str:
    return f"codes/{name}.npz"


def _drawn(name: str) -> str:
    return f"pictures/{name}.png"


def _pair(name: str) -> str:
    return f"pairs/{name}.png"


def batch_for(gen: Generator, given: int | None) -> int:
    """Pictures inverted at once: as given, or as many as fit in about 2 GiB and at most 16."""
    return given or min(pictures_at_once(gen.config, gradient=True), _BATCH)


def invert_pictures(
    gen: Generator,
    images: np.ndarray,
    looks: Looks,
    settings: InvertSettings,
    *,
    starts: np.ndarray | None = None,
    progress: ProgressFn = silent,
) -> Inversion:
    """`mm_jax.invert` of one batch of pictures, as settings and networks say.

    Args:
        gen: the generator.
        images: [N, R, R, 3] float32 in [-1, 1].
        looks: the networks that help; without an encoder the search begins at the mean.
        settings: how it is done.
        starts: [N, L, D] codes to begin with instead.
        progress: told of the steps.

    Raises:
        DataError, UsageError: as `mm_jax.invert`.
    """
    start: Any = "mean" if looks.encoder is None else "encoder"
    return invert(
        gen,
        images,
        start=start if starts is None else starts,
        encoder=looks.encoder,
        lpips=looks.lpips,
        identity=looks.arcface,
        progress=progress,
        **{f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)},
    )


def kept(found: Inversion, place: int) -> dict[str, Any]:
    """The arrays that are stored of one picture; `load_latents` opens their file."""
    return {
        "ws": found.ws[place : place + 1],
        "losses": found.losses[place],
        "psnr": found.psnr[place],
        **{f"style.{name}": style[place] for name, style in (found.styles or {}).items()},
    }


def invert_faces(
    gen: Generator,
    faces: Faces,
    looks: Looks,
    run: RunFolder,
    settings: InvertSettings,
    tune: TuneSettings,
    *,
    generator_name: str,
    batch: int | None = None,
    progress: ProgressFn = silent,
) -> dict[str, float]:
    """Write those of `outputs` that the folder lacks; return the PSNR of each picture.

    Args:
        gen: the generator.
        faces: the pictures.
        looks: the networks that help.
        run: the open folder.
        settings, tune: how it is done.
        generator_name: the bundled name or folder of `gen`, which a tuned copy refers to.
        batch: pictures per step, by default as many as fit in about 2 GiB and at most 16.
        progress: told of the steps.

    Raises:
        DataError: a stored file of the folder is damaged, or the optimisation diverges.
        UsageError: settings that do not fit the models.
    """
    batch = batch_for(gen, batch)
    _find_codes(gen, faces, looks, run, settings, batch, progress)
    found = [
        io.load_npz(run.file(_found(name)), required={"ws": 3, "losses": 1}) for name in faces.names
    ]
    ws = np.concatenate([one["ws"] for one in found])
    curves = np.stack([one["losses"] for one in found])
    if run.missing([LATENTS]):
        save_latents(run.file(LATENTS), Latents(ws, faces.names))
    drawer = gen
    if tune.tune:
        drawer = _tuned(gen, faces, ws, looks, run, settings, tune, generator_name, batch, progress)
    _draw(drawer, faces, ws, run, batch, progress)
    drawn = np.stack([media.read_image(run.file(_drawn(name))) for name in faces.names])
    dbs = dict(zip(faces.names, np.asarray(psnr(drawn, faces.images)).tolist(), strict=True))
    if run.missing([ERRORS]):
        far = np.asarray(laplacian_distance(drawn, faces.images))
        errors = {
            name: {"psnr": dbs[name], "laplacian": float(far[i]), "loss": float(curves[i].min())}
            for i, name in enumerate(faces.names)
        }
        io.write_json(run.file(ERRORS), errors)
    if run.missing([reports.REPORT]):
        _report(gen, faces, curves, dbs, run, settings, tune)
    return dbs


def _find_codes(
    gen: Generator,
    faces: Faces,
    looks: Looks,
    run: RunFolder,
    settings: InvertSettings,
    batch: int,
    progress: ProgressFn,
) -> None:
    """Invert the pictures whose codes the folder lacks, and keep each as soon as it is found."""
    todo = [i for i, name in enumerate(faces.names) if run.missing([_found(name)])]
    # Few pictures, and what is left of an interrupted run, are filled up: one program serves them.
    size = min(batch, bucket(len(faces.names)))
    todo = np.resize(todo, max(size, len(todo))).tolist() if todo else []
    for number, (places, count) in enumerate(full_batches(len(todo), size) if todo else ()):
        chosen = [todo[place] for place in places]
        result = invert_pictures(
            gen,
            faces.images[chosen],
            looks,
            settings,
            starts=None if faces.starts is None else faces.starts[chosen],
            progress=_within(progress, number, -(-len(todo) // size)),
        )
        for place, i in enumerate(chosen[:count]):
            io.save_npz(run.file(_found(faces.names[i])), **kept(result, place))


def _within(progress: ProgressFn, number: int, batches: int) -> ProgressFn:
    """Progress of one of several batches of equal length, as part of the whole."""

    def told(label: str, done: int, total: int, /) -> None:
        progress(label, number * total + done, batches * total)

    return told


def _tuned(
    gen: Generator,
    faces: Faces,
    ws: np.ndarray,
    looks: Looks,
    run: RunFolder,
    settings: InvertSettings,
    tune: TuneSettings,
    generator_name: str,
    batch: int,
    progress: ProgressFn,
) -> Generator:
    """The copy of the generator as it is stored, made where the folder lacks it."""
    if run.missing(_TUNED_FILES):
        tuning = tune_generator(
            gen,
            faces.images,
            ws,
            steps=tune.tune_steps,
            learning_rate=tune.tune_rate,
            pixel_weight=settings.pixel_weight,
            laplacian_weight=settings.laplacian_weight,
            lpips=looks.lpips,
            lpips_weight=settings.lpips_weight,
            locality_weight=tune.locality_weight,
            batch_size=min(batch, 4),
            key=jax.random.key(0),
            progress=progress,
        )
        about = {"steps": tune.tune_steps, "rate": tune.tune_rate, "pictures": len(ws)}
        save_delta(
            tuning.generator,
            run.file(TUNED),
            base=gen,
            base_name=generator_name,
            meta={"name": f"{gen.name}, tuned", "tuning": about},
        )
    tuned = load_delta(run.file(TUNED), gen)
    # With the original's facts it is drawn by the programs that are compiled already.
    return dataclasses.replace(tuned, meta=gen.meta)


def _draw(
    gen: Generator,
    faces: Faces,
    ws: np.ndarray,
    run: RunFolder,
    batch: int,
    progress: ProgressFn,
) -> None:
    """Write reconstructions, and pictures with what was asked for on the left."""

    files = [(_drawn(name), _pair(name)) for name in faces.names]
    todo = [i for i in range(len(ws)) if run.missing(files[i])]
    for places, drawn in pictures.batches(gen, ws, only=todo, batch=batch, progress=progress):
        for i, image in zip(places.tolist(), drawn, strict=True):
            own, pair = files[i]
            if run.missing([own]):
                media.save_png(run.file(own), image)
            if run.missing([pair]):
                both = [media.to_uint8(one) for one in (faces.images[i], image)]
                media.save_png(run.file(pair), media.strip(np.stack(both)))


def _report(
    gen: Generator,
    faces: Faces,
    curves: np.ndarray,
    dbs: dict[str, float],
    run: RunFolder,
    settings: InvertSettings,
    tune: TuneSettings,
) -> None:
    rows = [
        [name, dbs[name], float(curve[0]), float(curve.min())]
        for name, curve in zip(faces.names, curves, strict=True)
    ]
    table = Table(
        ["picture", "PSNR", "loss at the start", "least loss"],
        rows,
        units=["", "dB", "", ""],
        caption="PSNR is of the pictures shown, at the generator's size"
        + (", drawn by the tuned generator" if tune.tune else ""),
    )
    pairs = [
        Figure(run.file(_pair(name)), caption=f"{dbs[name]:.1f} dB", title=name)
        for name in faces.names
    ]
    sections = [Section("Pictures", [Columns(pairs, least=220), table])]
    if settings.steps:
        chart = plots.loss_chart(curves.mean(axis=0), title="Loss of the inversion")
        caption = f"mean over {len(curves)} pictures, at the start and after each step"
        sections.append(Section("Loss", [Svg(chart, caption=caption)]))
    write_report(
        run.path,
        "Inverted pictures",
        [*sections, reports.settings_section(run.command, run.settings)],
        subtitle=f"Pictures on the left, what {gen.name} draws for their codes on the right.",
        facts={"pictures": len(dbs), "mean PSNR": (float(np.mean(list(dbs.values()))), "dB")},
        embed=False,
    )
