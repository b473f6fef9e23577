"""What is said about a face: graded captions, several phrasings, and how true each one is.

The bundled CLIP learns from these.  A caption states the degree of one attribute, in per cent or
in words; how well a picture fits it is a Gaussian of the difference between the stated degree and
the picture's true one.  Turning the head is graded by side: 0 % is facing the viewer.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from mm_jax.anchors.prompts import MOTIONS
from mm_jax.synthface.factors import index

PLACEHOLDER = "{degree}"
WORDS = {"not": 0.0, "slightly": 0.25, "moderately": 0.5, "very": 0.75, "completely": 1.0}
PERCENTS = {"no": 0.0, **{f"{p}%": p / 100 for p in range(0, 101, 5)}}
WIDTH = 0.12  # standard deviation of the fit, in degrees


@dataclasses.dataclass(frozen=True)
class Attribute:
    """Something that a caption grades: degree = offset + slope * factor."""

    name: str
    factor: str
    offset: float
    slope: float
    templates: tuple[str, ...]

    def degrees(self, factors: np.ndarray) -> np.ndarray:
        """True degrees ``[N]`` of factors ``[N, F]``."""
        return self.offset + self.slope * factors[:, index(self.factor)]


ATTRIBUTES = (
    Attribute(
        "smile",
        "smile",
        0.5,
        0.5,
        (
            MOTIONS["smile"].template,
            "a face with a {degree} smile",
            "a {degree} smiling person",
            "{degree} smiling",
        ),
    ),
    Attribute(
        "anger",
        "brow_angle",
        0.5,
        0.5,
        (
            MOTIONS["anger"].template,
            "a {degree} angry person",
            "a person who is {degree} angry",
            "a {degree} angry face",
        ),
    ),
    Attribute(
        "aging",
        "age",
        0.5,
        0.5,
        (
            MOTIONS["aging"].template,
            "a {degree} old person",
            "a person who is {degree} old",
            "a {degree} aged face with wrinkles",
        ),
    ),
    Attribute(
        "closing_eyes",
        "eye_open",
        0.5,
        -0.5,
        (
            MOTIONS["closing_eyes"].template,
            "eyes {degree} closed",
            "a face with {degree} closed eyes",
        ),
    ),
    Attribute(
        "head_turn",
        "yaw",
        0.0,
        1.0,
        (
            MOTIONS["head_turn"].template,
            "head turned {degree} to the right",
            "a face turned {degree} right",
        ),
    ),
    Attribute(
        "head_turn_left",
        "yaw",
        0.0,
        -1.0,
        (
            "a person with head turned {degree} to the left",
            "head turned {degree} to the left",
            "a face turned {degree} left",
        ),
    ),
    Attribute(
        "mouth_open",
        "mouth_open",
        0.5,
        0.5,
        (
            "a person with mouth {degree} open",
            "mouth {degree} open",
            "a face with a {degree} open mouth",
        ),
    ),
    Attribute(
        "long_hair",
        "hair_length",
        0.5,
        0.5,
        ("a person with {degree} long hair", "{degree} long hair"),
    ),
    Attribute(
        "blond_hair",
        "hair_tone",
        0.5,
        0.5,
        ("a person with {degree} blond hair", "{degree} blond"),
    ),
    Attribute(
        "raised_brows",
        "brow_height",
        0.5,
        0.5,
        ("a person with eyebrows {degree} raised", "{degree} surprised"),
    ),
)


@dataclasses.dataclass(frozen=True)
class Caption:
    """A text, and which degree of which attributes (by position) it states."""

    text: str
    claims: tuple[tuple[int, float], ...]


def grade_group(rng: np.random.Generator, attribute: int, count: int) -> list[Caption]:
    """``count`` captions of one attribute in one phrasing, of different degrees."""
    spec = ATTRIBUTES[attribute]
    template = spec.templates[0] if rng.random() < 0.4 else str(rng.choice(spec.templates))
    scale = dict(PERCENTS) if rng.random() < 0.75 else dict(WORDS)
    words = rng.permutation(list(scale))[:count]
    return [
        Caption(template.replace(PLACEHOLDER, str(word)), ((attribute, scale[str(word)]),))
        for word in words
    ]


def combined(rng: np.random.Generator, degrees: np.ndarray) -> Caption:
    """A caption that states two attributes of one picture, ``degrees [A]``, to the nearest 10 %."""
    first, second = rng.choice(len(ATTRIBUTES), 2, replace=False)
    texts, claims = [], []
    for attribute in (first, second):
        degree = float(np.clip(np.round(degrees[attribute], 1), 0.0, 1.0))
        template = str(rng.choice(ATTRIBUTES[attribute].templates))
        texts.append(template.replace(PLACEHOLDER, f"{round(100 * degree)}%"))
        claims.append((int(attribute), degree))
    return Caption(" and ".join(texts), tuple(claims))


def degrees_of(factors: np.ndarray) -> np.ndarray:
    """True degrees ``[N, A]`` of every attribute."""
    return np.stack([attribute.degrees(factors) for attribute in ATTRIBUTES], axis=1)


def fit(degrees: np.ndarray, captions: list[Caption]) -> np.ndarray:
    """How well pictures fit captions: degrees ``[N, A]``, M captions to ``[N, M]`` in [0, 1]."""
    distance = np.zeros((len(degrees), len(captions)), np.float32)
    for column, caption in enumerate(captions):
        for attribute, stated in caption.claims:
            distance[:, column] += (degrees[:, attribute] - stated) ** 2
    return np.exp(-0.5 * distance / WIDTH**2)


def vocabulary() -> list[str]:
    """Every word of the captions; the tokenizer breaks any other into pieces."""
    return sorted({word for text in corpus() for word in re.findall("[a-z]+", text)})


def corpus() -> list[str]:
    """Every single-attribute caption: what the tokenizer is made from."""
    return [
        template.replace(PLACEHOLDER, word)
        for attribute in ATTRIBUTES
        for template in attribute.templates
        for word in (*PERCENTS, *WORDS)
    ] + ["and"]
