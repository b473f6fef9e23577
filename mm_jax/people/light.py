"""Light: a key light with soft shadows, a sky that the head itself occludes, a fill and a rim.

Directions are unit vectors towards the light in camera coordinates (x right, y up, z to the
viewer); colours are linear RGB.
"""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np
from scipy import sparse

from mm_jax.people.raster import depth_map

__all__ = ["Light", "Occluder", "ShadowMap", "SkyMaps", "diffusion", "sky_directions"]

SKY_RESOLUTION, SHADOW_RESOLUTION = 64, 384
_REACH = 2.1  # half the side of the maps, in decimetres about the head


@dataclasses.dataclass(frozen=True)
class Light:
    """One lighting.

    Attributes:
        azimuth: of the key light in radians, positive to the image's right.
        elevation: of the key light in radians.
        warmth: of the key light, about [-0.25, 0.25].
        strength: of the key light, about 1 to 2.
        ambient: of the sky, about 0.5 to 1.2.
        behind: ``(3,)`` colour of what is behind the head.
        softness: of shadows, in texels of the shadow map.
    """

    azimuth: float
    elevation: float
    warmth: float
    strength: float
    ambient: float
    behind: np.ndarray
    softness: float = 7.0

    @property
    def key(self) -> np.ndarray:
        """``(3,)`` towards the key light."""
        a, e = self.azimuth, self.elevation
        return np.array(
            [math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)], np.float32
        )

    @property
    def key_colour(self) -> np.ndarray:
        """``(3,)``."""
        return self.strength * np.array(
            [1 + 0.5 * self.warmth, 1, 1 - 0.7 * self.warmth], np.float32
        )

    @property
    def sky_tint(self) -> np.ndarray:
        """``(3,)``: the sky is cooler where the key is warmer."""
        return self.ambient * np.array(
            [1 - 0.3 * self.warmth, 1, 1 + 0.4 * self.warmth], np.float32
        )

    def fill(self) -> tuple[np.ndarray, np.ndarray]:
        """Direction and colour of a weak light opposite the key, which only makes highlights."""
        return _unit(np.array([-self.key[0], 0.25, 0.9])), 0.9 * self.sky_tint

    def rim(self) -> tuple[np.ndarray, np.ndarray]:
        """Direction and colour of a light from behind, opposite the key."""
        side = -np.tanh(4 * self.key[0])
        return _unit(np.array([0.8 * side, 0.5, -0.7])), 0.45 * self.sky_tint

    def sky(self, directions: np.ndarray) -> np.ndarray:
        """Colours ``[n, 3]`` of the sky in directions ``[n, 3]``; their sum is its irradiance."""
        tint, key = self.sky_tint, self.key
        lobes = (
            ((0, 1, 0.3), 1.15 * tint, 1.5),  # above
            ((-1.3 * key[0], 0.1, 0.8), 0.85 * tint, 3.0),  # opposite the key
            ((0, -1, 0.4), 0.36 * self.ambient * np.array([1.05, 0.95, 0.85]), 2.0),  # the floor
            ((0, 0.2, -1), 0.8 * self.behind, 2.0),
        )
        total = np.zeros((len(directions), 3))
        for towards, colour, power in lobes:
            cosine = 0.5 + 0.5 * directions @ _unit(np.array(towards, float))
            total += cosine[:, None] ** power * colour
        return (2 / len(directions) * total).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def sky_directions(count: int = 14) -> np.ndarray:
    """``[n, 3]`` float32 of a Fibonacci sphere, without those from below or behind."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    ring, angle = np.sqrt(1 - y * y), i * math.pi * (3 - math.sqrt(5))
    points = np.stack([ring * np.cos(angle), y, ring * np.sin(angle)], axis=1)
    return points[(points[:, 1] > -0.75) & (points[:, 2] > -0.8)].astype(np.float32)


def _axes(direction: np.ndarray) -> np.ndarray:
    """Rows: right, up, towards the light."""
    up = np.array([0, 1, 0]) if abs(direction[1]) < 0.95 else np.array([0, 0, 1])
    right = np.cross(up, direction)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(direction, right), direction]).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Occluder:
    """A mesh that casts shadows: ``points [n, 3]``, ``faces [t, 3]``, ``alpha [n]``."""

    points: np.ndarray
    faces: np.ndarray
    alpha: np.ndarray


def _map(occluders, axes, centre, resolution):
    scale = resolution / 2 / _REACH
    out = np.full((resolution, resolution), -9, np.float32)
    for mesh in occluders:
        seen = ((mesh.points - centre) @ axes.T).astype(np.float32)
        seen[:, :2] = seen[:, :2] * np.float32(scale) + np.float32(resolution / 2)
        np.maximum(out, depth_map(seen, mesh.faces, mesh.alpha, resolution), out=out)
    return out


class ShadowMap:
    """What the key light sees, for soft shadows."""

    def __init__(self, light: Light, occluders: list[Occluder], centre: np.ndarray):
        self.axes, self.centre, self.softness = _axes(light.key), centre, light.softness
        self.depth = _map(occluders, self.axes, centre, SHADOW_RESOLUTION)

    def lit(self, points: np.ndarray, normals: np.ndarray, bias: float = 0.022) -> np.ndarray:
        """Share of the key light ``[n]`` float32 that reaches points ``[n, 3]``."""
        seen = (points + bias * normals - self.centre) @ self.axes.T
        scale = np.float32(SHADOW_RESOLUTION / 2 / _REACH)
        x = seen[:, 0] * scale + np.float32(SHADOW_RESOLUTION / 2)
        y = seen[:, 1] * scale + np.float32(SHADOW_RESOLUTION / 2)
        out = np.zeros(len(points), np.float32)
        return _percentage_closer(
            self.depth, x, y, seen[:, 2] + np.float32(bias), self.softness, out
        )


@numba.njit(cache=True, fastmath=True)
def _percentage_closer(depth, x, y, z, softness, out):
    across, taps = depth.shape[0], 16
    for i in range(x.shape[0]):
        lit = 0.0
        for k in range(taps):
            radius = softness * math.sqrt((k + 0.5) / taps)
            column = int(x[i] + radius * math.cos(2.399963 * k) + 0.5)
            row = int(y[i] + radius * math.sin(2.399963 * k) + 0.5)
            outside = column < 0 or row < 0 or column >= across or row >= across
            if outside or depth[row, column] < z[i]:
                lit += 1.0
        out[i] = lit / taps
    return out


class SkyMaps:
    """What each direction of the sky sees, for occlusion by the head itself."""

    def __init__(self, occluders: list[Occluder], centre: np.ndarray):
        self.directions, self.centre = sky_directions(), centre
        self.axes = np.stack([_axes(d) for d in self.directions])
        self.depths = np.stack([_map(occluders, a, centre, SKY_RESOLUTION) for a in self.axes])

    def irradiance(self, light: Light, points, normals, isotropic) -> np.ndarray:
        """Light ``[n, 4]`` float32 from the sky: RGB, and how open the sky is, in [0, 1].

        Args:
            light: the lighting.
            points: ``[n, 3]``.
            normals: ``[n, 3]``.
            isotropic: ``[n]`` bool, for hair, which takes light from all sides.
        """
        out = np.zeros((len(points), 4), np.float32)
        _gather_sky(
            np.asarray(points - self.centre, np.float32),
            normals,
            isotropic,
            self.directions,
            light.sky(self.directions),
            self.depths,
            self.axes,
            np.float32(SKY_RESOLUTION / 2 / _REACH),
            out,
        )
        return out


@numba.njit(cache=True, fastmath=True)
def _gather_sky(points, normals, isotropic, directions, colours, depths, axes, scale, out):
    across, bias, wrap = depths.shape[1], 0.035, 0.15
    for i in range(points.shape[0]):
        open_, possible = 0.0, 1e-6
        for k in range(directions.shape[0]):
            cosine = 0.0
            for j in range(3):
                cosine += normals[i, j] * directions[k, j]
            lift = bias
            if isotropic[i]:
                cosine, lift = 0.35 + 0.65 * abs(cosine), 0.0
            weight = (cosine + wrap) / (1 + wrap)
            if weight <= 0:
                continue
            x = y = z = 0.0
            for j in range(3):
                p = points[i, j] + lift * normals[i, j]
                x += p * axes[k, 0, j]
                y += p * axes[k, 1, j]
                z += p * axes[k, 2, j]
            x, y, z = x * scale + across / 2, y * scale + across / 2, z + 1.2 * bias
            column, row = math.floor(x), math.floor(y)
            seen = 1.0
            if 0 <= column < across - 1 and 0 <= row < across - 1:
                u, v = x - column, y - row
                seen = 0.0
                if depths[k, row, column] < z:
                    seen += (1 - u) * (1 - v)
                if depths[k, row, column + 1] < z:
                    seen += u * (1 - v)
                if depths[k, row + 1, column] < z:
                    seen += (1 - u) * v
                if depths[k, row + 1, column + 1] < z:
                    seen += u * v
            for j in range(3):
                out[i, j] += weight * seen * colours[k, j]
            open_ += weight * seen
            possible += weight
        out[i, 3] = open_ / possible


def diffusion(faces: np.ndarray, count: int) -> sparse.csr_matrix:
    """``[count, count]`` averaging each vertex with its neighbours: light under the skin."""
    ends = np.concatenate([faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    ends = np.concatenate([ends, ends[:, ::-1], np.repeat(np.arange(count)[:, None], 2, axis=1)])
    matrix = sparse.csr_matrix(
        (np.ones(len(ends), np.float32), (ends[:, 0], ends[:, 1])), shape=(count, count)
    )
    matrix.data[:] = 1
    mean = sparse.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix
    return sparse.csr_matrix(mean, dtype=np.float32)
