"""How close the renderer's images are about the face, in terms of FFHQ's crop.

The renderer places its camera by the centres of the eyeballs and a point of the upper lip, FFHQ's
crop follows from landmarks of the image: how the two differ depends a little on the face, so the
mean over many is taken.
"""

from __future__ import annotations

import jax
import numpy as np

from mm_jax.alignment import Framing, ffhq_quad
from mm_jax.people.factors import Z_DIM, factors_from_z, index
from mm_jax.people.looks import person_of
from mm_jax.people.renderer import Renderer

__all__ = ["framing"]

_FACES = 64
# An upright face at rest: what the bundled generators' framing was measured on.
_REST = {
    "smile": -0.4,
    "anger": -1.0,
    "eye_close": -0.7,
    "mouth_open": -1.0,
    "brow_raise": -1.0,
    "pout": -1.0,
    "sneer": -1.0,
    "yaw": 0.0,
    "pitch": 0.0,
    "roll": 0.0,
}


def framing(renderer: Renderer) -> Framing:
    """The crop that ``renderer`` draws of upright faces at rest, relative to FFHQ's."""
    with jax.default_device(jax.devices("cpu")[0]):
        z = jax.random.normal(jax.random.key(0), (_FACES, Z_DIM))
        factors = np.array(jax.jit(factors_from_z)(z))
    for name, value in _REST.items():
        factors[:, index(name)] = value
    return Framing(**dict(zip(("scale", "down"), _relative(renderer, factors), strict=True)))


def _relative(renderer: Renderer, factors: np.ndarray) -> list[float]:
    """Mean scale and step down of images of side 1 about faces ``[N, F]``."""
    found = []
    for values in factors:
        points = renderer.landmarks(person_of(values), resolution=1)
        quad = ffhq_quad(points.astype(np.float64) + 0.5)
        side = np.linalg.norm(quad[3] - quad[0])
        # Faces are symmetric: there is no step to the right.
        found.append((1 / side, (0.5 - quad[:, 1].mean()) / side))
    return [round(float(value), 3) for value in np.mean(found, axis=0)]
