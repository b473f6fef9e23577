"""Prompts of growing degree: templates, the degrees that fill them, the paper's micromotions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from mm_jax.errors import UsageError

__all__ = ["DEFAULT_DEGREES", "MOTIONS", "Motion", "check_degrees", "degree_values", "fill"]

PLACEHOLDER = "{degree}"

DEFAULT_DEGREES: tuple[str, ...] = ("no", *(f"{percent}%" for percent in range(10, 101, 10)))
"""The paper's degrees: none, then ten to one hundred per cent."""

_NONE = frozenset({"no", "not", "none", "without"})
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(%?)")


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


def fill(template: str, degree: str) -> str:
    """Put a degree in the place of the template's `{degree}`.

    The text is only replaced: other braces, quotes and percent signs stay as they are, and nothing
    is ever evaluated.

    Raises:
        UsageError: the template does not hold exactly one `{degree}`, or one of the two is not a
            string, or the degree is blank.
    """
    _check_template(template)
    _check_degree(degree)
    return template.replace(PLACEHOLDER, degree)


def _check_template(template: str) -> None:
    if not isinstance(template, str):
        raise UsageError(f"the template must be a string, got {type(template).__name__}")
    count = template.count(PLACEHOLDER)
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
    return degrees


def degree_values(degrees: Sequence[str]) -> np.ndarray:
    """How far along the motion each degree is.

    "no" is 0, "30%" is 0.3, "0.3" is 0.3. Where one of the degrees is none of these (such as
    "slightly"), all are taken to be in growing order and spread evenly over [0, 1].

    Returns:
        [M] float32.

    Raises:
        UsageError: as `check_degrees`.
    """
    degrees = check_degrees(degrees)
    values = [_value(degree) for degree in degrees]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return np.linspace(0.0, 1.0, len(degrees), dtype=np.float32)
    return np.asarray(known, np.float32)


def _value(degree: str) -> float | None:
    word = degree.strip().lower()
    if word in _NONE:
        return 0.0
    match = _NUMBER.fullmatch(word)
    if match is None:
        return None
    return float(match[1]) / (100.0 if match[2] else 1.0)
