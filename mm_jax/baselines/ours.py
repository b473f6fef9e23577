"""This project's ways to a direction, with the settings of mm_demo unless a name says otherwise.

From prompts by optimised anchors of several faces (`optimize`), of the first of them (`one_start`),
and of that one decomposed as the official code does (`compat`); by averaging matching samples
(`sample`); by the mean gradient of CLIP's reading in the metric of W (`gradient`), also refined by
sampled faces (`refine`); and from a video of one face (`video`). Any of them can be decoupled from
other prompts (`without`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mm_jax.anchors.decouple import decouple
from mm_jax.anchors.metric import direction_along
from mm_jax.anchors.prompts import Motion, degree_values
from mm_jax.anchors.refine import refined
from mm_jax.anchors.sample import average_matches
from mm_jax.artifacts import Anchors
from mm_jax.baselines.world import Direction, World
from mm_jax.checks import layer_mask
from mm_jax.demo.options import DemoOptions
from mm_jax.subspace.decompose import extract_subspace

__all__ = [
    "compat",
    "direction_of",
    "gradient",
    "one_start",
    "optimize",
    "refine",
    "sample",
    "video",
    "without",
]


def direction_of(anchors: Sequence[Anchors], motion: Motion, **how: Any) -> Direction:
    """The first component of anchors; sets in which CLIP's reading does not rise are left out.

    Args:
        anchors: one set or several.
        motion: what they are of.
        **how: options of `mm_jax.extract_subspace`, by default SVD and rank 1.
    """
    rising = [one for one in anchors if one.meta.get("rises", True)] or list(anchors)
    subspace = extract_subspace(
        rising, **{"method": "svd", "rank": 1, "layers": motion.layers, **how}
    )
    facts = {
        "sets": len(rising),
        "pc1_ratio": round(subspace.pc1_ratio, 4),
        "effective_rank": round(subspace.meta["effective_rank"], 3),
    }
    return Direction(np.asarray(subspace.direction), facts)


def optimize(world: World, motion: Motion) -> Direction:
    """Anchors optimised for each prompt from several faces, by SVD."""
    return direction_of(world.text_anchors(motion), motion)


def one_start(world: World, motion: Motion) -> Direction:
    """The same of the first face alone, as in the paper."""
    return direction_of(world.text_anchors(motion)[:1], motion)


def compat(world: World, motion: Motion) -> Direction:
    """Anchors of the first face, decomposed as the official code does."""
    return direction_of(world.text_anchors(motion)[:1], motion, method="compat")


def sample(world: World, motion: Motion) -> Direction:
    """Means of sampled latents that match each prompt, by SVD.

    The latents are the first ones of those that all methods share.
    """
    how = DemoOptions().anchors
    count = max(world.options.samples // 4, how.keep)
    texts = world.prompts(motion.template)
    matches = average_matches(
        world.faces.w[:count],
        world.faces.vectors[:count] @ texts.T,
        scale=float(world.clip.logit_scale),
        keep=how.keep,
    )
    start = world.draw("starts", 1)[0]
    ws = start[None] + matches.offsets[:, None]
    anchors = Anchors(ws.astype(np.float32), start, degree_values(how.degrees))
    return direction_of([anchors], motion)


def gradient(world: World, motion: Motion) -> Direction:
    """The mean gradient of the degree that CLIP reads, in the metric of W."""
    field, agreement = world.fields[motion.name]
    moving = layer_mask(motion.layers, world.gen.config.num_ws)
    move = direction_along(field.sum(axis=0), world.covariance)[None, :] * moving[:, None]
    return Direction(move.astype(np.float32), {"agreement": round(agreement, 4)})


def refine(world: World, motion: Motion) -> Direction:
    """The same, refined by the sampled faces that all methods share."""
    field, _ = world.fields[motion.name]
    move = refined(
        field.sum(axis=0),
        world.covariance,
        w=world.faces.w,
        vectors=world.faces.vectors,
        texts=world.prompts(motion.template),
    )
    return Direction.of_w(move, world.gen.config.num_ws)


def without(world: World, motion: Motion, direction: Direction, others: Sequence[str]) -> Direction:
    """A direction decoupled from other prompts.

    Its changes are measured where it has gone by a standard deviation of W.
    """
    w = np.asarray(direction.move, np.float64).mean(axis=0)
    deviations = float(np.sqrt(w @ world.inverse_covariance @ w))
    subspace = direction.subspace(1 / deviations, motion)
    apart = decouple(
        world.gen,
        world.clip,
        subspace,
        others,
        degrees=DemoOptions().anchors.degrees,
        truncation_psi=world.options.truncation_psi,
        key=world.key("without"),
        batch_size=world.options.batch,
    )
    facts = {"others": len(others), "left": apart.meta["without"]["left"]}
    return Direction(np.asarray(apart.direction), {**direction.facts, **facts})


def video(world: World, motion: Motion) -> Direction:
    """Latents of the frames of a video of one face, by robust PCA."""
    return direction_of([world.video_anchors(motion)], motion, method="auto")
