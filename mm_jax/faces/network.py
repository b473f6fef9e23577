"""A face network with its parameters: opened, run and saved."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.errors import UsageError
from mm_jax.faces.architectures import MODULES, DenseTrunk, OnTrunk
from mm_jax.nn.network import Network

__all__ = ["FaceNetwork", "FaceNetworkConfig", "apply_network", "load_face_network"]


@dataclasses.dataclass(frozen=True)
class FaceNetworkConfig:
    """Which of the architectures it is.

    Attributes:
        network: one of `mm_jax.faces.architectures.MODULES`.

    Raises:
        UsageError: an unknown name.
    """

    network: str

    def __post_init__(self) -> None:
        if self.network not in MODULES:
            raise UsageError(f"network must be one of {', '.join(MODULES)}, got {self.network!r}")

    @property
    def side(self) -> int:
        """Side of the images that it is shown."""
        return MODULES[self.network].side

    @property
    def outputs(self) -> tuple[str, ...]:
        """What its outputs are called, in order."""
        return MODULES[self.network].outputs

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FaceNetworkConfig:
        """Inverse of `to_dict`."""
        return cls(**values)


class FaceNetwork(Network[FaceNetworkConfig]):
    """A frozen face network that can be called."""

    kind = "face_network"
    config_type = FaceNetworkConfig

    @classmethod
    def init(cls, config: FaceNetworkConfig, key: jax.Array) -> dict[str, Any]:
        """Fresh float32 parameters, a nested dictionary."""
        images = jnp.zeros((1, config.side, config.side, 3))
        return dict(MODULES[config.network]().init(key, images)["params"])

    def __call__(self, images: jax.Array | np.ndarray) -> Any:
        """`apply_network` of images; networks on a trunk of one kind share its program."""
        images = jnp.asarray(images, jnp.float32)
        if issubclass(MODULES[self.config.network], OnTrunk):
            return _read_features(self, _features(self.params["trunk"], images))
        return apply_network(self, images)


def load_face_network(name_or_dir: str | os.PathLike[str]) -> FaceNetwork:
    """Open a face network by bundled name or folder.

    Raises:
        UsageError: unknown name.
        DataError: missing or damaged folder.
    """
    return FaceNetwork.load(name_or_dir)


@jax.jit
def apply_network(net: FaceNetwork, images: jax.Array) -> Any:
    """Run a network; compiled once for each network and shape.

    Args:
        net: the network.
        images: [N, S, S, 3] float32 in [-1, 1], S being `net.config.side`.

    Returns:
        What the network's module in `mm_jax.faces.architectures` says.
    """
    return MODULES[net.config.network]().apply({"params": net.params}, images)


@jax.jit
def _features(trunk: Mapping[str, Any], images: jax.Array) -> Any:
    return DenseTrunk().apply({"params": trunk}, images)


@jax.jit
def _read_features(net: FaceNetwork, features: jax.Array) -> Any:
    module = MODULES[net.config.network]()
    return module.apply({"params": net.params}, features, method="head")
