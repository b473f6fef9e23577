"""What is said of strengths is what they are."""

import pytest

from mm_jax.editing.options import strengths_text


@pytest.mark.parametrize(
    ("strengths", "text"),
    [
        ((0.8,), "strength 0.8"),
        ((0.0, 0.0, 0.0), "strength 0"),
        ((0.0, 1.0), "strength 0 to 1"),
        ((0.0, 1.0, 0.0), "strength 0, 1, 0"),
        (tuple(i / 29 for i in range(30)), "strength 0 to 1"),
        (tuple(1 - i / 29 for i in range(30)), "strength 1 to 0"),
        (tuple((i % 3) - 1 for i in range(30)), "strength -1 to 1"),
    ],
)
def test_strengths_in_words(strengths, text):
    assert strengths_text(strengths) == text
