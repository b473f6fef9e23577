"""Our direction from gradients in W, in W+ and in S: one recipe, three metrics.

A mean gradient becomes a direction by a metric of the space that it is taken in.

- W: all rows move alike, by the metric of W. This is `--strategy=gradient`.
- W+: each row has its own gradient, and the metric of W by itself.
- S: each channel has its own gradient and its own variance. Styles are affine in w, so with the
  covariance of all channels of S the direction is that of W, and with that of each layer's channels
  it is that of W+; what S adds is that channels are taken one by one, as StyleCLIP does.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.anchors.gradient import readings_of_images
from mm_jax.anchors.metric import direction_along
from mm_jax.anchors.prompts import MOTIONS, Motion, degree_values
from mm_jax.anchors.reading import from_none_to_all
from mm_jax.baselines.world import Direction, World
from mm_jax.buckets import filled
from mm_jax.checks import layer_mask
from mm_jax.demo.options import DemoOptions
from mm_jax.latents import synthesize_from_styles, to_stylespace
from mm_jax.perceptual.clip import Clip
from mm_jax.stylegan2.generator import Generator

__all__ = ["SPACES", "STYLE_FIELDS", "find"]

SPACES = ("W", "W+", "S")
STYLE_FIELDS = "style_gradients.npz"
# Latents from which the variance of each channel is told.
_SPREAD = 512


def find(world: World, motion: Motion, *, space: str) -> Direction:
    """The direction of a motion in one of `SPACES`."""
    if space == "S":
        return _in_styles(world, motion)
    field, _ = world.fields[motion.name]
    moving = layer_mask(motion.layers, world.gen.config.num_ws)
    if space == "W":
        rows = np.repeat(direction_along(field.sum(axis=0), world.covariance)[None], len(field), 0)
    else:
        rows = field @ world.metric
    return Direction((rows * moving[:, None]).astype(np.float32))


def _in_styles(world: World, motion: Motion) -> Direction:
    fields = world.kept(STYLE_FIELDS, {"fields": 2}, lambda: _follow(world))["fields"]
    spreads = _spreads(world)
    move = fields[world.motions.index(motion.name)] * np.concatenate(list(spreads.values())) ** 2
    ends = np.cumsum([len(part) for part in spreads.values()])[:-1]
    parts = dict(zip(spreads, np.split(move.astype(np.float32), ends), strict=True))
    rows = layer_mask(motion.layers, world.gen.config.num_ws)
    return Direction({n: p for n, p in parts.items() if rows[world.gen.config.row_of(n)]})


def _spreads(world: World) -> dict[str, np.ndarray]:
    """Standard deviation of each channel, by layer."""
    sample = world.once("styles", lambda: to_stylespace(world.gen, world.draw("styles", _SPREAD)))
    return {name: np.asarray(style).std(axis=0) for name, style in sample.items()}


def _follow(world: World) -> dict[str, np.ndarray]:
    """Mean gradients [K, C] of the motions' readings, each face's shortened to the median."""
    degrees = degree_values(DemoOptions().anchors.degrees)
    values = jnp.asarray(from_none_to_all(degrees), jnp.float32)
    texts = np.stack([world.prompts(MOTIONS[name].template) for name in world.motions])
    typical = np.einsum("ne,kme->nkm", world.faces.vectors, texts).mean(axis=0)
    prompts = (jnp.asarray(texts), jnp.asarray(typical, jnp.float32), values)
    ws, size = world.draw("gradients", world.options.averaged), max(1, world.options.batch // 4)
    found = []
    for first in range(0, len(ws), size):
        part = ws[first : first + size]
        styles = to_stylespace(world.gen, filled(part, size))
        got = _style_gradients(world.gen, world.clip, styles, prompts)
        joined = np.concatenate([np.asarray(got[name]) for name in styles], axis=2)  # [K, N, C]
        found.append(joined[:, : len(part)])
        world.progress("gradients in S", first + len(part), len(ws))
    gradients = np.concatenate(found, axis=1).astype(np.float64)
    variances = np.concatenate(list(_spreads(world).values())) ** 2
    lengths = np.sqrt((gradients**2 @ variances)[:, :, None])  # [K, N, 1]
    middle = np.median(lengths, axis=1, keepdims=True)
    shortened = gradients * np.minimum(1.0, middle / np.maximum(lengths, 1e-30))
    return {"fields": shortened.mean(axis=1).astype(np.float32)}


@jax.jit
def _style_gradients(
    gen: Generator,
    clip: Clip,
    styles: Mapping[str, jax.Array],
    prompts: tuple[jax.Array, jax.Array, jax.Array],
) -> dict[str, jax.Array]:
    """Gradients [K, N, C] by layer of the degrees that K prompts read off styles [N, C]."""

    def readings(styles: dict[str, jax.Array]) -> jax.Array:
        return readings_of_images(clip, synthesize_from_styles(gen, styles), prompts).sum(axis=0)

    found, pull = jax.vjp(readings, dict(styles))
    return jax.lax.map(lambda which: pull(which)[0], jnp.eye(len(found)))
