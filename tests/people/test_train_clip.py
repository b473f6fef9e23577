"""What CLIP's training is told of captions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.people import captions, train_clip
from mm_jax.people.attributes import ATTRIBUTES, MOTION_COUNT, degrees_of
from mm_jax.people.factors import Z_DIM, factors_from_z
from mm_jax.people.train_clip import CaptionCounts, caption_losses, step_captions
from mm_jax.perceptual.clip import encode_token_ids
from mm_jax.perceptual.clip_files import load_clip

COUNTS = CaptionCounts(groups=8, meaningless=2, degrees=4, sentences=10, plain=len(ATTRIBUTES))


@pytest.fixture(scope="module")
def degrees() -> np.ndarray:
    return degrees_of(np.asarray(factors_from_z(jax.random.normal(jax.random.key(1), (40, Z_DIM)))))


@pytest.fixture(scope="module")
def said(degrees) -> list[captions.Caption]:
    return step_captions(COUNTS, np.random.default_rng(0), degrees)


def test_a_step_names_all_micromotions_and_as_many_attributes_as_it_is_asked_for(said):
    parts = [said[k : k + 4] for k in range(0, 32, 4)]
    groups = [{claim.attribute for one in part for claim in one.claims} for part in parts]
    assert all(len(group) == 1 for group in groups)
    assert set().union(*groups[:MOTION_COUNT]) == set(range(MOTION_COUNT))
    assert len(said) == 40 + 10 + len(ATTRIBUTES)
    plain = [caption.claims[0].attribute for caption in said[-len(ATTRIBUTES) :]]
    assert sorted(plain) == list(range(len(ATTRIBUTES)))


def test_the_losses_are_least_where_cosines_say_what_fits(degrees, said):
    fits = jnp.asarray(captions.fit(degrees, said))
    true = jnp.log(fits + train_clip._FLOOR)
    right = caption_losses(COUNTS, true, fits)
    assert set(right) == {"by_degree", "by_sentence", "by_text"}
    noise = jax.random.normal(jax.random.key(0), true.shape)
    for wrong in (true + noise, 0.5 * true, jnp.zeros_like(true)):
        found = caption_losses(COUNTS, wrong, fits)
        assert all(found[name] > right[name] for name in right)


def test_texts_without_their_empty_end_mean_the_same(said):
    clip = load_clip("people-clip")
    ids = train_clip._token_ids(clip, said[:12])
    whole = clip.spec.tokenizer([caption.text for caption in said[:12]])
    assert ids.shape[1] < whole.shape[1]
    np.testing.assert_allclose(
        encode_token_ids(clip, jnp.asarray(ids)),
        encode_token_ids(clip, jnp.asarray(whole)),
        atol=1e-5,
    )


def test_made_up_words_are_never_too_long():
    clip, rng = load_clip("people-clip"), np.random.default_rng(0)
    many = [caption for _ in range(200) for caption in captions.meaningless(rng, 4)]
    assert train_clip._token_ids(clip, many).shape[1] <= 64
