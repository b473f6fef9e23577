"""A probe reads the known factors of a synthetic world off an image: the judge of what an edit did.

Each bundled world has two, trained apart (other seed, other architecture, other renders): its
"probe", which training may use, and its "judge", which only ever measures.

Parameters: those of `mm_jax.nn.trunk.Trunk`, with one output for each factor.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from mm_jax.errors import UsageError
from mm_jax.nn.network import Network
from mm_jax.nn.trunk import TrunkConfig, apply_trunk, fit_images, init_trunk

__all__ = ["Probe", "ProbeConfig", "load_probe", "read_factors", "save_probe"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Architecture of a `Probe`.

    Attributes:
        trunk: the convolutional network.
        factors: what it reads, by name, in the order of its outputs.
    """

    trunk: TrunkConfig
    factors: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(self.factors))
        if not self.factors or len(set(self.factors)) < len(self.factors):
            raise UsageError(f"factors must be distinct names, got {list(self.factors)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        return {**self.trunk.to_dict(), "factors": list(self.factors)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProbeConfig:
        """Inverse of `to_dict`."""
        trunk = dict(values)
        factors = trunk.pop("factors")
        return cls(trunk=TrunkConfig(**trunk), factors=tuple(factors))


class Probe(Network[ProbeConfig]):
    """A trained probe; see `read_factors`."""

    kind = "probe"
    config_type = ProbeConfig

    @classmethod
    def init(cls, config: ProbeConfig, key: jax.Array) -> dict[str, Any]:
        """Fresh float32 parameters, a nested dictionary."""
        return init_trunk(config.trunk, len(config.factors), key)

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the F factors that are read, in order."""
        return self.config.factors


def load_probe(name_or_dir: str | os.PathLike[str]) -> Probe:
    """Open a probe by bundled name or folder.

    Raises:
        UsageError: unknown name.
        DataError: missing or damaged folder.
    """
    return Probe.load(name_or_dir)


def save_probe(
    probe: Probe,
    directory: str | os.PathLike[str],
    *,
    format: Literal["orbax", "safetensors"] = "safetensors",
    dtype: Literal["float32", "float16"] = "float32",
) -> Path:
    """Write a probe's folder; arguments and errors as in `checkpoints.save_tree`."""
    return probe.save(directory, format=format, dtype=dtype)


@jax.jit
def read_factors(probe: Probe, images: jax.Array) -> jax.Array:
    """Factors `[N, F]`, nominally in [-1, 1], of images `[N, H, H, 3]` in [-1, 1], of any size.

    Raises:
        UsageError: images of another shape.
    """
    trunk = probe.config.trunk
    return apply_trunk(
        trunk, len(probe.factors), probe.params, fit_images(images, trunk.resolution)
    )
