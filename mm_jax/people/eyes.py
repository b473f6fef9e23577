"""Eyes: white, iris and pupil painted by the angle from the gaze, a bulging cornea, lid shadow."""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_jax.people.surface import Lighting, Points, bump, smoothstep

__all__ = ["Eyeball", "Iris", "shade_eye"]


@dataclasses.dataclass(frozen=True)
class Iris:
    """Colours ``(3,)`` at the rim and about the pupil; radii as angles in radians and shares."""

    outer: np.ndarray
    inner: np.ndarray
    radius: float = 0.44
    pupil: float = 0.36


@dataclasses.dataclass(frozen=True)
class Eyeball:
    """One eyeball as it is posed: ``centre (3,)``, ``gaze (3,)`` unit, ``radius``."""

    centre: np.ndarray
    gaze: np.ndarray
    radius: float


def shade_eye(iris: Iris, ball: Eyeball, points: Points, lighting: Lighting) -> np.ndarray:
    """Radiance ``[n, 3]``."""
    light = lighting.light
    outward = points.position - ball.centre
    outward = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    cosine = np.clip(outward @ ball.gaze, -1, 1)
    r = np.arccos(cosine) / iris.radius  # 1 at the iris's rim
    across = outward - cosine[:, None] * ball.gaze

    corner = smoothstep(1.5, 2.6, r)[:, None]
    white = np.array([0.50, 0.465, 0.44]) - corner * np.array([0, 0.06, 0.07])
    rim = smoothstep(0.70, 1.0, r)[:, None]
    core = (1 - smoothstep(iris.pupil + 0.05, iris.pupil + 0.35, r))[:, None]
    colour = iris.outer * (1 - 0.62 * rim) * (1 - 0.5 * core) + 0.5 * core * iris.inner
    # The cornea gathers light on the side away from it.
    gathered = 1.25 - 0.6 * (across @ light.key) / iris.radius
    open_pupil = (1 - smoothstep(iris.pupil - 0.06, iris.pupil + 0.06, r))[:, None]
    colour = colour * (1 - open_pupil) * gathered[:, None] + 0.002
    inside = (1 - smoothstep(0.90, 1.10, r))[:, None]
    albedo = white * (1 - inside) + colour * inside

    # The upper lid and its lashes shade the top of the ball.
    lid = 1 - 0.62 * smoothstep(0.08, 0.60, outward[:, 1])
    openness = np.clip(points.open - 0.05, 0, 1) * 1.9
    sky = points.sky * (0.9 * np.minimum(1, openness) * lid)[:, None]
    direct = np.maximum(0, (outward @ light.key + 0.25) / 1.25) * points.key * lid * 0.75
    radiance = albedo * (sky + direct[:, None] * light.key_colour)
    return radiance + _reflection(ball, points, outward, r, light)


def _reflection(ball: Eyeball, points: Points, outward, r, light) -> np.ndarray:
    cornea = points.position - (ball.centre + 0.42 * ball.radius * ball.gaze)
    cornea = cornea / np.linalg.norm(cornea, axis=1, keepdims=True)
    bulge = (1 - smoothstep(0.95, 1.35, r))[:, None]
    normal = outward * (1 - bulge) + cornea * bulge
    normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    facing = (normal * points.view).sum(1)
    mirrored = 2 * facing[:, None] * normal - points.view
    fresnel = 0.03 + 0.97 * (1 - np.maximum(0, facing)) ** 5
    towards = mirrored @ light.key
    window = 2.4 * smoothstep(0.945, 0.970, towards) * np.maximum(0.35, points.key)
    window = window + 0.25 * smoothstep(0.82, 1.0, towards) * points.key
    direction, fill = light.fill()
    second = 0.5 * smoothstep(0.965, 0.985, mirrored @ direction) * points.open
    sky = fresnel * points.open * (0.4 + 0.6 * np.maximum(0, mirrored[:, 1]))
    out = (window * (0.25 + fresnel))[:, None] * light.key_colour + second[:, None] * fill
    # A wet line along the lower lid.
    wet = 0.10 * bump(outward[:, 1] + 0.36, 0.06) * points.open
    return out + (sky + wet)[:, None] * points.sky
