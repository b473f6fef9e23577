"""Points of a surface that are shaded, and the functions of position that paint them.

Colours and marks are functions of a point's *rest position*, where it is on the neutral base mesh:
they move with the surface, never with the image. Everything painted is symmetric in x.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numba
import numpy as np
from scipy import ndimage

from mm_jax.people.light import Light

__all__ = ["Lighting", "Points", "bump", "ggx", "half_vector", "noise", "smoothstep"]


class Points(NamedTuple):
    """Samples of one material, n of them; all float32.

    Attributes:
        position: ``[n, 3]`` in camera coordinates.
        normal: ``[n, 3]`` unit.
        view: ``[n, 3]`` unit, towards the camera.
        rest: ``[n, 3]`` position on the neutral base mesh.
        key: ``[n]`` share of the key light that arrives.
        sky: ``[n, 3]`` irradiance of the sky.
        open: ``[n]`` how open the sky is, in [0, 1].
        marks: ``[n, m]`` what else the material's vertices carry.
    """

    position: np.ndarray
    normal: np.ndarray
    view: np.ndarray
    rest: np.ndarray
    key: np.ndarray
    sky: np.ndarray
    open: np.ndarray
    marks: np.ndarray


class Lighting(NamedTuple):
    """The light, and how the head is turned in it: ``rotation [3, 3]`` from rest to camera."""

    light: Light
    rotation: np.ndarray


def smoothstep(low, high, x: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: np.ndarray, width) -> np.ndarray:
    """A Gaussian of height 1 about 0."""
    return np.exp(-np.square(x / width))


@functools.cache
def _volume(seed: int = 0, side: int = 32) -> np.ndarray:
    """``[side, side, side]`` float32 periodic smooth noise about 0 with standard deviation 1."""
    white = np.random.default_rng(seed).normal(size=(side,) * 3)
    smooth = ndimage.gaussian_filter(white, 1.0, mode="wrap")
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


def noise(rest: np.ndarray, frequency, seed: int = 0) -> np.ndarray:
    """Symmetric noise ``[n]`` about 0, standard deviation about 1.

    ``frequency`` is lumps to a decimetre, a number or one for each axis.
    """
    at = np.abs(rest) * (2.5 * np.asarray(frequency, np.float32)) + np.float32(7.3)
    return _trilinear(_volume(seed), at.astype(np.float32), np.empty(len(at), np.float32))


@numba.njit(cache=True, fastmath=True)
def _trilinear(volume, at, out):
    """Samples of a periodic volume whose side is a power of two."""
    mask = volume.shape[0] - 1
    for k in range(at.shape[0]):
        x, y, z = math.floor(at[k, 0]), math.floor(at[k, 1]), math.floor(at[k, 2])
        u, v, w = at[k, 0] - x, at[k, 1] - y, at[k, 2] - z
        i, j, k_ = int(x), int(y), int(z)
        total = 0.0
        for a in range(2):
            for b in range(2):
                for c in range(2):
                    weight = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                    total += weight * volume[(i + a) & mask, (j + b) & mask, (k_ + c) & mask]
        out[k] = total
    return out


def ggx(cosine: np.ndarray, roughness: float) -> np.ndarray:
    """Distribution of microfacets (Walter et al. 2007) by the cosine of half vector and normal."""
    a = roughness**4
    d = cosine * cosine * (a - 1) + 1
    return np.float32(a / np.pi) / (d * d)


def half_vector(direction: np.ndarray, view: np.ndarray) -> np.ndarray:
    """``[n, 3]`` unit, half way between a light's direction ``[3]`` and the views."""
    h = direction + view
    return h / (np.linalg.norm(h, axis=1, keepdims=True) + 1e-6)
