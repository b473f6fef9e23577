"""The parts of a face, each drawn as soft shapes in the head's texture coordinates (u, v).

Every function takes the albedo ``[H, W, 3]`` painted so far and returns it with its part
painted over it.  ``f`` maps the factors' names to scalars in
[-1, 1]; ``px`` is the width of a pixel.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mm_jax.synthface.draw import blend, bump, darken, ellipse, over, step
from mm_jax.synthface.geometry import Surface

Factors = dict[str, jax.Array]

EYE_U, EYE_V = 0.218, 0.055
MOUTH_V = -0.345
NOSE_TIP_V = -0.13


def degree(value: jax.Array) -> jax.Array:
    """A factor in [-1, 1] as a degree in [0, 1]."""
    return 0.5 * (value + 1.0)


def skin_colour(f: Factors) -> jax.Array:
    """Albedo ``[3]`` of the skin."""
    return blend(
        degree(f["skin"]),
        ((0.36, 0.21, 0.15), (0.56, 0.36, 0.25), (0.78, 0.57, 0.44), (0.97, 0.80, 0.70)),
    )


def hair_colour(f: Factors) -> jax.Array:
    """Albedo ``[3]`` of the hair; age greys it, more so the darker it is."""
    young = blend(
        degree(f["hair_tone"]),
        ((0.05, 0.04, 0.05), (0.26, 0.13, 0.07), (0.55, 0.32, 0.12), (0.93, 0.74, 0.38)),
    )
    luminance = young @ jnp.asarray([0.3, 0.55, 0.15], jnp.float32)
    grey = jnp.asarray([0.93, 0.95, 1.0], jnp.float32) * (0.45 + 0.5 * luminance)
    return young + (grey - young) * 0.92 * jax.nn.sigmoid(5.0 * (f["age"] - 0.1))


def cheeks(albedo: jax.Array, s: Surface, f: Factors) -> jax.Array:
    """Rosy cheeks that a smile lifts and reddens, and the dimples beside the mouth."""
    smile = degree(f["smile"])
    side = jnp.abs(s.u)
    rosy = ellipse(side - 0.29, s.v + 0.17 - 0.04 * smile, 0.13, 0.10, 0.12)
    tint = jnp.asarray([0.86, 0.30, 0.28], jnp.float32)
    albedo = over(albedo, tint, rosy * (0.08 + 0.20 * smile))
    crease = bump(side - 0.245 - 0.10 * (s.v + 0.30), 0.014) * step(
        0.13 - jnp.abs(s.v + 0.27), 0.06
    )
    return darken(albedo, crease, 0.30 * jax.nn.relu(f["smile"]))


def wrinkles(albedo: jax.Array, s: Surface, f: Factors, px: float) -> jax.Array:
    """Age: lines on the forehead, crow's feet, bags, folds from nose to mouth, spots, pallor."""
    age = jax.nn.sigmoid(4.0 * f["age"]) * 0.62 + 0.38 * degree(f["age"])
    side = jnp.abs(s.u)
    width = jnp.maximum(0.011, 0.8 * px)
    lines = jnp.zeros_like(s.u)
    for row, height in enumerate((0.305, 0.365, 0.425)):
        wave = height + 0.012 * jnp.sin(9.0 * s.u + 1.7 * row) - 0.15 * jnp.square(s.u)
        lines += bump(s.v - wave, width) * step(0.33 - side, 0.1)
    for slope in (-0.55, -0.1, 0.35):  # crow's feet
        line = s.v - EYE_V - slope * (side - 0.34)
        lines += bump(line, width) * step(side - 0.345, 0.03) * step(0.45 - side, 0.04)
    bag = s.v - (EYE_V - 0.125 + 0.9 * jnp.square(side - EYE_U))
    lines += 0.9 * bump(bag, 1.2 * width) * step(0.10 - jnp.abs(side - EYE_U), 0.03)
    fold = side - (0.125 + 0.40 * jnp.maximum(-0.16 - s.v, 0.0))
    lines += 1.2 * bump(fold, 1.5 * width) * step(-0.15 - s.v, 0.04) * step(s.v + 0.42, 0.06)
    marionette = side - (0.205 - 0.12 * (s.v + 0.42))
    lines += 0.8 * bump(marionette, 1.3 * width) * step(-0.42 - s.v, 0.04) * step(s.v + 0.55, 0.05)
    albedo = darken(albedo, jnp.clip(lines, 0.0, 1.4), 0.50 * age)
    pale = jnp.mean(albedo, axis=-1, keepdims=True)
    albedo = albedo + (pale - albedo) * 0.28 * age
    spots = jax.nn.relu(
        jnp.sin(31 * s.u + 7 * jnp.sin(11 * s.v)) * jnp.sin(29 * s.v + 5 * s.u) - 0.75
    )
    return darken(albedo, spots * step(0.6 - side, 0.2), 0.55 * age)


def brows(albedo: jax.Array, s: Surface, f: Factors, hair: jax.Array, px: float) -> jax.Array:
    """Brows (height, angle) and the frown lines between them."""
    angle, height = f["brow_angle"], f["brow_height"]
    side = jnp.abs(s.u) - s.lift[0] * 0.03 * jnp.sign(s.u)
    along = (side - EYE_U) / 0.125  # -1 inner end .. 1 outer end
    tilt = 0.025 + 0.088 * angle
    middle = EYE_V + 0.165 + 0.060 * height - 0.012 * degree(angle)
    curve = middle + tilt * along - 0.026 * jnp.square(along) * (1.0 - 0.7 * degree(angle))
    thick = 0.030 * (1.0 - 0.35 * jnp.clip(along, -1.0, 1.0))
    stroke = step(thick - jnp.abs(s.v - curve), 0.02 + px) * step(1.05 - jnp.abs(along), 0.2)
    albedo = over(albedo, 0.35 * hair + 0.015, 0.95 * stroke)
    frown = bump(jnp.abs(s.u) - 0.040 - 0.10 * jnp.abs(s.v - 0.14), jnp.maximum(0.013, 0.8 * px))
    frown *= step(0.085 - jnp.abs(s.v - 0.15), 0.05)
    return darken(albedo, frown, 0.55 * jax.nn.sigmoid(5.0 * angle - 1.0))


def eyes(albedo: jax.Array, s: Surface, f: Factors, hair: jax.Array, px: float) -> jax.Array:
    """Both eyes: socket, white, iris that follows the gaze, lids, lashes."""
    size = 1.12 + 0.24 * f["eye_size"]
    opening = degree(f["eye_open"])
    half_width, soft = 0.112 * size, 0.008 + 0.6 * px
    skin = skin_colour(f)
    lash = jnp.asarray([0.07, 0.05, 0.05], jnp.float32)
    iris_colour = jnp.asarray([0.10, 0.16, 0.20], jnp.float32) + 0.45 * hair * jnp.asarray(
        [0.8, 0.9, 0.7], jnp.float32
    )
    for sign in (-1.0, 1.0):
        x = (s.u - sign * EYE_U) / half_width
        y = s.v - EYE_V
        iris_u = s.u - sign * EYE_U - 0.066 * size * f["gaze"]
        arch = jnp.maximum(1.0 - jnp.square(x), 0.0)
        inside = step((1.0 - jnp.abs(x)) * half_width, soft)
        low = -0.036 * size * arch
        high = low + (0.004 + 0.098 * size * opening) * arch
        socket = ellipse(s.u - sign * EYE_U, y - 0.01, half_width * 1.35, 0.115 * size, 0.07)
        albedo = darken(albedo, socket, 0.16)
        lid = ellipse(s.u - sign * EYE_U, y - 0.012, half_width * 1.05, 0.072 * size, 0.02)
        albedo = over(albedo, 0.86 * skin, 0.75 * lid * (1.0 - 0.5 * opening))
        # The cornea bulges under a shut lid, so that even then the gaze shows.
        bulge = ellipse(iris_u, y - 0.004, 0.040 * size, 0.030 * size, 0.03)
        albedo = over(albedo, 1.22 * skin, 0.8 * bulge * (1.0 - opening))
        ball = step(high - y, soft) * step(y - low, soft) * inside
        shade = 0.94 - 0.30 * step(y - high + 0.022, 0.05)
        white = shade[..., None] * jnp.asarray([0.97, 0.97, 0.95], jnp.float32).reshape(1, 1, 3)
        iris_y = y - 0.008
        iris = ellipse(iris_u, iris_y, 0.050 * size, 0.050 * size, soft)
        pupil = ellipse(iris_u, iris_y, 0.023 * size, 0.023 * size, soft)
        glint = ellipse(iris_u + 0.016, iris_y - 0.018, 0.011, 0.011, soft)
        white = over(white, iris_colour, iris)
        white = over(white, 0.2 * lash, pupil)
        white = over(white, jnp.ones(3), 0.9 * glint)
        albedo = albedo + (white - albedo) * ball[..., None]
        upper = bump(y - high, 0.012 + 0.5 * px) * step((1.10 - jnp.abs(x)) * half_width, soft)
        albedo = over(albedo, lash, 0.92 * upper)
        under = bump(y - low, 0.006 + 0.4 * px) * inside
        albedo = over(albedo, 0.5 * skin, 0.35 * under)
        crease = bump(y - high - 0.030 * size, 0.007 + 0.4 * px) * inside
        albedo = darken(albedo, crease, 0.34)
    return albedo


def nose(albedo: jax.Array, s: Surface, f: Factors, px: float) -> tuple[jax.Array, jax.Array]:
    """Nose: nostrils and wings in the albedo; returns also the shading ``[H, W]`` of the ridge."""
    size = 1.0 + 0.50 * f["nose_size"]
    rise = jnp.clip((EYE_V + 0.05 - s.v) / (EYE_V + 0.05 - NOSE_TIP_V), 0.0, 1.0)
    height = 0.15 * rise
    u = s.u - s.lift[0] * height
    v = s.v - s.lift[1] * 0.13
    width = (0.040 + 0.040 * jnp.square(rise)) * size
    below = step(v - NOSE_TIP_V + 0.055, 0.035)
    ridge = jnp.exp(-jnp.square(u / width)) * jnp.sqrt(rise + 1e-4) * below
    slope = -2.0 * u / width * ridge
    shading = -0.34 * slope * s.light_u + 0.10 * ridge
    under = ellipse(u, v - NOSE_TIP_V + 0.062, 0.085 * size, 0.028, 0.03)
    albedo = darken(albedo, under, 0.30)
    for sign in (-1.0, 1.0):
        wing = u - sign * 0.082 * size
        rim = bump(
            jnp.sqrt(jnp.square(wing) + jnp.square(v - NOSE_TIP_V + 0.028) + 1e-8) - 0.036, 0.012
        )
        albedo = darken(albedo, rim * step(sign * wing, 0.02), 0.38)
        hole = ellipse(
            u - sign * 0.044 * size, v - NOSE_TIP_V + 0.055, 0.026 * size, 0.015, 0.012 + px
        )
        albedo = darken(albedo, hole, 0.72)
    return albedo, shading


def mouth(albedo: jax.Array, s: Surface, f: Factors, px: float) -> jax.Array:
    """Lips, teeth and the dark between them; a smile lifts and widens the corners."""
    smile, opening = f["smile"], degree(f["mouth_open"])
    soft = 0.010 + 0.6 * px
    half = 0.182 * (1.0 + 0.36 * f["mouth_width"]) * (1.0 + 0.20 * smile)
    u = s.u - s.lift[0] * 0.03
    x = u / half
    square = jnp.square(x)
    arch = jnp.maximum(1.0 - square, 0.0)
    # The lift stays bounded outside the mouth so that nothing there is stretched.
    line = MOUTH_V + 0.085 * smile * (jnp.minimum(square, 1.3) - 0.42) - 0.012 * arch
    inside = step((1.0 - jnp.abs(x)) * half, soft)
    gap = 0.135 * opening * jnp.sqrt(arch + 1e-4) * arch
    top, bottom = line + 0.30 * gap, line - 0.70 * gap
    skin = skin_colour(f)
    red = jnp.asarray([0.80, 0.16, 0.20], jnp.float32) * (0.55 + 0.45 * jnp.max(skin))
    brown = skin * jnp.asarray([0.82, 0.60, 0.56], jnp.float32)
    lip = brown + (red - brown) * degree(f["lip_tone"])
    bow = 0.050 * arch * (1.0 - 0.28 * jnp.exp(-jnp.square(x / 0.16)))
    upper = step(top + bow - s.v, soft) * step(s.v - top, soft) * inside
    lower = step(bottom - s.v, soft) * step(s.v - bottom + 0.062 * arch, soft) * inside
    albedo = over(albedo, 0.88 * lip, upper)
    albedo = over(albedo, lip, lower)
    shine = ellipse(u, s.v - bottom + 0.030, 0.45 * half, 0.012, 0.03)
    albedo = over(albedo, jnp.ones(3), 0.16 * shine * lower)
    hole = step(top - s.v, soft) * step(s.v - bottom, soft) * inside * step(gap - 0.006, 0.012)
    albedo = over(albedo, jnp.asarray([0.22, 0.04, 0.05], jnp.float32), hole)
    teeth = hole * step(s.v - top + 0.042, 0.012) * step(0.86 - jnp.abs(x), 0.1)
    albedo = over(albedo, jnp.asarray([0.96, 0.95, 0.90], jnp.float32), 0.95 * teeth)
    tongue = hole * ellipse(u, s.v - bottom, 0.5 * half, 0.040, 0.03)
    albedo = over(albedo, jnp.asarray([0.72, 0.25, 0.27], jnp.float32), 0.8 * tongue)
    seam = bump(s.v - line, 0.008 + 0.45 * px) * step((1.03 - jnp.abs(x)) * half, soft)
    albedo = darken(albedo, seam * (1.0 - hole), 0.62)
    corner = sum(
        ellipse(u - sign * half, s.v - MOUTH_V - 0.045 * smile, 0.018, 0.018, 0.03)
        for sign in (-1, 1)
    )
    albedo = darken(albedo, jnp.asarray(corner), 0.22)
    groove = ellipse(u, s.v - MOUTH_V + 0.105, 0.09, 0.016, 0.05)
    return darken(albedo, groove, 0.16)
