"""A face network with its parameters: opened, run and saved."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from mm_jax.checkpoints import load_tree, save_tree
from mm_jax.errors import DataError, UsageError
from mm_jax.faces.architectures import MODULES
from mm_jax.meta import Meta
from mm_jax.stylegan2.generator import check_tree
from mm_jax.zoo import resolve

__all__ = [
    "FaceNetwork",
    "FaceNetworkConfig",
    "apply_network",
    "face_network_shapes",
    "load_face_network",
    "make_face_network",
    "save_face_network",
]

KIND = "face_network"


@dataclasses.dataclass(frozen=True)
class FaceNetworkConfig:
    """Which of the architectures it is.

    Attributes:
        network: one of `mm_jax.faces.architectures.MODULES`.

    Raises:
        UsageError: an unknown name.
    """

    network: str

    def __post_init__(self):
        if self.network not in MODULES:
            raise UsageError(f"network is {self.network!r}, want one of {', '.join(MODULES)}")

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


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["config", "meta"]
)
@dataclasses.dataclass(frozen=True, eq=False)
class FaceNetwork:
    """A frozen face network, a pytree that can be called.

    Attributes:
        config: which network.
        params: parameter tree, see `mm_jax.faces.architectures`.
        meta: name, licence, source file, and `ranges`: {path: [scale, offset]} of the parameters
            that are multiples of a scale, as in a quantised file.
    """

    config: FaceNetworkConfig
    params: Mapping[str, Any]
    meta: Meta = dataclasses.field(default_factory=Meta)

    @property
    def name(self) -> str:
        """What the network is called in records."""
        return self.meta.get("name") or self.config.network

    def __call__(self, images: jax.Array) -> Any:
        """`apply_network` of images."""
        return apply_network(self, images)


@jax.jit
def apply_network(net: FaceNetwork, images: jax.Array) -> Any:
    """Runs a network; compiled once for each network and shape.

    Args:
        net: the network.
        images: [N, S, S, 3] float32 in [-1, 1], S being `net.config.side`.

    Returns:
        What the network's module in `mm_jax.faces.architectures` says.
    """
    return MODULES[net.config.network]().apply({"params": net.params}, images)


@functools.cache
def face_network_shapes(config: FaceNetworkConfig) -> Mapping[str, Any]:
    """The tree of shapes that a network wants; computes nothing."""
    module = MODULES[config.network]()
    images = jax.ShapeDtypeStruct((1, config.side, config.side, 3), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), images)["params"]


def make_face_network(
    config: FaceNetworkConfig,
    params: Mapping[str, Any],
    *,
    meta: Mapping[str, Any] | None = None,
) -> FaceNetwork:
    """A network whose parameters are checked against its architecture.

    Raises:
        DataError: a parameter is missing, unknown or of another shape.
    """
    check_tree(face_network_shapes(config), params, what=f"parameters of the {config.network}")
    return FaceNetwork(config, params, Meta(meta))


def load_face_network(name_or_dir: str | os.PathLike[str]) -> FaceNetwork:
    """Opens a face network by bundled name, such as "faces/landmarks", or folder.

    Raises:
        UsageError: unknown name.
        DataError: missing or damaged folder, or one of something else.
    """
    folder = resolve(name_or_dir, KIND)
    tree = load_tree(folder, KIND)
    try:
        config = FaceNetworkConfig(**tree.architecture)
    except (TypeError, UsageError) as error:
        raise DataError(f"{folder}: {error}") from error
    check_tree(face_network_shapes(config), tree.params, what=str(folder))
    meta = {**tree.meta, **({"ranges": tree.ranges} if tree.ranges else {})}
    return FaceNetwork(config, tree.params, Meta(meta))


def save_face_network(net: FaceNetwork, directory: str | os.PathLike[str]) -> Path:
    """Writes a network's folder; parameters that are quantised take a byte or two each.

    Raises:
        DataError: the folder cannot be written, or `meta["ranges"]` are not the parameters'.
    """
    meta = dict(net.meta)
    ranges = meta.pop("ranges", {})
    return save_tree(directory, KIND, net.config.to_dict(), net.params, meta=meta, ranges=ranges)
