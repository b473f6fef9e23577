"""The head as an ellipsoid: which point of it each pixel sees, and how it is lit.

Picture coordinates: x to the right, y up, both in [-1, 1], orthographic, +z towards the viewer.
Head coordinates are the same at yaw = pitch = 0.  Texture coordinates of a surface point:
``u`` = longitude in head half-widths (0 on the middle of the face), ``v`` = height.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mm_jax.synthface import draw

MAX_YAW = 0.42  # radians at factor 1
MAX_PITCH = 0.19


class Pose(NamedTuple):
    """Head rotation and light; ``rotation`` maps head to picture coordinates, [3, 3]."""

    rotation: jax.Array
    light: jax.Array  # [3], unit, picture coordinates


class Surface(NamedTuple):
    """What the pixels see of one ellipsoid, each ``[H, W]`` (``lift`` holds two scalars)."""

    u: jax.Array
    v: jax.Array
    cover: jax.Array
    diffuse: jax.Array  # cosine between normal and light, in [0, 1]
    lift: tuple[jax.Array, jax.Array]  # shift in (u, v) of a point raised by 1 above the surface
    light_u: jax.Array  # light direction along u, scalar


def pixel_grid(resolution: int) -> tuple[jax.Array, jax.Array]:
    """Pixel centres ``x, y``, each ``[R, R]``."""
    axis = (jnp.arange(resolution, dtype=jnp.float32) + 0.5) * (2.0 / resolution) - 1.0
    x, y = jnp.meshgrid(axis, -axis)
    return x, y


def pose(yaw: jax.Array, pitch: jax.Array, light: jax.Array) -> Pose:
    """Rotation and light from factors in [-1, 1]."""
    a, b = MAX_YAW * yaw, -MAX_PITCH * pitch
    ca, sa, cb, sb = jnp.cos(a), jnp.sin(a), jnp.cos(b), jnp.sin(b)
    zero, one = jnp.zeros_like(ca), jnp.ones_like(ca)
    turn = jnp.stack([ca, zero, sa, zero, one, zero, -sa, zero, ca]).reshape(3, 3)
    nod = jnp.stack([one, zero, zero, zero, cb, -sb, zero, sb, cb]).reshape(3, 3)
    direction = jnp.stack([1.05 * light, 0.45 * one, 0.85 * one])
    return Pose(nod @ turn, direction / jnp.linalg.norm(direction))


def lift(pose: Pose) -> tuple[jax.Array, jax.Array]:
    """Shift in (u, v) of a point raised by 1 above the surface."""
    view = pose.rotation[2]
    front = jnp.maximum(view[2], 0.3)
    return -view[0] / front, -view[1] / front


def see_ellipsoid(x: jax.Array, y: jax.Array, radii: jax.Array, pose: Pose, soft: float) -> Surface:
    """Nearest intersection of the pixels' view rays with an ellipsoid about the origin."""
    to_head = pose.rotation.T
    view = to_head[:, 2]
    bx, by, bz = (to_head[i, 0] * x + to_head[i, 1] * y for i in range(3))
    inv = 1.0 / jnp.square(radii)
    a = jnp.sum(jnp.square(view) * inv)
    b = view[0] * inv[0] * bx + view[1] * inv[1] * by + view[2] * inv[2] * bz
    c = jnp.square(bx) * inv[0] + jnp.square(by) * inv[1] + jnp.square(bz) * inv[2]
    rim = jnp.sqrt(jnp.maximum(c - jnp.square(b) / a, 0.0) + 1e-8)  # 1 on the silhouette
    cover = (1.0 - rim) * radii[0]
    # Beyond the rim the nearest surface point stands in, so that soft edges have a colour.
    shrink = jnp.minimum(1.0, 0.999 / rim)
    bx, by, bz = bx * shrink, by * shrink, bz * shrink
    b, c = b * shrink, c * jnp.square(shrink)
    z = (-b + jnp.sqrt(jnp.maximum(jnp.square(b) - a * (c - 1.0), 1e-6))) / a
    px, py, pz = bx + view[0] * z, by + view[1] * z, bz + view[2] * z
    nx, ny, nz = px * inv[0], py * inv[1], pz * inv[2]
    light = to_head @ pose.light
    norm = jnp.sqrt(jnp.square(nx) + jnp.square(ny) + jnp.square(nz) + 1e-8)
    cosine = (nx * light[0] + ny * light[1] + nz * light[2]) / norm
    u = jnp.arctan2(px / radii[0], pz / radii[2] + 1e-6) * radii[0]
    return Surface(
        u=u,
        v=py,
        cover=draw.step(cover, soft),
        diffuse=jax.nn.softplus(8.0 * cosine) / 8.0,
        lift=lift(pose),
        light_u=light[0],
    )
