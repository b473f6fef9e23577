"""IR-SE50: the residual network with squeeze-and-excitation under ArcFace, pSp, e4e and ReStyle.

Batch normalisation is that of evaluation, a fixed affine map, and is folded into the convolution
before it. Where it stands before a padded convolution it stays an affine map of its own: the
padding is zero after the normalisation, so a fold would be wrong along the borders.

Parameters:

    stem/kernel [3, 3, I, C], bias [C], slope [C]
    unit{i}/scale [I], shift [I]          kernel0 [3, 3, I, C], slope [C]
    unit{i}/kernel1 [3, 3, C, C], bias1 [C]
    unit{i}/squeeze [C, C / reduction]    excite [C / reduction, C]
    unit{i}/shortcut/kernel [1, 1, I, C], bias [C]   (only where the unit widens)

References: Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition";
Hu et al. 2018, "Squeeze-and-Excitation Networks". Behaviour as in TreB1eN/InsightFace_Pytorch's
`Backbone(num_layers=50, mode='ir_se')`, which all the above copied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mm_jax.errors import UsageError
from mm_jax.stylegan2.conv import conv2d

__all__ = ["IRSEBody", "IRSEConfig", "conv_params", "require_integers"]


def require_integers(config: Any, names: tuple[str, ...]) -> None:
    """UsageError unless the named fields of a configuration are integers of at least one."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name} must be a whole number of at least 1, got {value!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class IRSEConfig:
    """Architecture of an `IRSEBody`; by default the real one, of 50 layers.

    Attributes:
        in_channels: channels of the image.
        stem_channels: channels of the first convolution.
        channels: of the stages; the first unit of each stage halves the image.
        units: how many each stage has.
        reduction: channels of a unit over those of its squeezed description.

    Raises:
        UsageError: a value that no network of this family can have.
    """

    in_channels: int = 3
    stem_channels: int = 64
    channels: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)
    reduction: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "units", tuple(self.units))
        require_integers(self, ("in_channels", "stem_channels", "reduction"))
        if len(self.channels) != len(self.units) or not self.units or min(self.units) < 1:
            raise UsageError(
                f"units must be a positive number for each of {self.channels}, got {self.units}"
            )
        if min(self.channels) < 1 or any(c % self.reduction for c in self.channels):
            raise UsageError(f"channels must be multiples of {self.reduction}, got {self.channels}")

    @property
    def shrink(self) -> int:
        """By how much the last features are smaller than the image."""
        return 2 ** len(self.channels)

    def plan(self) -> Iterator[tuple[int, int, int, bool]]:
        """(channels in, channels out, stride, last of its stage) of every unit."""
        before = self.stem_channels
        for channels, count in zip(self.channels, self.units, strict=True):
            for i in range(count):
                yield before, channels, 2 if i == 0 else 1, i == count - 1
                before = channels


def conv_params(module: nn.Module, taps: int, channels: tuple[int, int], suffix: str = "") -> Any:
    """Declares `kernel [taps, taps, I, O]` and `bias [O]` in a module and returns both."""
    shape = (taps, taps, *channels)
    kernel = module.param(f"kernel{suffix}", nn.initializers.he_normal(), shape, jnp.float32)
    bias = module.param(f"bias{suffix}", nn.initializers.zeros, (channels[1],), jnp.float32)
    return kernel, bias[None, None, None, :]


def _prelu(module: nn.Module, x: jax.Array) -> jax.Array:
    slope = module.param("slope", nn.initializers.constant(0.25), x.shape[-1:], jnp.float32)
    return jnp.where(x > 0, x, slope[None, None, None, :] * x)


class _Stem(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x):
        kernel, bias = conv_params(self, 3, (x.shape[-1], self.channels))
        return _prelu(self, conv2d(x, kernel) + bias)


class _Shortcut(nn.Module):
    channels: int
    stride: int

    @nn.compact
    def __call__(self, x):
        kernel, bias = conv_params(self, 1, (x.shape[-1], self.channels))
        return conv2d(x, kernel, stride=self.stride) + bias


class _Unit(nn.Module):
    """Normalise, convolve, PReLU, convolve with the stride, reweigh channels, add the shortcut."""

    channels: int
    stride: int
    reduction: int

    @nn.compact
    def __call__(self, x):
        before, channels = x.shape[-1], self.channels
        scale = self.param("scale", nn.initializers.ones, (before,), jnp.float32)
        shift = self.param("shift", nn.initializers.zeros, (before,), jnp.float32)
        shape = (3, 3, before, channels)
        kernel = self.param("kernel0", nn.initializers.he_normal(), shape, jnp.float32)
        y = x * scale[None, None, None, :] + shift[None, None, None, :]
        y = _prelu(self, conv2d(y, kernel))
        kernel, bias = conv_params(self, 3, (channels, channels), "1")
        y = conv2d(y, kernel, stride=self.stride) + bias

        narrow = channels // self.reduction
        dense = nn.initializers.lecun_normal()
        squeeze = self.param("squeeze", dense, (channels, narrow), jnp.float32)
        excite = self.param("excite", dense, (narrow, channels), jnp.float32)
        weights = nn.sigmoid(nn.relu(y.mean((1, 2)) @ squeeze) @ excite)
        if before == channels:
            shortcut = x[:, :: self.stride, :: self.stride]
        else:
            shortcut = _Shortcut(channels, self.stride, name="shortcut")(x)
        return y * weights[:, None, None, :] + shortcut


class IRSEBody(nn.Module):
    """Images `[N, H, W, I]` to the features after each stage, `[N, H/2, W/2, C0]` first."""

    config: IRSEConfig

    @nn.compact
    def __call__(self, x):
        """Images [N, H, W, C] to the features of every stage."""
        config = self.config
        x = _Stem(config.stem_channels, name="stem")(x)
        features = []
        for i, (_, channels, stride, last) in enumerate(config.plan()):
            x = _Unit(channels, stride, config.reduction, name=f"unit{i}")(x)
            if last:
                features.append(x)
        return features
