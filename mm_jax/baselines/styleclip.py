"""StyleCLIP's global directions: channels of S whose effect on CLIP agrees with a text direction.

Patashnik, Wu, Shechtman, Cohen-Or, Lischinski 2021, "StyleCLIP" (arXiv:2103.17249), section 6. With
di_c the change of the image's CLIP vector as channel c of S grows, averaged over faces, and dt the
difference of two prompts, the relevance of a channel is the cosine of di_c and dt. Channels of less
relevance than beta stay; the others move by their relevance times their standard deviation.

The authors step every channel up and down in 100 faces. Here di_c is the derivative, which needs
one backward pass for each direction of CLIP's space: the text's own, and some random orthonormal
ones from which the length of di_c is estimated (exact with as many as CLIP's space has). The text
direction is between the motion's own prompts at its two ends, without the authors' bank of 80
templates.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.anchors.prompts import MOTIONS, Motion
from mm_jax.baselines.world import Direction, World
from mm_jax.buckets import filled
from mm_jax.errors import DataError
from mm_jax.latents import synthesize_from_styles, to_stylespace
from mm_jax.perceptual.clip import Clip, encode_image
from mm_jax.stylegan2.generator import Generator

__all__ = ["CHANGES", "channel_moves", "find", "relevances"]

CHANGES = "style_changes.npz"


def relevances(along: np.ndarray, sketch: np.ndarray, embed_dim: int) -> np.ndarray:
    """Cosines [C] of each channel's change with the text direction.

    Args:
        along: [C] the changes along the text's unit vector.
        sketch: [K, C] the changes along K orthonormal random vectors.
        embed_dim: E, of CLIP's space.
    """
    lengths = np.sqrt(embed_dim / len(sketch)) * np.linalg.norm(sketch, axis=0)
    lengths = np.maximum(lengths, np.abs(along))  # a cosine is at most 1, whatever the estimate
    return along / np.where(lengths > 0, lengths, 1.0)


def channel_moves(relevance: np.ndarray, spread: np.ndarray, threshold: float) -> np.ndarray:
    """How far each channel [C] moves; where none reaches the threshold, half the best does."""
    sizes = np.abs(relevance)
    if not sizes.max() > 0:
        raise DataError("no channel of S changes what CLIP sees along the text")
    return np.where(sizes >= min(threshold, 0.5 * sizes.max()), relevance, 0.0) * spread


def find(world: World, motion: Motion) -> Direction:
    """The channels of S that change what CLIP sees as the prompts do."""
    sample = world.once("styles", lambda: to_stylespace(world.gen, world.draw("styles", 512)))
    spreads = {name: np.asarray(style).std(axis=0) for name, style in sample.items()}
    names = list(spreads)
    changes = world.kept(CHANGES, {"changes": 2}, lambda: _changes(world, names))["changes"]
    own = world.motions.index(motion.name)
    relevance = relevances(
        changes[own], changes[len(world.motions) :], world.texts(motion).shape[1]
    )
    spread = np.concatenate([spreads[name] for name in names])
    moves = channel_moves(relevance, spread, world.options.relevance)
    ends = np.cumsum([len(spreads[name]) for name in names])[:-1]
    parts = np.split(moves.astype(np.float32), ends)
    facts = {"channels": int((moves != 0).sum()), "most_relevant": float(np.abs(relevance).max())}
    return Direction(dict(zip(names, parts, strict=True)), facts)


def _changes(world: World, names: list[str]) -> dict[str, np.ndarray]:
    """Changes [motions + K, C] along the text of each motion, and along K random vectors."""
    texts = []
    for name in world.motions:
        low, high = world.texts(MOTIONS[name])
        texts.append((high - low) / np.linalg.norm(high - low))
    dim = len(texts[0])
    drawn = jax.random.normal(world.key("sketch"), (dim, min(world.options.sketch, dim)))
    random = np.linalg.qr(np.asarray(drawn))[0].T  # [K, E]
    found = style_changes(world, np.concatenate([np.stack(texts), random]).astype(np.float32))
    joined = np.concatenate([found[name] for name in names], axis=1)
    return {"changes": joined.astype(np.float32)}


def style_changes(world: World, vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Mean derivatives [K, C] by layer of CLIP's vector along vectors [K, E], over some faces."""
    ws = world.draw("style changes", world.options.jacobian_faces)
    size, total = max(1, world.options.batch // 4), {}
    for first in range(0, len(ws), size):
        part = ws[first : first + size]
        weights = jnp.asarray(np.arange(size) < len(part), jnp.float32)
        styles = to_stylespace(world.gen, filled(part, size))
        found = _style_gradients(world.gen, world.clip, styles, jnp.asarray(vectors), weights)
        for name, change in found.items():
            total[name] = total.get(name, 0.0) + np.asarray(change, np.float64) / len(ws)
        world.progress("channels of S", first + len(part), len(ws))
    return total


@jax.jit
def _style_gradients(
    gen: Generator,
    clip: Clip,
    styles: Mapping[str, jax.Array],
    vectors: jax.Array,
    weights: jax.Array,
) -> dict[str, jax.Array]:
    """Derivatives [K, C] by layer, of CLIP's vectors along `vectors` [K, E], summed over faces."""

    def seen(styles: Mapping[str, jax.Array]) -> jax.Array:
        return encode_image(clip, synthesize_from_styles(gen, styles))

    _, pull = jax.vjp(seen, dict(styles))

    def of_one(vector: jax.Array) -> dict[str, jax.Array]:
        (gradients,) = pull(weights[:, None] * vector[None, :])
        return {name: gradient.sum(axis=0) for name, gradient in gradients.items()}

    return jax.lax.map(of_one, vectors)
