"""Where the renderer puts eyes, nose and mouth: landmarks without a detector, and synthface's crop.

synthface's pictures are closer about the face than FFHQ's. How much closer follows from where the
eyes and the mouth of an upright, neutral face are: `framing` says it in FFHQ's terms.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.alignment import Framing, ffhq_quad
from mm_jax.synthface import geometry, renderer
from mm_jax.synthface.factors import FACTORS
from mm_jax.synthface.features import EYE_U, EYE_V, MOUTH_V, NOSE_TIP_V, Factors, degree

__all__ = ["framing", "landmarks"]

_LID = 0.86  # height of the lids' landmarks, at a third and two thirds, relative to the lids' arch


def landmarks(factors: jax.Array, *, resolution: int = 128) -> np.ndarray:
    """Five landmarks of rendered faces.

    Args:
        factors: [N, F] in [-1, 1].
        resolution: side of the pictures.

    Returns:
        [N, 5, 2] float32, in pixels and in the order of `mm_jax.alignment.Face`; the eyes are where
        the mean of their six landmarks of 68 would be.
    """
    points = np.asarray(jax.vmap(_points)(jnp.asarray(factors, jnp.float32)))
    scene = points / renderer.ZOOM * np.array([1.0, -1.0])
    return ((scene + 1.0) * (resolution / 2) - 0.5).astype(np.float32)


def framing() -> Framing:
    """The crop that the renderer draws of an upright neutral face, relative to FFHQ's."""
    side = 2.0
    quad = ffhq_quad(landmarks(jnp.zeros((1, len(FACTORS))), resolution=2)[0]).astype(np.float64)
    ffhq_side = np.linalg.norm(quad[3] - quad[0])
    right, down = ((side - 1.0) / 2 - quad.mean(axis=0)) / ffhq_side
    scale = side / ffhq_side
    values = (round(float(value), 3) for value in (scale, right, down))
    return Framing(**dict(zip(("scale", "right", "down"), values, strict=True)))


def _points(values: jax.Array) -> jax.Array:
    """[5, 2] in the scene's coordinates, of factors [F]."""
    f: Factors = {name: values[i] for i, name in enumerate(FACTORS)}
    pose = geometry.pose(f["yaw"], f["pitch"], f["light"])
    radii = renderer.head_radii(f)
    lift = geometry.lift(pose)
    size = 1.12 + 0.24 * f["eye_size"]
    low, high = -0.036 * size, -0.032 * size + 0.098 * size**2 * degree(f["eye_open"])
    eye = EYE_V + (low + high) * _LID / 3.0
    half = 0.182 * (1.0 + 0.36 * f["mouth_width"]) * (1.0 + 0.20 * f["smile"])
    corner = MOUTH_V + 0.085 * 0.58 * f["smile"]
    raised = 0.03 * lift[0]
    texture = [
        (-EYE_U, eye),
        (EYE_U, eye),
        (0.15 * lift[0], NOSE_TIP_V + 0.13 * lift[1]),
        (raised - half, corner),
        (raised + half, corner),
    ]
    return jnp.stack([_seen(u, v, radii, pose, f) for u, v in texture])


def _seen(u, v, radii: jax.Array, pose: geometry.Pose, f: Factors) -> jax.Array:
    """Scene coordinates [2] of the surface point (u, v)."""
    ring = jnp.sqrt(1.0 - jnp.square(v / radii[1]))
    angle = u / radii[0]
    point = jnp.stack(
        [radii[0] * ring * jnp.sin(angle), jnp.asarray(v), radii[2] * ring * jnp.cos(angle)]
    )
    x, y, _ = pose.rotation @ point
    return jnp.stack([x * renderer.jaw_taper(y, f), y])
