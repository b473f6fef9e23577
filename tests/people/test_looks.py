"""From factors to people: names that exist, amounts that are finite, continuous and symmetric."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.people.factors import FACTORS, HAIR_STYLES, NUM_FACTORS, index
from mm_jax.people.looks import person_of
from tests.people.conftest import HAIRS, factors_of
from tests.people.make_heads import used_targets

vectors = st.lists(st.floats(-1, 1), min_size=NUM_FACTORS, max_size=NUM_FACTORS)


def numbers(thing) -> list[float]:
    """All numbers of a person."""
    if dataclasses.is_dataclass(thing):
        return [n for f in dataclasses.fields(thing) for n in numbers(getattr(thing, f.name))]
    if isinstance(thing, dict):
        return [n for value in thing.values() for n in numbers(value)]
    if isinstance(thing, str):
        return []
    return [float(x) for x in np.ravel(thing)]


def test_the_committed_heads_have_every_target(heads):
    assert used_targets() == set(heads.target_names)


@settings(max_examples=60, deadline=None)
@given(vectors)
def test_people_are_finite_and_within_reach(heads, values):
    person = person_of(np.array(values, np.float32))
    assert np.isfinite(numbers(person)).all()
    assert set(person.shape) <= set(heads.target_names)
    assert {f"unit-{name}" for name in person.expression} <= set(heads.target_names)
    assert max(abs(w) for w in person.shape.values()) <= 1.6
    assert min(person.expression.values()) >= 0 and max(person.expression.values()) <= 2
    assert abs(person.yaw) <= math.radians(40) + 1e-6
    assert person.hair.style in ("", *HAIRS)
    for colour in (person.skin.lips, person.skin.hair, person.skin.brow, person.hair.albedo):
        assert colour.shape == (3,) and (colour > 0).all() and (colour < 1).all()


def test_macro_weights_add_up():
    """Origins share, builds and ages too: no head is made twice or left out."""
    for values in np.random.default_rng(0).uniform(-1, 1, (30, NUM_FACTORS)):
        shape = person_of(values).shape
        origins = [w for n, w in shape.items() if n.startswith(("african", "asian", "caucasian"))]
        builds = [w for n, w in shape.items() if n.endswith("weight") and "male" in n]
        assert len(origins) == 12 and len(builds) == 12
        np.testing.assert_allclose([sum(origins), sum(builds)], 1, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in FACTORS if n != "hair_style"])
def test_no_factor_jumps(name):
    """Age, gender and the rest: a small step changes every number a little."""
    people = [person_of(factors_of(hair_style=0.9, **{name: v})) for v in np.linspace(-1, 1, 61)]
    # Targets of one direction are not there in the other.
    names = sorted({target for person in people for target in person.shape})
    rows = [
        [person.shape.get(target, 0.0) for target in names]
        + numbers(dataclasses.replace(person, shape={}))
        for person in people
    ]
    assert np.abs(np.diff(np.array(rows), axis=0)).max() < 0.3


def test_styles_are_all_worn():
    middles = (2 * np.arange(len(HAIR_STYLES)) + 1) / len(HAIR_STYLES) - 1
    people = [person_of(factors_of(hair_style=v)) for v in middles]
    assert {p.hair.style for p in people} == {"", *HAIRS}
    by_name = dict(zip(HAIR_STYLES, people, strict=True))
    assert by_name["shaved"].hair.style == "" and by_name["bob"].hair.cut > 0
    assert by_name["bob"].hair.style == by_name["long"].hair.style


def test_what_motions_do():
    def units(**changes):
        return person_of(factors_of(**changes)).expression

    assert units(smile=1.0)["mouthSmileLeft"] > 0.9 > units(smile=0.0)["mouthSmileLeft"]
    assert units(smile=-1.0)["mouthFrownLeft"] > 0.5
    assert units(anger=1.0)["browDownRight"] > 1.2 and units(anger=-1.0)["browDownRight"] == 0
    assert units(eye_close=1.0)["eyeBlinkLeft"] == pytest.approx(1.0)
    look = units(gaze_x=1.0)
    assert look["eyeLookOutLeft"] > 0.5 and look["eyeLookInRight"] > 0.5
    old, young = (person_of(factors_of(age=a)) for a in (1.0, -1.0))
    assert all(o >= y for o, y in zip(old.skin.wrinkles, young.skin.wrinkles, strict=True))
    assert old.hair.grey > 0.8 and young.hair.grey == 0
    assert person_of(factors_of(yaw=1.0)).yaw == pytest.approx(math.radians(40))
    assert index("smile") == 0


@pytest.mark.parametrize("values", [np.zeros(NUM_FACTORS - 1), np.zeros(NUM_FACTORS + 1)])
def test_another_number_of_factors_is_refused(values):
    with pytest.raises(ValueError, match="argument 2"):
        person_of(values)
