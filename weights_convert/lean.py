"""Running images in little memory: one resolution after another, the large ones tile by tile.

`mm_jax.skip_images` computes the same in one program, which holds the feature maps of all
resolutions. Here the generator's parameters may be views of a mapped file: those of one resolution
are in memory at a time.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.nn.network import flatten_tree
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.modules import SynthesisBlock
from mm_jax.stylegan2.networks import NoiseMode, Styles
from weights_convert.readers import release

__all__ = ["lean_images"]

_TILE = 128
# Pixels at a tile's edge that its neighbours have a share in, rounded up: one through the second
# convolution, up to four through the first with its filter, two through the image's.
_HALO = 8


def lean_images(
    gen: Generator, ws: jax.Array, *, noise_mode: NoiseMode = "const"
) -> dict[int, np.ndarray]:
    """The result of `mm_jax.skip_images`, {4: [N, 4, 4, C], 8: .., ..}, up to rounding.

    Args:
        gen: the generator; its parameters may be NumPy arrays.
        ws: [N, L, D].
        noise_mode: "const" or "none".
    """
    x, image, images = None, None, {}
    for resolution in gen.config.block_resolutions:
        params = gen.params["synthesis"][f"b{resolution}"]
        compute = _in_tiles if resolution > _TILE else _block
        styles = _styles(gen.config, resolution, params, ws)
        x, image = compute(gen.config, resolution, params, x, image, styles, noise_mode)
        images[resolution] = np.asarray(image)
        release(*flatten_tree(params).values())
    return images


@functools.partial(jax.jit, static_argnums=(0, 1))
def _styles(config: GeneratorConfig, resolution: int, params: Any, ws: jax.Array) -> Styles:
    """Styles [N, I] of the layers of one resolution."""
    block = SynthesisBlock(config, resolution)
    styles = {}
    for name in config.layer_names:
        of, layer = name.split(".")
        if of == f"b{resolution}":
            row = ws[:, config.row_of(name)]
            styles[layer] = block.apply({"params": params}, layer, row, method="style")
    return styles


@functools.partial(jax.jit, static_argnums=(0, 1, 6))
def _block(config, resolution, params, x, image, styles, noise_mode) -> Any:
    """Features and image of one resolution, from those of the one below."""
    block = SynthesisBlock(config, resolution)
    return block.apply({"params": params}, x, image, styles, noise_mode, None)


def _in_tiles(config, resolution, params, x, image, styles, noise_mode) -> Any:
    """As `_block`, tile by tile; nothing is kept of the features at the last resolution."""
    channels = config.channels_at(resolution)
    # A tile is an image of its own size, by a generator whose last two resolutions are these.
    sizes = _TILE.bit_length() - 2
    small = dataclasses.replace(
        config,
        resolution=_TILE,
        channels=(*[config.channels_at(resolution // 2)] * (sizes - 1), channels),
    )
    last = resolution == config.resolution
    x, image = np.asarray(x), np.asarray(image)
    sides = (len(x), resolution, resolution)
    features = None if last else np.empty((*sides, channels), np.float32)
    images = np.empty((*sides, config.img_channels), np.float32)
    places = _places(resolution)
    for top in places:
        for left in places:
            below = _window(top // 2, left // 2, _TILE // 2)
            tile = _block(
                small,
                _TILE,
                _with_noise_of(params, top, left),
                jnp.asarray(x[below]),
                jnp.asarray(image[below]),
                styles,
                noise_mode,
            )
            ours, theirs = (
                (slice(None), *(_sure(start, resolution, shift) for start in (top, left)))
                for shift in (0, 1)
            )
            for whole, part in zip((features, images), tile, strict=True):
                if whole is not None:
                    whole[theirs] = np.asarray(part)[ours]
    return features, images


def _places(resolution: int) -> list[int]:
    """Where tiles start, along one axis."""
    return sorted({min(i, resolution - _TILE) for i in range(0, resolution, _TILE - 2 * _HALO)})


def _window(top: int, left: int, side: int) -> tuple[slice, slice, slice]:
    return slice(None), slice(top, top + side), slice(left, left + side)


def _sure(start: int, resolution: int, shift: int) -> slice:
    """The pixels of a tile that depend on nothing outside of it: of the tile, or of the whole."""
    first = _HALO if start else 0
    end = _TILE - (_HALO if start + _TILE < resolution else 0)
    return slice(first + shift * start, end + shift * start)


def _with_noise_of(params: Mapping[str, Any], top: int, left: int) -> dict[str, Any]:
    _, rows, columns = _window(top, left, _TILE)
    return {
        name: {**layer, "noise_const": np.asarray(layer["noise_const"])[rows, columns]}
        if "noise_const" in layer
        else layer
        for name, layer in params.items()
    }
