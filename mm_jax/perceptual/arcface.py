"""ArcFace: images of faces to unit vectors whose cosines compare identities.

The network is IR-SE50 with one dense layer on its last features, its normalisations folded in.
Images are prepared as StyleCLIP does: pooled to 256 pixels, cropped to the face of an aligned
image, pooled to the network's 112. Pooling, crop and pooling are one linear map on each axis.

Parameters: `body` as in `mm_jax.nn.irse50`, `dense/kernel [h w C, E], bias [E]`.

References: Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition";
orpatashnik/StyleCLIP, `criteria/id_loss.py`.
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
from mm_jax.nn.irse50 import IRSEBody, IRSEConfig, require_integers
from mm_jax.nn.network import Network
from mm_jax.nn.resize import adaptive_weights, apply_weights

__all__ = [
    "ArcFace",
    "ArcFaceConfig",
    "embed_faces",
    "face_crops",
    "identity_loss",
    "load_arcface",
    "save_arcface",
]

# Of an image of this side, the rows and columns where an aligned face is.
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

    def __post_init__(self) -> None:
        require_integers(self, ("resolution", "embedding"))
        if self.resolution % self.body.shrink:
            raise UsageError(
                f"resolution must be a multiple of {self.body.shrink}, got {self.resolution}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ArcFaceConfig:
        """Inverse of `to_dict`."""
        return cls(**{**values, "body": IRSEConfig(**values["body"])})


class _Network(nn.Module):
    config: ArcFaceConfig

    @nn.compact
    def __call__(self, x):
        x = IRSEBody(self.config.body, name="body")(x)[-1]
        return nn.Dense(self.config.embedding, name="dense")(x.reshape(x.shape[0], -1))


class ArcFace(Network[ArcFaceConfig]):
    """A frozen face recogniser that can be called.

    Given as `identity` to `mm_jax.text_anchors`, it holds the identity of anchors.
    """

    kind = "arcface"
    config_type = ArcFaceConfig

    @classmethod
    def init(cls, config: ArcFaceConfig, key: jax.Array) -> dict[str, Any]:
        """Fresh float32 parameters, a nested dictionary."""
        crops = jnp.zeros((1, config.resolution, config.resolution, config.body.in_channels))
        return dict(_Network(config).init(key, crops)["params"])

    def __call__(self, images: jax.Array) -> jax.Array:
        """`embed_faces` of images."""
        return embed_faces(self, images)


def load_arcface(name_or_dir: str | os.PathLike[str]) -> ArcFace:
    """Open an ArcFace by its folder, such as `mm_convert` writes.

    Raises:
        UsageError: unknown name.
        DataError: missing or damaged folder.
    """
    return ArcFace.load(name_or_dir)


def save_arcface(
    arcface: ArcFace,
    directory: str | os.PathLike[str],
    *,
    format: Literal["orbax", "safetensors"] = "safetensors",
    dtype: Literal["float32", "float16"] = "float32",
) -> Path:
    """Write the folder of an ArcFace; arguments and errors as in `save_generator`."""
    return arcface.save(directory, format=format, dtype=dtype)


def face_crops(images: jax.Array, size: int) -> jax.Array:
    """The faces of aligned images `[N, H, W, C]` as `[N, size, size, C]`.

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
    """Unit vectors `[N, E]` of aligned images `[N, H, W, 3]` in [-1, 1], of any size.

    Raises:
        UsageError: images of another shape.
    """
    channels = arcface.config.body.in_channels
    if images.ndim != 4 or images.shape[3] != channels:
        raise UsageError(f"images must be [N, H, W, {channels}], got {list(images.shape)}")
    return embed_crops(arcface, face_crops(images, arcface.config.resolution))


def embed_crops(arcface: ArcFace, crops: jax.Array) -> jax.Array:
    """Unit vectors `[N, E]` of crops `[N, R, R, 3]` as the network was trained on."""
    vectors = _Network(arcface.config).apply({"params": arcface.params}, crops)
    assert isinstance(vectors, jax.Array)  # a tuple only where collections are mutable
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


def identity_loss(arcface: ArcFace, images: jax.Array, references: jax.Array) -> jax.Array:
    """One minus the cosine of each image's identity to that of its reference, `[N]`.

    Args:
        arcface: the network.
        images: [N, H, W, 3] in [-1, 1].
        references: [N, H', W', 3], of any size too.

    Raises:
        UsageError: images of another shape, or another number of references.
    """
    if images.shape[:1] != references.shape[:1]:
        raise UsageError(
            f"references must be as many as images, {len(images)}, got {len(references)}"
        )
    cosines = jnp.sum(embed_faces(arcface, images) * embed_faces(arcface, references), axis=1)
    return 1.0 - cosines
