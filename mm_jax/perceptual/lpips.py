"""LPIPS: how different two images look, as a weighted distance of a classifier's features.

Version 0.1 with linear weights, on the features of VGG16 ("vgg") or AlexNet ("alex").

Parameters: `stage{k}/conv{j}/kernel [k, k, I, C], bias [C]`, and for each stage `weight{k} [C]`.

Reference: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric", and richzhang/PerceptualSimilarity.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mm_jax.errors import UsageError
from mm_jax.nn.irse50 import conv_params
from mm_jax.nn.network import Network
from mm_jax.stylegan2.conv import conv2d

__all__ = [
    "Lpips",
    "LpipsConfig",
    "load_lpips",
    "lpips",
    "lpips_by_layer",
    "save_lpips",
]

# What pixels in [-1, 1] are less, and then divided by: ImageNet's statistics on that scale.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


@dataclasses.dataclass(frozen=True)
class _Conv:
    taps: int
    stride: int = 1
    padding: int = 1


@dataclasses.dataclass(frozen=True)
class _Trunk:
    """What sets the two classifiers apart, beside their widths.

    Attributes:
        convs: the first convolution of each stage; any others are 3x3.
        pooled: whether a stage begins with pooling, `pool` wide and two apart.
        widths: published channels of every convolution.
        min_side: side of the smallest image that leaves a pixel at the end.
    """

    convs: tuple[_Conv, ...]
    pooled: tuple[bool, ...]
    pool: int
    widths: tuple[tuple[int, ...], ...]
    min_side: int


_TRUNKS = {
    "vgg": _Trunk(
        convs=(_Conv(3),) * 5,
        pooled=(False, True, True, True, True),
        pool=2,
        widths=((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
        min_side=16,
    ),
    "alex": _Trunk(
        convs=(_Conv(11, stride=4, padding=2), _Conv(5, padding=2), *[_Conv(3)] * 3),
        pooled=(False, True, True, False, False),
        pool=3,
        widths=((64,), (192,), (384,), (256,), (256,)),
        min_side=31,
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LpipsConfig:
    """Architecture of an `Lpips`.

    Attributes:
        net: "vgg" or "alex".
        channels: of every convolution, stage by stage; by default the published ones.

    Raises:
        UsageError: an unknown net, or widths that do not fit it.
    """

    net: str
    channels: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.net not in _TRUNKS:
            raise UsageError(f"net must be one of {', '.join(_TRUNKS)}, got {self.net!r}")
        published = self.trunk.widths
        channels = tuple(tuple(stage) for stage in self.channels) or published
        if list(map(len, channels)) != list(map(len, published)) or min(map(min, channels)) < 1:
            raise UsageError(
                f"channels must be positive numbers laid out as {published}, got {channels}"
            )
        object.__setattr__(self, "channels", channels)

    @property
    def trunk(self) -> _Trunk:
        """The classifier's layout."""
        return _TRUNKS[self.net]

    def conv_indices(self) -> tuple[tuple[int, ...], ...]:
        """The place of every convolution among the layers of torchvision's `features`."""
        indices, place = [], 0
        for widths, pooled in zip(self.channels, self.trunk.pooled, strict=True):
            place += pooled
            # Each convolution has a ReLU behind it.
            indices.append(tuple(place + 2 * j for j in range(len(widths))))
            place += 2 * len(widths)
        return tuple(indices)

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LpipsConfig:
        """Inverse of `to_dict`."""
        return cls(**values)


class _Layer(nn.Module):
    conv: _Conv
    channels: int

    @nn.compact
    def __call__(self, x):
        kernel, bias = conv_params(self, self.conv.taps, (x.shape[-1], self.channels))
        side = (self.conv.padding, self.conv.padding)
        return nn.relu(conv2d(x, kernel, stride=self.conv.stride, padding=(side, side)) + bias)


class _Stage(nn.Module):
    first: _Conv
    channels: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        for j, channels in enumerate(self.channels):
            x = _Layer(_Conv(3) if j else self.first, channels, name=f"conv{j}")(x)
        return x


class _Network(nn.Module):
    """Pairs of images `[2N, H, W, 3]`, all first ones before, to distances `[N, K]`."""

    config: LpipsConfig

    @nn.compact
    def __call__(self, x):
        trunk = self.config.trunk
        shift, scale = (jnp.asarray(v, jnp.float32)[None, None, None, :] for v in (_SHIFT, _SCALE))
        x = (x - shift) / scale
        distances = []
        stages = zip(trunk.convs, trunk.pooled, self.config.channels, strict=True)
        for k, (first, pooled, channels) in enumerate(stages):
            if pooled:
                x = nn.max_pool(x, (trunk.pool, trunk.pool), (2, 2))
            x = _Stage(first, channels, name=f"stage{k}")(x)
            weight = self.param(f"weight{k}", nn.initializers.ones, channels[-1:], jnp.float32)
            one, other = jnp.split(_unit(x), 2)
            distances.append((jnp.square(one - other) @ weight).mean((1, 2)))
        return jnp.stack(distances, axis=1)


def _unit(x: jax.Array) -> jax.Array:
    """Feature vectors of length one; zero where they are zero, with a zero gradient there."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    # The root's gradient at zero is infinite, so zeros must not even enter it.
    some = square > 0
    length = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), 0.0)
    return x / (length + _EPSILON)


class Lpips(Network[LpipsConfig]):
    """A frozen perceptual distance; fresh parameters weigh every feature alike."""

    kind = "lpips"
    config_type = LpipsConfig

    @classmethod
    def init(cls, config: LpipsConfig, key: jax.Array) -> dict[str, Any]:
        """Fresh float32 parameters, a nested dictionary."""
        side = config.trunk.min_side
        return dict(_Network(config).init(key, jnp.zeros((2, side, side, 3)))["params"])


def load_lpips(name_or_dir: str | os.PathLike[str]) -> Lpips:
    """Open an LPIPS network by its folder, such as `mm_convert` writes.

    Raises:
        UsageError: unknown name.
        DataError: missing or damaged folder.
    """
    return Lpips.load(name_or_dir)


def save_lpips(
    net: Lpips,
    directory: str | os.PathLike[str],
    *,
    format: Literal["orbax", "safetensors"] = "safetensors",
    dtype: Literal["float32", "float16"] = "float32",
) -> Path:
    """Write the folder of an LPIPS network; arguments and errors as in `save_generator`."""
    return net.save(directory, format=format, dtype=dtype)


def lpips(net: Lpips, x: jax.Array, y: jax.Array) -> jax.Array:
    """Perceptual distances `[N]` of images `[N, H, W, 3]` in [-1, 1] to others like them.

    Raises:
        UsageError: images of another or of different shape, or too small for the network.
    """
    return lpips_by_layer(net, x, y).sum(axis=1)


@jax.jit
def lpips_by_layer(net: Lpips, x: jax.Array, y: jax.Array) -> jax.Array:
    """What each stage adds to `lpips`, `[N, K]`; arguments and errors as there."""
    if x.shape != y.shape or x.ndim != 4 or x.shape[3] != 3:
        raise UsageError(
            f"images must be [N, H, W, 3] both, got {list(x.shape)} and {list(y.shape)}"
        )
    min_side = net.config.trunk.min_side
    if min(x.shape[1:3]) < min_side:
        raise UsageError(
            f"LPIPS on {net.config.net} needs images of at least {min_side} pixels a side, got "
            f"{list(x.shape)}"
        )
    both = jnp.concatenate([x, y]).astype(jnp.float32)
    distances = _Network(net.config).apply({"params": net.params}, both)
    assert isinstance(distances, jax.Array)  # a tuple only where collections are mutable
    return distances
