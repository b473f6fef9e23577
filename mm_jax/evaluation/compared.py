"""mm_eval --topic=compared: micromotions beside the usual methods, measured against known factors.

Every method (`mm_jax.baselines.methods`) finds a direction for every motion, several times with
other keys. A direction is scaled on some faces until its target changes by one standard deviation,
and then moves faces that no method has seen. The judge reads what changes; no method has seen the
judge either. `mm_jax.evaluation.compared_measures` says what the figures are.

What each method found and what the judge read is kept, one json and one npz for each method and
repetition, so that a run that was stopped resumes.

Shapes: N faces, S strengths, F factors, L rows of W+, D latent width.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import io, rendering, zoo
from mm_jax.anchors import folder as anchors_folder
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.baselines import interfacegan, lowrank
from mm_jax.baselines.methods import TABLE
from mm_jax.baselines.moving import moved_images, typical_amount
from mm_jax.baselines.world import (
    FROM_VIDEO,
    JACOBIAN,
    SAMPLED,
    Direction,
    World,
    start_names,
)
from mm_jax.buckets import filled
from mm_jax.encoders.encoder import load_encoder
from mm_jax.errors import DataError
from mm_jax.evaluation import compared_claims, compared_report
from mm_jax.evaluation.compared_measures import Calibration, calibrate, figures_of
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.options import ComparedEval
from mm_jax.evaluation.reading import factor_scale, read_images, read_latents
from mm_jax.evaluation.results import Result
from mm_jax.faces.identity import open_identity
from mm_jax.latents import sample_latents
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.probe import Probe, load_probe
from mm_jax.progress import ProgressFn, prefixed, silent
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.zoo import load_generator

__all__ = ["Judged", "evaluate", "measure", "open_models", "outputs", "videos_of"]

UNEDITED = "unedited.npz"
# Faces on which the amount for strength 1 is looked for, before all of `calibrated_on` are read.
_ROUGH = 8


def open_models(options: ComparedEval) -> dict[str, Any]:
    """The networks by name.

    Raises:
        UsageError: unknown names, a judge or a probe that does not read what a motion is about, or
            scikit-learn is missing for a method that needs it.
        DataError: missing or damaged folders.
    """
    videos = videos_of(options)
    if any(name.startswith("interfacegan") for name in options.baselines):
        interfacegan.check_installed()
    gen = load_generator(options.generator)
    models = {
        "gen": gen,
        "clip": load_clip(options.clip),
        "probe": load_probe(options.probe),
        "judge": load_probe(options.judge),
    }
    for name in ("probe", "judge"):
        for motion in options.edits:
            target_of(motion, models[name].factors)
    if videos:
        models["encoder"] = load_encoder(options.encoder)
    identity = open_identity(options.identity, gen)
    return models if identity is None else {**models, "identity": identity}


def videos_of(options: ComparedEval) -> dict[str, Path]:
    """Files of the videos that there are of the motions; none if no method looks at them."""
    if "ours_video" not in options.baselines:
        return {}
    if options.videos:
        folder = Path(options.videos)
        if not folder.is_dir():
            raise DataError(f"videos={options.videos}: no such folder")
    elif options.generator in zoo.BUNDLED:
        folder = zoo.ASSETS / (zoo.companion(options.generator, "clips") or zoo.VIDEOS)
    else:
        return {}
    files = {motion: folder / f"{motion}.mp4" for motion in options.edits}
    return {motion: file for motion, file in files.items() if file.is_file()}


def _stem(method: str, repetition: int) -> str:
    return f"{_place(repetition)}/{method}"


def _place(repetition: int) -> str:
    return f"found{repetition}"


def outputs(options: ComparedEval) -> list[str]:
    """Names of the files that `evaluate` writes beside the tables and the report."""
    methods = {name: TABLE[name] for name in options.baselines}
    videos = videos_of(options)
    names = [UNEDITED]
    for r in range(options.repetitions):
        place = _place(r)
        if any(method.faces or method.jacobian for method in methods.values()):
            names.append(f"{place}/{SAMPLED}")
        if any(method.jacobian for method in methods.values()):
            names.append(f"{place}/{JACOBIAN}")
        if "lowrank" in methods:
            names.append(f"{place}/{lowrank.GRAM}")
        optimized = {"ours_optimize", "ours_one_start", "ours_compat"} & set(methods)
        if optimized or (options.claims and r == 0):
            files = anchors_folder.tables(start_names(options.looked_at.starts))[:-2]
            names += [f"{place}/{motion}/{file}" for motion in options.edits for file in files]
        files = anchors_folder.tables([FROM_VIDEO])[:-2]
        names += [f"{place}/{motion}/{file}" for motion in videos for file in files]
        names += [f"{_stem(name, r)}.{kind}" for name in _used(options) for kind in ("json", "npz")]
    if options.claims:
        names += compared_claims.outputs(options)
    return [*names, *compared_report.outputs(options)]


def _used(options: ComparedEval) -> list[str]:
    """The methods that can be run: without a video, no motion is learned from one."""
    return [name for name in options.baselines if name != "ours_video" or videos_of(options)]


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """Who reads, in which units, and the faces that are moved.

    Attributes:
        gen: the generator.
        judge: the probe that no method has seen.
        identity: images to unit vectors of who the face is, or None.
        scale: [F] standard deviation of each factor over the population.
        unseen: [N, L, D] the faces that are measured.
        unedited: [N, F] what the judge reads from them, in standard deviations.
        people: [N, E] their identity; E is 0 without one that reads it.
        trial: [C, L, D] the faces on which strength 1 is set.
        trial_unedited: [C, F] what is read from these.
        batch: images per step.
    """

    gen: Generator
    judge: Probe
    identity: Any
    scale: np.ndarray
    unseen: np.ndarray
    unedited: np.ndarray
    people: np.ndarray
    trial: np.ndarray
    trial_unedited: np.ndarray
    batch: int

    def read(
        self,
        ws: np.ndarray,
        direction: Direction,
        amounts: np.ndarray,
        progress: ProgressFn = silent,
        *,
        who: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Readings [N, A, F], in standard deviations, of latents [N, L, D] moved by amounts [A].

        And, if asked for, identities [N, A, E].
        """
        read, people = [], []
        for images in moved_images(
            self.gen, ws, direction, amounts, batch=self.batch, progress=progress
        ):
            read.append(read_images(self.judge, images, batch=self.batch))
            if who and self.identity is not None:
                people.append(_people(self.identity, images, self.batch))
        found = np.concatenate(read).reshape(len(ws), len(amounts), -1) / self.scale[None, None]
        who_is = np.concatenate(people) if people else np.zeros((len(ws) * len(amounts), 0))
        return found, who_is.reshape(len(ws), len(amounts), -1)

    def calibrate(self, direction: Direction, target: int) -> Calibration:
        """The amount at which the target changes by one standard deviation.

        Raises:
            DataError: it does not change at all.
        """

        def response(amounts: np.ndarray, faces: int | None = None) -> np.ndarray:
            read, _ = self.read(self.trial[:faces], direction, amounts)
            unedited = self.trial_unedited[:faces, None, target]
            return (read[:, :, target] - unedited).mean(axis=0)

        rough = functools.partial(response, faces=_ROUGH)
        return calibrate(response, typical_amount(self.gen, self.trial, direction), rough=rough)


def _people(identity: Any, images: np.ndarray, batch: int) -> np.ndarray:
    shown = jnp.asarray(filled(images, max(batch, len(images))))
    return np.asarray(_identify(identity, shown))[: len(images)]


@jax.jit
def _identify(identity: Any, images: jax.Array) -> jax.Array:
    return identity(images)


def measure(
    judged: Judged,
    direction: Direction,
    strengths: np.ndarray,
    *,
    target: int,
    sign: int,
    faces: int | None = None,
    progress: ProgressFn = silent,
) -> tuple[dict[str, Any], np.ndarray]:
    """Scale a direction, move the unseen faces along it, and read what changes.

    Args:
        judged: who reads.
        direction: what is measured.
        strengths: [S], the first 0 and one of them 1.
        target: position of the factor that the motion is about.
        sign: the way it is to move.
        faces: only so many of the unseen faces, the first ones.
        progress: called with the images.

    Returns:
        the figures as json values, and the changes [N, S, F] in standard deviations.

    Raises:
        DataError: the direction does not move its target.
    """
    scaled = judged.calibrate(direction, target)
    ws, unedited = judged.unseen[:faces], judged.unedited[:faces]
    read, people = judged.read(ws, direction, scaled.amount * strengths[1:], progress, who=True)
    changes = np.concatenate([np.zeros_like(read[:, :1]), read - unedited[:, None]], axis=1)
    one = int(np.flatnonzero(strengths == 1.0)[0]) - 1
    kept = (people[:, one] * judged.people[:faces]).sum(axis=-1) if people.shape[2] else None
    figures = {
        "amount": scaled.amount,
        "reached": sign * scaled.reached,
        "space": direction.space,
        "identity_kept": None if kept is None else float(kept.mean()),
        "found": dict(direction.facts),
        **figures_of(changes, strengths, target=target, sign=sign),
    }
    return figures, changes


def evaluate(
    models: Mapping[str, Any],
    run: RunFolder,
    options: ComparedEval,
    progress: ProgressFn = silent,
) -> Result:
    """Find what the folder lacks, measure it, and put the tables together.

    Raises:
        DataError: a damaged file, a direction that moves nothing, or a video that cannot be read.
    """
    judged = _open_judge(models, run, options, progress)
    first = _world(models, run, options, 0, progress)
    for r in range(options.repetitions):
        world = first if r == 0 else _world(models, run, options, r, progress)
        for name in _used(options):
            _find_and_measure(name, world, judged, run, options, r, progress)
    found = load_found(run, options, judged)
    claims = compared_claims.measure_all(first, judged, run, options, progress, measure=measure)
    compared_report.draw(judged, found, run, options)
    return compared_report.result(judged, found, claims, run, options)


def _world(
    models: Mapping[str, Any],
    run: RunFolder,
    options: ComparedEval,
    repetition: int,
    progress: ProgressFn,
) -> World:
    return World(
        models["gen"],
        models["clip"],
        key=jax.random.key(repetition),
        options=options.looked_at.replace(truncation_psi=options.trunc, batch=options.batch),
        probe=models["probe"],
        encoder=models.get("encoder"),
        videos=videos_of(options),
        folder=run.file(_place(repetition)),
        progress=prefixed(progress, f"repetition {repetition + 1}"),
    )


def _open_judge(
    models: Mapping[str, Any], run: RunFolder, options: ComparedEval, progress: ProgressFn
) -> Judged:
    gen, judge, identity = models["gen"], models["judge"], models.get("identity")

    def sample(seeds: Sequence[int]) -> np.ndarray:
        return np.asarray(sample_latents(gen, seeds=seeds, truncation_psi=options.trunc))

    unseen, trial = sample(options.unseen), sample(options.calibrated_on)
    file = run.file(UNEDITED)
    if not file.exists():
        how: dict[str, Any] = {"batch": options.batch, "progress": progress, "label": "unedited"}
        people = [np.zeros((len(unseen), 0), np.float32)]
        if identity is not None:
            batches = rendering.render_batches(gen, unseen, batch=options.batch)
            people = [_people(identity, images, options.batch) for _, images in batches]
        io.save_npz(
            file,
            population=read_latents(gen, judge, sample(options.population), **how),
            unseen=read_latents(gen, judge, unseen, **how),
            trial=read_latents(gen, judge, trial, **how),
            people=np.concatenate(people),
        )
    count = len(judge.factors)
    stored = io.load_npz(
        file,
        required={
            "population": (len(options.population), count),
            "unseen": (len(unseen), count),
            "trial": (len(trial), count),
            "people": 2,
        },
    )
    scale = factor_scale(stored["population"])
    return Judged(
        gen, judge, identity, scale, unseen, stored["unseen"] / scale[None], stored["people"],
        trial, stored["trial"] / scale[None], options.batch,
    )  # fmt: skip


def _find_and_measure(
    name: str,
    world: World,
    judged: Judged,
    run: RunFolder,
    options: ComparedEval,
    repetition: int,
    progress: ProgressFn,
) -> None:
    """Write the two files of one method and repetition, unless they are there."""
    stem = _stem(name, repetition)
    if not run.missing([f"{stem}.json", f"{stem}.npz"]):
        return
    # All strengths once; what varies with the finding is leakage at strength 1.
    strengths = np.asarray(options.strengths if repetition == 0 else (0.0, 1.0))
    figures: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for motion in options.edits:
        if name == "ours_video" and motion not in world.videos:
            continue
        told = prefixed(progress, f"{TABLE[name].title} {repetition + 1}: {motion}")
        target, sign = target_of(motion, judged.judge.factors)
        began = time.monotonic()
        direction = TABLE[name].find(world, MOTIONS[motion])
        seconds = time.monotonic() - began
        try:
            found, changes = measure(
                judged, direction, strengths, target=target, sign=sign, progress=told
            )
        except DataError as error:
            raise DataError(f"{name}, {motion}: {error}") from error
        figures[motion] = {**found, "seconds": round(seconds, 2)}
        arrays[f"{motion}.changes"] = changes.astype(np.float32)
        arrays |= {f"{motion}.move.{part}": move for part, move in direction.arrays().items()}
    io.save_npz(run.file(f"{stem}.npz"), **arrays)
    io.write_json(
        run.file(f"{stem}.json"),
        {
            "method": name,
            "repetition": repetition,
            "strengths": strengths.tolist(),
            "motions": figures,
        },
    )


def load_found(
    run: RunFolder, options: ComparedEval, judged: Judged
) -> dict[str, list[compared_report.Found]]:
    """By method, what each repetition found.

    Raises:
        DataError: a file is damaged, or of other faces.
    """
    found: dict[str, list[compared_report.Found]] = {}
    for name in _used(options):
        found[name] = []
        for r in range(options.repetitions):
            stem = _stem(name, r)
            record = io.read_json(run.file(f"{stem}.json"))
            count = len(record["strengths"])
            shape = (len(judged.unseen), count, len(judged.judge.factors))
            wanted = {f"{motion}.changes": shape for motion in record["motions"]}
            arrays = io.load_npz(run.file(f"{stem}.npz"), required=wanted)
            directions = {}
            for motion in record["motions"]:
                start = f"{motion}.move."
                parts = {k[len(start) :]: v for k, v in arrays.items() if k.startswith(start)}
                directions[motion] = Direction.of(parts)
            found[name].append(
                compared_report.Found(
                    record["motions"],
                    {motion: arrays[f"{motion}.changes"] for motion in record["motions"]},
                    directions,
                )
            )
    return found
