"""Prompts of growing degree: templates, the degrees that fill them, the paper's micromotions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from mm_jax.errors import UsageError

__all__ = [
    "DEFAULT_DEGREES",
    "MOTIONS",
    "Motion",
    "asked",
    "check_degrees",
    "degree_values",
    "degrees_in",
    "fill",
    "words_without_number",
]

PLACEHOLDER = "{degree}"

DEFAULT_DEGREES: tuple[str, ...] = ("no", *(f"{percent}%" for percent in range(10, 101, 10)))
"""The paper's degrees: none, then ten to one hundred per cent."""

_NONE = frozenset({"no", "not", "none", "without"})
# A sign, digits with a decimal point or comma (".5", "0,5", "12."), and a percent sign.
_NUMBER = re.compile(r"([+-]?)([0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)\s*(%?)")
_BRACED = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A micromotion that has a name.

    Attributes:
        name: as given to `--motion`.
        template: its prompt, with one `{degree}`.
        layers: the rows of W+ that take part in it; None for all.
    """

    name: str
    template: str
    layers: tuple[int, ...] | None = None


MOTIONS: Mapping[str, Motion] = MappingProxyType(
    {
        motion.name: motion
        for motion in (
            Motion(name="smile", template="a person with {degree} smile"),
            Motion(name="anger", template="{degree} angry"),
            Motion(name="aging", template="a {degree} old person with gray hair"),
            Motion(name="closing_eyes", template="a person with eyes {degree} closed"),
            Motion(name="head_turn", template="a person with head turned {degree} to the right"),
        )
    }
)
"""The micromotions of the paper by name.

The last has no template in the official code, which takes it from video; the wording here follows
that of the others.
"""


def degrees_in(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The degrees that anchors or a subspace with this metadata were found with, if it says so."""
    degrees = meta.get("settings", {}).get("degrees")
    return tuple(degrees) if degrees else None


def asked(
    who: str,
    meta: Mapping[str, Any],
    template: str | None = None,
    degrees: Sequence[str] | None = None,
) -> tuple[str, Sequence[str]]:
    """A template and its degrees, by default those that a subspace with this metadata has.

    Raises:
        UsageError: neither given nor in the metadata; the message says `who` needs them.
    """
    template = meta.get("template") if template is None else template
    degrees = degrees_in(meta) if degrees is None else degrees
    if template is None or degrees is None:
        raise UsageError(f"{who} needs a template and degrees: the subspace was found without")
    return template, degrees


def fill(template: str, degree: str) -> str:
    """Put a degree in the place of the template's `{degree}`.

    The text is only replaced: quotes, percent signs and single braces stay as they are, and nothing
    is ever evaluated. Other words in braces are refused, since nothing would replace them.

    Raises:
        UsageError: the template does not hold exactly one `{degree}`, or holds something else in
            braces, or one of the two is not a string, or the degree is blank.
    """
    _check_template(template)
    _check_degree(degree)
    return template.replace(PLACEHOLDER, degree)


def _check_template(template: str) -> None:
    if not isinstance(template, str):
        raise UsageError(f"the template must be a string, got {type(template).__name__}")
    count = template.count(PLACEHOLDER)
    others = [found for found in _BRACED.findall(template) if found != PLACEHOLDER]
    if others:
        wanted = "remove it" if count else f"did you mean {PLACEHOLDER}?"
        raise UsageError(
            f"the template holds {others[0]}, which nothing replaces: {wanted} ({template!r} must "
            f"hold {PLACEHOLDER} once and nothing else in braces)"
        )
    if count != 1:
        raise UsageError(
            f"the template must hold {PLACEHOLDER} once, {template!r} holds it {count} times"
        )


def _check_degree(degree: str) -> None:
    if not isinstance(degree, str):
        raise UsageError(
            f"a degree must be a string such as '10%', got {degree!r} ({type(degree).__name__})"
        )
    if not degree.strip():
        raise UsageError("a degree must not be blank")


def check_degrees(degrees: Sequence[str]) -> tuple[str, ...]:
    """The degrees as a tuple.

    Raises:
        UsageError: fewer than two degrees, one given twice, or one that is not a filled string.
    """
    if isinstance(degrees, str):
        raise UsageError(f"degrees must be a list of strings, got the single string {degrees!r}")
    degrees = tuple(degrees)
    for degree in degrees:
        _check_degree(degree)
    if len(degrees) < 2:
        raise UsageError(f"a motion needs at least two degrees, got {len(degrees)}")
    twice = sorted({degree for degree in degrees if degrees.count(degree) > 1})
    if twice:
        raise UsageError(f"the degree {twice[0]!r} is given twice")
    values = [_value(degree) for degree in degrees]
    if None not in values and len(set(values)) < 2:
        raise UsageError(f"the degrees {', '.join(degrees)} are all {values[0]:g}: nothing grows")
    return degrees


def degree_values(degrees: Sequence[str]) -> np.ndarray:
    """How far along the motion each degree is.

    Numbers are what they say: "no" is 0, "30%" is 0.3, "-50%" is -0.5, "0.3", ".3" and "0,3" are
    0.3. Where one of the degrees is none of these (such as "slightly"), all are taken to be in
    growing order and spread evenly over [0, 1].

    Returns:
        [M] float32.

    Raises:
        UsageError: as `check_degrees`.
    """
    degrees = check_degrees(degrees)
    if words_without_number(degrees):
        return np.linspace(0.0, 1.0, len(degrees), dtype=np.float32)
    return np.asarray([_value(degree) for degree in degrees], np.float32)


def words_without_number(degrees: Sequence[str]) -> tuple[str, ...]:
    """Those of the degrees that say no number, for which all of them count by their order."""
    return tuple(degree for degree in degrees if _value(degree) is None)


def _value(degree: str) -> float | None:
    # Compatibility forms, as Japanese keyboards make them, are read as the plain ones.
    word = unicodedata.normalize("NFKC", degree).strip().lower().replace("\N{MINUS SIGN}", "-")
    if word in _NONE:
        return 0.0
    match = _NUMBER.fullmatch(word)
    if match is None:
        return None
    sign, number, percent = match.groups()
    value = float(sign + number.replace(",", "."))
    return value / 100.0 if percent else value
