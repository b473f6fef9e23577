"""Anchors that went the wrong way: found by CLIP's readings, begun again, else marked as failed.

The similarity to a prompt has more than one peak, and an optimisation climbs the nearest: from a
face that looks slightly to the left, "turned 100% to the right" can end further to the left, since
it is less unlike that prompt than a face from the front. Two signs give such an anchor away:

- the image of another degree's anchor matches its prompt clearly better than its own does;
- the degree that CLIP reads off it (`mm_jax.anchors.reading`) is out of order among the others.

It is then optimised again from the latent of the nearest degree that is sound, up to twice.

Shapes: N starts, M degrees and anchors of each, L rows of W+, D latent width, E CLIP's width.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mm_jax.anchors.optimize import Optimized, optimize_pairs
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.reading import embed_latents, read_degrees
from mm_jax.perceptual.clip import Clip
from mm_jax.stylegan2.generator import Generator

__all__ = ["find_failed", "out_of_order", "repair"]

ROUNDS = 2
# How much better another anchor's image matches a prompt than its own does, as the logarithm of the
# ratio of CLIP's probabilities: one is tried again, and one that stays so is left out.
DOUBTFUL, LOST = 1.0, 3.0
# Readings, from 0 to 1, are out of order if they fall by more than this.
TOLERANCE = 0.2


def repair(
    gen: Generator,
    clip: Clip,
    optimized: Optimized,
    *,
    start: np.ndarray,
    texts: jax.Array,
    degrees: np.ndarray,
    options: AnchorOptions,
    batch_size: int | None = None,
    **settings: Any,
) -> tuple[Optimized, np.ndarray, np.ndarray]:
    """Optimise failed anchors again, from their neighbours.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        optimized: anchors with leading axes [N, M].
        start: [N, L, D].
        texts: [M, E] unit vectors of the prompts.
        degrees: [M] numbers.
        options: how they were optimised.
        batch_size: latents in work at once.
        **settings: further arguments of `optimize_pairs`.

    Returns:
        The anchors with those that became better in place of what they were, which were tried again
        [N, M] bool, and which still fail [N, M] bool.
    """
    ws, losses, similarities = (np.array(part) for part in optimized)
    retried = np.zeros(ws.shape[:2], bool)

    def compare() -> np.ndarray:
        vectors = embed_latents(
            gen, clip, ws, preprocess=options.preprocess, resolution=options.resolution,
            batch_size=batch_size,
        )  # fmt: skip
        return vectors @ np.asarray(texts).T  # [N, M, M], of images to prompts

    scale = float(clip.logit_scale)
    cosines = compare()
    for _ in range(ROUNDS):
        doubtful = find_failed(cosines, degrees, scale=scale)
        pairs = [
            (n, m, neighbour)
            for n, m in np.argwhere(doubtful)
            if (neighbour := _nearest(m, ~doubtful[n], degrees)) is not None
        ]
        if not pairs:
            break
        n, m, neighbour = (np.asarray(index) for index in zip(*pairs, strict=True))
        again = optimize_pairs(
            gen, clip, start=start[n], begin=ws[n, neighbour], own=m, texts=texts, options=options,
            batch_size=batch_size, label="anchors that failed", **settings,
        )  # fmt: skip
        retried[n, m] = True
        better = again.losses[:, -1] < losses[n, m, -1]
        if not better.any():
            break
        n, m = n[better], m[better]
        ws[n, m] = again.ws[better]
        losses[n, m] = again.losses[better]
        similarities[n, m] = again.similarities[better]
        cosines = compare()
    failed = find_failed(cosines, degrees, scale=scale, margin=LOST)
    return Optimized(ws, losses, similarities), retried, failed


def find_failed(
    cosines: np.ndarray, degrees: np.ndarray, *, scale: float, margin: float = DOUBTFUL
) -> np.ndarray:
    """Which anchors went the wrong way: [N, M] bool.

    Args:
        cosines: [N, M, M] of each anchor's image to each prompt.
        degrees: [M] numbers.
        scale: CLIP's trained factor on cosines.
        margin: by which another anchor's image must match a prompt better, as scaled cosines.
    """
    own = np.diagonal(cosines, axis1=1, axis2=2)
    surpassed = scale * (cosines.max(axis=1) - own) > margin
    # What is typical is taken from each start alone: no start has influence on another.
    typical = cosines.mean(axis=1, keepdims=True)
    read = read_degrees(cosines, degrees, typical=typical, scale=scale)
    order = np.argsort(degrees, kind="stable")
    failed = np.zeros(own.shape, bool)
    for n in range(len(own)):
        failed[n, order] = out_of_order(
            read[n, order], trust=own[n, order], among=~surpassed[n, order]
        )
    return failed | surpassed


def out_of_order(
    readings: np.ndarray, *, trust: np.ndarray | None = None, among: np.ndarray | None = None
) -> np.ndarray:
    """Which of the readings must go so that none falls below an earlier one by more than 0.2.

    Args:
        readings: [M], which should rise.
        trust: [M], which decides between two that contradict equally many: the lesser goes.
        among: [M] bool, those that count; the others are in order.

    Returns:
        [M] bool; those that contradict the most others are chosen first.
    """
    gone = np.zeros(len(readings), bool)
    trust = np.zeros(len(readings)) if trust is None else trust
    falls = np.triu(readings[:, None] - readings[None, :] > TOLERANCE)
    contradicts = falls | falls.T
    if among is not None:
        contradicts &= among[:, None] & among[None, :]
    while contradicts.any():
        counts = contradicts.sum(axis=1)
        worst = int(np.where(counts == counts.max(), trust, np.inf).argmin())
        gone[worst] = True
        contradicts[worst] = contradicts[:, worst] = False
    return gone


def _nearest(place: int, sound: np.ndarray, degrees: np.ndarray) -> int | None:
    """The sound degree nearest to that at a place, if there is one."""
    if not sound.any():
        return None
    distances = np.where(sound, np.abs(degrees - degrees[place]), np.inf)
    return int(distances.argmin())
