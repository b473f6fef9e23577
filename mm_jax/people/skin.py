"""Skin: its colour, what is painted on it (lips, brows, beard, scalp), wrinkles, light in it.

Heights in the face, as y of the rest position: chin 6.35, mouth 6.70, nose's tip 6.95, eyes 7.27,
brows 7.5, hairline 8.0.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
from scipy import ndimage

from mm_jax.people.surface import Lighting, Points, bump, ggx, half_vector, noise, smoothstep

__all__ = ["WRINKLES", "Brows", "Skin", "shade_skin"]

# Albedo along the scale of melanin: pale, olive, brown, dark.
_TONES = np.log(
    [(0.66, 0.43, 0.33), (0.49, 0.285, 0.19), (0.25, 0.135, 0.083), (0.105, 0.058, 0.038)]
)
_MELANIN = (0.0, 0.35, 0.68, 1.0)
WRINKLES = ("forehead", "frown", "crows_feet", "nasolabial", "eye_bags", "coarse", "neck")


@dataclasses.dataclass(frozen=True)
class Brows:
    """Painted eyebrows: ``thickness`` about 1, ``density`` in [0, 1], ``lift``, ``arch`` in dm."""

    thickness: float = 1.0
    density: float = 0.8
    lift: float = 0.0
    arch: float = 0.05


@dataclasses.dataclass(frozen=True)
class Skin:
    """What the skin looks like; colours are linear RGB albedos.

    Attributes:
        melanin: 0 pale to 1 dark.
        redness: of cheeks, nose and ears, about 0 to 1.
        freckles: 0 none to 1 many.
        spots: of old age, 0 to 1.
        shadows: under the eyes, about 0.3 to 0.8.
        oil: strength of highlights, about 1.
        lips: ``(3,)`` colour.
        lip_strength: how much of it, 0 to 1.
        gloss: of the lips, 0 to 1.
        beard: 0 none to 1 full.
        scalp: how much hair colour shows on the scalp, 0 to 1.
        hair: ``(3,)`` colour of beard and scalp.
        brow: ``(3,)`` colour of the brows.
        brows: their shape.
        lashes: how dense, 0 to 1.
        wrinkles: depth of each of `WRINKLES`, about 0 to 1.
    """

    melanin: float
    redness: float
    freckles: float
    spots: float
    shadows: float
    oil: float
    lips: np.ndarray
    lip_strength: float
    gloss: float
    beard: float
    scalp: float
    hair: np.ndarray
    brow: np.ndarray
    brows: Brows
    lashes: float
    wrinkles: tuple[float, ...]

    @property
    def tone(self) -> np.ndarray:
        """``(3,)`` natural logarithm of the albedo."""
        return np.array([np.interp(self.melanin, _MELANIN, _TONES[:, c]) for c in range(3)])


def shade_skin(skin: Skin, points: Points, lighting: Lighting) -> np.ndarray:
    """Radiance ``[n, 3]`` float32; ``points.marks``: lips, inside of the mouth, lid margin."""
    wrinkled, crease = _wrinkled_normal(skin, points, lighting.rotation)
    albedo = _albedo(skin, points, crease)
    return _light(skin, points, wrinkled, albedo, lighting)


def _albedo(skin: Skin, points: Points, crease: np.ndarray) -> np.ndarray:
    rest = points.rest
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    broad, fine = noise(rest, 1.6), noise(rest, 5.0, 1)
    cheeks = bump(x - 0.50, 0.22) * bump(y - 6.98, 0.20)
    nose = bump(x, 0.16) * bump(y - 6.95, 0.14) * smoothstep(1.4, 1.6, z)
    ears = smoothstep(0.72, 0.85, x) * smoothstep(6.7, 6.9, y) * (1 - smoothstep(7.5, 7.7, y))
    blood = skin.redness * (cheeks * (0.85 + 0.2 * broad) + 0.7 * nose + 0.35 * ears) + 0.02 * fine
    under = bump(x - 0.30, 0.16) * bump(y - 7.10, 0.07) * smoothstep(1.1, 1.2, z)
    melanin = 0.035 * broad
    if skin.freckles > 0:
        face = bump(x - 0.24, 0.36) * bump(y - 7.02, 0.24) * smoothstep(0.9, 1.1, z)
        dots = smoothstep(0.3, 1.2, noise(rest, 11.0, 2))
        melanin = melanin - skin.freckles * face * (0.12 + 0.55 * dots)
    if skin.spots > 0:
        melanin = melanin - 0.45 * skin.spots * smoothstep(1.1, 1.7, noise(rest, 4.0, 3))
    tone = skin.tone[None] + blood[:, None] * np.array([-0.10, -0.52, -0.42])
    tone = tone + melanin[:, None] * np.array([0.6, 0.9, 1.1])
    tone = tone - (skin.shadows * under)[:, None] * np.array([0.20, 0.28, 0.22])
    tone = tone + crease[:, None] * np.array([0.5, 0.8, 0.8])
    albedo = np.exp(tone).astype(np.float32)

    lips = points.marks[:, 0]
    albedo = _over(albedo, skin.lips, np.clip(skin.lip_strength * lips, 0, 1))
    # The seam between the lips, and the wet inside.
    albedo = _over(albedo, np.array([0.20, 0.045, 0.045]), 0.92 * points.marks[:, 1])
    albedo = _over(albedo, skin.hair, _scalp(skin, x, y, z, broad))
    if skin.beard > 0:
        albedo = _over(albedo, 0.8 * skin.hair, _beard(skin, x, y, z, lips, rest))
    albedo = _over(albedo, skin.brow, _brow(skin.brows, x, y, z, rest))
    upper, lower = _lash_lines(x, y, z)
    albedo = _over(albedo, np.array([0.014, 0.010, 0.009]), (0.60 + 0.35 * skin.lashes) * upper)
    rim = points.marks[:, 2] * (1 - smoothstep(7.245, 7.265, y))
    albedo = _over(albedo, np.exp(skin.tone) * np.array([0.95, 0.62, 0.58]), 0.6 * rim)
    return _over(albedo, np.array([0.03, 0.02, 0.018]), (0.15 + 0.3 * skin.lashes) * lower)


def _lash_lines(x, y, z) -> tuple[np.ndarray, np.ndarray]:
    """Opacity of the roots of the lashes along the upper and the lower lid.

    They move with the lids, so that shut eyes show a dark line too.
    """
    across = (x - 0.315) / 0.130  # -1 at the inner corner, 1 at the outer one
    arch = np.clip(1 - across**2, 0, 1)
    inside = 1 - smoothstep(0.92, 1.12, np.abs(across))
    inside = inside * smoothstep(1.24, 1.30, z) * (0.75 + 0.25 * smoothstep(-1, 0.5, across))
    upper = bump(y - (7.292 + 0.068 * arch), 0.021) * inside
    lower = bump(y - (7.284 - 0.044 * arch), 0.010) * inside
    return upper, lower


def _over(albedo, colour, opacity):
    return albedo + (np.asarray(colour, np.float32) - albedo) * opacity[:, None].astype(np.float32)


def _brow(brows: Brows, x, y, z, rest) -> np.ndarray:
    """Opacity of the brows: an arched stroke, full at its head and thin at its tail."""
    t = (x - 0.13) / 0.47  # 0 at the inner end, 1 at the tail
    inside = np.clip(t, 0, 1)
    rise = 4 * inside * (1 - inside) + 0.9 * inside**2 - 0.9 * inside**4
    middle = 7.475 + brows.lift + brows.arch * rise - 0.055 * inside**3
    head = 0.75 + 0.25 * smoothstep(0, 0.15, t)
    half = brows.thickness * 0.047 * (1.0 - 0.62 * inside**1.6) * head
    stroke = 1 - smoothstep(0.45, 1.25, np.abs(y - middle) / half)
    ends = smoothstep(-0.06, 0.10, t) * (1 - smoothstep(0.88, 1.04, t))
    strands = 0.9 + 0.12 * noise(rest, (16.0, 7.0, 2.0), 4)
    return np.clip(brows.density * stroke * ends * strands, 0, 0.96) * smoothstep(0.9, 1.1, z)


def _beard(skin: Skin, x, y, z, lips, rest) -> np.ndarray:
    """Opacity of the beard: chin and jaw, moustache, corners, sideburns."""
    edge = 0.04 * noise(rest, 3.0, 5)
    line = 6.615 + 0.62 * x * x + 0.25 * smoothstep(0.5, 0.8, x)
    jaw = (1 - smoothstep(line - 0.12, line + 0.09, y + edge)) * smoothstep(5.95, 6.35, y)
    jaw = jaw * smoothstep(0.25, 0.6, z)
    moustache = smoothstep(6.62, 6.72, y) * (1 - smoothstep(6.79, 6.87, y + 0.3 * x * x))
    moustache = moustache * (1 - smoothstep(0.24, 0.38, x + edge)) * smoothstep(1.25, 1.38, z)
    corner = bump(x - 0.33, 0.08) * bump(y - 6.64, 0.12) * smoothstep(1.1, 1.25, z)
    side = smoothstep(0.64, 0.72, x) * (1 - smoothstep(7.15, 7.45, y)) * smoothstep(6.2, 6.5, y)
    side = side * (1 - smoothstep(0.80, 0.90, x)) * smoothstep(0.48, 0.68, z)
    side = side * (1 - smoothstep(1.0, 1.12, z))
    where = np.maximum.reduce([jaw, moustache, corner, side]) * (1 - smoothstep(0.1, 0.5, lips))
    # A young beard lets skin through; a full one is nearly closed.
    closed = skin.beard**0.8
    return np.clip(where * closed * (0.86 + 0.10 * noise(rest, 12.0, 6)), 0, 0.9)


def _scalp(skin: Skin, x, y, z, broad) -> np.ndarray:
    """Opacity of hair colour on the scalp, soft along the hairline, temples and neck."""
    line = 7.99 - 0.20 * x * x + 0.015 * broad
    top = smoothstep(line - 0.10, line + 0.12, y) * smoothstep(-0.2, 0.3, y - 7.6)
    temple = smoothstep(0.70, 0.81, x) * smoothstep(7.1, 7.35, y) * (1 - smoothstep(0.45, 0.78, z))
    back = (1 - smoothstep(0.05, 0.38, z)) * smoothstep(6.7, 7.0, y)
    return 0.93 * skin.scalp * np.maximum.reduce([top, temple, back])


# --- wrinkles: a height field over (|x|, y) of the rest position ----------------------------------

_X, _Y = (0.0, 1.05), (5.5, 8.3)
_GRID = (560, 210)  # rows along y and columns along |x|, half a millimetre apart


@functools.cache
def _wrinkle_heights() -> np.ndarray:
    """``[7, rows, columns]`` heights of `WRINKLES` at depth 1, in decimetres."""
    y, x = np.meshgrid(np.linspace(*_Y, _GRID[0]), np.linspace(*_X, _GRID[1]), indexing="ij")
    flat = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    slow = noise(flat, 0.9, 8).reshape(x.shape)
    quick = noise(flat, 2.5, 9).reshape(x.shape)

    def groove(distance, width):
        return -bump(distance, width)

    def line(points):
        distance = np.full(x.shape, 9.0)
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            dx, dy = x1 - x0, y1 - y0
            t = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
            distance = np.minimum(distance, np.hypot(x - x0 - t * dx, y - y0 - t * dy))
        return distance

    # Lines across the forehead, upright and across between the brows.
    rows = (y - 7.60 + 0.012 * slow + 0.05 * x * x) / 0.10
    forehead = groove(np.abs(rows - np.round(rows)) * 0.10, 0.020)
    forehead = forehead * (0.8 + 0.25 * np.clip(quick, -1, 1))
    within = smoothstep(7.54, 7.62, y) * (1 - smoothstep(7.86, 7.98, y))
    forehead *= within * (1 - smoothstep(0.34, 0.56, x))
    frown = 0.8 * groove(x - 0.075 - 0.05 * (y - 7.45), 0.028) * smoothstep(7.30, 7.42, y)
    frown *= 1 - smoothstep(7.46, 7.60, y)
    frown += 0.5 * groove(y - 7.27, 0.018) * (1 - smoothstep(0.07, 0.13, x))
    # Crow's feet: spokes about the outer corner of the eye.
    radius, angle = np.hypot(x - 0.50, y - 7.275), np.arctan2(y - 7.275, x - 0.50)
    spokes = (angle + 0.05 * slow) / 0.36
    crows = groove(np.abs(spokes - np.round(spokes)) * 0.36 * np.maximum(radius, 0.05), 0.014)
    crows *= smoothstep(0.05, 0.10, radius) * (1 - smoothstep(0.16, 0.27, radius))
    crows *= 1 - smoothstep(0.7, 1.05, np.abs(angle))
    # From nose to mouth and below it; bags under the eyes; coarse skin; rings about the neck.
    fold = groove(line([(0.175, 7.0), (0.25, 6.91), (0.315, 6.80), (0.34, 6.70)]), 0.045)
    fold += 0.6 * groove(line([(0.30, 6.62), (0.325, 6.5), (0.33, 6.42)]), 0.034)
    bag = line([(0.15, 7.20), (0.22, 7.135), (0.31, 7.115), (0.42, 7.15)])
    bags = groove(bag, 0.020) + 0.5 * bump(x - 0.31, 0.12) * bump(y - 7.155, 0.035)
    coarse = 0.10 * quick * smoothstep(6.3, 6.6, y) * (1 - smoothstep(7.4, 7.7, y))
    rings = (y - 6.0 - 0.15 * x) / 0.19
    neck = groove(np.abs(rings - np.round(rings)) * 0.19, 0.028) * smoothstep(5.6, 5.8, y)
    neck *= (1 - smoothstep(6.24, 6.34, y)) * (1 - smoothstep(0.45, 0.7, x))
    depths = (0.018, 0.020, 0.014, 0.022, 0.016, 0.02, 0.014)
    layers = (forehead, frown, crows, fold, bags, coarse, neck)
    return np.stack([d * layer for d, layer in zip(depths, layers, strict=True)]).astype(np.float32)


def _wrinkled_normal(skin: Skin, points: Points, rotation: np.ndarray):
    """Normals ``[n, 3]`` tilted by wrinkles, and how deep in a crease each point is, ``[n]``."""
    height = np.tensordot(np.asarray(skin.wrinkles, np.float32), _wrinkle_heights(), 1)
    step_y = (_Y[1] - _Y[0]) / (_GRID[0] - 1)
    step_x = (_X[1] - _X[0]) / (_GRID[1] - 1)
    along_y, along_x = np.gradient(height, step_y, step_x)
    rest = points.rest
    at = np.stack([(rest[:, 1] - _Y[0]) / step_y, (np.abs(rest[:, 0]) - _X[0]) / step_x])

    def sample(grid):
        return ndimage.map_coordinates(grid, at, order=1, mode="constant")

    front = smoothstep(0.5, 0.9, rest[:, 2])
    slope = np.zeros_like(rest)
    slope[:, 0] = np.sign(rest[:, 0]) * sample(along_x) * front
    slope[:, 1] = sample(along_y) * front
    slope = slope @ rotation.T.astype(np.float32)
    normal = points.normal
    slope = slope - (slope * normal).sum(1, keepdims=True) * normal
    tilted = normal - slope
    tilted = tilted / np.linalg.norm(tilted, axis=1, keepdims=True)
    return tilted, 12 * sample(height) * front


# --- light ----------------------------------------------------------------------------------------


def _light(skin: Skin, points: Points, wrinkled, albedo, lighting: Lighting) -> np.ndarray:
    light = lighting.light
    key, colour = light.key, light.key_colour
    smooth_cosine, cosine = points.normal @ key, wrinkled @ key
    # Light wraps round and bleeds red: each channel has its own softness and shadow (Penner 2011).
    red = np.maximum(0, (0.6 * smooth_cosine + 0.4 * cosine + 0.32) / 1.32) ** 1.15
    green = np.maximum(0, (cosine + 0.14) / 1.14)
    blue = np.maximum(0, (cosine + 0.09) / 1.09)
    lit = points.key
    direct = np.stack([red * lit**0.75, green * lit, blue * lit**1.15], axis=1) * colour
    tilt = wrinkled - points.normal
    relief = 1 + 0.55 * (0.8 * tilt[:, 1] + 0.5 * tilt[:, 2])
    radiance = albedo * (points.sky * relief[:, None] + direct)

    view, lips = points.view, points.marks[:, 0]
    facing = np.maximum(0.05, (wrinkled * view).sum(1))
    x, y = np.abs(points.rest[:, 0]), points.rest[:, 1]
    oil = skin.oil * (0.6 + 0.5 * bump(x, 0.25) * smoothstep(6.9, 7.2, y))
    oil = oil * (1 + skin.gloss * lips) * (1 - 0.6 * points.marks[:, 1])
    half = half_vector(key, view)
    cosine_half = np.maximum(0, (wrinkled * half).sum(1))
    fresnel = 0.028 + 0.972 * (1 - np.maximum(0, (view * half).sum(1))) ** 5
    tight = 0.45 - 0.16 * lips * skin.gloss
    lobes = 0.6 * _ggx_of(cosine_half, tight) + 0.5 * ggx(cosine_half, 0.62)
    shine = 2.2 * fresnel * lobes / (2.4 * facing + 0.4) * np.maximum(0, cosine) * lit * oil
    radiance = radiance + shine[:, None] * colour
    direction, fill = light.fill()
    cosine_half = np.maximum(0, (wrinkled * half_vector(direction, view)).sum(1))
    shine = 0.035 * ggx(cosine_half, 0.5) * points.open**2 * oil
    radiance = radiance + (shine * np.maximum(0, wrinkled @ direction))[:, None] * fill
    grazing = 0.10 * (1 - facing) ** 3 * points.open
    radiance = radiance + grazing[:, None] * points.sky
    direction, rim = light.rim()
    edge = np.maximum(0, wrinkled @ direction) * (1 - facing) ** 2 * points.open
    return radiance + edge[:, None] * rim * (albedo + 0.1)


def _ggx_of(cosine: np.ndarray, roughness: np.ndarray) -> np.ndarray:
    a = roughness**4
    d = cosine * cosine * (a - 1) + 1
    return a / np.pi / (d * d)
