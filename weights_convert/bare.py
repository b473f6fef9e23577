"""What arrays without a description are: latents, a direction, or several directions.

A latent and a direction may have the same shape. What tells them apart, in this order: the caller's
word, where they lie from the mean of the generator that they belong to, their length (directions of
other projects mostly have length 1), and the words in names. What none of these tells is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

import jax.numpy as jnp
import numpy as np

from mm_jax.errors import DataError
from mm_jax.latents import sample_latents
from mm_jax.stylegan2.generator import Generator
from mm_jax.words import counted
from weights_convert.plan import Request

__all__ = ["KEYS", "Told", "as_rows", "told"]

_WIDTH = 512
# What latents are called in files of several projects, and words in names of files.
KEYS = ("w", "ws", "w_plus", "latent", "latents", "latent_code", "latent_codes", "codes", "styles")
_SAYS_LATENTS = re.compile(r"projected|latents?(_codes?)?s?$|^w(_?plus)?s?$|inver[ts]|codes?$")
_SAYS_DIRECTION = re.compile(r"d_latent|direction|(^|[_-])dir([_-]|$)|boundary|motion|edit|delta")
# InterFaceGAN's boundaries; those of W have "_w_" in their names.
_OF_Z = re.compile(r"(pggan|stylegan)_(celebahq|ffhq)_\w+_boundary")
# StyleSpace of configuration f at 1024 px, with and without the layers that make colours.
_STYLE_WIDTHS = (9088, 6048)
_SAMPLES = 256
_NEAR_ONE = 1e-2


class Told(NamedTuple):
    """The layout of a content, and why."""

    layout: str
    notes: tuple[str, ...] = ()


def told(content: Any, request: Request) -> Told | None:
    """What arrays without a description are; None for a content of another kind.

    Raises:
        DataError: it may be one or the other, or it is something that subspaces of W+ cannot hold.
    """
    if isinstance(content, list | tuple) and content and all(map(_is_array, content)):
        _refuse_styles([np.shape(value) for value in content])
        if len({np.shape(value) for value in content}) == 1:
            return told(np.stack(content), request)
        return None
    if isinstance(content, Mapping):
        return _told_by_names(content, request)
    if not isinstance(content, np.ndarray) or content.dtype.kind not in "fiu" or not content.size:
        return None
    _refuse_styles([content.shape])
    if _OF_Z.search(request.name) and "_w_" not in request.name:
        raise DataError(
            "is a boundary of Z by its name, and edits here are of W: the way from Z to W is not a "
            "straight one. Boundaries of W have _w_ in their names; --layout=direction says that "
            "this one is of W all the same"
        )
    return _told_by_values(content, request)


def _told_by_names(content: Mapping[Any, Any], request: Request) -> Told | None:
    values = list(content.values())
    _refuse_styles([np.shape(v) for v in values if _is_array(v)] if len(values) > 8 else [])
    if any(key in content and _is_array(content[key]) for key in KEYS):
        return Told("codes")
    if values and all(isinstance(key, str) for key in content):
        # One entry for each image: an array, or what rosinality's projector writes.
        codes = [v.get("latent") if isinstance(v, Mapping) else v for v in values]
        pictures = all(re.search(r"\.(jpe?g|png|webp|bmp)$", key, re.I) for key in content)
        shapes = {code.shape[-2:] for code in codes if _is_array(code)}
        described = all(isinstance(v, Mapping) for v in values)
        if pictures or (all(map(_is_array, codes)) and len(shapes) == 1 and described):
            return Told("codes")
        plus = len(shapes) == 1 and all(len(s) == 2 and _is_plus(s[0]) for s in shapes)
        if plus and all(map(_is_array, values)):
            found = _told_by_values(np.stack(values), request)
            if found.layout == "codes":
                return found
            raise DataError(f"holds {counted(len(values), 'direction')}: give a file for each")
    return None


def _told_by_values(value: np.ndarray, request: Request) -> Told:
    if value.ndim == 2 and len(value) > 1 and _orthonormal(value):
        many = _words("sefa", len(value))
        return Told("sefa", (f"taken for {many}: at right angles, of length 1",))
    rows, note = as_rows(value, request)
    count = len(rows)
    notes = () if note is None else (note,)
    flat = rows.reshape(count, -1).astype(np.float64)
    if request.generator is not None:
        share, far = _measured(rows, request.generator)
        if share is not None:
            place = f"{share:.2f} of the way to the mean latent, {far:.1f} deviations from it"
            kind = "codes" if share > 0.5 else _several(flat, "direction")
            return Told(kind, (*notes, f"taken for {_words(kind, count)}: {place}"))
    lengths = np.linalg.norm(flat, axis=1)
    rows_long = np.linalg.norm(rows, axis=-1)
    if _all_one(lengths) or _all_one(rows_long[rows_long > 0]):
        kind = _several(flat / lengths[:, None], "direction")
        return Told(kind, (*notes, f"taken for {_words(kind, count)}: of length 1"))
    name = request.name.lower()
    says = [bool(pattern.search(name)) for pattern in (_SAYS_LATENTS, _SAYS_DIRECTION)]
    if _SAYS_DIRECTION.search(name) and count == 1:
        return Told("direction", (*notes, "taken for a direction, as its name says"))
    if says == [True, False]:
        return Told("codes", (*notes, f"taken for {_words('codes', count)}, as its name says"))
    raise DataError(
        f"is an array {list(value.shape)} that may be {_words('codes', count)} or "
        f"{_words('direction', count)}: add --layout=codes or --layout=direction, or name the "
        "generator that it belongs to, --generator=FOLDER"
    )


def as_rows(value: np.ndarray, request: Request) -> tuple[np.ndarray, str | None]:
    """Arrays of W or W+, flattened or not, as [N, L, D] or [N, 1, D], and what was assumed.

    Raises:
        DataError: of another shape.
    """
    gen, shape = request.generator, value.shape
    widths = (gen.config.w_dim,) if gen is not None else (_WIDTH,)
    note = None
    if value.ndim in (1, 2) and shape[-1] not in widths:
        for width in widths:
            count, rest = divmod(shape[-1], width)
            if not rest and _is_plus(count):
                note = f"{shape[-1]} numbers are {count} rows of {width}"
                return value.reshape(-1, count, width), note
    if value.ndim == 1:
        return value.reshape(1, 1, -1), None
    if value.ndim == 2:
        return (value[None] if _is_plus(len(value)) else value[:, None]), None
    if value.ndim == 3:
        return value, None
    if value.ndim == 4 and 1 in shape[:2]:
        return value.reshape(-1, *shape[2:]), None
    raise DataError(f"must be [N, L, D], [L, D], [N, D] or [D], got an array {list(shape)}")


def _measured(rows: np.ndarray, gen: Generator) -> tuple[float | None, float]:
    """How far along the mean latent the rows lie (1 is at its height), and their distance from it.

    The distance is in standard deviations of sampled latents. The first is None where the mean is
    too short to tell.
    """
    width = gen.config.w_dim
    if rows.shape[-1] != width:
        raise DataError(f"has rows of {rows.shape[-1]}, those of {gen.name} have {width}")
    z = np.random.RandomState(0).randn(_SAMPLES, gen.config.z_dim)
    labels = None
    if classes := gen.config.c_dim:
        labels = np.eye(classes, dtype=np.float32)[np.arange(_SAMPLES) % classes]
    sampled = np.asarray(sample_latents(gen, z=jnp.asarray(z, jnp.float32), labels=labels))[:, 0]
    mean = np.asarray(gen.params["mapping"]["w_avg"], np.float64)
    deviation = float(np.sqrt(np.square(sampled - mean).sum(-1).mean()))
    used = rows[np.any(rows != 0, axis=-1)]
    far = float(np.sqrt(np.square(used - mean).sum(-1).mean()) / deviation)
    height = float(mean @ mean)
    if np.sqrt(height) < 0.2 * deviation:
        return None, far
    return float((used @ mean).mean() / height), far


def _several(flat: np.ndarray, kind: str) -> str:
    """The layout of one direction, `kind`, or of several that are orthonormal.

    Raises:
        DataError: of several that are not.
    """
    if len(flat) == 1:
        return kind
    if not _orthonormal(flat):
        raise DataError(
            f"holds {counted(len(flat), 'direction')} that are not at right angles: give one each"
        )
    return "sefa"


def _is_plus(rows: int) -> bool:
    """Whether W+ of some generator, of 8 to 1024 px, has so many rows."""
    return rows % 2 == 0 and 4 <= rows <= 20


def _orthonormal(rows: np.ndarray) -> bool:
    rows = rows.astype(np.float64)
    return bool(np.abs(rows @ rows.T - np.eye(len(rows))).max() <= 1e-3)


def _words(kind: str, count: int) -> str:
    if kind == "codes":
        return "a latent" if count == 1 else f"{count} latents"
    return "a direction" if count == 1 else f"{count} directions"


def _all_one(lengths: np.ndarray) -> bool:
    return bool(lengths.size and (np.abs(lengths - 1) < _NEAR_ONE).all())


def _is_array(value: Any) -> TypeGuard[np.ndarray]:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.ndim > 0


def _refuse_styles(shapes: list[tuple[int, ...]]) -> None:
    """Raises DataError for StyleSpace: one row for each layer, of as many numbers as channels."""
    widths = {shape[-1] for shape in shapes if shape}
    per_layer = len(shapes) > 8 and len(widths) > 1 and widths <= {2**k for k in range(3, 11)}
    if per_layer or (len(shapes) == 1 and widths & {*_STYLE_WIDTHS}):
        raise DataError(
            "holds styles of StyleSpace, one number for each channel of the layers: edits here are "
            "of W and W+, from which styles follow, and not the other way round"
        )
