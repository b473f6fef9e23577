"""Files of December 2019 by today's names."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mm_jax.errors import DataError
from weights_convert.detect import detect
from weights_convert.plan import Request
from weights_convert.rosinality_legacy import fill_noise, modern_names


def first_days(state):
    """The names, shapes and scales of the repository's first days."""
    old = {}
    for key, value in state.items():
        if match := re.fullmatch(r"(conv1|convs\.\d)\.activate\.bias", key):
            key, value = f"{match[1]}.bias", value[None, :, None, None]
        elif match := re.fullmatch(r"(convs\.\d)\.conv\.blur\.kernel", key):
            channels = state[f"{match[1]}.conv.weight"].shape[1]
            key = f"{match[1]}.conv.blur.weight"
            value = np.repeat(value[None, None], channels, axis=0)
        elif match := re.fullmatch(r"(to_rgbs\.\d)\.upsample\.kernel", key):
            key = f"{match[1]}.upsample.blur.weight"
            value = np.repeat(value[None, None], 3, axis=0)
        elif re.fullmatch(r"style\.\d\.weight|.*\.modulation\.weight", key):
            key = key.replace(".weight", ".linear.weight_orig")
        elif re.fullmatch(r"style\.\d\.bias", key):
            value = value * np.float32(0.01)
        elif key.endswith(".modulation.bias"):
            key = key.replace(".bias", ".linear.bias")
        old[key] = value
    return {key: value for key, value in old.items() if not key.startswith("noises.")}


@pytest.fixture
def state(states):
    return states["rosinality"]


def test_first_days(state, random_generator):
    content = first_days(state)
    assert "style.1.linear.weight_orig" in content
    assert detect(content)[0] == "rosinality"
    plan = detect(content)[1].plan(content, Request())
    assert "names are those of December 2019" in plan.notes
    assert any("no noise maps" in note for note in plan.notes)
    gen = plan.parts[0].build()
    wanted = random_generator.params
    np.testing.assert_allclose(
        gen.params["mapping"]["fc0"]["bias"], wanted["mapping"]["fc0"]["bias"], rtol=1e-6
    )
    layer = gen.params["synthesis"]["b8"]["conv0"]
    np.testing.assert_array_equal(layer["bias"], wanted["synthesis"]["b8"]["conv0"]["bias"])
    assert layer["noise_const"].std() == pytest.approx(1, abs=0.3)


def test_today_is_left_as_it_is(state):
    modern, notes = modern_names(state)
    assert not notes
    assert modern.keys() == state.keys()
    assert all(modern[key] is value for key, value in state.items())
    assert fill_noise(state, layers=5) == (dict(state), ())


def test_noise_is_always_the_same(state):
    bare = {k: v for k, v in state.items() if not k.startswith("noises.")}
    one, two = fill_noise(bare, layers=5)[0], fill_noise(bare, layers=5)[0]
    assert one.keys() == state.keys()
    for key, value in one.items():
        assert value.shape == state[key].shape
        np.testing.assert_array_equal(value, two[key])


def test_damage_is_not_age(state):
    content = {k: v for k, v in state.items() if k != "noises.noise_1"}
    with pytest.raises(DataError, match=r"lacks noises\.noise_1"):
        detect(content)[1].plan(content, Request())
    blurs = np.array(first_days(state)["convs.0.conv.blur.weight"])
    blurs[1] *= 2
    with pytest.raises(DataError, match="not one filter"):
        modern_names({"convs.0.conv.blur.weight": blurs})
    with pytest.raises(DataError, match=r"must have shape \[1, C, 1, 1\]"):
        modern_names({"conv1.bias": np.ones(3)})
