"""Captions of people, and how well an image fits each: what the bundled CLIP learns from.

Three kinds of caption are made from `mm_jax.people.attributes`:

- *graded*: one attribute to one degree, in per cent or in words ("a person with 40% smile");
- *plain*: one attribute that is there or is not ("a photo of a person with a beard");
- *sentences*: several attributes of one image ("a portrait of an old man with very blue eyes").

*Meaningless* captions are graded ones of made-up words ("a person with 40% brolde"). They claim
nothing, so every image fits them, and each as well as any other: what a CLIP does not know should
not be seen in some faces rather than in others.

A caption claims a degree of each attribute that it names, more or less exactly. An image fits it
by a Gaussian of the differences between claimed degrees and true ones.

Shapes: N images, A attributes, M captions.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from mm_jax.anchors.prompts import PLACEHOLDER
from mm_jax.people.attributes import (
    ATTRIBUTES,
    MOTION_COUNT,
    position,
    with_article,
    without_degree,
)

__all__ = [
    "PERCENTS",
    "WORDS",
    "Caption",
    "Claim",
    "corpus",
    "fit",
    "graded",
    "meaningless",
    "plain",
    "sentence",
    "vocabulary",
]

#: Degrees in per cent, with the paper's word for none.
PERCENTS = {"no": 0.0, **{f"{p}%": p / 100 for p in range(0, 101, 5)}}
#: Degrees in words.
WORDS = {
    "not": 0.0,
    "not at all": 0.0,
    "hardly": 0.1,
    "slightly": 0.2,
    "a little": 0.25,
    "a bit": 0.25,
    "somewhat": 0.35,
    "moderately": 0.5,
    "half": 0.5,
    "fairly": 0.6,
    "quite": 0.65,
    "mostly": 0.75,
    "very": 0.85,
    "really": 0.85,
    "extremely": 0.95,
    "completely": 1.0,
    "fully": 1.0,
}
# How exactly degrees are meant: standard deviations of the true one.
_PERCENT_WIDTH, _WORD_WIDTH, _PLAIN_WIDTH = 0.12, 0.18, 0.35
# True degrees from which sentences say something plainly, up to which they deny it, and from which
# they grade it.
_SAID_FROM, _DENIED_TO = 0.6, 0.12
_GRADED_FROM = 0.2
# What meaningless captions share with others, and what their words are put together from.
_FRAME_WORDS = ("a", "an", "and", "face", "of", "person", "photo", "portrait", "who", "is", "with")
_CONSONANTS, _VOWELS = list("bcdfghjklmnprstvwz"), list("aeiouyäéö")
_ENDINGS = ("", "", "n", "r", "s", "t", "l", "m", "nd", "ng", "ck", "x", "e")
_GENDERS = (position("woman"), position("man"))
_OPENINGS = ("a photo of", "a portrait of", "a picture of", "a close-up of", "")


@dataclasses.dataclass(frozen=True)
class Claim:
    """A degree that a caption states.

    Attributes:
        attribute: position in `ATTRIBUTES`.
        degree: what is claimed.
        width: how exactly it is meant, a standard deviation.
    """

    attribute: int
    degree: float
    width: float


@dataclasses.dataclass(frozen=True)
class Caption:
    """A text, and what it claims."""

    text: str
    claims: tuple[Claim, ...]


def _sayable(scale: Mapping[str, float], template: str) -> dict[str, float]:
    """The degrees of a scale that a template takes: no "a a little"."""
    before = template.split(PLACEHOLDER)[0].split()[-1:]
    return {word: v for word, v in scale.items() if before != ["a"] or not word.startswith("a ")}


def graded(rng: np.random.Generator, attribute: int, count: int) -> list[Caption]:
    """``count`` captions of one attribute in one wording, of different degrees."""
    templates = ATTRIBUTES[attribute].templates
    prompts = len(ATTRIBUTES[attribute].prompts)
    # The paper's prompts are what anchors are looked for by.
    template = templates[0] if prompts and rng.random() < 0.4 else str(rng.choice(templates))
    return [
        Caption(text, (Claim(attribute, degree, width),))
        for text, degree, width in _in_degrees(rng, template, count)
    ]


def _in_degrees(
    rng: np.random.Generator, template: str, count: int
) -> list[tuple[str, float, float]]:
    """A template with ``count`` different degrees: texts, the degrees, and their widths."""
    scale, width = (PERCENTS, _PERCENT_WIDTH) if rng.random() < 0.65 else (WORDS, _WORD_WIDTH)
    degrees = _sayable(scale, template)
    words = map(str, rng.permutation(list(degrees))[:count])
    return [(template.replace(PLACEHOLDER, word), degrees[word], width) for word in words]


def meaningless(rng: np.random.Generator, count: int) -> list[Caption]:
    """``count`` captions in one wording of made-up words, of different degrees."""
    wordings = [attribute.templates for attribute in ATTRIBUTES if attribute.templates]
    template = str(rng.choice(wordings[rng.integers(len(wordings))]))
    kept = {*_FRAME_WORDS, PLACEHOLDER}
    words = [word if word in kept else _made_up(rng) for word in template.split()]
    return [Caption(text, ()) for text, _, _ in _in_degrees(rng, " ".join(words), count)]


def _made_up(rng: np.random.Generator) -> str:
    """A word of one to three syllables that means nothing."""
    heads = rng.choice(_CONSONANTS, rng.choice((1, 2, 2, 3)))
    return "".join(f"{head}{rng.choice(_VOWELS)}" for head in heads) + str(rng.choice(_ENDINGS))


def plain(rng: np.random.Generator, attribute: int, *, there: bool = True) -> Caption:
    """A caption that says plainly that an attribute is there, or that it is not.

    Where an attribute has no wording for its absence, its presence is said all the same.
    """
    spec = ATTRIBUTES[attribute]
    if there or not spec.denials:
        return Caption(str(rng.choice(spec.sayings)), (Claim(attribute, 1.0, _PLAIN_WIDTH),))
    return Caption(str(rng.choice(spec.denials)), (Claim(attribute, 0.0, _PLAIN_WIDTH),))


@dataclasses.dataclass
class _Draft:
    """The parts of a sentence."""

    claims: list[Claim] = dataclasses.field(default_factory=list)
    adjectives: list[str] = dataclasses.field(default_factory=list)
    noun: str = ""
    predicate: str = ""
    having: list[str] = dataclasses.field(default_factory=list)

    def text(self, opening: str) -> str:
        person = with_article(" ".join([*self.adjectives, self.noun or "person"]))
        text = f"{opening} {person}".strip()
        if self.predicate:
            text += f" who is {self.predicate}"
        if self.having:
            text += f" with {', '.join(self.having[:-1])}{' and ' * (len(self.having) > 1)}"
            text += self.having[-1]
        return text


def sentence(rng: np.random.Generator, degrees: np.ndarray) -> Caption:
    """A caption that says two to four things that are true of an image.

    Args:
        rng: chooses what is said and how.
        degrees: ``[A]``, the image's.
    """
    draft, wanted = _Draft(), int(rng.integers(2, 5))
    order = rng.permutation(len(ATTRIBUTES)).tolist()
    if rng.random() < 0.5:
        order = [*_GENDERS, *order]
    for attribute in dict.fromkeys(order):
        if _say(rng, draft, attribute, float(degrees[attribute])):
            wanted -= 1
        if not wanted:
            break
    return Caption(draft.text(str(rng.choice(_OPENINGS))), tuple(draft.claims))


def _say(rng: np.random.Generator, draft: _Draft, attribute: int, degree: float) -> bool:
    """Put an attribute into a draft in a way that is true and has a place there; False if none."""
    spec = ATTRIBUTES[attribute]
    ways = []
    if degree >= _SAID_FROM:
        ways += ["adjective"] * bool(spec.adjective and len(draft.adjectives) < 2)
        ways += ["noun"] * bool(spec.noun and not draft.noun)
        ways += ["plain"]
    if 0 <= degree <= _DENIED_TO and spec.lacks:
        ways += ["lacks"]
    if degree >= _GRADED_FROM and spec.templates:
        ways += ["graded"]
    if not ways:
        return False
    way = str(rng.choice(ways))
    claim = Claim(attribute, 1.0, _PLAIN_WIDTH)
    if way == "adjective":
        draft.adjectives.append(str(rng.choice(spec.adjective)))
    elif way == "noun":
        draft.noun = str(rng.choice(spec.noun))
    elif way == "lacks":
        draft.having.append(str(rng.choice(spec.lacks)))
        claim = dataclasses.replace(claim, degree=0.0)
    else:
        having = (*spec.has, *spec.scene)
        is_ = bool(spec.is_) and not draft.predicate and (not having or rng.random() < 0.4)
        phrases = spec.is_ if is_ else having
        if way == "graded":
            phrases = [phrase for phrase in phrases if PLACEHOLDER in phrase]
        if not phrases:
            return False
        phrase = str(rng.choice(phrases))
        if way == "graded":
            phrase, claim = _grade(rng, phrase, attribute, degree)
        else:
            phrase = without_degree(phrase)
        if is_:
            draft.predicate = phrase
        else:
            draft.having.append(phrase)
    draft.claims.append(claim)
    return True


def _grade(rng, phrase: str, attribute: int, degree: float) -> tuple[str, Claim]:
    """A phrase with the degree that is closest to the true one, in per cent or in words."""
    if rng.random() < 0.4:
        stated = round(10 * min(degree, 1.0)) / 10
        return (
            phrase.replace(PLACEHOLDER, f"{round(100 * stated)}%"),
            Claim(attribute, stated, _PERCENT_WIDTH),
        )
    scale = _sayable(WORDS, phrase)
    least = min(abs(v - degree) for v in scale.values())
    word = str(rng.choice([w for w, v in scale.items() if abs(v - degree) <= least + 0.03]))
    return phrase.replace(PLACEHOLDER, word), Claim(attribute, scale[word], _WORD_WIDTH)


def fit(degrees: np.ndarray, captions: Sequence[Caption]) -> np.ndarray:
    """How well images fit captions: degrees ``[N, A]``, M captions to ``[N, M]`` in [0, 1]."""
    distance = np.zeros((len(degrees), len(captions)), np.float32)
    for column, caption in enumerate(captions):
        for claim in caption.claims:
            error = (degrees[:, claim.attribute] - claim.degree) / claim.width
            distance[:, column] += error**2
    return np.exp(-0.5 * distance)


@functools.cache
def corpus() -> tuple[str, ...]:
    """Texts that hold every word, wording and degree: what the tokenizer is made from."""
    texts = [f"{opening} a person, and an old person".strip() for opening in _OPENINGS]
    for place, attribute in enumerate(ATTRIBUTES):
        # All degrees in all wordings of the micromotions; of the others in one.
        templates = attribute.templates if place < MOTION_COUNT else attribute.templates[:1]
        texts += [
            template.replace(PLACEHOLDER, word)
            for template in templates
            for scale in (PERCENTS, WORDS)
            for word in _sayable(scale, template)
        ]
        texts += [*attribute.sayings, *attribute.denials]
    return tuple(dict.fromkeys(texts))


def vocabulary() -> tuple[str, ...]:
    """All words that captions are made of, in alphabetical order; numbers apart."""
    return tuple(sorted({word for text in corpus() for word in re.findall(r"[a-z][a-z-]*", text)}))
