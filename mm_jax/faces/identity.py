"""Who a face is, by the bundled recogniser, in images that are cropped as a generator's are.

Nothing is searched for: where the face is follows from the generator's framing. So this can be
differentiated, takes little time, and holds the identity in an optimisation, as an ArcFace does.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.alignment.framing import FFHQ, Framing, framing_of
from mm_jax.faces.crops import RECOGNISED
from mm_jax.faces.network import FaceNetwork, apply_network, load_face_network
from mm_jax.nn.resize import apply_weights
from mm_jax.perceptual.arcface import ArcFace, load_arcface

__all__ = ["FaceIdentity", "load_identity", "open_identity"]


@dataclasses.dataclass(frozen=True, eq=False)
class FaceIdentity:
    """The recogniser for aligned images, a pytree that can be called; see `load_identity`.

    Attributes:
        network: the recogniser.
        nobody: [128] float32, its descriptor of an even grey image. Descriptors of faces lie close
            together about a point far from 0; seen from this one they point in different
            directions.
        framing: of the images.
    """

    network: FaceNetwork
    nobody: jax.Array
    framing: Framing = FFHQ
    name = "faces/recogniser"

    def __call__(self, images: jax.Array | np.ndarray) -> jax.Array:
        """Unit vectors [N, 128] of images [N, R, R, 3] in [-1, 1].

        The cosine of two photographs of one person is about 0.9, of two people 0.5.
        """
        away = self.describe(images) - self.nobody[None]
        return away / jnp.linalg.norm(away, axis=1, keepdims=True)

    def describe(self, images: jax.Array | np.ndarray) -> jax.Array:
        """Descriptors [N, 128] of images, for `mm_jax.faces.identity_distance`."""
        side = self.network.config.side
        # The recogniser's crop in terms of the image, both of which are given in terms of FFHQ's.
        extent = RECOGNISED.scale / self.framing.scale
        right, down = (
            (getattr(RECOGNISED, axis) - getattr(self.framing, axis)) / self.framing.scale
            for axis in ("right", "down")
        )
        columns, rows = (
            jnp.asarray(_window(images.shape[axis], side, 0.5 + step - extent / 2, extent))
            for axis, step in ((2, right), (1, down))
        )
        # What lies beside the image is black.
        crops = apply_weights(jnp.asarray(images, jnp.float32) + 1, rows, columns) - 1
        return apply_network(self.network, crops)


jax.tree_util.register_dataclass(
    FaceIdentity, data_fields=["network", "nobody"], meta_fields=["framing"]
)


def load_identity(gen: Any) -> FaceIdentity:
    """The bundled recogniser for images of a generator.

    Raises:
        DataError: the bundled network is missing or damaged, or the generator's framing is.
    """
    network = load_face_network("faces/recogniser")
    side = network.config.side
    grey = apply_network(network, jnp.zeros((1, side, side, 3)))[0]
    return FaceIdentity(network, grey, framing_of(gen))


def open_identity(name: str, gen: Any) -> ArcFace | FaceIdentity | None:
    """What holds the identity of a generator's images: "faces", "none", or an ArcFace's folder.

    Raises:
        UsageError: an unknown name. DataError: a damaged folder.
    """
    if name in ("none", ""):
        return None
    return load_identity(gen) if name == "faces" else load_arcface(name)


def _window(source: int, target: int, start: float, extent: float) -> np.ndarray:
    """The linear map [target, source] to a window of an axis by linear interpolation.

    `start` and `extent` are fractions of the axis. Where the window is reduced, the triangle is as
    wide as a target pixel.
    """
    step = extent * source / target
    centres = start * source + step * (np.arange(target) + 0.5)
    away = np.abs(centres[:, None] - (np.arange(source) + 0.5)[None])
    reach = max(step, 1.0)
    return (np.maximum(1 - away / reach, 0) / reach).astype(np.float32)
