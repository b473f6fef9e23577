"""Soft drawing primitives on pixel grids: every shape is a differentiable coverage in [0, 1].

Arrays are ``[H, W]`` coverages or ``[H, W, 3]`` linear colours in [0, 1]; ``soft`` is the width of
an edge in the units of the coordinate being compared.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

Number = jax.Array | float


def step(distance: jax.Array, soft: Number) -> jax.Array:
    """Coverage of ``distance > 0`` with an edge of width ``soft``."""
    return jax.nn.sigmoid(4.0 * distance / soft)


def bump(distance: jax.Array, width: Number) -> jax.Array:
    """A Gaussian line: 1 where ``distance`` is 0, falling off over ``width``."""
    return jnp.exp(-jnp.square(distance / width))


def ellipse(x: jax.Array, y: jax.Array, rx: Number, ry: Number, soft: Number) -> jax.Array:
    """Coverage of the ellipse with radii ``rx``, ``ry`` about the origin."""
    radius = jnp.sqrt(jnp.square(x / rx) + jnp.square(y / ry) + 1e-8)
    return step((1.0 - radius) * jnp.minimum(rx, ry), soft)


def over(base: jax.Array, colour: jax.Array, coverage: jax.Array) -> jax.Array:
    """Paint ``colour`` (``[3]`` or ``[H, W, 3]``) over ``base`` where ``coverage`` is 1."""
    colour = jnp.broadcast_to(colour, base.shape)
    return base + (colour - base) * coverage[..., None]


def darken(base: jax.Array, coverage: jax.Array, amount: Number) -> jax.Array:
    """Multiply ``base`` by ``1 - amount`` where ``coverage`` is 1."""
    return base * (1.0 - amount * coverage)[..., None]


def blend(t: Number, stops: tuple[tuple[float, float, float], ...]) -> jax.Array:
    """Colour ``[3]`` at ``t`` in [0, 1] along evenly spaced colour stops."""
    table = jnp.asarray(stops, jnp.float32)
    position = jnp.clip(t, 0.0, 1.0) * (len(stops) - 1)
    weight = jnp.maximum(0.0, 1.0 - jnp.abs(position - jnp.arange(len(stops), dtype=jnp.float32)))
    return weight @ table


def hue(angle: Number, saturation: Number, value: Number) -> jax.Array:
    """A colour ``[3]`` of the given hue angle (radians)."""
    phase = jnp.asarray([0.0, 2.0943951, 4.1887902], jnp.float32)
    return value * (1.0 - saturation * (0.5 - 0.5 * jnp.cos(angle - phase)))
