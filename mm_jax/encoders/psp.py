"""pSp's encoder: a pyramid of features, and one small head for each row of W+.

The heads of the first three rows look at the coarsest map, those of the next four at a map twice,
the others at one four times as large. Each halves its map until one pixel is left. e4e has the same
networks and reads their outputs otherwise (`mm_jax.encoders.e4e`); ReStyle has no pyramid, all its
heads look at the coarsest map (`mm_jax.encoders.restyle`).

Parameters: `body` as in `mm_jax.nn.irse50`; `lateral0|1/kernel [1, 1, I, C], bias`, where
there is a pyramid; `head{i}/conv{j}/kernel [3, 3, I, D], bias` and `head{i}/linear/kernel [D, D],
bias`, in which the equalised learning rate is multiplied in; `latent_avg [L, D]`, the latent that
outputs are added to.

Reference: Richardson et al. 2021, "Encoding in Style: a StyleGAN Encoder for Image-to-Image
Translation", and eladrich/pixel2style2pixel, `models/encoders/psp_encoders.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.encoders.e4e import codes_from_deltas
from mm_jax.errors import UsageError
from mm_jax.nn.irse50 import IRSEBody, IRSEConfig, conv_params, require_integers
from mm_jax.nn.resize import apply_weights
from mm_jax.stylegan2.conv import conv2d

__all__ = [
    "COARSE",
    "KINDS",
    "MEDIUM",
    "StyleEncoderConfig",
    "apply_style_encoder",
    "init_style_encoder",
]

KINDS = ("psp", "e4e", "restyle_psp", "restyle_e4e")
COARSE, MEDIUM = 3, 7
"""Rows below the first look at the coarsest map, rows from the second on at the finest."""

_SLOPE = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class StyleEncoderConfig:
    """Architecture of a pSp, e4e or ReStyle encoder; sizes are by default those for 1024 px faces.

    Attributes:
        kind: one of `KINDS`.
        body: the network below the heads. ReStyle's is shown two images, six channels.
        resolution: side R of the images that it is shown; R / `body.shrink` is a power of two.
        rows: rows L of W+.
        width: width D of each row.

    Raises:
        UsageError: a value that no encoder of this family can have.
    """

    kind: str
    body: IRSEConfig = dataclasses.field(default_factory=IRSEConfig)
    resolution: int = 256
    rows: int = 18
    width: int = 512

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        require_integers(self, ("resolution", "rows", "width"))
        side, rest = divmod(self.resolution, self.body.shrink)
        if rest or side < 2 or side.bit_count() != 1:
            raise UsageError(
                f"resolution must be {self.body.shrink} times a power of two, got {self.resolution}"
            )
        if self.has_pyramid and len(self.body.channels) < 3:
            raise UsageError(f"a pyramid needs three stages, the body has {self.body.channels}")
        if self.iterative and self.body.in_channels % 2:
            raise UsageError(
                f"ReStyle is shown two images, {self.body.in_channels} channels do not divide"
            )

    @property
    def iterative(self) -> bool:
        """Whether it corrects the latent of an image that it is also shown."""
        return self.kind.startswith("restyle")

    @property
    def has_pyramid(self) -> bool:
        """Whether there are finer maps than the body's last."""
        return not self.iterative

    @property
    def from_deltas(self) -> bool:
        """Whether rows are offsets to the first one."""
        return self.kind.endswith("e4e")

    @property
    def in_channels(self) -> int:
        """Channels of the images to be encoded."""
        return self.body.in_channels // (2 if self.iterative else 1)

    def level(self, row: int) -> int:
        """The map that a row's head looks at: 0 is the coarsest, each next twice as large."""
        if not self.has_pyramid or row < COARSE:
            return 0
        return 1 if row < MEDIUM else 2

    def convs(self, row: int) -> int:
        """Convolutions of a row's head, as many as leave one pixel of its map."""
        side = self.resolution // self.body.shrink * 2 ** self.level(row)
        return side.bit_length() - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StyleEncoderConfig:
        """Inverse of `to_dict`."""
        return cls(**{**values, "body": IRSEConfig(**values["body"])})


class _Conv(nn.Module):
    channels: int
    taps: int = 3
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        kernel, bias = conv_params(self, self.taps, (x.shape[-1], self.channels))
        return conv2d(x, kernel, stride=self.stride) + bias


class _Head(nn.Module):
    """A map [N, S, S, C] to one row [N, D]."""

    convs: int
    width: int

    @nn.compact
    def __call__(self, x):
        for j in range(self.convs):
            x = nn.leaky_relu(_Conv(self.width, stride=2, name=f"conv{j}")(x), _SLOPE)
        return nn.Dense(self.width, name="linear")(x[:, 0, 0])


class StyleEncoder(nn.Module):
    """Images `[N, R, R, I]` to offsets from the latent that they are added to."""

    config: StyleEncoderConfig

    @nn.compact
    def __call__(self, x):
        config = self.config
        self.param("latent_avg", nn.initializers.zeros, (config.rows, config.width), jnp.float32)
        *finer, coarsest = IRSEBody(config.body, name="body")(x)
        maps = [coarsest]
        if config.has_pyramid:
            for i in range(2):
                lateral = _Conv(coarsest.shape[-1], taps=1, name=f"lateral{i}")
                maps.append(_enlarge(maps[-1]) + lateral(finer.pop()))
        rows = [
            _Head(config.convs(row), config.width, name=f"head{row}")(maps[config.level(row)])
            for row in range(config.rows)
        ]
        latents = jnp.stack(rows, axis=1)
        return codes_from_deltas(latents) if config.from_deltas else latents


def _enlarge(x: jax.Array) -> jax.Array:
    """Twice the size by bilinear interpolation in which corner pixels stay corner pixels."""
    source = x.shape[1]
    position = np.linspace(0.0, source - 1.0, 2 * source)[:, None]
    weights = np.maximum(0.0, 1.0 - np.abs(position - np.arange(source)[None, :]))
    weights = jnp.asarray(weights, jnp.float32)
    return apply_weights(x, weights, weights)


def init_style_encoder(config: StyleEncoderConfig, key: jax.Array) -> dict[str, Any]:
    """Fresh float32 parameters, a nested dictionary."""
    images = jnp.zeros((1, config.resolution, config.resolution, config.body.in_channels))
    return dict(StyleEncoder(config).init(key, images)["params"])


def apply_style_encoder(
    config: StyleEncoderConfig, params: Mapping[str, Any], images: jax.Array
) -> jax.Array:
    """Images `[N, R, R, I]` to `[N, L, D]`, before `latent_avg` or a latent is added."""
    latents = StyleEncoder(config).apply({"params": params}, images)
    assert isinstance(latents, jax.Array)  # a tuple only where collections are mutable
    return latents
