"""Captions: what is said is what is meant, and a picture fits what is true of it."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, PLACEHOLDER, fill
from mm_jax.people import captions
from mm_jax.people.attributes import (
    ATTRIBUTES,
    MOTION_COUNT,
    degrees_of,
    position,
    with_article,
    without_degree,
)
from mm_jax.people.captions import Caption, Claim
from mm_jax.people.factors import HAIR_STYLES, NUM_FACTORS, index


def _factors(**values: float) -> np.ndarray:
    factors = np.zeros((1, NUM_FACTORS), np.float32)
    for name, value in values.items():
        factors[0, index(name)] = value
    return factors


def _style(name: str) -> float:
    """The middle of a style's interval."""
    return 2 * (HAIR_STYLES.index(name) + 0.5) / len(HAIR_STYLES) - 1


def test_the_micromotions_come_first_and_every_preset_prompt_is_known():
    assert [attribute.name for attribute in ATTRIBUTES[:MOTION_COUNT]] == list(MOTIONS)
    known = set(captions.corpus())
    for motion in MOTIONS.values():
        assert {fill(motion.template, degree) for degree in DEFAULT_DEGREES} <= known


def test_names_are_distinct_and_templates_are_graded():
    assert len({attribute.name for attribute in ATTRIBUTES}) == len(ATTRIBUTES)
    for attribute in ATTRIBUTES:
        assert all(text.count(PLACEHOLDER) == 1 for text in attribute.templates), attribute.name
        said = (*attribute.sayings, *attribute.denials)
        assert attribute.sayings and not any("{" in text or "  " in text for text in said)


@pytest.mark.parametrize(
    ("name", "factors", "degree"),
    [
        ("smile", {"smile": 1}, 1),
        ("anger", {"anger": -1}, 0),
        ("aging", {"age": 0}, 0.5),
        ("closing_eyes", {"eye_close": 1}, 1),
        ("eyes_open", {"eye_close": 1}, 0),
        ("head_turn", {"yaw": 0}, 0),
        ("head_turn", {"yaw": 1}, 1),
        ("head_turn_left", {"yaw": 0.5}, -0.5),
        ("head_frontal", {"yaw": -1}, 0),
        ("gaze_left", {"gaze_x": -1}, 1),
        ("woman", {"gender": -1}, 1),
        ("european", {"african": -1, "asian": -1}, 1),
        ("big_nose", {"nose_width": 1, "nose_length": 0}, 0.75),
        ("ponytail", {"hair_style": _style("ponytail")}, 1),
        ("ponytail", {"hair_style": _style("bob")}, 0),
        ("long_hair", {"hair_style": _style("long")}, 1),
        ("short_hair", {"hair_style": _style("short")}, 1),
        ("black_hair", {"hair_tone": -1, "age": -1}, 1),
        ("blond_hair", {"hair_tone": 1, "age": -1}, 1),
        ("blond_hair", {"hair_tone": 1, "age": -1, "hair_style": _style("shaved")}, 0),
        ("red_hair", {"hair_tone": 0, "hair_red": 1, "age": -1}, 1),
        ("red_hair", {"hair_tone": -1, "hair_red": 1, "age": -1}, 0),
        ("grey_hair", {"age": 1}, 1),
        ("grey_hair", {"age": -1}, 0),
        ("blond_hair", {"hair_tone": 1, "age": 1}, 0),
        ("light_left", {"light_azimuth": -1}, 1),
    ],
)
def test_degrees_follow_the_factors(name, factors, degree):
    found = degrees_of(_factors(**factors))[0, position(name)]
    assert found == pytest.approx(degree, abs=1e-6)


def test_degrees_are_in_range():
    factors = np.random.default_rng(0).uniform(-1, 1, (500, NUM_FACTORS)).astype(np.float32)
    degrees = degrees_of(factors)
    assert degrees.shape == (500, len(ATTRIBUTES)) and degrees.dtype == np.float32
    assert degrees.min() >= -1 and degrees.max() <= 1 + 1e-6
    # Each attribute is said of somebody, and not of everybody.
    assert (degrees.max(axis=0) > 0.6).all() and (degrees.min(axis=0) < 0.4).all()


def test_an_unknown_attribute_is_named():
    with pytest.raises(KeyError, match="wings"):
        position("wings")


def test_a_picture_fits_its_own_degree_best():
    factors = np.concatenate([_factors(smile=value) for value in np.linspace(-1, 1, 11)])
    said = [Caption(str(d), (Claim(0, d / 10, 0.12),)) for d in range(11)]
    fit = captions.fit(degrees_of(factors), said)
    assert (fit.argmax(axis=1) == np.arange(11)).all()
    np.testing.assert_allclose(np.diag(fit), 1, atol=1e-5)


def test_every_claim_counts():
    degrees = np.zeros((1, len(ATTRIBUTES)), np.float32)
    one, two = Claim(0, 0.12, 0.12), Claim(1, 0.36, 0.36)
    fit = captions.fit(degrees, [Caption("", (one,)), Caption("", (two,)), Caption("", (one, two))])
    np.testing.assert_allclose(fit[0], np.exp([-0.5, -0.5, -1.0]), rtol=1e-5)


@pytest.mark.parametrize("attribute", [0, position("freckles"), position("light_left")])
def test_graded_captions_differ_in_degree_only(attribute):
    rng = np.random.default_rng(attribute)
    for _ in range(30):
        group = captions.graded(rng, attribute, 6)
        assert len({caption.text for caption in group}) == 6
        assert {claim.attribute for c in group for claim in c.claims} == {attribute}
        degrees = captions.PERCENTS | captions.WORDS
        texts = {template.replace(PLACEHOLDER, word): degree for word, degree in degrees.items()
                 for template in ATTRIBUTES[attribute].templates}  # fmt: skip
        for caption in group:
            assert texts[caption.text] == caption.claims[0].degree
            assert "a a " not in caption.text


def test_what_is_said_plainly_is_there_and_what_is_denied_is_not():
    rng = np.random.default_rng(1)
    beard = position("beard")
    for _ in range(20):
        said, denied = captions.plain(rng, beard), captions.plain(rng, beard, there=False)
        assert said.claims[0].degree == 1 and said.text in ATTRIBUTES[beard].sayings
        assert denied.claims[0].degree == 0 and denied.text in ATTRIBUTES[beard].denials


def test_sentences_are_true_of_their_picture():
    rng = np.random.default_rng(2)
    factors = rng.uniform(-1, 1, (300, NUM_FACTORS)).astype(np.float32)
    degrees = degrees_of(factors)
    said = [captions.sentence(rng, row) for row in degrees]
    fit = captions.fit(degrees, said)
    assert np.diag(fit).min() > 0.15
    others = fit[~np.eye(len(fit), dtype=bool)]
    assert np.diag(fit).mean() > 3 * others.mean()
    assert {len(caption.claims) for caption in said} == {2, 3, 4}
    words = {w for c in said for w in c.text.replace(",", "").split() if "%" not in w}
    assert words <= set(captions.vocabulary())


@pytest.mark.parametrize(
    ("phrase", "plain"),
    [
        ("{degree} blue eyes", "blue eyes"),
        ("a {degree} angry look", "an angry look"),
        ("a {degree} european face", "a european face"),
        ("eyes {degree} closed", "eyes closed"),
    ],
)
def test_phrases_without_their_degree(phrase, plain):
    assert without_degree(phrase) == plain


def test_articles():
    assert [with_article(x) for x in ("old man", "guy")] == ["an old man", "a guy"]


def test_the_vocabulary_can_be_listed():
    words = captions.vocabulary()
    assert list(words) == sorted(set(words)) and 150 < len(words) < 1000
    assert {"smile", "freckles", "ponytail", "slightly", "african", "clean-shaven"} <= set(words)


def test_every_image_fits_captions_that_mean_nothing():
    rng = np.random.default_rng(0)
    known = set(captions.vocabulary())
    words = set()
    for _ in range(20):
        said = captions.meaningless(rng, 5)
        assert len({caption.text for caption in said}) == 5
        assert not any(caption.claims for caption in said)
        degrees = degrees_of(rng.uniform(-1, 1, (3, NUM_FACTORS)).astype(np.float32))
        np.testing.assert_array_equal(captions.fit(degrees, said), np.ones((3, 5)))
        words |= set(said[0].text.split())
    made_up = {word for word in words - known if word.isalpha()}
    assert len(made_up) > 20
