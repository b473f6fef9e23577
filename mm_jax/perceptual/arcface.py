"""ArcFace: pictures of faces to unit vectors whose cosines compare identities.

The network is IR-SE50 with one dense layer on its last features, its normalisations folded in.
Pictures are prepared as StyleCLIP does: pooled to 256 pixels, cropped to the face of an aligned
picture, pooled to the network's 112. Pooling, crop and pooling are one linear map on each axis.

Parameters: `body` as in `mm_jax.nn.irse50`, `dense/kernel [h w C, E], bias [E]`.

References: Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition";
orpatashnik/StyleCLIP, `criteria/id_loss.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mm_jax.checkpoints import load_network, save_network
from mm_jax.errors import UsageError
from mm_jax.meta import Meta
from mm_jax.nn.irse50 import IRSEBody, IRSEConfig, require_integers
from mm_jax.nn.resize import adaptive_weights, apply_weights
from mm_jax.stylegan2.generator import check_tree
from mm_jax.zoo import resolve

__all__ = [
    "ArcFace",
    "ArcFaceConfig",
    "arcface_shapes",
    "crop_face",
    "embed_faces",
    "identity_loss",
    "init_arcface",
    "load_arcface",
    "make_arcface",
    "save_arcface",
]

# Of a picture of this side, the rows and columns where an aligned face is.
_ALIGNED = 256
_ROWS, _COLUMNS = slice(35, 223), slice(32, 220)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArcFaceConfig:
    """Architecture of an `ArcFace`; by default the published one.

    Attributes:
      body: the network below the dense layer.
      resolution: side of the crops that it is shown, a multiple of `body.shrink`.
      embedding: length E of the vectors.

    Raises:
      UsageError: a value that no network of this family can have.
    """

    body: IRSEConfig = dataclasses.field(default_factory=IRSEConfig)
    resolution: int = 112
    embedding: int = 512

    def __post_init__(self):
        require_integers(self, ("resolution", "embedding"))
        if self.resolution % self.body.shrink:
            raise UsageError(
                f"resolution is {self.resolution}, want a multiple of {self.body.shrink}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ArcFaceConfig:
        """Inverse of `to_dict`."""
        return cls(**{**values, "body": IRSEConfig(**values["body"])})


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["config", "meta"]
)
@dataclasses.dataclass(frozen=True, eq=False)
class ArcFace:
    """A frozen face recogniser, a pytree that can be called.

    Given as `identity` to `mm_jax.text_anchors`, it holds the identity of anchors.

    Attributes:
      config: architecture.
      params: parameter tree, see the module's text.
      meta: name, licence, source file and the like.
    """

    config: ArcFaceConfig
    params: Mapping[str, Any]
    meta: Meta = dataclasses.field(default_factory=Meta)

    @property
    def name(self) -> str:
        """What the network is called in records."""
        return self.meta.get("name") or "arcface"

    def __call__(self, images: jax.Array) -> jax.Array:
        """`embed_faces` of pictures."""
        return embed_faces(self, images)


class _Network(nn.Module):
    config: ArcFaceConfig

    @nn.compact
    def __call__(self, x):
        x = IRSEBody(self.config.body, name="body")(x)[-1]
        return nn.Dense(self.config.embedding, name="dense")(x.reshape(x.shape[0], -1))


def init_arcface(config: ArcFaceConfig, key: jax.Array) -> dict[str, Any]:
    """Fresh float32 parameters, a nested dictionary."""
    crops = jnp.zeros((1, config.resolution, config.resolution, config.body.in_channels))
    return dict(_Network(config).init(key, crops)["params"])


@functools.lru_cache(maxsize=16)
def arcface_shapes(config: ArcFaceConfig) -> Mapping[str, Any]:
    """The tree of shapes that an architecture wants; computes nothing."""
    return jax.eval_shape(lambda: init_arcface(config, jax.random.key(0)))


def make_arcface(
    config: ArcFaceConfig, params: Mapping[str, Any], *, meta: Mapping[str, Any] | None = None
) -> ArcFace:
    """A network whose parameters are checked against its architecture.

    Raises:
      DataError: a parameter is missing, unknown or of another shape.
    """
    check_tree(arcface_shapes(config), params, what="ArcFace parameters")
    return ArcFace(config, params, Meta(meta))


def load_arcface(name_or_dir: str | os.PathLike[str]) -> ArcFace:
    """Opens a face recogniser by bundled name or folder.

    Raises:
      UsageError: unknown name.
      DataError: missing or damaged folder.
    """
    folder = resolve(name_or_dir, "arcface")
    return ArcFace(*load_network(folder, "arcface", ArcFaceConfig.from_dict, arcface_shapes))


def save_arcface(
    arcface: ArcFace,
    directory: str | os.PathLike[str],
    *,
    format: Literal["orbax", "safetensors"] = "safetensors",
    dtype: Literal["float32", "float16"] = "float32",
) -> Path:
    """Writes the folder of a network; arguments and errors as in `mm_jax.checkpoints.save_tree`."""
    return save_network(arcface, directory, "arcface", format=format, dtype=dtype)


def crop_face(images: jax.Array, size: int) -> jax.Array:
    """The faces of aligned pictures ``[N, H, W, C]`` as ``[N, size, size, C]``.

    Pools adaptively to 256 pixels, crops rows 35 to 222 and columns 32 to 219, and pools that
    adaptively to `size`.
    """
    rows, columns = (
        adaptive_weights(face.stop - face.start, size) @ adaptive_weights(side, _ALIGNED)[face]
        for side, face in zip(images.shape[1:3], (_ROWS, _COLUMNS), strict=True)
    )
    return apply_weights(
        images.astype(jnp.float32),
        jnp.asarray(rows, jnp.float32),
        jnp.asarray(columns, jnp.float32),
    )


@jax.jit
def embed_faces(arcface: ArcFace, images: jax.Array) -> jax.Array:
    """Unit vectors ``[N, E]`` of aligned pictures ``[N, H, W, 3]`` in [-1, 1], of any size.

    Raises:
      UsageError: pictures of another shape.
    """
    channels = arcface.config.body.in_channels
    if images.ndim != 4 or images.shape[3] != channels:
        raise UsageError(f"pictures must be [N, H, W, {channels}], got {list(images.shape)}")
    return embed_crops(arcface, crop_face(images, arcface.config.resolution))


def embed_crops(arcface: ArcFace, crops: jax.Array) -> jax.Array:
    """Unit vectors ``[N, E]`` of crops ``[N, R, R, 3]`` as the network was trained on."""
    vectors = _Network(arcface.config).apply({"params": arcface.params}, crops)
    assert isinstance(vectors, jax.Array)  # a tuple only where collections are mutable
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


def identity_loss(arcface: ArcFace, images: jax.Array, references: jax.Array) -> jax.Array:
    """One minus the cosine of each picture's identity to that of its reference, ``[N]``.

    Args:
      arcface: the network.
      images: [N, H, W, 3] in [-1, 1].
      references: [N, H', W', 3], of any size too.

    Raises:
      UsageError: pictures of another shape, or another number of references.
    """
    if images.shape[:1] != references.shape[:1]:
        raise UsageError(
            f"{len(images)} pictures and {len(references)} references, want one for each"
        )
    cosines = jnp.sum(embed_faces(arcface, images) * embed_faces(arcface, references), axis=1)
    return 1.0 - cosines
