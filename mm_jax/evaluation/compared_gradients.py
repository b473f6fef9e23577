"""Of our direction from gradients, each a row of mm_eval --topic=compared.

- W, W+ and S: the same recipe in three spaces (`mm_jax.baselines.spaces`).
- Other words: the same motions by other prompts, and how near the directions are to the first.
- Decoupled: apart from the other motions (`mm_jax.anchors.decouple`).
- Calibrated strengths: how evenly the target moves between the strengths at which what CLIP reads
  saturates, in steps that are even along the direction, and in calibrated ones.
- Two motions at once: whether the order matters, how much of each is left beside the other, and how
  far together they are from the sum of both.

All of the first repetition, on `few` of the unseen faces.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from mm_jax import io, rendering
from mm_jax.anchors.calibrate import calibrate
from mm_jax.anchors.gradient import mean_field
from mm_jax.anchors.metric import direction_along
from mm_jax.anchors.prompts import MOTIONS, Motion
from mm_jax.baselines import ours, spaces
from mm_jax.baselines.world import Direction, World
from mm_jax.checks import layer_mask
from mm_jax.demo.options import DemoOptions
from mm_jax.errors import DataError
from mm_jax.evaluation.compared_judge import Judged, measure
from mm_jax.evaluation.compared_measures import linearity, step_variation
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.options import ComparedEval
from mm_jax.progress import ProgressFn, prefixed
from mm_jax.runs import RunFolder

__all__ = [
    "PARAPHRASES",
    "Variant",
    "composed",
    "evenness",
    "measure_all",
    "measure_variants",
    "outputs",
    "variants",
]

#: Other words for each motion.
PARAPHRASES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "smile": ("a person who is {degree} smiling", "a face with a {degree} smile"),
        "anger": ("a person with a {degree} angry look", "a person who is {degree} furious"),
        "aging": ("a {degree} old person", "a person with {degree} deep wrinkles"),
        "closing_eyes": ("a face with {degree} closed eyes", "a person with eyes {degree} shut"),
        "head_turn": (
            "a person with face turned {degree} to the right",
            "a person who is turned {degree} to the right",
        ),
    }
)
CALIBRATED, COMPOSED = "claims/calibrated.json", "claims/composed.json"
# Strengths between the two ends of a calibration.
_EVEN = 9
# Faces that two motions move in both orders.
_ORDERED = 4


@dataclasses.dataclass(frozen=True)
class Variant:
    """A direction that is measured in the same way as others of its table.

    Attributes:
        name: of its file.
        title: in the table.
        find: the direction of a motion.
        beside: metrics that are kept beside those of the judge.
    """

    name: str
    title: str
    find: Callable[[World, Motion], Direction]
    beside: Callable[[World, Motion, Direction], dict[str, Any]] | None = None


def measure_variants(
    variants: list[Variant],
    world: World,
    judged: Judged,
    run: RunFolder,
    options: ComparedEval,
    progress: ProgressFn,
) -> dict[str, Any]:
    """The metrics of each variant and motion at strength 1; those in the folder are read.

    Variants of a motion are alike: where strength 1 of the first one is, the others' is expected.
    A variant that finds no direction, as of anchors most of which are corrupted, says why not in
    place of its metrics.
    """
    found: dict[str, Any] = {}
    near: dict[tuple[str, str], float] = {}
    for variant in variants:
        file = run.file(f"claims/{variant.name}.json")
        if not file.exists():
            metrics = {}
            for motion in options.edits:
                target, sign = target_of(motion, judged.judge.factors)
                try:
                    direction = variant.find(world, MOTIONS[motion])
                except DataError as error:
                    metrics[motion] = {"why_not": str(error)}
                    continue
                kind = motion, direction.space
                expected = near[kind] / direction.length if kind in near else None
                metrics[motion] = measure(
                    judged, direction, np.array([0.0, 1.0]), target=target, sign=sign,
                    faces=min(options.few, len(judged.unseen)),
                    near=expected,
                    progress=prefixed(progress, f"{variant.name}: {motion}"),
                ).metrics  # fmt: skip
                near.setdefault(kind, metrics[motion]["amount"] * direction.length)
                if variant.beside is not None:
                    metrics[motion] |= variant.beside(world, MOTIONS[motion], direction)
            io.write_json(file, {"title": variant.title, "motions": metrics})
        found[variant.name] = io.read_json(file)
    return found


def variants() -> list[Variant]:
    """The directions from gradients that are measured."""
    found = [
        Variant(f"gradients_{name}", f"in {space}", functools.partial(spaces.find, space=space))
        for name, space in zip(("w", "wplus", "s"), spaces.SPACES, strict=True)
    ]
    found += [
        Variant(
            f"paraphrase{place}",
            f"in other words ({place})",
            functools.partial(_in_other_words, place=place - 1),
            _likeness,
        )
        for place in (1, 2)
    ]
    return [*found, Variant("decoupled", "apart from the other motions", _decoupled)]


def outputs(options: ComparedEval) -> list[str]:
    """Names of the files that are written."""
    names = [f"claims/{variant.name}.json" for variant in variants()]
    return [*names, CALIBRATED, *([COMPOSED] if len(options.edits) > 1 else [])]


def measure_all(
    world: World, judged: Judged, run: RunFolder, options: ComparedEval, progress: ProgressFn
) -> dict[str, Any]:
    """What the folder lacks is measured; all of it as json values."""
    found = {
        "of_gradients": measure_variants(variants(), world, judged, run, options, progress),
    }
    parts = {"calibrated": (CALIBRATED, _calibrated)}
    if len(options.edits) > 1:
        parts["composed"] = (COMPOSED, _composed)
    for name, (where, make) in parts.items():
        file = run.file(where)
        if not file.exists():
            io.write_json(file, make(world, judged, options, prefixed(progress, name)))
        found[name] = io.read_json(file)
    return found


def _other_fields(world: World) -> np.ndarray:
    """[2, motions, L, D] mean gradients by the paraphrases of each motion."""

    def make() -> np.ndarray:
        templates = [PARAPHRASES[name][place] for place in (0, 1) for name in world.motions]
        masks = [
            layer_mask(MOTIONS[name].layers, world.gen.config.num_ws) for name in world.motions
        ]
        fields = [
            mean_field(one, world.metric, moving)[0]
            for one, moving in zip(world.gradients(templates), masks * 2, strict=True)
        ]
        return np.stack(fields).reshape(2, len(world.motions), *fields[0].shape)

    return world.once("paraphrases", make)


def _in_other_words(world: World, motion: Motion, *, place: int) -> Direction:
    field = _other_fields(world)[place, world.motions.index(motion.name)]
    moving = layer_mask(motion.layers, world.gen.config.num_ws)
    rows = direction_along(field.sum(axis=0), world.covariance)[None] * moving[:, None]
    return Direction(rows.astype(np.float32))


def _likeness(world: World, motion: Motion, direction: Direction) -> dict[str, Any]:
    """Cosine with the direction by the first prompt, in the metric of W."""
    own = direction_along(world.fields[motion.name][0].sum(axis=0), world.covariance)
    other = np.asarray(direction.move).mean(axis=0)
    inverse = world.inverse_covariance
    lengths = np.sqrt((own @ inverse @ own) * (other @ inverse @ other))
    return {"cosine": float(own @ inverse @ other / max(lengths, 1e-30))}


def _decoupled(world: World, motion: Motion) -> Direction:
    others = [MOTIONS[name].template for name in world.motions if name != motion.name]
    found = ours.gradient(world, motion)
    return ours.without(world, motion, found, others) if others else found


def evenness(response: np.ndarray) -> dict[str, Any]:
    """How even the steps of a mean response [S] are, at strengths that are meant to be even."""
    at = np.linspace(0.0, 1.0, len(response))
    return {
        "response": response.tolist(),
        "linearity": linearity(at, response),
        "step_variation": step_variation(response),
    }


def _amount(world: World, judged: Judged, name: str) -> float:
    """How much of our direction from gradients is strength 1."""
    target, _ = target_of(name, judged.judge.factors)
    direction = ours.gradient(world, MOTIONS[name])
    return world.once(f"amount {name}", lambda: judged.calibrate(direction, target).amount)


def _calibrated(
    world: World, judged: Judged, options: ComparedEval, progress: ProgressFn
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    faces = min(options.few, len(judged.unseen))
    ws, unedited = judged.unseen[:faces], judged.unedited[:faces]
    for name in options.edits:
        motion = MOTIONS[name]
        target, sign = target_of(name, judged.judge.factors)
        direction = ours.gradient(world, motion)
        amount = _amount(world, judged, name)
        try:
            curve = calibrate(
                world.gen, world.clip, direction.subspace(amount), template=motion.template,
                degrees=DemoOptions().anchors.degrees, truncation_psi=options.trunc,
                key=world.key("calibrated faces"), batch_size=options.batch,
                progress=prefixed(progress, name),
            )  # fmt: skip
        except DataError as error:
            found[name] = {"why_not": str(error)}
            continue
        low, high = curve.saturates
        straight = np.linspace(low, high, _EVEN)
        first, last = curve.amounts_of(np.array([low, high]))
        even = curve.strengths_of(np.linspace(first, last, _EVEN))
        read, _ = judged.read(ws, direction, amount * np.concatenate([straight, even]), progress)
        response = sign * (read[:, :, target] - unedited[:, None, target]).mean(axis=0)
        found[name] = {
            "saturates": [float(low), float(high)],
            "plain": evenness(response[:_EVEN]),
            "calibrated": evenness(response[_EVEN:]),
        }
    return found


def composed(
    alone: Mapping[str, np.ndarray], both: np.ndarray, targets: Mapping[str, int]
) -> dict[str, Any]:
    """What two motions do together.

    Args:
        alone: by motion, the changes [N, F] that it makes alone.
        both: [N, F] the changes by both.
        targets: by motion, the position of its factor.

    Returns:
        "left": by motion, its target's mean change beside the other motion, over that alone;
        "interference": mean over factors of the size of what both change on average beyond the sum
        of what each does, in standard deviations.
    """
    together, parts = both.mean(axis=0), {n: one.mean(axis=0) for n, one in alone.items()}
    beyond = together - np.sum(list(parts.values()), axis=0)
    left = {}
    for name, part in parts.items():
        size = part[targets[name]]
        left[name] = float(together[targets[name]] / size) if abs(size) > 1e-12 else 0.0
    return {"left": left, "interference": float(np.abs(beyond).mean())}


def _composed(
    world: World, judged: Judged, options: ComparedEval, progress: ProgressFn
) -> dict[str, Any]:
    faces = min(options.few, len(judged.unseen))
    ws, unedited = judged.unseen[:faces], judged.unedited[:faces]
    moves, targets = {}, {}
    for name in options.edits:
        targets[name], _ = target_of(name, judged.judge.factors)
        direction = ours.gradient(world, MOTIONS[name])
        amount = _amount(world, judged, name)
        moves[name] = (amount * np.asarray(direction.move)).astype(np.float32)

    def changes(move: np.ndarray) -> np.ndarray:
        read, _ = judged.read(ws, Direction(move), np.ones(1), progress)
        return read[:, 0] - unedited

    alone = {name: changes(move) for name, move in moves.items()}
    found = {}
    for first, second in itertools.combinations(moves, 2):
        pair = {name: alone[name] for name in (first, second)}
        own = composed(pair, changes(moves[first] + moves[second]), targets)
        some = ws[:_ORDERED]
        orders = [
            rendering.render_all(judged.gen, some + moves[a] + moves[b], batch=options.batch)
            for a, b in ((first, second), (second, first))
        ]
        order = float(np.abs(orders[0].astype(np.float64) - orders[1]).max())
        found[f"{first}, {second}"] = {**own, "order": order}
    return found
