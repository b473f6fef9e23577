"""Images inverted into a folder: latents, reconstructions, errors, a tuned generator, a report.

What the folder has is not done again. Latents found now are handed on in memory, and written once,
each as soon as it is there. Shapes: N images, R side of the generator's images, L rows of W+,
D latent width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mm_jax import io, media, rendering
from mm_jax.alignment.faces import say
from mm_jax.artifacts import Latents, save_latents
from mm_jax.buckets import bucket
from mm_jax.deltas import load_delta, save_delta
from mm_jax.descent import full_batches
from mm_jax.errors import DataError
from mm_jax.faces.identity import load_identity
from mm_jax.inversion.inputs import (
    FaceImages,
    InversionNetworks,
    arrays_of,
    batch_for,
    invert_batch,
)
from mm_jax.inversion.judge import InversionVerdict, Likeness, judge_inversions, reader_for
from mm_jax.inversion.options import InversionPlan, InvertOptions, TuneOptions
from mm_jax.inversion.report import write_inversion_report
from mm_jax.inversion.tuning import tune_generator
from mm_jax.progress import ProgressFn, foretold, silent
from mm_jax.report import parts
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator

__all__ = ["Inverted", "invert_into", "outputs", "perhaps"]

LATENTS, ERRORS, TUNED = "latents.npz", "errors.json", "generator"
# So many images that the generator does not know may share a tuned copy.
_SHARED = 8
_TUNED_FILES = (f"{TUNED}/config.json", f"{TUNED}/params.safetensors")


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


def outputs(names: Sequence[str], *, tune: bool | None) -> list[str]:
    """Names of the files that `invert_into` writes; `perhaps` names further ones."""
    each = [file for name in names for file in (_found(name), _drawn(name), _pair(name))]
    return [*each, LATENTS, ERRORS, *(_TUNED_FILES if tune else ()), parts.REPORT]


def perhaps(names: Sequence[str], *, tune: bool | None) -> list[str]:
    """Names of the files that `invert_into` writes where the generator does not know images."""
    return [*map(_pulled, names), *(_TUNED_FILES if tune is None else ())]


def _found(name: str) -> str:
    return f"codes/{name}.npz"


def _pulled(name: str) -> str:
    return f"pivots/{name}.npz"


def _drawn(name: str) -> str:
    return f"pictures/{name}.png"


def _pair(name: str) -> str:
    return f"pairs/{name}.png"


def invert_into(
    run: RunFolder,
    gen: Generator,
    faces: FaceImages,
    networks: InversionNetworks,
    plan: InversionPlan,
    *,
    generator_name: str,
    batch: int | None = None,
    tell: Callable[[str], None] = say,
    progress: ProgressFn = silent,
) -> Inverted:
    """Write those of `outputs` and `perhaps` that the folder lacks.

    Images are inverted and judged. Those that the generator does not know are inverted again, held
    to W, and a copy of the generator is tuned to them, unless the plan says
    otherwise (`tuning.pull`, `sources.tune`).

    Args:
        run: the open folder.
        gen: the generator.
        faces: the images.
        networks: that help.
        plan: how images are inverted, whether and how the generator is tuned to them.
        generator_name: the bundled name or folder of `gen`, which a tuned copy refers to.
        batch: images per step, by default as many as fit in about 2 GiB and at most 16.
        tell: is given a line on what is done about images that are not known.
        progress: called with the steps.

    Raises:
        DataError: a stored file of the folder is damaged, or the optimisation diverges.
        UsageError: options that do not fit the models.
    """
    batch, sources = batch_for(gen, batch), plan.sources
    stored = None if run.missing([ERRORS]) else _load_judged(run, faces.names)
    reader = None if stored is not None else reader_for(gen)
    # Latents [N, L, D] and loss curves [N, steps + 1] of all images.
    ws, curves = _find_latents(gen, faces, networks, run, plan.invert, batch, progress)
    # Which of them does the generator not know? What an earlier call found out is not asked again.
    if stored is not None:
        pulled, tuned = stored.pulled, stored.tuned
    else:
        drawn = rendering.render_all(gen, ws, batch=batch, progress=progress)
        first = judge_inversions(gen, faces.images, drawn, ws, lpips=networks.lpips, reader=reader)
        # Where no face tells who it is, only --tune can.
        unknown = [i for i, one in enumerate(first) if one.face is not None and not one.known]
        pulled = unknown if plan.tuning.pull else []
        tuned = sources.tune
        if tuned is None:
            tuned = 0 < len(unknown) <= _SHARED
        if unknown:
            tell(_plan(faces, [first[i] for i in unknown], unknown, plan))
    # Those are inverted again, held to W, where a latent's image is a face.
    if pulled:
        if sources.identity == "auto":
            networks = dataclasses.replace(networks, identity=load_identity(gen))
        held = plan.invert.replace(w_weight=plan.tuning.pull)
        some = _find_latents(
            gen, faces.only(pulled), networks, run, held, batch, progress, file=_pulled
        )
        ws, curves = ws.copy(), curves.copy()
        ws[pulled], curves[pulled] = some
    latents = Latents(ws, faces.names)
    if run.missing([LATENTS]):
        save_latents(run.file(LATENTS), latents)
    # What the latents lack then, a copy of the generator is tuned to draw.
    renderer = gen
    if tuned:
        weights = [f"{name}_weight" for name in ("pixel", "laplacian", "lpips", "identity")]
        how = plan.tuning.replace(**{name: getattr(plan.invert, name) for name in weights})
        renderer = _tuned(
            run, gen, faces, ws, how, networks, generator_name=generator_name, batch=batch,
            tell=tell, progress=progress,
        )  # fmt: skip
    drawn = _draw(renderer, faces, ws, run, batch, progress)  # [N, R, R, 3]
    if stored is None:
        judged = judge_inversions(gen, faces.images, drawn, ws, lpips=networks.lpips, reader=reader)
        _save_judged(run, faces.names, judged, curves, pulled, tuned=tuned)
    else:
        judged = stored.judged
    verdict = InversionVerdict(dict(zip(faces.names, judged, strict=True)), tuned=tuned)
    if run.missing([parts.REPORT]):
        write_inversion_report(
            run, verdict, generator=gen.name, curves=curves,
            pairs=[run.file(_pair(name)) for name in faces.names],
        )  # fmt: skip
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
    plan: InversionPlan,
) -> str:
    """The line that says which images are not known, and what is done about it."""
    words = [
        f"{faces.names[i]} ({one.psnr:.1f} dB, "
        + ("no face left)" if one.identity is None else f"identity {one.identity:.2f})")
        for i, one in zip(places, judged, strict=True)
    ]
    tune, then = plan.sources.tune, []
    if plan.tuning.pull:
        then.append("inverted again near W")
    if tune or (tune is None and len(places) <= _SHARED):
        skip = "" if tune else "; --notune leaves it out"
        then.append(f"a copy is tuned, {plan.tuning.steps} steps{skip}")
    elif tune is None:
        then.append(
            f"no copy is tuned to more than {_SHARED} images, which would hardly share one: give "
            "them one by one, or --tune"
        )
    told = f"the generator does not know {', '.join(words)}"
    return f"{told}: {', then '.join(then)}" if then else told


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
