"""The paper's claims about anchors, each a row of mm_eval --topic=compared.

- Low rank: how much of the displacements the first component holds, how many hold 90 %.
- One identity's subspace moves others: it is found in one face, and in more; measured on unseen
  faces.
- Few degrees suffice.
- Robust PCA withstands corrupted anchors: of all anchors a fraction is replaced by other faces, and
  robust PCA's direction is measured beside plain SVD's.
- Text and video agree: cosines of the two directions, in W+ as they are, and of their means over
  the rows of W+ within the live axes of W (`mm_jax.anchors.metric.live_axes`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mm_jax import io
from mm_jax.anchors.metric import live_axes
from mm_jax.anchors.prompts import MOTIONS, Motion
from mm_jax.artifacts import Anchors
from mm_jax.baselines.ours import direction_of
from mm_jax.baselines.world import Direction, World
from mm_jax.evaluation.compared_gradients import Variant, measure_variants
from mm_jax.evaluation.compared_judge import Judged
from mm_jax.evaluation.options import ComparedEval
from mm_jax.progress import ProgressFn
from mm_jax.runs import RunFolder
from mm_jax.subspace.decompose import extract_subspace
from mm_jax.subspace.measures import direction_cosine, explained_variance

__all__ = [
    "ANCHORS",
    "Change",
    "changes",
    "components_for",
    "corrupted",
    "fewer_degrees",
    "live_cosine",
    "measure_all",
    "outputs",
    "rank_metrics",
]

ANCHORS = "claims/anchors.json"

CORRUPTED = (0.0, 0.1, 0.2, 0.4)
DECOMPOSED: Mapping[str, Mapping[str, Any]] = {
    "svd": {"method": "svd"},
    "rpca_entries": {"method": "rpca", "outliers": "entries"},
    "rpca_rows": {"method": "rpca", "outliers": "rows"},
}


@dataclasses.dataclass(frozen=True)
class Change:
    """Anchors as they are changed, and how they are decomposed.

    Attributes:
        name: of its file.
        title: in the table.
        starts: so many of the start faces; all by default.
        degrees: so many of the degrees; all by default.
        corrupted: fraction of the anchors that are replaced by other faces.
        decomposed: one of `DECOMPOSED`.
    """

    name: str
    title: str
    starts: int | None = None
    degrees: int | None = None
    corrupted: float = 0.0
    decomposed: str = "svd"

    def find(self, world: World, motion: Motion) -> Direction:
        """The direction of the changed anchors."""
        anchors = _changed(world, motion, self)
        return direction_of(anchors, motion, **DECOMPOSED[self.decomposed])


def changes(options: ComparedEval) -> list[Change]:
    """All that are measured."""
    found = [
        Change(f"starts{n}", f"{n} of {options.looked_at.starts} start faces", starts=n)
        for n in (1, 3)
        if n < options.looked_at.starts
    ]
    found += [Change(f"degrees{n}", f"{n} degrees", degrees=n) for n in (2, 3)]
    for fraction in CORRUPTED:
        found += [
            Change(
                f"corrupted{round(100 * fraction)}_{how}",
                f"{fraction:.0%} of the anchors corrupted, {how.replace('_', ' of ')}",
                corrupted=fraction,
                decomposed=how,
            )
            for how in DECOMPOSED
        ]
    return found


def outputs(options: ComparedEval) -> list[str]:
    """Names of the files that are written."""
    return [ANCHORS, *(f"claims/{change.name}.json" for change in changes(options))]


def measure_all(
    world: World, judged: Judged, run: RunFolder, options: ComparedEval, progress: ProgressFn
) -> dict[str, Any]:
    """What the folder lacks is measured; all of it by variant and motion, as json values."""
    file = run.file(ANCHORS)
    if not file.exists():
        io.write_json(file, {name: _of_anchors(world, name) for name in options.edits})
    variants = [Variant(one.name, one.title, one.find) for one in changes(options)]
    return {
        "anchors": io.read_json(file),
        "of_anchors": measure_variants(variants, world, judged, run, options, progress),
    }


def _changed(world: World, motion: Motion, variant: Change) -> list[Anchors]:
    anchors = world.text_anchors(motion)[: variant.starts]
    if variant.degrees is not None:
        anchors = [fewer_degrees(one, variant.degrees) for one in anchors]
    if variant.corrupted:
        total = sum(len(one.ws) for one in anchors)
        strangers = world.draw(f"strangers {motion.name}", total)
        anchors = corrupted(
            anchors, variant.corrupted, strangers, world.key(f"corrupted {motion.name}")
        )
    return anchors


def fewer_degrees(anchors: Anchors, count: int) -> Anchors:
    """So many of the anchors, evenly from the first degree to the last."""
    places = np.unique(np.linspace(0, len(anchors.ws) - 1, count).round().astype(int))
    return dataclasses.replace(
        anchors, ws=np.asarray(anchors.ws)[places], degrees=np.asarray(anchors.degrees)[places]
    )


def corrupted(
    anchors: Sequence[Anchors], fraction: float, strangers: np.ndarray, key: jax.Array
) -> list[Anchors]:
    """Anchors of which a fraction, chosen by chance over all sets, are replaced by other faces.

    Args:
        anchors: the sets.
        fraction: how many of all of them, from 0 to 1.
        strangers: [total, L, D] latents of other faces.
        key: which anchors.
    """
    total = sum(len(one.ws) for one in anchors)
    order = np.asarray(jax.random.permutation(key, total))
    bad = np.zeros(total, bool)
    bad[order[: round(fraction * total)]] = True
    found, at = [], 0
    for one in anchors:
        own = slice(at, at + len(one.ws))
        ws = np.where(bad[own, None, None], strangers[own], np.asarray(one.ws))
        found.append(dataclasses.replace(one, ws=ws.astype(np.float32)))
        at += len(one.ws)
    return found


def components_for(explained: np.ndarray, fraction: float) -> int:
    """How many components hold a fraction of the variance, by what the first 1, 2, .. hold [R]."""
    return int(np.searchsorted(np.asarray(explained) >= fraction - 1e-9, True)) + 1


def rank_metrics(anchors: Sequence[Anchors], **how: Any) -> dict[str, Any]:
    """Spectrum, first component's fraction and components for 90 % of the displacements."""
    subspace = extract_subspace(list(anchors), rank=1, **how)
    explained = np.asarray(explained_variance(subspace.singular_values))
    return {
        "pc1_ratio": float(subspace.pc1_ratio),
        "components_for_90": components_for(explained, 0.9),
        "effective_rank": float(subspace.meta["effective_rank"]),
        "explained": explained.tolist(),
    }


def live_cosine(first: np.ndarray, second: np.ndarray, covariance: np.ndarray) -> float:
    """Cosine of the means over rows of moves [L, D], within W's live components."""
    axes = live_axes(covariance)
    live = axes / np.linalg.norm(axes, axis=0, keepdims=True)
    a, b = first.mean(axis=0) @ live, second.mean(axis=0) @ live
    product = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / product) if product > 0 else 0.0


def _of_anchors(world: World, name: str) -> dict[str, Any]:
    motion = MOTIONS[name]
    anchors = world.text_anchors(motion)
    layers = {"layers": motion.layers}
    single = [rank_metrics([one], method="svd", **layers) for one in anchors]
    found: dict[str, Any] = {
        "together_svd": rank_metrics(anchors, method="svd", **layers),
        "together_rpca": rank_metrics(anchors, method="rpca", **layers),
        "single_svd": {
            key: float(np.mean([one[key] for one in single]))
            for key in ("pc1_ratio", "components_for_90", "effective_rank")
        },
    }
    if name in world.videos:
        video = world.video_anchors(motion)
        found["video_svd"] = rank_metrics([video], method="svd", **layers)
        ours = np.asarray(direction_of(anchors, motion).move)
        theirs = np.asarray(direction_of([video], motion, method="auto").move)
        found["text_and_video"] = {
            "cosine": float(direction_cosine(ours, theirs)),
            "live_cosine": live_cosine(ours, theirs, world.covariance),
        }
    return found
