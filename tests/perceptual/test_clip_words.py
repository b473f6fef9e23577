"""Words that a CLIP does not know, as its tokenizer tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, fill
from mm_jax.people import captions
from mm_jax.perceptual import clip_words
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.clip_words import wording_notes
from mm_jax.zoo import ASSETS


@pytest.fixture(scope="module")
def bundled() -> Any:
    return load_clip("people-clip")


def test_the_bundled_clip_knows_its_captions_and_nothing_else(bundled: Any) -> None:
    known = [fill(motion.template, d) for motion in MOTIONS.values() for d in DEFAULT_DEGREES]
    assert wording_notes(bundled, [*known, *captions.corpus(), "A Person, with 5% SMILE!"]) == []
    assert wording_notes(bundled, ["no plaid smile", "100% plaid smile"], known="see there") == [
        "people-clip never saw “plaid” in its training; see there"
    ]
    assert "“eine”, “mit”, “Lächeln”" in wording_notes(bundled, ["eine Person mit no Lächeln"])[0]
    assert "“笑っている人”" in wording_notes(bundled, ["50%笑っている人"])[0]


def test_the_model_card_lists_them() -> None:
    card = (ASSETS / "MODEL_CARD.md").read_text()
    listed = card[card.index("Words: ") + len("Words: ") :]
    assert [word.strip(" .\n") for word in listed.split(",")] == list(captions.vocabulary())


def test_other_clips_read_any_word_but_not_every_well(
    bundled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_words, "OF_CAPTIONS", 0)
    foreign, broken = wording_notes(bundled, ["a zeppelin 笑 smile", "quixotic smile"])
    assert foreign.startswith("“笑”: most CLIPs")
    assert broken.startswith("people-clip breaks “zeppelin”, “quixotic” into 4 pieces or more")


def test_an_unknown_word_of_a_word_tokenizer(tiny_clip: Any) -> None:
    words = tiny_clip.spec.tokenizer.words("a person with 10% wings")
    assert words == [("a", 1), ("person", 1), ("with", 1), ("wings", 0)]


def test_long_texts_are_cut_on_request(tiny_clip: Any) -> None:
    tokenizer = tiny_clip.spec.tokenizer
    long, short = tokenizer(["smile " * 30, "smile " * 14], cut=True)
    np.testing.assert_array_equal(long, short)
    assert (long[-1], long[-2] != long[-1]) == (tokenizer.end_id, True)
