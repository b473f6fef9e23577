"""A differentiable procedural face: factors in, picture out.

A 2.5-D scene in the order of painting: background, hair behind the head, neck and clothes, ears,
the head (an ellipsoid whose features are soft shapes in its texture coordinates, Lambert shading),
the hair in front.  Works at any resolution, is differentiable in the factors and runs under jit
and vmap.  ``style="sketch"`` draws the same face in pencil: the other domain.
"""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mm_jax.synthface import draw, features, geometry
from mm_jax.synthface.factors import FACTORS
from mm_jax.synthface.features import Factors, degree

Style = Literal["face", "sketch"]


ZOOM = 0.80  # picture coordinates of the scene per half picture: smaller is closer


class _Scene(NamedTuple):
    """What all painters of one picture share; a pytree that vmap batches."""

    factors: Factors
    skin: jax.Array
    hair: jax.Array
    radii: jax.Array
    pose: geometry.Pose
    face: geometry.Surface
    cap: geometry.Surface  # the hair, a shell about the head


def render(factors: jax.Array, *, resolution: int = 128, style: Style = "face") -> jax.Array:
    """Draw faces: factors ``[N, F]`` in [-1, 1] to pictures ``[N, R, R, 3]`` float32 in [-1, 1].

    Called outside of jit it runs as a few compiled stages, which is much faster than one: fused
    into a single program, XLA:CPU computes shared intermediates again for each of their readers.

    Raises ``ValueError`` if ``factors`` is not ``[N, F]`` or ``style`` is unknown.
    """
    if factors.ndim != 2 or factors.shape[1] != len(FACTORS):
        raise ValueError(f"factors must be [N, {len(FACTORS)}], got {list(factors.shape)}")
    if style not in ("face", "sketch"):
        raise ValueError(f"style must be 'face' or 'sketch', got {style!r}")
    scene = _scene(factors, resolution)
    albedo, ridge = _skin_and_nose(scene, resolution)
    for paint in (_wrinkles, _mouth, _eyes, _brows):
        albedo = paint(albedo, scene, resolution)
    pictures = _compose(_behind(scene, resolution), albedo, ridge, scene, resolution)
    if style == "sketch":
        pictures = jax.jit(jax.vmap(_pencil))(pictures)
    return 2.0 * pictures - 1.0


def _stage(paint):
    """Compile a painter of one picture for a batch; the last argument is the resolution."""

    @functools.partial(jax.jit, static_argnums=(-1,))
    @functools.wraps(paint)
    def batched(*args):
        *arrays, resolution = args
        return jax.vmap(lambda *a: paint(*a, resolution))(*arrays)

    def stage(*args):
        return batched(*args)

    return stage


def _grid(resolution: int) -> tuple[jax.Array, jax.Array, float]:
    """Pixel centres in scene coordinates, and the width of a pixel there."""
    x, y = geometry.pixel_grid(resolution)
    return ZOOM * x, ZOOM * y, 2.0 * ZOOM / resolution


@_stage
def _scene(factors: jax.Array, resolution: int) -> _Scene:
    f: Factors = {name: factors[i] for i, name in enumerate(FACTORS)}
    x, y, px = _grid(resolution)
    pose = geometry.pose(f["yaw"], f["pitch"], f["light"])
    radii = head_radii(f)
    length = degree(f["hair_length"])
    grow = jnp.stack([0.045 + 0.03 * length, 0.075 + 0.02 * length, 0.06 + 0.02 * length])
    return _Scene(
        factors=f,
        skin=features.skin_colour(f),
        hair=features.hair_colour(f),
        radii=radii,
        pose=pose,
        face=geometry.see_ellipsoid(x / jaw_taper(y, f), y, radii, pose, 0.012 + px),
        cap=geometry.see_ellipsoid(x, y, radii + grow, pose, 0.02 + px),
    )


@_stage
def _skin_and_nose(scene: _Scene, resolution: int) -> tuple[jax.Array, jax.Array]:
    albedo = jnp.broadcast_to(scene.skin.reshape(1, 1, 3), (resolution, resolution, 3))
    albedo = features.cheeks(albedo, scene.face, scene.factors)
    return features.nose(albedo, scene.face, scene.factors, _grid(resolution)[2])


@_stage
def _wrinkles(albedo: jax.Array, scene: _Scene, resolution: int) -> jax.Array:
    return features.wrinkles(albedo, scene.face, scene.factors, _grid(resolution)[2])


@_stage
def _mouth(albedo: jax.Array, scene: _Scene, resolution: int) -> jax.Array:
    return features.mouth(albedo, scene.face, scene.factors, _grid(resolution)[2])


@_stage
def _eyes(albedo: jax.Array, scene: _Scene, resolution: int) -> jax.Array:
    return features.eyes(albedo, scene.face, scene.factors, scene.hair, _grid(resolution)[2])


@_stage
def _brows(albedo: jax.Array, scene: _Scene, resolution: int) -> jax.Array:
    return features.brows(albedo, scene.face, scene.factors, scene.hair, _grid(resolution)[2])


@_stage
def _behind(scene: _Scene, resolution: int) -> jax.Array:
    """Everything behind the head."""
    f = scene.factors
    x, y, px = _grid(resolution)
    picture = _background(x, y, f)
    picture = _hair_behind(picture, x, y, f, scene.hair, px)
    picture = _neck_and_clothes(picture, x, y, f, scene.skin, px)
    return _ears(picture, x, y, f, scene.skin, scene.radii, scene.pose, px)


@_stage
def _compose(picture, albedo, ridge, scene: _Scene, resolution: int) -> jax.Array:
    """Light the head, put it before the background and the hair before it."""
    face = scene.face
    shade = 0.50 + 0.62 * face.diffuse + ridge
    # A slight blush of light through the skin keeps shadows from going grey.
    warm = jnp.stack([shade + 0.05, shade, shade - 0.015], axis=-1)
    picture = draw.over(picture, albedo * warm, face.cover)
    picture = _hair_in_front(picture, scene.cap, scene.factors, scene.hair, _grid(resolution)[2])
    return jnp.clip(picture, 0.0, 1.0)


def _background(x: jax.Array, y: jax.Array, f: Factors) -> jax.Array:
    tone = 0.30 + 0.58 * degree(f["background_tone"])
    colour = draw.hue(2.4 * f["background"] + 3.6, 0.48, tone)
    fall = 1.0 - 0.14 * (jnp.square(x) + jnp.square(y - 0.2)) + 0.10 * f["light"] * -x
    return fall[..., None] * colour.reshape(1, 1, 3)


def _strands(u: jax.Array, v: jax.Array) -> jax.Array:
    """Brightness of hair along its strands, about 1."""
    wave = u + 0.05 * jnp.sin(5.0 * v + 2.0 * u)
    fine = jnp.sin(34.0 * wave) * 0.6 + jnp.sin(57.0 * wave + 1.0 + 2.0 * jnp.sin(3.0 * v)) * 0.4
    return 1.0 + 0.11 * fine


def _hair_behind(picture, x, y, f: Factors, hair, px) -> jax.Array:
    length = degree(f["hair_length"])
    end = 0.22 - 1.20 * length
    shift = -0.10 * f["yaw"]
    top = jax.nn.relu(y - 0.05)
    spread = 0.575 + 0.03 * f["face_width"] + 0.05 * length - 0.9 * jnp.square(top)
    across = spread - jnp.abs(x - shift)
    # The ends hang lower in the middle of each lock: a rounded, uneven hem.
    hem = end + 0.05 * jnp.sin(16.0 * (x - shift)) + 0.35 * jnp.square(x - shift)
    mass = draw.step(across, 0.03 + px) * draw.step(0.55 - y, 0.1) * draw.step(y - hem, 0.05 + px)
    shade = 0.62 * _strands(x - shift, 0.2 * y)
    return draw.over(picture, shade[..., None] * hair.reshape(1, 1, 3), mass)


def _neck_and_clothes(picture, x, y, f: Factors, skin, px) -> jax.Array:
    shift = 0.05 * f["yaw"]
    half = 0.215 + 0.02 * f["face_width"] + 0.10 * jnp.square(jnp.minimum(y + 0.55, 0.0)) * 4
    neck = draw.step(half - jnp.abs(x - 0.5 * shift), 0.02 + px) * draw.step(-0.35 - y, 0.1)
    round_ = jnp.clip((x - 0.5 * shift) / 0.24, -1.0, 1.0)
    shade = (
        0.66
        - 0.16 * jnp.square(round_)
        + 0.14 * round_ * f["light"]
        - 0.30 * draw.step(y + 0.68, 0.14)
    )
    picture = draw.over(picture, shade[..., None] * skin.reshape(1, 1, 3), neck)
    top = -0.90 - 0.30 * jnp.square(x) + 0.055 * jnp.exp(-jnp.square(x / 0.28)) * -1.0
    cloth = draw.step(top - y + 0.09, 0.02 + px) * draw.step(0.97 - jnp.abs(x), 0.05)
    colour = draw.hue(2.4 * f["background"] + 0.9, 0.55, 0.52)
    tone = 0.85 + 0.25 * x * f["light"] - 0.25 * jnp.square(x)
    return draw.over(picture, tone[..., None] * colour.reshape(1, 1, 3), cloth)


def _ears(picture, x, y, f: Factors, skin, radii, pose, px) -> jax.Array:
    for side in (-1.0, 1.0):
        centre = pose.rotation @ jnp.stack(
            [side * radii[0] * 1.0, jnp.asarray(-0.02), jnp.asarray(-0.08)]
        )
        ear_x, ear_y = x - centre[0], y - centre[1]
        cover = draw.ellipse(ear_x, ear_y, 0.085, 0.145, 0.02 + px)
        inner = draw.ellipse(ear_x - 0.012 * side, ear_y, 0.045, 0.09, 0.05)
        shade = 0.74 + 0.16 * side * f["light"] - 0.22 * inner
        picture = draw.over(picture, shade[..., None] * skin.reshape(1, 1, 3), cover)
    return picture


def head_radii(f: Factors) -> jax.Array:
    """Half axes [3] of the head."""
    return jnp.stack([0.50 + 0.055 * f["face_width"], jnp.asarray(0.68), jnp.asarray(0.58)])


def jaw_taper(y: jax.Array, f: Factors) -> jax.Array:
    """Half-width of the head at height y relative to the ellipsoid's."""
    low = jax.nn.relu(-y - 0.02)
    return 1.0 - (0.16 - 0.32 * f["jaw"]) * jnp.square(low) - 0.10 * low * (1.0 - f["jaw"])


def _hair_in_front(picture, s: geometry.Surface, f: Factors, hair, px) -> jax.Array:
    length = degree(f["hair_length"])
    side = jnp.abs(s.u)
    fringe = 0.47 + 0.05 * jnp.sin(7.0 * s.u + 1.3) * jnp.exp(-4.0 * jnp.square(s.u))
    fringe = fringe - 0.35 * jnp.square(s.u)
    temple = jax.nn.sigmoid((side - 0.63) * 26.0)
    line = fringe - temple * (0.40 + 0.62 * length)
    # Side locks thin out towards the chin instead of meeting under it.
    locks = draw.step(s.v + 0.50, 0.12)
    cover = s.cover * draw.step(s.v - line, 0.035 + px) * locks
    gloss = draw.bump(s.v - 0.60 - 0.25 * s.u * f["light"], 0.10) * (0.30 + 0.4 * s.diffuse)
    shade = (0.50 + 0.60 * s.diffuse) * _strands(s.u, s.v) + 0.35 * gloss
    shade = shade * (1.0 - 0.25 * draw.bump(s.v - line, 0.05))
    colour = shade[..., None] * hair.reshape(1, 1, 3) + 0.03 * gloss[..., None]
    return draw.over(picture, colour, cover)


def _pencil(picture: jax.Array) -> jax.Array:
    """A pencil drawing of a picture in [0, 1]: contours, three layers of hatching, paper grain."""
    resolution = picture.shape[0]
    x, y = geometry.pixel_grid(resolution)
    tone = jnp.sum(picture * jnp.asarray([0.35, 0.5, 0.15], jnp.float32).reshape(1, 1, 3), axis=-1)
    right = jnp.roll(tone, -1, axis=1) - jnp.roll(tone, 1, axis=1)
    down = jnp.roll(tone, -1, axis=0) - jnp.roll(tone, 1, axis=0)
    inner = jnp.minimum(1.0 - jnp.abs(x), 1.0 - jnp.abs(y)) > 2.5 / resolution
    contour = jnp.sqrt(jnp.square(right) + jnp.square(down) + 1e-6) * inner * (resolution / 128.0)
    dark = jax.nn.sigmoid(9.0 * (contour - 0.22))
    for limit, kx, ky, strength in (
        (0.62, 46.0, 46.0, 0.30),
        (0.40, -52.0, 44.0, 0.30),
        (0.22, 60.0, 9.0, 0.35),
    ):
        hatch = 0.5 + 0.5 * jnp.sin(kx * x + ky * y + 0.6 * jnp.sin(9.0 * y))
        dark = dark + strength * hatch * jax.nn.sigmoid(14.0 * (limit - tone))
    grain = (
        0.02
        * jnp.sin(91.0 * x + 13.0 * jnp.sin(57.0 * y))
        * jnp.sin(83.0 * y + 11.0 * jnp.sin(61.0 * x))
    )
    level = jnp.clip(0.97 - 0.80 * jnp.clip(dark, 0.0, 1.1) + grain, 0.0, 1.0)
    return level[..., None] * jnp.asarray([1.0, 0.985, 0.95], jnp.float32).reshape(1, 1, 3)
