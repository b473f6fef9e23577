"""A small convolutional trunk: what the bundled encoder and the factor probes look through."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mm_jax.errors import UsageError
from mm_jax.nn.resize import area_resize
from mm_jax.stylegan2.conv import conv2d


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """Architecture of a `Trunk`.

    Attributes:
        resolution: side R of the images that it is shown.
        fold: side of the pixel blocks folded into channels first (1: none).
        channels: of the stages; each one halves the image.
        residual: whether each stage has a second convolution, whose output is added before the
            image is halved: what is small is seen before it is averaged away.
        activation: "relu" or "gelu".
        hidden: width of the dense layer at the end.
    """

    resolution: int
    fold: int
    channels: tuple[int, ...]
    activation: Literal["relu", "gelu"]
    hidden: int
    residual: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if self.resolution % (self.fold * 2 ** len(self.channels)):
            raise UsageError(
                f"{len(self.channels)} stages and a fold of {self.fold} do not divide an image of "
                f"side {self.resolution}"
            )
        if self.activation not in ("relu", "gelu"):
            raise UsageError(f"activation must be 'relu' or 'gelu', got {self.activation!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        return {**dataclasses.asdict(self), "channels": list(self.channels)}


class ActivatedConv(nn.Module):
    """3x3 convolution and activation."""

    features: int
    activation: str

    @nn.compact
    def __call__(self, x):
        """Features [N, H, W, C] to [N, H, W, features]."""
        shape = (3, 3, x.shape[-1], self.features)
        scale = math.sqrt(2.0 / math.prod(shape[:3]))
        kernel = self.param("kernel", nn.initializers.normal(scale), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return getattr(nn, self.activation)(conv2d(x, kernel) + bias[None, None, None, :])


class ConvStage(ActivatedConv):
    """An activated convolution, perhaps a second one, 2x2 average, normalisation over channels."""

    residual: bool = False

    @nn.compact
    def __call__(self, x):
        """Features [N, H, W, C] to [N, H/2, W/2, features]."""
        x = super().__call__(x)
        if self.residual:
            # It begins as nothing: a trained trunk can be given it, and computes what it did.
            gain = self.param("gain", nn.initializers.zeros, (self.features,), jnp.float32)
            added = ActivatedConv(self.features, self.activation, name="residual")(x)
            x = x + gain[None, None, None, :] * added
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
        return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-6)


class Trunk(nn.Module):
    """Images `[N, R, R, 3]` in [-1, 1] to `[N, features]`."""

    config: TrunkConfig
    features: int

    @nn.compact
    def __call__(self, x):
        """Images [N, R, R, 3] to [N, features]."""
        config, f = self.config, self.config.fold
        n, side = x.shape[0], config.resolution // f
        x = x.reshape(n, side, f, side, f, 3).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(n, side, side, 3 * f * f)
        for i, channels in enumerate(config.channels):
            stage = ConvStage(channels, config.activation, config.residual, name=f"stage{i}")
            x = stage(x)
        x = nn.Dense(config.hidden, name="hidden")(x.reshape(n, -1))
        x = getattr(nn, config.activation)(x)
        return nn.Dense(self.features, name="head")(x)


def init_trunk(config: TrunkConfig, features: int, key: jax.Array) -> dict[str, Any]:
    """Fresh parameters of a `Trunk`, a nested dictionary."""
    images = jnp.zeros((1, config.resolution, config.resolution, 3))
    return dict(Trunk(config, features).init(key, images)["params"])


def apply_trunk(
    config: TrunkConfig, features: int, params: Mapping[str, Any], images: jax.Array
) -> jax.Array:
    """Images `[N, R, R, 3]` of the trunk's own resolution to `[N, features]`."""
    out = Trunk(config, features).apply({"params": params}, images)
    assert isinstance(out, jax.Array)  # a tuple only where collections are mutable
    return out


def fit_images(images: jax.Array, resolution: int, *, channels: int = 3) -> jax.Array:
    """Images `[N, H, H, C]` resized by area to the resolution that a network is shown.

    Raises:
        UsageError: images of another shape.
    """
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != channels:
        raise UsageError(
            f"images must be square, [N, H, H, {channels}], got shape {list(images.shape)}"
        )
    return area_resize(images, resolution)
