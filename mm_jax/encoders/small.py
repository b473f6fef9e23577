"""The bundled encoder's network: an image to a W+ latent in one pass, as a start for inversion."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mm_jax.nn.trunk import TrunkConfig, apply_trunk, init_trunk

__all__ = ["SmallConfig", "apply_small", "init_small"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmallConfig:
    """Architecture of the bundled encoder.

    Attributes:
        trunk: the convolutional network.
        rows: rows L of W+.
        width: width D of each row.
    """

    kind: ClassVar[str] = "small"
    in_channels: ClassVar[int] = 3

    trunk: TrunkConfig
    rows: int
    width: int

    @property
    def resolution(self) -> int:
        """Side R of the images that it is shown."""
        return self.trunk.resolution

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        return {"kind": self.kind, **self.trunk.to_dict(), "rows": self.rows, "width": self.width}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SmallConfig:
        """Inverse of `to_dict`."""
        values = {key: value for key, value in values.items() if key != "kind"}
        rows, width = values.pop("rows"), values.pop("width")
        return cls(trunk=TrunkConfig(**values), rows=rows, width=width)


def init_small(config: SmallConfig, key: jax.Array) -> dict[str, Any]:
    """Fresh parameters: `trunk`, and the mean latent `w_avg [D]`."""
    trunk = init_trunk(config.trunk, (config.rows + 1) * config.width, key)
    return {"trunk": trunk, "w_avg": jnp.zeros(config.width)}


def apply_small(config: SmallConfig, params: Mapping[str, Any], images: jax.Array) -> jax.Array:
    """W+ `[N, L, D]`: the mean latent, an offset for all rows, and one for each row."""
    rows, width = config.rows, config.width
    out = apply_trunk(config.trunk, (rows + 1) * width, params["trunk"], images)
    offsets = out.reshape(len(images), rows + 1, width)
    return params["w_avg"][None, None, :] + offsets[:, :1] + offsets[:, 1:]
