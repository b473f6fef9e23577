"""The spaces that are searched: W, W+ and S, each as a pytree of arrays.

A latent of a batch is [B, L, D] in W+, the same with equal rows in W, {layer: [B, C]} in S
(StyleSpace).

Distances between latents are squared, averaged over rows (in S: over layers), and in units of what
they are on average between the mean latent and a sampled one. So a sample is at distance 1 from the
mean on average, one truncated by psi at psi^2, and weights mean the same in every generator.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mm_jax.latents import mean_latent, synthesize, synthesize_from_styles, to_stylespace
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import map_latents

__all__ = [
    "SPACES",
    "Code",
    "Population",
    "code_of",
    "distance",
    "fresh_noise",
    "measure_population",
    "render",
    "with_noise",
    "ws_of",
]

SPACES = ("w+", "w", "s")

Code = Any  # jax.Array | dict[str, jax.Array], see the module's text
Noise = dict[str, jax.Array]

_SAMPLES = 2048


class Population(NamedTuple):
    """Statistics of sampled latents.

    Attributes:
        mean: the mean latent, of a batch of one.
        spread: for the latent's one array, or for each of its layers, the expected squared distance
            of a row from the mean.
    """

    mean: Code
    spread: Any


def code_of(gen: Generator, ws: jax.Array, space: str) -> Code:
    """The latent in `space` of ws [B, L, D]; in W every row is their mean."""
    if space == "w":
        return jnp.broadcast_to(ws.mean(axis=1, keepdims=True), ws.shape)
    return ws if space == "w+" else to_stylespace(gen, ws)


@jax.jit
def ws_of(gen: Generator, code: Code) -> jax.Array:
    """The latent as ws [B, L, D]; of S the ones whose styles are nearest (least squares by row).

    Where several are, it is the one that is nearest to the mean latent.
    """
    if not isinstance(code, dict):
        return code
    mean = mean_latent(gen)
    own = to_stylespace(gen, mean)
    rows = []
    for row in range(gen.config.num_ws):
        layers = [name for name in gen.config.layer_names if gen.config.row_of(name) == row]

        def styles_of(w: jax.Array, layers: list[str] = layers, row: int = row) -> jax.Array:
            moved = to_stylespace(gen, mean.at[0, row].add(w))
            return jnp.concatenate([moved[name][0] - own[name][0] for name in layers])

        # Styles are affine in w, so this is their matrix, [C, D].
        matrix = jax.jacfwd(styles_of)(jnp.zeros(gen.config.w_dim))
        offsets = jnp.concatenate([code[name] - own[name] for name in layers], axis=1)
        rows.append(mean[:, row] + jnp.linalg.lstsq(matrix, offsets.T)[0].T)
    return jnp.stack(rows, axis=1)


def _sampled_latents(gen: Generator) -> jax.Array:
    z = jax.random.normal(jax.random.key(0), (_SAMPLES, gen.config.z_dim))
    classes = gen.config.c_dim
    labels = jax.nn.one_hot(jnp.arange(_SAMPLES) % classes, classes) if classes else None
    return map_latents(gen.config, gen.params, z, labels)


@functools.partial(jax.jit, static_argnames=("space",))
def measure_population(gen: Generator, space: str) -> Population:
    """The mean latent, and the spread of sampled ones about it."""
    mean = code_of(gen, mean_latent(gen), space)
    w = _sampled_latents(gen)
    if space == "s":
        ws = jnp.broadcast_to(w[:, None], (len(w), gen.config.num_ws, w.shape[-1]))
        offsets = jax.tree.map(lambda code, own: code - own, to_stylespace(gen, ws), mean)
        return Population(mean, jax.tree.map(_mean_square, offsets))
    return Population(mean, _mean_square(w - gen.params["mapping"]["w_avg"][None]))


def _mean_square(offsets: jax.Array) -> jax.Array:
    # A generator whose latents do not differ has no spread to measure in.
    return jnp.maximum(jnp.mean(jnp.sum(jnp.square(offsets), axis=-1)), 1e-12)


def distance(code: Code, other: Code, spread: Any) -> jax.Array:
    """Distances [B] of latents to others, see the module's text; `other` may be a batch of one."""

    def of_leaf(one: jax.Array, two: jax.Array, unit: jax.Array) -> jax.Array:
        squares = jnp.sum(jnp.square(one - two), axis=-1) / unit
        return squares.reshape(len(squares), -1).mean(axis=1)

    leaves = jax.tree.leaves(jax.tree.map(of_leaf, code, other, spread))
    return jnp.mean(jnp.stack(leaves), axis=0)


def render(gen: Generator, code: Code, noise: Noise | None) -> jax.Array:
    """Images [B, R, R, C] of latents, with the generator's fixed noise or maps for each of them."""
    if noise is None:
        return _draw(gen, code)

    def one(code: Code, noise: Noise) -> jax.Array:
        return _draw(with_noise(gen, noise), jax.tree.map(lambda leaf: leaf[None], code))[0]

    return jax.vmap(one)(code, noise)


def _draw(gen: Generator, code: Code) -> jax.Array:
    if isinstance(code, dict):
        return synthesize_from_styles(gen, code)
    return synthesize(gen, ws_of(gen, code))


def with_noise(gen: Generator, noise: Noise) -> Generator:
    """The generator with other fixed noise, maps {layer: [r, r]} such as "b4.conv1"."""
    params = jax.tree.map(lambda leaf: leaf, dict(gen.params))
    for name, one in noise.items():
        block, layer = name.split(".")
        params["synthesis"][block][layer]["noise_const"] = one
    return Generator(gen.config, params, gen.meta)


def fresh_noise(gen: Generator, keys: jax.Array) -> Noise:
    """White noise {layer: [B, r, r]} for [B] keys, one for each image."""
    names = [name for name in gen.config.layer_names if not name.endswith("torgb")]

    def of_picture(key: jax.Array) -> Noise:
        sides = [int(name.split(".")[0][1:]) for name in names]
        own = jax.random.split(key, len(names))
        return {
            name: jax.random.normal(k, (side, side))
            for name, side, k in zip(names, sides, own, strict=True)
        }

    return jax.vmap(of_picture)(keys)
