"""Edits judged by readings that are planted."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mm_jax.errors import DataError, UsageError
from mm_jax.faces.judge import READ, TARGETS, judge_edits
from mm_jax.faces.readings import Readings

STRENGTHS = np.array([-1.0, 0.0, 0.5, 2.0])


def planted(people=6, *, moves="age", by=20.0, drift=0.0, hidden=()):
    """Readings of people who differ, of which one moves with the strength."""
    rng = np.random.default_rng(0)
    strength = np.tile(STRENGTHS, people)
    who = np.repeat(np.arange(people), len(STRENGTHS))
    own = rng.uniform(0.2, 0.8, (people, len(READ)))
    values = {name: own[who, i] for i, name in enumerate(READ)}
    values[moves] = values[moves] + by * strength
    descriptors = rng.standard_normal((people, 128))[who]
    descriptors[:, 0] += drift * strength
    return Readings(values, descriptors, ~np.isin(who, hidden))


def test_a_clean_edit():
    readings = planted(drift=0.1)
    verdict = judge_edits(readings, STRENGTHS, target="age")
    assert verdict.truth.spearman == pytest.approx(1)
    assert verdict.truth.right_way == 1 and verdict.truth.n == 6 and verdict.unread == 0
    assert verdict.truth.leakage_max == pytest.approx(0)
    assert verdict.identity_change == pytest.approx(0.3)
    assert verdict.identity_between == pytest.approx(16, abs=1)  # sqrt(2 * 128)


def test_the_wrong_way_and_the_wrong_reading():
    readings = planted(moves="yaw", by=-1.0)
    assert judge_edits(readings, STRENGTHS, target="yaw").truth.right_way == 0
    assert judge_edits(readings, STRENGTHS, target="yaw", sign=-1).truth.right_way == 1
    with pytest.raises(DataError, match="does not change"):
        judge_edits(readings, STRENGTHS, target="age")


def test_probabilities_are_compared_as_logits():
    """0.99 is as far from 0.9 as 0.5 is from 0.083: a sure smile that grows surer has moved."""
    readings = planted()
    readings.values["happy"] = np.tile([0.5, 0.9, 0.99, 0.9999], 6)
    verdict = judge_edits(readings, STRENGTHS, target="happy")
    assert verdict.truth.spearman == pytest.approx(1)
    assert verdict.truth.target_change == pytest.approx(np.log(999))  # clipped at 0.999


@hypothesis.given(hidden=st.sets(st.integers(0, 5), max_size=4))
def test_people_without_a_face_are_left_out(hidden):
    readings = planted(hidden=sorted(hidden))
    verdict = judge_edits(readings, STRENGTHS, target="age")
    assert (verdict.unread, verdict.truth.n) == (len(hidden), 6 - len(hidden))
    assert verdict.truth.spearman == pytest.approx(1)


def test_bad_input():
    readings = planted()
    with pytest.raises(UsageError, match="target must be one of happy"):
        judge_edits(readings, STRENGTHS, target="nose")
    with pytest.raises(UsageError, match=r"strengths must be \[S\]"):
        judge_edits(readings, 1.0, target="age")
    with pytest.raises(DataError, match="24 readings are not 5 strengths"):
        judge_edits(readings, np.arange(5), target="age")
    readings = planted(hidden=range(5))
    with pytest.raises(DataError, match="got 1 of 6"):
        judge_edits(readings, STRENGTHS, target="age")


def test_every_motion_has_a_reading():
    assert {target for target, _ in TARGETS.values()} <= set(READ)


def test_batches_are_joined():
    readings = planted()
    half = len(readings.found) // 2
    parts = [
        Readings(
            {name: value[part] for name, value in readings.values.items()},
            readings.descriptors[part],
            readings.found[part],
        )
        for part in (slice(half), slice(half, None))
    ]
    joined = Readings.join(parts)
    assert judge_edits(joined, STRENGTHS, target="age") == judge_edits(
        readings, STRENGTHS, target="age"
    )
