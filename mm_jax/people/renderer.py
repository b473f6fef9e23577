"""An image of a person: geometry, what each sample sees, light, and the colour of each material.

    morph targets -> base mesh -> parts, turned with the head -> visible triangles
    sky and shadow maps -> light at vertices and samples -> materials -> tone curve -> sRGB

One image takes a fraction of a second on one thread. Nothing is random: a person is drawn the
same at every call, and what is painted moves with the surface.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from mm_jax.people import fittings
from mm_jax.people.eyes import Eyeball, Iris, shade_eye
from mm_jax.people.fittings import Hair
from mm_jax.people.heads import Heads
from mm_jax.people.landmarks import REST_LANDMARKS
from mm_jax.people.light import Light, Occluder, ShadowMap, SkyMaps, diffusion
from mm_jax.people.raster import choose_samples, visible
from mm_jax.people.skin import Skin, shade_skin
from mm_jax.people.surface import Lighting, Points

__all__ = ["Background", "Clothes", "Person", "Picture", "Renderer"]

SAMPLES = 4  # to a side of a pixel; `choose_samples` and the dither pattern want four
ZOOM = 1.10  # half the side of the image over half the side of FFHQ's crop
DISTANCE = 7.0  # of the camera, in halves of the image's side
_SKIN, _EYE, _MOUTH, _LASHES, _HAIR, _CLOTHES = range(6)
_WANTED = np.array([4, 8, 4, 3, 5, 3], np.int64)  # shaded samples to a pixel, at most
_PIVOT = np.array([0, 5.95, 0.25], np.float32)  # the neck's joint


@dataclasses.dataclass(frozen=True)
class Clothes:
    """A garment, by the name of its part (or "" for none), and its colour ``(3,)``."""

    part: str
    colour: np.ndarray


@dataclasses.dataclass(frozen=True)
class Background:
    """Linear RGB ``(3,)`` at mid height, and its relative change from there to the bottom edge."""

    colour: np.ndarray
    gradient: float = 0.0


@dataclasses.dataclass(frozen=True)
class Person:
    """Everything that is drawn.

    Attributes:
        shape: weights of morph targets: who it is.
        expression: weights of face units (names without ``unit-``).
        yaw, pitch, roll: of the head in radians; positive to the image's right, down, and
            anticlockwise.
        skin, iris, hair, clothes, light, background: their looks.
        lashes: how dense, about 0.7 to 1.3.
    """

    shape: Mapping[str, float]
    expression: Mapping[str, float]
    yaw: float
    pitch: float
    roll: float
    skin: Skin
    iris: Iris
    hair: Hair
    clothes: Clothes
    light: Light
    background: Background
    lashes: float = 1.0


class Picture(NamedTuple):
    """A drawn person, and what is known of each pixel.

    Attributes:
        image: ``[R, R, 3]`` uint8 sRGB.
        masks: ``[R, R]`` float32 by name, how much of each pixel a region covers: ``skin``,
            ``hair``, ``eyes`` (lids included), ``mouth`` and ``brows``.
        depth: ``[R, R]`` float32, decimetres in front of the neck's joint, -9 where nobody is.
        normals: ``[R, R, 3]`` float32 unit normals in camera coordinates, 0 where nobody is.
    """

    image: np.ndarray
    masks: Mapping[str, np.ndarray]
    depth: np.ndarray
    normals: np.ndarray


class _Mesh(NamedTuple):
    """A placed part: ``points``, ``normals``, ``rest``, ``marks`` ``[n, 3]``, ``alpha [n]``."""

    name: str
    material: int
    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    rest: np.ndarray
    alpha: np.ndarray
    marks: np.ndarray

    def occluder(self) -> Occluder:
        return Occluder(self.points, self.faces, self.alpha)


class Renderer:
    """Draws people with the meshes of ``heads``."""

    def __init__(self, heads: Heads):
        self.heads = heads
        rest = heads.base.astype(np.float32)
        self._rest = {name: part.place(rest) for name, part in heads.parts.items()}
        self._follow = {
            name: np.clip(part.basis @ heads.follow, 0, 1) for name, part in heads.parts.items()
        }
        self._to_vertices = {
            name: _incidence(part.faces, part.count) for name, part in heads.parts.items()
        }
        skin = heads.parts["skin"]
        once = diffusion(skin.faces, skin.count)
        self._diffuse = (once @ once, once @ once @ once @ once)
        self._iris = {side: _front(self._rest[f"{side}_eye"]) for side in ("left", "right")}
        self._skin_marks = np.stack([heads.lips, heads.mouth, self._lid_margin()], axis=1)
        teeth = heads.parts.get("teeth")
        self._gums = None if teeth is None else _gums(teeth.faces, teeth.count)
        cages = np.concatenate([heads.parts[n].cage for n in ("skin", "left_eye", "right_eye")])
        self._coarse = np.concatenate([cages[:, [0, 1, 2]], cages[:, [0, 2, 3]]]).astype(np.int32)
        self._mouth_vertex = self._nearest_skin(np.array([0, 6.70, 1.6]))
        self._landmarks = [self._nearest_skin(point) for point in REST_LANDMARKS]

    def _nearest_skin(self, point: np.ndarray) -> int:
        distance = np.linalg.norm(self._rest["skin"] - point, axis=1)
        return int(np.argmin(distance + 9 * (self.heads.mouth > 0.5)))

    def _lid_margin(self) -> np.ndarray:
        """How close each skin vertex is to an eyeball: the rims of the lids, ``[n]`` in [0, 1]."""
        margin = np.zeros(len(self._rest["skin"]), np.float32)
        for side in ("left", "right"):
            ball = self._rest[f"{side}_eye"]
            centre = ball.mean(axis=0)
            radius = np.median(np.linalg.norm(ball - centre, axis=1))
            gap = np.linalg.norm(self._rest["skin"] - centre, axis=1) / radius - 1
            margin = np.maximum(margin, np.clip(1 - (gap - 0.03) / 0.10, 0, 1))
        return margin

    # --- geometry ---------------------------------------------------------------------------------

    def _base(self, person: Person, *, neutral: bool = False) -> np.ndarray:
        weights = dict(person.shape)
        if not neutral:
            for name, weight in person.expression.items():
                weights[f"unit-{name}"] = weight
        base = self.heads.morph(weights)
        # The teeth of the base mesh stand too far forward for open lips.
        groups, opened = self.heads.groups, person.expression.get("jawOpen", 0.0)
        base[groups["upper_teeth"]] += np.array([0, -0.035, -0.03], np.float32)
        base[groups["lower_teeth"]] += np.array([0, -0.03 - 0.03 * opened, -0.04], np.float32)
        return base

    def _turn(self, person: Person, points: np.ndarray, follow: np.ndarray) -> np.ndarray:
        """Points turned with the head as far as they ``follow [n]`` it."""
        body = _rotation(0.35 * person.yaw, 0.15 * person.pitch, 0.0)
        axis, angle = _axis_angle(_rotation(0.65 * person.yaw, 0.85 * person.pitch, person.roll))
        offset = points - _PIVOT
        cosine, sine = np.cos(follow * angle)[:, None], np.sin(follow * angle)[:, None]
        skew = np.array(
            [[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]], np.float32
        )
        turned = (
            offset * cosine
            + (offset @ skew.T) * sine
            + axis * (offset @ axis)[:, None] * (1 - cosine)
        )
        return (turned @ body.T + _PIVOT).astype(np.float32)

    def _head_rotation(self, person: Person) -> np.ndarray:
        body = _rotation(0.35 * person.yaw, 0.15 * person.pitch, 0.0)
        head = _rotation(0.65 * person.yaw, 0.85 * person.pitch, person.roll)
        return (body @ head).astype(np.float32)

    def _meshes(self, person: Person, base: np.ndarray) -> list[_Mesh]:
        plan = [("skin", _SKIN), ("left_eye", _EYE), ("right_eye", _EYE)]
        # Smaller files of heads lack some of these; what a person asks for by name is wanted.
        optional = (("teeth", _MOUTH), ("tongue", _MOUTH), ("lashes", _LASHES))
        plan += [(name, material) for name, material in optional if name in self.heads.parts]
        plan += [(person.clothes.part, _CLOTHES)] if person.clothes.part else []
        plan += [(person.hair.style, _HAIR)] if person.hair.style else []
        return [self._mesh(person, base, name, material) for name, material in plan]

    def _mesh(self, person: Person, base: np.ndarray, name: str, material: int) -> _Mesh:
        part = self.heads.part(name)
        placed = part.place(base)
        if material == _HAIR and person.hair.volume != 1:
            bare = part.basis @ base
            placed = (bare + (placed - bare) * person.hair.volume).astype(np.float32)
        if name == "tongue":
            placed = placed - np.array([0, 0.03, 0.12], np.float32)
        points = self._turn(person, placed, self._follow[name])
        count, rest = len(points), self._rest[name]
        alpha, marks = np.ones(count, np.float32), np.zeros((count, 3), np.float32)
        if material == _SKIN:
            marks = self._skin_marks
        elif name == "teeth":
            marks[:, 0] = self._gums
        elif name == "tongue":
            marks[:, 0] = 1
        elif material == _HAIR:
            alpha = fittings.hair_opacity(rest, part.border, person.hair.cut)
            marks[:, 0] = part.border
        elif material == _LASHES:
            aside = np.clip(np.abs(rest[:, 0]) - 0.35, 0, 1)
            out = np.clip((rest[:, 2] - 1.33) / 0.10 + 0.35 * aside, 0, 1)
            alpha = np.clip(0.75 * person.lashes * (1 - out), 0, 1).astype(np.float32)
        normals = _normals(points, part.faces, self._to_vertices[name])
        return _Mesh(name, material, points, normals, part.faces, rest, alpha, marks)

    def _eyeballs(self, meshes: list[_Mesh]) -> dict[str, Eyeball]:
        balls = {}
        for mesh in meshes:
            if mesh.material == _EYE:
                side = mesh.name.removesuffix("_eye")
                centre = mesh.points.mean(axis=0)
                gaze = mesh.points[self._iris[side]].mean(axis=0) - centre
                radius = float(np.median(np.linalg.norm(mesh.points - centre, axis=1)))
                balls[mesh.name] = Eyeball(centre, gaze / np.linalg.norm(gaze), radius)
        return balls

    def _camera(self, person: Person) -> tuple[np.ndarray, float]:
        """Centre ``(3,)`` and half the side of the image, by a neutral face's eyes and mouth."""
        base = self._base(person, neutral=True)
        eyes = np.stack(
            [self.heads.parts[f"{s}_eye"].place(base).mean(axis=0) for s in ("left", "right")]
        )
        mouth = self.heads.parts["skin"].place(base)[self._mouth_vertex]
        points = np.concatenate([eyes, mouth[None]])
        half = max(
            2 * np.linalg.norm(points[0] - points[1]),
            1.8 * np.linalg.norm(points[:2].mean(axis=0) - points[2]),
        )
        turned = self._turn(person, points, np.ones(3, np.float32))
        middle = turned[:2].mean(axis=0)
        return middle + 0.1 * (turned[2] - middle), ZOOM * float(half)

    def landmarks(self, person: Person, resolution: int = 128) -> np.ndarray:
        """Where 68 points of the face are in `draw`'s image.

        Returns:
            ``[68, 2]`` float32 in pixels, as `mm_jax.alignment` wants them: iBUG's order, x to the
            right, y down, (0, 0) the middle of the top left pixel. Hidden points are given too.
        """
        placed = self.heads.parts["skin"].place(self._base(person))[self._landmarks]
        points = self._turn(person, placed, self._follow["skin"][self._landmarks])
        centre, half = self._camera(person)
        return _project(points, centre, _viewpoint(centre, half), half, resolution)[:, :2]

    # --- an image --------------------------------------------------------------------------------

    def draw(self, person: Person, resolution: int = 128) -> Picture:
        """Draw a person at ``resolution`` pixels to a side.

        Raises:
            DataError: hair, clothes or a target that these heads do not have.
        """
        base = self._base(person)
        meshes = self._meshes(person, base)
        centre, half = self._camera(person)
        camera = _viewpoint(centre, half)
        # All meshes as one: V points [V, 3], T triangles [T, 3].
        offsets = np.cumsum([0] + [len(mesh.points) for mesh in meshes])
        points = np.concatenate([mesh.points for mesh in meshes])
        faces = np.concatenate(
            [mesh.faces + start for mesh, start in zip(meshes, offsets, strict=False)]
        ).astype(np.int32)
        alpha = np.concatenate([mesh.alpha for mesh in meshes])
        material = np.concatenate(
            [np.full(len(mesh.faces), mesh.material, np.int8) for mesh in meshes]
        )
        # Which triangle each sample shows, and how much of its pixel it stands for: [A, A] with
        # A = SAMPLES * resolution. Of each material at most `_WANTED` to a pixel are shaded.
        across = SAMPLES * resolution
        projected = _project(points, centre, camera, half, across)
        seen = visible(projected, faces, alpha, across)
        weight = np.zeros((across, across), np.float32)
        choose_samples(seen.triangle, material, _WANTED, resolution, weight)

        # The n samples that are shaded, each between the attributes of its triangle's corners.
        coarse = self._turn(person, base, self.heads.follow)
        attributes = self._lit_vertices(person, meshes, coarse, centre)
        chosen = np.flatnonzero(weight.ravel())
        triangle = seen.triangle.ravel()[chosen]
        inner = seen.weights.reshape(-1, 2)[chosen]
        # Barycentric weights [n, 3].
        w = np.concatenate([1 - inner.sum(axis=1, keepdims=True), inner], axis=1)
        corners = faces[triangle]
        table = attributes.table
        first, second, third = (w[:, k, None] * table[corners[:, k]] for k in range(3))
        values = first + second + third
        owner = np.searchsorted(offsets, corners[:, 0], side="right") - 1
        # Light that leaves them [n, 3], mesh by mesh, as each has a material of its own.
        radiance = np.zeros((len(chosen), 3), np.float32)
        lighting = Lighting(person.light, self._head_rotation(person))
        balls = self._eyeballs(meshes)
        for index, mesh in enumerate(meshes):
            rows = np.flatnonzero(owner == index)
            if len(rows):
                sample = _points_of(values[rows], mesh, camera, attributes.shadow)
                radiance[rows] = _shade(person, mesh, sample, lighting, balls)
        # From samples to pixels: the image, and beside it masks, depth and normals.
        radiance = np.minimum(radiance, 5.0)
        pixels = _Pixels(chosen, weight.ravel()[chosen], resolution)
        cover = _coverage(seen.triangle, resolution)
        image = _develop(person.background, pixels.sum(radiance), cover)
        kinds = np.array([mesh.material for mesh in meshes])[owner]
        masks = {name: pixels.sum(m) for name, m in _regions(kinds, values[:, 6:9]).items()}
        depth = pixels.mean(values[:, 2] - _PIVOT[2], empty=-9.0)
        normals = pixels.mean(values[:, 3:6], empty=0.0)
        normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
        return Picture(image, masks, depth, normals)

    def _lit_vertices(self, person, meshes, coarse, centre):
        focus = (centre + np.array([0, -0.25, -0.9])).astype(np.float32)
        casting = {
            m.material: m.occluder() for m in meshes if m.material in (_SKIN, _HAIR, _CLOTHES)
        }
        shadow = ShadowMap(person.light, list(casting.values()), focus)
        # The sky's shadows are soft: the mesh before subdivision casts them.
        casting[_SKIN] = Occluder(coarse, self._coarse, np.ones(len(coarse), np.float32))
        sky = SkyMaps(list(casting.values()), focus)
        rows = []
        for mesh in meshes:
            isotropic = np.full(len(mesh.points), mesh.material == _HAIR)
            light = sky.irradiance(person.light, mesh.points, mesh.normals, isotropic)
            if mesh.material == _SKIN:
                near, far = (matrix @ light for matrix in self._diffuse)
                light = near
                light[:, 0] = 0.3 * near[:, 0] + 0.7 * far[:, 0]  # red travels farthest
            rows.append(
                np.concatenate([mesh.points, mesh.normals, mesh.rest, light, mesh.marks], axis=1)
            )
        return _Attributes(np.concatenate(rows).astype(np.float32), shadow)


class _Pixels:
    """Sums of shaded samples over pixels."""

    def __init__(self, chosen: np.ndarray, weight: np.ndarray, resolution: int):
        across = SAMPLES * resolution
        row, column = chosen // across // SAMPLES, chosen % across // SAMPLES
        self._pixel = row * resolution + column
        self._weight, self._side = weight / SAMPLES**2, resolution

    def sum(self, values: np.ndarray) -> np.ndarray:
        """``[R, R, ...]`` float32: values ``[n, ...]`` times how much of the pixel each covers."""
        table = values.reshape(len(values), -1)
        sums = [
            np.bincount(self._pixel, self._weight * table[:, c], self._side**2)
            for c in range(table.shape[1])
        ]
        shape = (self._side, self._side, *values.shape[1:])
        return np.stack(sums, axis=1).reshape(shape).astype(np.float32)

    def mean(self, values: np.ndarray, *, empty: float) -> np.ndarray:
        """``[R, R, ...]`` float32: means over what is covered, ``empty`` where nothing is."""
        cover = self.sum(np.ones(len(values), np.float32))
        cover = cover.reshape(cover.shape + (1,) * (values.ndim - 1))
        return np.where(cover > 0, self.sum(values) / np.maximum(cover, 1e-6), empty)


def _coverage(triangle: np.ndarray, resolution: int) -> np.ndarray:
    """``[R, R, 1]``: how much of each pixel anybody covers."""
    covered = (triangle >= 0).reshape(resolution, SAMPLES, resolution, SAMPLES)
    return covered.mean(axis=(1, 3), dtype=np.float32)[..., None]


def _develop(background: Background, radiance: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """The image ``[R, R, 3]`` uint8 of a person's radiance before a background."""
    resolution = len(radiance)
    height = (np.arange(resolution) + 0.5) / resolution - 0.5
    behind = background.colour * (1 + 2 * background.gradient * height[:, None])
    linear = radiance + (1 - cover) * np.clip(behind, 0.003, 4)[:, None]
    return np.round(255 * _srgb(_tone_curve(linear))).astype(np.uint8)


def _regions(material: np.ndarray, rest: np.ndarray) -> dict[str, np.ndarray]:
    """Which samples ``[n]`` bool belong to which region of `Image.masks`."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    skin = material == _SKIN
    lids = skin & (np.hypot((x - 0.32) / 0.22, (y - 7.28) / 0.14) < 1) & (z > 1.1)
    lips = skin & (np.hypot(x / 0.36, (y - 6.62) / 0.17) < 1) & (z > 1.1)
    brows = skin & (np.abs(x - 0.36) < 0.27) & (np.abs(y - 7.51) < 0.09) & (z > 1.0)
    return {
        "skin": skin,
        "hair": material == _HAIR,
        "eyes": lids | (material == _EYE) | (material == _LASHES),
        "mouth": lips | (material == _MOUTH),
        "brows": brows,
    }


class _Attributes(NamedTuple):
    table: np.ndarray  # [n, 16]: point 3, normal 3, rest 3, sky 3, open 1, marks 3
    shadow: ShadowMap


def _points_of(values: np.ndarray, mesh: _Mesh, camera: np.ndarray, shadow: ShadowMap) -> Points:
    position, normal = values[:, :3], values[:, 3:6]
    normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)
    view = camera - position
    view = view / np.linalg.norm(view, axis=1, keepdims=True)
    if mesh.material not in (_SKIN, _EYE):  # thin things are seen from both sides
        normal = normal * np.where((normal * view).sum(1, keepdims=True) < 0, -1, 1)
    key = shadow.lit(position, normal.astype(np.float32))
    return Points(
        position,
        normal,
        view,
        values[:, 6:9],
        key,
        values[:, 9:12],
        values[:, 12],
        values[:, 13:16],
    )


def _shade(person, mesh, points, lighting, balls):
    match mesh.material:
        case 0:
            return shade_skin(person.skin, points, lighting)
        case 1:
            return shade_eye(person.iris, balls[mesh.name], points, lighting)
        case 2:
            return fittings.shade_mouth(points, lighting)
        case 3:
            return fittings.shade_lashes(points, lighting)
        case 4:
            return fittings.shade_hair(person.hair, points, lighting)
        case _:
            return fittings.shade_clothes(person.clothes.colour, points, lighting)


def _viewpoint(centre: np.ndarray, half: float) -> np.ndarray:
    return np.array([centre[0], centre[1], centre[2] + DISTANCE * half], np.float32)


def _project(points, centre, camera, half, across):
    """Image coordinates and one over the distance, ``[n, 3]`` float32."""
    distance = camera[2] - points[:, 2]
    scale = across / 2 * DISTANCE / distance
    return np.stack(
        [
            across / 2 - 0.5 + (points[:, 0] - centre[0]) * scale,
            across / 2 - 0.5 - (points[:, 1] - centre[1]) * scale,
            1 / distance,
        ],
        axis=1,
    ).astype(np.float32)


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    around_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return around_z @ around_y @ around_x


def _axis_angle(rotation: np.ndarray) -> tuple[np.ndarray, float]:
    angle = math.acos(max(-1.0, min(1.0, (np.trace(rotation) - 1) / 2)))
    skew = np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    return (skew / (np.linalg.norm(skew) + 1e-9)).astype(np.float32), angle


def _incidence(faces: np.ndarray, count: int) -> sparse.csr_matrix:
    """``[count, t]``: which triangles touch a vertex."""
    columns = np.repeat(np.arange(len(faces)), 3)
    ones = np.ones(faces.size, np.float32)
    return sparse.csr_matrix((ones, (faces.ravel(), columns)), shape=(count, len(faces)))


def _normals(points, faces, to_vertices) -> np.ndarray:
    first, second, third = (points[faces[:, k]] for k in range(3))
    (ax, ay, az), (bx, by, bz) = (second - first).T, (third - first).T
    across = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
    normals = to_vertices @ across
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)


def _front(ball: np.ndarray) -> np.ndarray:
    """Vertices of an eyeball about its front pole."""
    centre = ball.mean(axis=0)
    off_axis = np.hypot(ball[:, 0] - centre[0], ball[:, 1] - centre[1])
    off_axis = off_axis + 9 * (ball[:, 2] < centre[2])
    return np.flatnonzero(off_axis < off_axis.min() + 1e-3)


def _gums(faces: np.ndarray, count: int) -> np.ndarray:
    """1 for vertices of the two large pieces, the gums; 0 for single teeth."""
    ends = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = sparse.coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    _, piece = csgraph.connected_components(graph, directed=False)
    return (np.bincount(piece)[piece] > 400).astype(np.float32)


def _tone_curve(linear: np.ndarray) -> np.ndarray:
    """Narkowicz's fit of the ACES film curve."""
    x = 0.62 * linear
    return x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)


def _srgb(linear: np.ndarray) -> np.ndarray:
    x = np.clip(linear, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
