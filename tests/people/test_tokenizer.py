"""The tokenizer that the captions make."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.people import captions
from mm_jax.people.attributes import degrees_of
from mm_jax.people.factors import NUM_FACTORS
from mm_jax.people.tokenizer import CONTEXT, VOCAB_SIZE, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(captions.corpus(), tmp_path_factory.mktemp("tokenizer"))


def test_the_end_has_the_highest_id(tokenizer):
    assert tokenizer.eos_token_id == len(tokenizer) - 1 < VOCAB_SIZE


def test_every_word_is_one_token(tokenizer):
    words = [word for word in captions.vocabulary() if "-" not in word]
    assert {len(ids) for ids in tokenizer(words)["input_ids"]} == {3}  # start, word, end


def test_captions_are_distinct_and_fit_the_context(tokenizer):
    ids = tokenizer(list(captions.corpus()))["input_ids"]
    assert len({tuple(row) for row in ids}) == len(ids)
    rng = np.random.default_rng(0)
    degrees = degrees_of(rng.uniform(-1, 1, (500, NUM_FACTORS)))
    said = [captions.sentence(rng, row).text for row in degrees]
    assert max(len(row) for row in [*ids, *tokenizer(said)["input_ids"]]) <= CONTEXT


def test_any_text_can_be_read(tokenizer):
    ids = tokenizer("Ünknown wörds & {braces}")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ünknown wörds & { braces }"
