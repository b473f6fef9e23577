"""How well pictures are inverted, and whether the codes can still be edited.

Two kinds of pictures: renders of faces that no model has seen, and the generator's own pictures of
sampled codes. On each: the encoder alone, the optimisation after it, that and a generator tuned to
four pictures at a time, and a longer optimisation from the mean code. A method is judged by

- *PSNR* in dB at the generator's size;
- *Laplacian distance* (`mm_jax.inversion.losses`), in place of LPIPS, whose weights are not
  bundled;
- *factor error*: the mean absolute difference between the factors that the judge reads from the
  result and the truth, mean over factors, in standard deviations over all faces. Of a render
  the truth is what it was drawn from; the judge itself errs, which its reading of the pictures
  themselves shows. Of a generated picture the truth is what the judge reads from it;
- *seconds* a picture, compilation apart; tuning comes on top of what is before it.

Whether the codes can still be edited is measured by `mm_jax.evaluation.editability`.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import io, media
from mm_jax.descent import chunk_length
from mm_jax.encoders.encoder import load_encoder
from mm_jax.errors import UsageError
from mm_jax.evaluation import editability
from mm_jax.evaluation.reading import read_pictures
from mm_jax.evaluation.results import Result
from mm_jax.evaluation.settings import InversionEval
from mm_jax.inversion.invert import Inversion, invert
from mm_jax.inversion.losses import laplacian_distance, psnr
from mm_jax.inversion.tuning import tune_generator
from mm_jax.jobs import pictures
from mm_jax.latents import sample_latents
from mm_jax.perceptual import load_clip
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Figure, Section, Table
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.synthface.factors import Z_DIM, factors_from_z
from mm_jax.synthface.probe import load_probe
from mm_jax.synthface.renderer import render
from mm_jax.zoo import load_generator

__all__ = ["evaluate", "open_models", "outputs"]

KINDS = ("renders", "generated")
# What is aimed at after encoder and optimisation, in dB.
AIMS = {"renders": 28.0, "generated": 35.0}
EDITABILITY = "editability.json"
CAPTION = """\
PSNR is at the generator's size. Laplacian is the distance of the Laplacian pyramids, in place of
LPIPS, whose weights are not bundled. Factor error is the mean absolute difference between what the
judge reads and the truth, mean over factors, in standard deviations; of a render the truth is what
it was drawn from, of a generated picture what the judge reads from it. Time is of one picture,
without compilation; that of tuning comes on top of what is before it."""
# No training draws from these seeds.
_RENDER_SEED, _FIRST_SEED = 20_204, 50_000
_POPULATION = 4096  # faces whose factors tell how much each varies
_GROUP = 4  # pictures that one generator is tuned to
_SHOWN = 6  # pictures in the sheet of each kind


class _Kind(NamedTuple):
    """Pictures of one kind: [N, R, R, 3], their true factors [N, F], sampled codes of the faces."""

    images: np.ndarray
    truth: np.ndarray
    ws: np.ndarray


class _Measured(NamedTuple):
    """What a method made of the pictures of one kind; each [n] but for codes and readings."""

    ws: np.ndarray
    psnr: np.ndarray
    laplacian: np.ndarray
    readings: np.ndarray
    seconds: np.ndarray


def open_models(settings: InversionEval) -> dict[str, Any]:
    """Generator, encoder, judge, and CLIP where motions have to be found.

    Raises:
        UsageError: unknown names, or a generator that is not of procedural faces.
        DataError: missing or damaged folders.
    """
    gen = load_generator(settings.generator)
    if gen.config.z_dim != Z_DIM:
        raise UsageError(
            f"{settings.generator} draws from {gen.config.z_dim} numbers, faces are rendered from "
            f"{Z_DIM}: measured are generators of procedural faces"
        )
    clip = None if settings.subspaces else load_clip(settings.clip)
    return {
        "gen": gen,
        "encoder": load_encoder(settings.encoder),
        "judge": load_probe(settings.judge),
        "clip": clip,
    }


def _methods(settings: InversionEval) -> dict[str, str]:
    """By the stem of its files, what each method is called."""
    short, tuned = f"encoder + {settings.short_steps} steps", f"{settings.tune_steps} of tuning"
    labels = {
        "encoder": "encoder",
        "short": short,
        "tuned": f"{short} + {tuned}",
        "long": f"mean + {settings.long_steps} steps",
    }
    return {method: labels[method] for method in settings.methods}


def outputs(settings: InversionEval) -> list[str]:
    """The stored measurements and the sheets of pictures."""
    files = [f"{kind}_{method}.npz" for kind in KINDS for method in _methods(settings)]
    return [*files, *(f"{kind}.png" for kind in KINDS), EDITABILITY]


def evaluate(
    models: Mapping[str, Any], run: RunFolder, settings: InversionEval, progress: ProgressFn
) -> Result:
    """Measure what the folder lacks, and put it together."""
    gen, judge = models["gen"], models["judge"]
    kinds = {"renders": _renders(gen, settings), "generated": _generated(gen, judge, settings)}
    found: dict[str, dict[str, _Measured]] = {name: {} for name in KINDS}
    for method in sorted(settings.methods, key=("short", "encoder", "long", "tuned").index):
        for name, kind in kinds.items():
            function, count = {
                "encoder": (_encoder_alone, settings.count),
                "short": (_short, settings.count),
                "long": (_long, settings.few),
                "tuned": (functools.partial(_tuned, found[name].get("short")), settings.few),
            }[method]
            found[name][method] = _measure(
                models, kind, run, settings, f"{name}_{method}", function, count, progress
            )
    for name, kind in kinds.items():
        _sheet(gen, kind, found[name], run, f"{name}.png")
    editable = _editability(models, kinds, found, run, settings, progress)
    tables = [_quality(kinds, found, judge, settings), editability.table(editable)]
    figures = {
        "quality": [dict(zip(tables[0].columns, row, strict=True)) for row in tables[0].rows],
        "editability": editable,
        "aims": {"psnr": AIMS, "editability": editability.AIM},
    }
    best = {name: float(found[name]["short"].psnr.mean()) for name in KINDS}
    return Result(
        title="Inversion",
        subtitle=f"Pictures to codes of {gen.name}: {settings.count} unseen renders and as many of "
        "its own pictures.",
        figures=figures,
        tables=tables,
        sections=[
            Section(
                "Pictures",
                [
                    Figure(
                        run.file(f"{name}.png"),
                        title=name,
                        caption="from the top: the pictures, "
                        + ", ".join(
                            label for m, label in _methods(settings).items() if m != "tuned"
                        ),
                    )
                    for name in KINDS
                ],
            )
        ],
        facts={name: (value, "dB") for name, value in best.items()},
    )


def _renders(gen: Generator, settings: InversionEval) -> _Kind:
    z = jax.random.normal(jax.random.key(_RENDER_SEED), (settings.count, Z_DIM))
    truth = np.asarray(factors_from_z(z))
    parts = [
        np.asarray(render(jnp.asarray(truth[i : i + 16]), resolution=gen.config.resolution))
        for i in range(0, settings.count, 16)
    ]
    return _Kind(np.concatenate(parts), truth, np.asarray(sample_latents(gen, z=z)))


def _generated(gen: Generator, judge: Any, settings: InversionEval) -> _Kind:
    seeds = range(_FIRST_SEED, _FIRST_SEED + settings.count)
    ws = np.asarray(sample_latents(gen, seeds=seeds, truncation_psi=settings.trunc))
    images = pictures.all_pictures(gen, ws, batch=settings.batch)
    return _Kind(images, read_pictures(judge, images, batch=settings.batch), ws)


Method = Callable[
    [Mapping[str, Any], np.ndarray, InversionEval, ProgressFn], tuple[np.ndarray, np.ndarray]
]


def _measure(
    models: Mapping[str, Any],
    kind: _Kind,
    run: RunFolder,
    settings: InversionEval,
    name: str,
    method: Method,
    count: int,
    progress: ProgressFn,
) -> _Measured:
    """What a method makes of the first `count` pictures; kept in the run's folder."""
    file = run.file(f"{name}.npz")
    if not file.exists():
        images = kind.images[:count]

        def told(label: str, done: int, total: int, /) -> None:
            progress(f"{name}: {label}", done, total)

        method(models, images[: settings.batch], _quick(settings), silent)  # compiles
        began = time.monotonic()
        ws, drawn = method(models, images, settings, told)
        seconds = (time.monotonic() - began) / count
        measured = _Measured(
            ws=ws,
            psnr=np.asarray(psnr(drawn, images)),
            laplacian=np.asarray(laplacian_distance(drawn, images)),
            readings=read_pictures(models["judge"], drawn, batch=settings.batch),
            seconds=np.full(1, seconds, np.float32),
        )
        io.save_npz(file, **measured._asdict())
    stored = io.load_npz(file, required=dict.fromkeys(_Measured._fields))
    return _Measured(**{field: stored[field] for field in _Measured._fields})


def _quick(settings: InversionEval) -> InversionEval:
    """As few steps as run the same programs."""
    return dataclasses.replace(
        settings,
        short_steps=chunk_length(settings.short_steps),
        long_steps=chunk_length(settings.long_steps),
        tune_steps=1,
    )


def _invert(
    models: Mapping[str, Any],
    images: np.ndarray,
    settings: InversionEval,
    progress: ProgressFn,
    **arguments: Any,
) -> Inversion:
    return invert(
        models["gen"],
        images,
        encoder=models["encoder"],
        batch_size=settings.batch,
        progress=progress,
        **arguments,
    )


def _encoder_alone(models, images, settings, progress):
    found = _invert(models, images, settings, progress, start="encoder", steps=0)
    return np.asarray(found.ws), np.asarray(found.images)


def _short(models, images, settings, progress):
    steps = settings.short_steps
    found = _invert(models, images, settings, progress, start="encoder", steps=steps)
    return np.asarray(found.ws), np.asarray(found.images)


def _long(models, images, settings, progress):
    found = _invert(models, images, settings, progress, start="mean", steps=settings.long_steps)
    return np.asarray(found.ws), np.asarray(found.images)


def _tuned(short: _Measured | None, models, images, settings, progress):
    """Codes as they were, pictures of generators that were tuned to a few of them each."""
    assert short is not None  # measured before
    ws = short.ws[: len(images)]
    drawn = []
    groups = range(0, len(images), _GROUP)
    for number, first in enumerate(groups):
        own = slice(first, first + _GROUP)
        tuning = tune_generator(
            models["gen"], images[own], ws[own], steps=settings.tune_steps, batch_size=_GROUP
        )
        drawn.append(pictures.all_pictures(tuning.generator, ws[own], batch=_GROUP))
        progress("tuning", number + 1, len(groups))
    return ws, np.concatenate(drawn)


def _quality(kinds, found, judge, settings: InversionEval) -> Table:
    """One row for each kind and method; where a method saw fewer, the short one on those too."""
    rows: list[list[Any]] = []
    z = jax.random.normal(jax.random.key(0), (_POPULATION, Z_DIM))
    spread = np.asarray(factors_from_z(z)).std(axis=0)
    for name, kind in kinds.items():

        def row(
            label: str,
            one: _Measured | None,
            count: int,
            name: str = name,
            kind: _Kind = kind,
        ) -> list[Any]:
            if one is None:
                read = read_pictures(judge, kind.images, batch=settings.batch)
                error = float((np.abs(read - kind.truth) / spread).mean())
                return [name, label, count, None, None, None, error, None]
            error = float((np.abs(one.readings[:count] - kind.truth[:count]) / spread).mean())
            return [
                name,
                label,
                count,
                float(one.psnr[:count].mean()),
                float(one.psnr[:count].min()),
                float(one.laplacian[:count].mean()),
                error,
                float(one.seconds[0]),
            ]

        if name == "renders":
            rows.append(row("the pictures themselves", None, len(kind.images)))
        for method, label in _methods(settings).items():
            one = found[name][method]
            rows.append(row(label, one, len(one.psnr)))
        if settings.few < settings.count and {"tuned", "long"} & {*settings.methods}:
            label = f"{_methods(settings)['short']}, the same pictures"
            rows.append(row(label, found[name]["short"], settings.few))
    return Table(
        ["pictures", "method", "n", "PSNR", "least", "Laplacian", "factor error", "time"],
        rows,
        units=["", "", "", "dB", "dB", "", "sd", "s"],
        title="Likeness",
        caption=CAPTION,
    )


def _editability(
    models: Mapping[str, Any],
    kinds: Mapping[str, _Kind],
    found: Mapping[str, Mapping[str, _Measured]],
    run: RunFolder,
    settings: InversionEval,
    progress: ProgressFn,
) -> list[dict[str, Any]]:
    """What the motions do to the codes of every method, and of inversions with further terms."""
    file = run.file(EDITABILITY)
    if file.exists():
        return io.read_json(file)
    labels = _methods(settings)
    codes = {
        f"{kind}, {labels[method]}": editability.Inverted(
            kind, found[kind][method].ws, float(found[kind][method].psnr.mean())
        )
        for kind in KINDS
        for method in labels
        if method != "tuned"  # the same codes
    }
    images, steps = kinds["renders"].images[: settings.few], settings.short_steps
    for term in ("mean_weight", "start_weight"):
        for weight in getattr(settings, f"{term}s"):
            label = f"renders, {labels['short']}, {term} {weight:g}"

            def told(_: str, done: int, total: int, /, label: str = label) -> None:
                progress(label, done, total)

            one = _invert(
                models, images, settings, told, start="encoder", steps=steps, **{term: weight}
            )
            codes[label] = editability.Inverted(
                "renders", np.asarray(one.ws), float(one.psnr.mean())
            )
    sampled = {name: kind.ws for name, kind in kinds.items()}
    rows = editability.measure(models, codes, sampled, run, settings, progress)
    io.write_json(file, rows)
    return rows


def _sheet(gen: Generator, kind: _Kind, found: Mapping[str, _Measured], run, name: str) -> None:
    if not run.missing([name]):
        return
    rows = [kind.images[:_SHOWN]]
    for method in ("encoder", "short", "long"):
        if method in found:
            rows.append(pictures.all_pictures(gen, found[method].ws[:_SHOWN], batch=_SHOWN))
    shortest = min(len(row) for row in rows)
    media.save_png(run.file(name), media.strip(np.stack([row[:shortest] for row in rows]), gap=2))
