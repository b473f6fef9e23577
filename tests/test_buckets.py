"""Counts rounded up: a run with other prompts or another count compiles no program anew."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import monitoring

from mm_jax import rendering
from mm_jax.anchors.text import text_anchors
from mm_jax.buckets import bucket, filled
from mm_jax.latents import sample_latents


@given(st.integers(1, 10_000))
def test_buckets_hold_the_count_and_waste_less_than_half_of_it(count):
    size = bucket(count)
    assert count <= size < 1.5 * count
    assert bucket(size) == size
    # Two significant bits: there are two buckets for each power of two.
    assert size < 4 or size % (1 << (size.bit_length() - 2)) == 0


def test_nothing_has_no_bucket():
    with pytest.raises(ValueError, match="at least 1"):
        bucket(0)


def test_filled_repeats_the_last():
    assert filled(np.array([3, 5]), 4).tolist() == [3, 5, 5, 5]
    assert filled(np.array([[1, 2]]), 1).tolist() == [[1, 2]]


@contextlib.contextmanager
def compiled():
    """The names of the project's own programs that are compiled within the block."""
    names = []

    def listen(event, duration_secs, **metadata):
        name = str(metadata.get("fun_name"))
        if event.endswith("backend_compile_duration") and name.startswith(
            ("jit(_", "jit(adam_chunk")
        ):
            names.append(name)

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        monitoring.unregister_event_duration_listener(listen)


def find(gen, clip, word, degrees, *, seeds, objective="contrast"):
    start = sample_latents(gen, seeds=seeds, truncation_psi=0.7)
    template = f"a {word} with {{degree}} smile"
    found = text_anchors(
        gen,
        clip,
        template=template,
        degrees=degrees,
        start=start,
        steps=2,
        resolution=8,
        objective=objective,
    )
    return found, rendering.render_all(gen, np.stack([np.asarray(a.ws) for a in found]))


def test_other_prompts_and_another_count_need_no_new_program(tiny_generator, tiny_clip):
    five = ("no", "20%", "40%", "80%", "100%")
    with compiled() as first:
        find(tiny_generator, tiny_clip, "person", five, seeds=[0])
    with compiled() as second:
        find(tiny_generator, tiny_clip, "face", (*five[:2], "60%", *five[2:]), seeds=[7])
    assert any("adam_chunk" in name for name in first), first
    assert second == []


def test_what_fills_up_the_prompts_has_no_influence(tiny_generator, tiny_clip, monkeypatch):
    degrees = ("no", "20%", "40%", "80%", "100%")
    with_filling = find(tiny_generator, tiny_clip, "person", degrees, seeds=[0])[0][0]
    monkeypatch.setattr("mm_jax.anchors.optimize.bucket", lambda count: count)
    without = find(tiny_generator, tiny_clip, "person", degrees, seeds=[0])[0][0]
    np.testing.assert_allclose(with_filling.ws, without.ws, atol=1e-5)
    np.testing.assert_allclose(with_filling.meta["losses"], without.meta["losses"], atol=1e-5)
