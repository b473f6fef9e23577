"""Graded captions and how well they fit."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, fill
from mm_jax.synthface import captions
from mm_jax.synthface.factors import NUM_FACTORS, index
from mm_jax.synthface.tokenizer import CONTEXT, make_tokenizer


def test_every_preset_prompt_is_among_the_captions():
    known = set(captions.corpus())
    for motion in MOTIONS.values():
        for degree in DEFAULT_DEGREES:
            assert fill(motion.template, degree) in known


def test_a_picture_fits_its_own_degree_best():
    factors = np.zeros((11, NUM_FACTORS), np.float32)
    factors[:, index("smile")] = np.linspace(-1, 1, 11)
    said = [captions.Caption(f"{d}", ((0, d / 10),)) for d in range(11)]
    fit = captions.fit(captions.degrees_of(factors), said)
    assert (fit.argmax(axis=1) == np.arange(11)).all()
    np.testing.assert_allclose(np.diag(fit), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "factor", "value", "degree"),
    [
        ("closing_eyes", "eye_open", -1, 1),
        ("head_turn", "yaw", 0, 0),
        ("head_turn", "yaw", 1, 1),
        ("anger", "brow_angle", 1, 1),
        ("aging", "age", -1, 0),
    ],
)
def test_degrees_follow_their_factor(name, factor, value, degree):
    factors = np.zeros((1, NUM_FACTORS), np.float32)
    factors[0, index(factor)] = value
    column = [a.name for a in captions.ATTRIBUTES].index(name)
    assert captions.degrees_of(factors)[0, column] == pytest.approx(degree)


def test_a_group_grades_one_attribute_in_one_phrasing():
    group = captions.grade_group(np.random.default_rng(0), 2, 5)
    assert len({caption.text for caption in group}) == 5
    assert {claim[0] for caption in group for claim in caption.claims} == {2}


def test_a_combination_states_two_attributes():
    degrees = np.linspace(0, 1, len(captions.ATTRIBUTES))
    caption = captions.combined(np.random.default_rng(1), degrees)
    assert " and " in caption.text and len(caption.claims) == 2
    for attribute, stated in caption.claims:
        assert abs(stated - degrees[attribute]) <= 0.0501


def test_the_tokenizer_has_its_end_on_top_and_covers_any_text(tmp_path):
    tokenizer = make_tokenizer(captions.corpus(), tmp_path)
    assert tokenizer.eos_token_id == len(tokenizer) - 1
    texts = [*captions.corpus(), "Ünknown wörds & {braces}"]
    ids = tokenizer(texts)["input_ids"]
    assert max(len(row) for row in ids[:-1]) <= CONTEXT
    assert tokenizer.decode(ids[-1], skip_special_tokens=True) == "ünknown wörds & { braces }"
    assert len({tuple(row) for row in ids}) == len(texts)
