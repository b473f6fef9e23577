"""What is not skin and not eye: teeth and tongue, lashes, hair, clothes."""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_jax.people.surface import Lighting, Points, ggx, half_vector, noise, smoothstep

__all__ = ["Hair", "hair_opacity", "shade_clothes", "shade_hair", "shade_lashes", "shade_mouth"]

CROWN = np.array([0.0, 8.1, 0.15], np.float32)


@dataclasses.dataclass(frozen=True)
class Hair:
    """Hair: ``style`` names a part of the heads (or is "" for none); colours are albedos ``(3,)``.

    ``grey`` in [0, 1] is how much of ``colour`` has given way to ``grey_colour``; ``volume`` scales
    the distance from the head, about 1; ``cut`` is the height where it ends, 0 for its full length.
    """

    style: str
    colour: np.ndarray
    grey: float
    volume: float = 1.0
    cut: float = 0.0

    @property
    def albedo(self) -> np.ndarray:
        """``(3,)``."""
        light = self.colour @ np.array([0.2126, 0.7152, 0.0722])
        # Colour goes before darkness does: a few white hairs make brown hair mousy.
        hue = (self.colour / light) ** (1 - self.grey**0.6)
        return hue * light ** (1 - self.grey) * 0.39**self.grey


def hair_opacity(rest: np.ndarray, border: np.ndarray, cut: float) -> np.ndarray:
    """Opacity ``[n]`` of hair vertices: soft at the open edges and where it is cut.

    Args:
        rest: ``[n, 3]`` rest positions.
        border: ``[n]`` distance from the mesh's open edge.
        cut: height y of the cut, 0 for none; a little higher in front than behind.
    """
    opacity = smoothstep(-0.01, 0.10, border)
    if cut:
        line = cut + 0.10 * smoothstep(0.2, 1.2, rest[:, 2])
        opacity = opacity * smoothstep(line - 0.03, line + 0.03, rest[:, 1])
    return opacity.astype(np.float32)


def shade_hair(hair: Hair, points: Points, lighting: Lighting) -> np.ndarray:
    """Radiance ``[n, 3]`` after Kajiya and Kay (1989); ``points.marks``: distance to the edge."""
    light, rest = lighting.light, points.rest
    radial = rest - CROWN
    if "afro" in hair.style:
        lock = 0.9 * noise(rest, 4.0, 11)
        along = _unit(radial)
    else:
        azimuth = np.arctan2(np.abs(radial[:, 0]), radial[:, 2])
        reach = np.linalg.norm(radial, axis=1)
        strand = np.stack([2.2 * azimuth, 0.25 * reach, 0 * reach], axis=1)
        lock = 0.75 * noise(strand, 2.2, 12) + 0.5 * noise(strand, 6.0, 13)
        along = _unit(radial * np.array([1, 0.4, 1]) + np.array([0, -0.8, 0]))
    tone = np.clip(1 + 0.28 * lock, 0.4, 1.8)
    # Darker towards the roots' edge, where the hair is thin and close.
    tone = tone * (0.72 + 0.28 * smoothstep(0.0, 0.35, points.marks[:, 0]))
    albedo = (hair.albedo[None] * tone[:, None]).astype(np.float32)

    normal = points.normal
    tangent = (along @ lighting.rotation.T).astype(np.float32)
    tangent = _unit(tangent - (tangent * normal).sum(1, keepdims=True) * normal)
    cosine, along_key = normal @ light.key, tangent @ light.key
    lit = points.key
    spread = 0.45 * np.sqrt(np.maximum(0, 1 - along_key**2))
    direct = 0.9 * (spread + 0.55 * np.maximum(0, (cosine + 0.4) / 1.4)) * lit
    radiance = albedo * (points.sky + direct[:, None] * light.key_colour)

    half = half_vector(light.key, points.view)
    facing = np.clip(1.5 * cosine + 0.5, 0, 1) * lit * (0.75 + 0.25 * tone)

    def lobe(shift, power):
        h = ((tangent + shift * normal) * half).sum(1)
        return np.maximum(0, 1 - h * h) ** power * facing

    shine = 0.022 * lobe(0.12, 40)[:, None] + 0.35 * lobe(-0.18, 14)[:, None] * albedo
    radiance = radiance + shine * light.key_colour
    direction, rim = light.rim()
    edge = np.maximum(0, normal @ direction) * points.open
    return radiance + edge[:, None] * rim * (0.9 * albedo + 0.02)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6)).astype(np.float32)


def shade_mouth(points: Points, lighting: Lighting) -> np.ndarray:
    """Teeth, gums and tongue; ``points.marks`` say how much of each point is gum or tongue."""
    light = lighting.light
    red = points.marks[:, :1]
    albedo = (1 - red) * np.array([0.78, 0.72, 0.62]) + red * np.array([0.36, 0.13, 0.12])
    cosine = points.normal @ light.key
    direct = 0.8 * np.maximum(0, (cosine + 0.3) / 1.3) * points.key
    openness = np.minimum(1.9, 0.95 + 1.9 * points.open)
    radiance = albedo * (points.sky * openness[:, None] + direct[:, None] * light.key_colour)
    half = half_vector(light.key, points.view)
    wet = 0.05 * ggx(np.maximum(0, (points.normal * half).sum(1)), 0.3)
    wet = wet * points.key * np.maximum(0, cosine)
    return radiance + wet[:, None] * light.key_colour


def shade_lashes(points: Points, lighting: Lighting) -> np.ndarray:
    """Lashes: dark whatever the hair, lit from everywhere."""
    colour = np.array([0.014, 0.010, 0.009])
    direct = np.maximum(0, (points.normal @ lighting.light.key + 0.5) / 1.5) * points.key
    return colour * (points.sky + direct[:, None] * lighting.light.key_colour)


def shade_clothes(colour: np.ndarray, points: Points, lighting: Lighting) -> np.ndarray:
    """Matt cloth."""
    cosine = points.normal @ lighting.light.key
    direct = np.maximum(0, (cosine + 0.1) / 1.1) * points.key
    weave = 1 + 0.04 * noise(points.rest, 4.0, 14)
    albedo = colour[None] * weave[:, None]
    return albedo * (points.sky + direct[:, None] * lighting.light.key_colour)
