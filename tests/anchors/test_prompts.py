"""Templates, degrees and presets."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_jax.anchors.prompts import (
    DEFAULT_DEGREES,
    MOTIONS,
    check_degrees,
    degree_values,
    fill,
    words_without_number,
)
from mm_jax.errors import UsageError

# A pair of braces would be another placeholder, also one half in either text.
PLAIN = st.text().filter(lambda text: "{" not in text)


def test_the_papers_degrees() -> None:
    assert DEFAULT_DEGREES[:3] == ("no", "10%", "20%")
    assert DEFAULT_DEGREES[-1] == "100%" and len(DEFAULT_DEGREES) == 11
    np.testing.assert_allclose(degree_values(DEFAULT_DEGREES), np.arange(11) / 10, rtol=1e-6)


def test_presets_fill() -> None:
    assert set(MOTIONS) == {"smile", "anger", "aging", "closing_eyes", "head_turn"}
    prompts = {name: fill(motion.template, "30%") for name, motion in MOTIONS.items()}
    assert prompts["smile"] == "a person with 30% smile"
    assert prompts["anger"] == "30% angry"
    assert all(MOTIONS[name].name == name for name in MOTIONS)


@given(PLAIN, PLAIN, st.text(min_size=1).filter(str.strip))
def test_text_is_replaced_and_never_evaluated(before: str, after: str, degree: str) -> None:
    assert fill(before + "{degree}" + after, degree) == before + degree + after


def test_code_in_a_template_stays_text() -> None:
    template = "a person's {degree} %s } f'1/0' __import__('os') $(rm) { \\n"
    assert fill(template, "10%") == template.replace("{degree}", "10%")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a smile", "once, 'a smile' holds it 0 times"),
        ("{degree} {degree}", "holds it 2 times"),
        ("{ degree }", "holds { degree }, which nothing replaces: did you mean {degree}?"),
        ("{Degree} angry", "did you mean {degree}?"),
        ("a {degree} smile and {x}", "holds {x}, which nothing replaces: remove it"),
        ("{degree} {0}", "holds {0}"),
        (b"{degree}", "must be a string, got bytes"),
        (None, "must be a string, got NoneType"),
    ],
)
def test_bad_templates(template: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        fill(template, "10%")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ("10%", "must be a list of strings, got the single string '10%'"),
        ((0.1, 0.2), r"must be a string such as '10%', got 0.1 \(float\)"),
        (("no", " "), "must not be blank"),
        (("no",), "at least two degrees, got 1"),
        ((), "at least two degrees, got 0"),
        (("no", "10%", "no"), "'no' is given twice"),
        (("no", "0%"), "no, 0% are all 0: nothing grows"),
    ],
)
def test_bad_degrees(degrees: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_degrees(degrees)


def test_values_of_degrees() -> None:
    np.testing.assert_allclose(degree_values(["not", "0.25", "50 %", "200%"]), [0, 0.25, 0.5, 2])
    np.testing.assert_allclose(degree_values(["-50%", "\N{MINUS SIGN}.25", "0%", "+1"]),
                               [-0.5, -0.25, 0, 1])  # fmt: skip
    np.testing.assert_allclose(degree_values([".5", "0,75", "2."]), [0.5, 0.75, 2])
    np.testing.assert_allclose(degree_values(["\uff15\uff10\uff05", "1"]), [0.5, 1])
    np.testing.assert_allclose(degree_values(["slightly", "very", "completely"]), [0, 0.5, 1])
    assert degree_values(["no", "very"]).dtype == np.float32


def test_words_have_no_number() -> None:
    assert words_without_number(("no", "slightly", "50%", "1.2.3", "-", ".")) == (
        "slightly",
        "1.2.3",
        "-",
        ".",
    )
    assert words_without_number(DEFAULT_DEGREES) == ()
