"""Who measures the directions of mm_eval --topic=compared, and how one direction is measured.

The judge is a probe that no method has seen. A second one may read the edited faces as well, to see
whether it ranks the methods alike. Strength 1 is where the judge sees the target change by one
standard deviation.

Shapes: N faces, S strengths, A amounts, F factors, L rows of W+, D latent width.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import io, rendering
from mm_jax.baselines.moving import moved_images, typical_amount
from mm_jax.baselines.world import Direction
from mm_jax.buckets import filled
from mm_jax.evaluation.compared_measures import Calibration, calibrate, figures_of
from mm_jax.evaluation.options import ComparedEval
from mm_jax.evaluation.reading import factor_scale, read_images, read_latents
from mm_jax.latents import sample_latents
from mm_jax.perceptual.probe import Probe
from mm_jax.progress import ProgressFn, silent
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator

__all__ = ["UNEDITED", "Judged", "Measured", "identify", "measure", "open_judge"]

UNEDITED = "unedited.npz"
# Faces on which the amount for strength 1 is looked for, before all of `calibrated_on` are read.
_ROUGH = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """Who reads, in which units, and the faces that are moved.

    Attributes:
        gen: the generator.
        judge: the probe that no method has seen.
        identity: images to unit vectors of who the face is, or None.
        scale: [F] standard deviation of each factor over the population.
        mean: [F] mean of each over the population, in standard deviations.
        unseen: [N, L, D] the faces that are measured.
        unedited: [N, F] what the judge reads from them, in standard deviations.
        people: [N, E] their identity; E is 0 without one that reads it.
        trial: [C, L, D] the faces on which strength 1 is set.
        trial_unedited: [C, F] what is read from these.
        batch: images per step.
        second: another probe that reads the edited faces, or None.
        second_scale: [F2] standard deviation of each factor that it reads.
        second_unedited: [N, F2] what it reads from the unseen faces, in standard deviations.
    """

    gen: Generator
    judge: Probe
    identity: Any
    scale: np.ndarray
    mean: np.ndarray
    unseen: np.ndarray
    unedited: np.ndarray
    people: np.ndarray
    trial: np.ndarray
    trial_unedited: np.ndarray
    batch: int
    second: Probe | None = None
    second_scale: np.ndarray | None = None
    second_unedited: np.ndarray | None = None

    def read(
        self,
        ws: np.ndarray,
        direction: Direction,
        amounts: np.ndarray,
        progress: ProgressFn = silent,
        *,
        kept: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the judge reads of latents [N, L, D] moved by amounts [A].

        Args:
            ws: the latents.
            direction: what they move along.
            amounts: how far.
            progress: called with the images.
            kept: the amount, by its place, whose images are given back.

        Returns:
            readings [N, A, F] in standard deviations, and images [N, H, H, 3], or none of them.
        """
        read, images, done = [], [], 0
        for some in moved_images(
            self.gen, ws, direction, amounts, batch=self.batch, progress=progress
        ):
            read.append(read_images(self.judge, some, batch=self.batch))
            if kept is not None:
                places = np.arange(done, done + len(some)) % len(amounts)
                images.append(some[places == kept])
            done += len(some)
        found = np.concatenate(read).reshape(len(ws), len(amounts), -1) / self.scale[None, None]
        return found, np.concatenate(images) if images else np.zeros((0, 0, 0, 3), np.float32)

    def calibrate(
        self, direction: Direction, target: int, *, near: float | None = None
    ) -> Calibration:
        """The amount at which the target changes by one standard deviation.

        Args:
            direction: what is moved along.
            target: position of the factor.
            near: the amount that is expected.

        Raises:
            DataError: it does not change at all.
        """

        def response(amounts: np.ndarray, faces: int | None = None) -> np.ndarray:
            read, _ = self.read(self.trial[:faces], direction, amounts)
            unedited = self.trial_unedited[:faces, None, target]
            return (read[:, :, target] - unedited).mean(axis=0)

        rough = functools.partial(response, faces=_ROUGH)
        typical = typical_amount(self.gen, self.trial, direction)
        return calibrate(response, typical, rough=rough, near=near)


class Measured(NamedTuple):
    """What became of the unseen faces along a direction.

    Attributes:
        metrics: as json values.
        changes: [N, S, F] in standard deviations.
        second: [N, F2] changes at strength 1 as the second judge reads them, or None.
    """

    metrics: dict[str, Any]
    changes: np.ndarray
    second: np.ndarray | None


def measure(
    judged: Judged,
    direction: Direction,
    strengths: np.ndarray,
    *,
    target: int,
    sign: int,
    faces: int | None = None,
    scaled: Calibration | None = None,
    near: float | None = None,
    who: bool = False,
    second: bool = False,
    progress: ProgressFn = silent,
) -> Measured:
    """Scale a direction, move the unseen faces along it, and read what changes.

    Args:
        judged: who reads.
        direction: what is measured.
        strengths: [S], the first 0 and one of them 1.
        target: position of the factor that the motion is about.
        sign: the way it is to move.
        faces: only so many of the unseen faces, the first ones.
        scaled: where strength 1 is, if it is known.
        near: where it is expected.
        who: whether it is asked if they stay the same people.
        second: whether the second judge reads them as well.
        progress: called with the images.

    Raises:
        DataError: the direction does not move its target.
    """
    scaled = judged.calibrate(direction, target, near=near) if scaled is None else scaled
    ws, unedited = judged.unseen[:faces], judged.unedited[:faces]
    one = int(np.flatnonzero(strengths == 1.0)[0]) - 1
    who, second = who and judged.identity is not None, second and judged.second is not None
    read, images = judged.read(
        ws, direction, scaled.amount * strengths[1:], progress,
        kept=one if who or second else None,
    )  # fmt: skip
    changes = np.concatenate([np.zeros_like(read[:, :1]), read - unedited[:, None]], axis=1)
    kept = None
    if who:
        people = identify(judged.identity, images, judged.batch)
        kept = float((people * judged.people[:faces]).sum(axis=-1).mean())
    again = None
    if second:
        assert judged.second is not None and judged.second_scale is not None
        assert judged.second_unedited is not None
        again = read_images(judged.second, images, batch=judged.batch) / judged.second_scale[None]
        again = again - judged.second_unedited[:faces]
    metrics = {
        "amount": scaled.amount,
        "reached": sign * scaled.reached,
        "space": direction.space,
        "identity_kept": kept,
        "found": dict(direction.facts),
        **figures_of(changes, strengths, target=target, sign=sign),
    }
    return Measured(metrics, changes, again)


def identify(identity: Any, images: np.ndarray, batch: int) -> np.ndarray:
    """Unit vectors [N, E] of who is on images [N, H, H, 3]."""
    found = []
    for first in range(0, len(images), batch):
        part = images[first : first + batch]
        found.append(np.asarray(_identify(identity, jnp.asarray(filled(part, batch))))[: len(part)])
    return np.concatenate(found)


@jax.jit
def _identify(identity: Any, images: jax.Array) -> jax.Array:
    return identity(images)


def open_judge(
    models: Mapping[str, Any], run: RunFolder, options: ComparedEval, progress: ProgressFn
) -> Judged:
    """The judge, with what it reads of unedited faces, which is kept in the folder.

    Raises:
        DataError: the file there is damaged, or of other faces.
    """
    gen, judge, identity = models["gen"], models["judge"], models.get("identity")
    other = models.get("second")

    def sample(seeds: Sequence[int]) -> np.ndarray:
        return np.asarray(sample_latents(gen, seeds=seeds, truncation_psi=options.trunc))

    unseen, trial = sample(options.unseen), sample(options.calibrated_on)
    file = run.file(UNEDITED)
    if not file.exists():
        how: dict[str, Any] = {"batch": options.batch, "progress": progress, "label": "unedited"}
        population = sample(options.population)
        arrays = {
            "population": read_latents(gen, judge, population, **how),
            "unseen": read_latents(gen, judge, unseen, **how),
            "trial": read_latents(gen, judge, trial, **how),
            "people": np.zeros((len(unseen), 0), np.float32),
        }
        if identity is not None:
            batches = rendering.render_batches(gen, unseen, batch=options.batch)
            people = [identify(identity, images, options.batch) for _, images in batches]
            arrays["people"] = np.concatenate(people)
        if other is not None:
            arrays["second_population"] = read_latents(gen, other, population, **how)
            arrays["second_unseen"] = read_latents(gen, other, unseen, **how)
        io.save_npz(file, **arrays)
    count = len(judge.factors)
    required: dict[str, Any] = {
        "population": (len(options.population), count),
        "unseen": (len(unseen), count),
        "trial": (len(trial), count),
        "people": 2,
    }
    if other is not None:
        required["second_population"] = (len(options.population), len(other.factors))
        required["second_unseen"] = (len(unseen), len(other.factors))
    stored = io.load_npz(file, required=required)
    scale = factor_scale(stored["population"])
    found = Judged(
        gen, judge, identity, scale, stored["population"].mean(axis=0) / scale, unseen,
        stored["unseen"] / scale[None], stored["people"], trial,
        stored["trial"] / scale[None], options.batch,
    )  # fmt: skip
    if other is None:
        return found
    units = factor_scale(stored["second_population"])
    return dataclasses.replace(
        found, second=other, second_scale=units,
        second_unedited=stored["second_unseen"] / units[None],
    )  # fmt: skip
