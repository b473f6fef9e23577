"""How well images are inverted, and whether the latents can still be edited.

Two kinds of images: renders of faces that no model has seen, and the generator's own images of
sampled latents. On each: the encoder alone, the optimisation after it, that and a generator tuned
to four images at a time, and a longer optimisation from the mean latent. A method is judged by

- *PSNR* in dB at the generator's size;
- *Laplacian distance* (`mm_jax.inversion.losses`), in place of LPIPS, whose weights are not
  bundled;
- *factor error*: the mean absolute difference between the factors that the judge reads from the
  result and the truth, mean over factors, in standard deviations over all faces. Of a render
  the truth is what it was drawn from; the judge itself errs, which its reading of the images
  themselves shows. Of a generated image the truth is what the judge reads from it;
- *seconds* an image, compilation apart; tuning comes on top of what is before it.

Whether the latents can still be edited is measured by `mm_jax.evaluation.editability`.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mm_jax import io, media, rendering
from mm_jax.descent import chunk_length
from mm_jax.encoders.encoder import load_encoder
from mm_jax.errors import UsageError
from mm_jax.evaluation import editability
from mm_jax.evaluation.options import InversionEval
from mm_jax.evaluation.reading import read_images
from mm_jax.evaluation.renders import KnownRenders, check_known_renders, load_known_renders
from mm_jax.evaluation.results import Result
from mm_jax.inversion.invert import Inversion, invert
from mm_jax.inversion.losses import laplacian_distance, psnr
from mm_jax.inversion.tuning import tune_generator
from mm_jax.latents import sample_latents
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.probe import load_probe
from mm_jax.progress import ProgressFn, prefixed, silent
from mm_jax.report import Figure, Section, Table
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.zoo import load_generator

__all__ = ["evaluate", "open_models", "outputs"]

KINDS = ("renders", editability.GENERATED)
# What is aimed at after encoder and optimisation, in dB.
AIMS = {"renders": 28.0, editability.GENERATED: 40.0}
EDITABILITY = "editability.json"
CAPTION = """\
PSNR is at the generator's size. Laplacian is the distance of the Laplacian pyramids, in place of
LPIPS, whose weights are not bundled. Factor error is the mean absolute difference between what the
judge reads and the truth, mean over factors, in standard deviations; of a render the truth is what
it was drawn from, of a generated image what the judge reads from it. Time is of one image,
without compilation; that of tuning comes on top of what is before it."""
# No training draws from the seeds from here on.
_FIRST_SEED = 50_000
_GROUP = 4  # images that one generator is tuned to
_SHOWN = 6  # images in the sheet of each kind


class _Kind(NamedTuple):
    """Images of one kind: [N, R, R, 3], their true factors [N, F], sampled latents of the faces."""

    images: np.ndarray
    truth: np.ndarray
    ws: np.ndarray


class _Measured(NamedTuple):
    """The results of a method on the images of one kind; each [n], except latents and readings."""

    ws: np.ndarray
    psnr: np.ndarray
    laplacian: np.ndarray
    readings: np.ndarray
    seconds: np.ndarray


def open_models(options: InversionEval) -> dict[str, Any]:
    """Generator, encoder, judge, and CLIP where motions have to be found.

    Raises:
        UsageError: unknown names, fewer renders than are to be measured, or renders of a world that
            is not the generator's or the judge's.
        DataError: missing or damaged folders.
    """
    gen, judge = load_generator(options.generator), load_probe(options.judge)
    renders = load_known_renders(options.renders)
    if gen.config.z_dim != renders.z.shape[1]:
        raise UsageError(
            f"{options.generator} draws from {gen.config.z_dim} numbers, {options.renders} from "
            f"{renders.z.shape[1]}: give the generator of the world that the renders show"
        )
    check_known_renders(
        renders, gen.config, names=(options.generator, options.renders), count=options.count
    )
    if tuple(judge.factors) != renders.names:
        raise UsageError(f"{options.judge} reads other factors than {options.renders} know")
    clip = None if options.subspaces else load_clip(options.clip)
    return {
        "gen": gen,
        "encoder": load_encoder(options.encoder),
        "judge": judge,
        "renders": renders,
        "clip": clip,
    }


def _methods(options: InversionEval) -> dict[str, str]:
    """Names of the methods, by the stem of their files."""
    short, tuned = f"encoder + {options.short_steps} steps", f"{options.tune_steps} of tuning"
    labels = {
        "encoder": "encoder",
        "short": short,
        "tuned": f"{short} + {tuned}",
        "long": f"mean + {options.long_steps} steps",
    }
    return {method: labels[method] for method in options.methods}


def outputs(options: InversionEval) -> list[str]:
    """The stored measurements and the sheets of images."""
    files = [f"{kind}_{method}.npz" for kind in KINDS for method in _methods(options)]
    return [*files, *(f"{kind}.png" for kind in KINDS), EDITABILITY]


def evaluate(
    models: Mapping[str, Any], run: RunFolder, options: InversionEval, progress: ProgressFn
) -> Result:
    """Measure what the folder lacks, and put the result together."""
    gen, judge = models["gen"], models["judge"]
    known: KnownRenders = models["renders"]
    kinds = {
        "renders": _renders(gen, known, options),
        editability.GENERATED: _generated(gen, judge, options),
    }
    found: dict[str, dict[str, _Measured]] = {name: {} for name in KINDS}
    for method in sorted(options.methods, key=("short", "encoder", "long", "tuned").index):
        for name, kind in kinds.items():
            function, count = {
                "encoder": (_encoder_alone, options.count),
                "short": (_short, options.count),
                "long": (_long, options.few),
                "tuned": (functools.partial(_tuned, found[name].get("short")), options.few),
            }[method]
            found[name][method] = _measure(
                models, kind, run, options, f"{name}_{method}", function, count, progress
            )
    for name, kind in kinds.items():
        _sheet(gen, kind, found[name], run, f"{name}.png")
    editable = _editability(models, kinds, found, run, options, progress)
    tables = [_quality(kinds, found, judge, known.scale, options), editability.table(editable)]
    metrics = {
        "quality": [dict(zip(tables[0].columns, row, strict=True)) for row in tables[0].rows],
        "editability": editable,
        "aims": {"psnr": AIMS, "editability": editability.AIM},
    }
    best = {name: float(found[name]["short"].psnr.mean()) for name in KINDS}
    return Result(
        title="Inversion",
        subtitle=f"Images to latents of {gen.name}: {options.count} unseen renders and as many of "
        "its own images.",
        metrics=metrics,
        tables=tables,
        sections=[
            Section(
                "Images",
                [
                    Figure(
                        run.file(f"{name}.png"),
                        title=name,
                        caption="from the top: the images, "
                        + ", ".join(
                            label for m, label in _methods(options).items() if m != "tuned"
                        ),
                    )
                    for name in KINDS
                ],
            )
        ],
        key_metrics={name: (value, "dB") for name, value in best.items()},
    )


def _renders(gen: Generator, known: KnownRenders, options: InversionEval) -> _Kind:
    chosen = slice(options.count)
    ws = np.asarray(sample_latents(gen, z=known.z[chosen]))
    return _Kind(known.images[chosen], known.factors[chosen], ws)


def _generated(gen: Generator, judge: Any, options: InversionEval) -> _Kind:
    seeds = range(_FIRST_SEED, _FIRST_SEED + options.count)
    ws = np.asarray(sample_latents(gen, seeds=seeds, truncation_psi=options.trunc))
    images = rendering.render_all(gen, ws, batch=options.batch)
    return _Kind(images, read_images(judge, images, batch=options.batch), ws)


Method = Callable[
    [Mapping[str, Any], np.ndarray, InversionEval, ProgressFn], tuple[np.ndarray, np.ndarray]
]


def _measure(
    models: Mapping[str, Any],
    kind: _Kind,
    run: RunFolder,
    options: InversionEval,
    name: str,
    method: Method,
    count: int,
    progress: ProgressFn,
) -> _Measured:
    """The results of a method on the first `count` images; kept in the run's folder."""
    file = run.file(f"{name}.npz")
    if not file.exists():
        images = kind.images[:count]

        told = prefixed(progress, name)
        method(models, images[: options.batch], _quick(options), silent)  # compiles
        began = time.monotonic()
        ws, drawn = method(models, images, options, told)
        seconds = (time.monotonic() - began) / count
        measured = _Measured(
            ws=ws,
            psnr=np.asarray(psnr(drawn, images)),
            laplacian=np.asarray(laplacian_distance(drawn, images)),
            readings=read_images(models["judge"], drawn, batch=options.batch),
            seconds=np.full(1, seconds, np.float32),
        )
        io.save_npz(file, **measured._asdict())
    stored = io.load_npz(file, required=dict.fromkeys(_Measured._fields))
    return _Measured(**{field: stored[field] for field in _Measured._fields})


def _quick(options: InversionEval) -> InversionEval:
    """As few steps as run the same programs."""
    return options.replace(
        short_steps=chunk_length(options.short_steps),
        long_steps=chunk_length(options.long_steps),
        tune_steps=1,
    )


def _invert(
    models: Mapping[str, Any],
    images: np.ndarray,
    options: InversionEval,
    progress: ProgressFn,
    **arguments: Any,
) -> Inversion:
    return invert(
        models["gen"],
        images,
        encoder=models["encoder"],
        batch_size=options.batch,
        progress=progress,
        **arguments,
    )


def _encoder_alone(models, images, options, progress):
    found = _invert(models, images, options, progress, start="encoder", steps=0)
    return np.asarray(found.ws), np.asarray(found.images)


def _short(models, images, options, progress):
    steps = options.short_steps
    found = _invert(models, images, options, progress, start="encoder", steps=steps)
    return np.asarray(found.ws), np.asarray(found.images)


def _long(models, images, options, progress):
    found = _invert(models, images, options, progress, start="mean", steps=options.long_steps)
    return np.asarray(found.ws), np.asarray(found.images)


def _tuned(short: _Measured | None, models, images, options, progress):
    """Latents as they were, images of generators that were tuned to a few of them each."""
    assert short is not None  # measured before
    ws = short.ws[: len(images)]
    drawn = []
    groups = range(0, len(images), _GROUP)
    for number, first in enumerate(groups):
        own = slice(first, first + _GROUP)
        tuning = tune_generator(
            models["gen"], images[own], ws[own], steps=options.tune_steps, locality_weight=1.0,
            batch_size=_GROUP,
        )  # fmt: skip
        drawn.append(rendering.render_all(tuning.generator, ws[own], batch=_GROUP))
        progress("tuning", number + 1, len(groups))
    return ws, np.concatenate(drawn)


def _quality(kinds, found, judge, scale: np.ndarray, options: InversionEval) -> Table:
    """One row for each kind and method; where a method saw fewer, the short one on those too."""
    rows: list[list[Any]] = []
    for name, kind in kinds.items():

        def row(
            label: str,
            one: _Measured | None,
            count: int,
            name: str = name,
            kind: _Kind = kind,
        ) -> list[Any]:
            if one is None:
                read = read_images(judge, kind.images, batch=options.batch)
                error = float((np.abs(read - kind.truth) / scale).mean())
                return [name, label, count, None, None, None, error, None]
            error = float((np.abs(one.readings[:count] - kind.truth[:count]) / scale).mean())
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
            rows.append(row("the images themselves", None, len(kind.images)))
        for method, label in _methods(options).items():
            one = found[name][method]
            rows.append(row(label, one, len(one.psnr)))
        if options.few < options.count and {"tuned", "long"} & {*options.methods}:
            label = f"{_methods(options)['short']}, the same images"
            rows.append(row(label, found[name]["short"], options.few))
    return Table(
        ["images", "method", "n", "PSNR", "least", "Laplacian", "factor error", "time"],
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
    options: InversionEval,
    progress: ProgressFn,
) -> list[dict[str, Any]]:
    """The motions' effect on the latents of every method, and with further terms of the loss."""
    file = run.file(EDITABILITY)
    if file.exists():
        return io.read_json(file)
    labels = _methods(options)
    latents = {
        f"{kind}, {labels[method]}": editability.Inverted(
            kind, found[kind][method].ws, float(found[kind][method].psnr.mean())
        )
        for kind in KINDS
        for method in labels
        if method != "tuned"  # the same latents
    }
    for kind, term in itertools.product(KINDS, ("mean_weight", "start_weight")):
        for weight in getattr(options, f"{term}s"):
            label = f"{kind}, {labels['short']}, {term} {weight:g}"

            def told(_: str, done: int, total: int, /, label: str = label) -> None:
                progress(label, done, total)

            one = _invert(
                models, kinds[kind].images[: options.few], options, told, start="encoder",
                steps=options.short_steps, **{term: weight},
            )  # fmt: skip
            latents[label] = editability.Inverted(kind, np.asarray(one.ws), float(one.psnr.mean()))
    sampled = {name: kind.ws for name, kind in kinds.items()}
    rows = editability.measure(models, latents, sampled, run, options, progress)
    io.write_json(file, rows)
    return rows


def _sheet(gen: Generator, kind: _Kind, found: Mapping[str, _Measured], run, name: str) -> None:
    if not run.missing([name]):
        return
    rows = [kind.images[:_SHOWN]]
    for method in ("encoder", "short", "long"):
        if method in found:
            rows.append(rendering.render_all(gen, found[method].ws[:_SHOWN], batch=_SHOWN))
    shortest = min(len(row) for row in rows)
    media.save_png(run.file(name), media.strip(np.stack([row[:shortest] for row in rows]), gap=2))
