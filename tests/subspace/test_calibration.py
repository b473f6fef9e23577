"""Calibrated strengths: curves with known answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_jax.errors import DataError
from mm_jax.subspace.calibration import KEY, Calibration, growing, isotonic, rising_range

AT = np.linspace(-2, 2, 17)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_a_straight_reading_leaves_strengths_as_they_are() -> None:
    found = Calibration.measured(AT, 0.5 + 0.2 * AT)
    assert found.saturates == (-2.0, 2.0)
    amounts = np.array([-3.0, -1.5, 0.0, 0.25, 1.0, 2.5])
    np.testing.assert_allclose(found.strengths_of(amounts), amounts, atol=1e-9)
    assert found.beyond([0, 2.5]) and not found.beyond([-2, 2])


def test_equal_steps_read_equally_and_nought_and_one_stay() -> None:
    found = Calibration.measured(AT, sigmoid(3 * AT))
    np.testing.assert_allclose(found.strengths_of([0, 1]), [0, 1], atol=1e-9)
    even = found.strengths_of(np.linspace(-0.9, 0.9, 7))
    read = np.interp(even, AT, sigmoid(3 * AT))
    np.testing.assert_allclose(np.diff(read), np.diff(read).mean(), rtol=0.01)
    low, high = found.saturates
    assert -2 < low < -0.7 and 0.7 < high < 2
    # Near zero, where the reading is quick, a step is short.
    assert found.strengths_of(0.1) < 0.1


def test_beyond_its_end_the_curve_is_straight() -> None:
    found = Calibration.measured(AT, np.clip(0.5 + 0.5 * AT, 0, 1))
    assert found.saturates == (-1.0, 1.0)
    np.testing.assert_allclose(found.strengths_of([-2, 0.5, 3]), [-2, 0.5, 3], atol=1e-6)
    assert found.beyond(1.1)


@given(
    st.lists(st.floats(0, 1), min_size=17, max_size=17),
    st.lists(st.floats(-3, 3), min_size=2, max_size=5),
)
def test_calibrated_strengths_and_their_inverse(
    readings: list[float], amounts: list[float]
) -> None:
    values = np.sort(readings)
    if values[-1] - values[0] < 0.06:
        return
    found = Calibration.measured(AT, values)
    if np.diff(np.interp([0, 1], AT, values))[0] < 0.1:
        return  # its unit is the rise from 0 to 1
    again = found.amounts_of(found.strengths_of(amounts))
    np.testing.assert_allclose(again, amounts, atol=1e-6)
    assert (np.diff(found.strengths_of(np.linspace(-3, 3, 31))) > 0).all()
    np.testing.assert_allclose(found.strengths_of([0.0, 1.0]), [0.0, 1.0], atol=1e-7)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_isotonic_is_the_projection_onto_growing_sequences(values: list[float]) -> None:
    found = isotonic(np.array(values))
    assert (np.diff(found) >= -1e-9).all()
    rest = np.array(values) - found
    # Of a projection onto a cone: what is left is orthogonal to it and points away from the cone.
    assert abs(rest @ found) < 1e-6 * (1 + np.abs(values).max() ** 2 * len(values))
    assert rest.sum() == pytest.approx(0, abs=1e-7)
    assert (np.cumsum(rest[::-1])[::-1] <= 1e-6).all()


def test_without_a_rise_from_nought_to_one_there_is_no_unit() -> None:
    found = Calibration.measured(AT, np.where(AT < -0.5, 0.0, np.where(AT > 1.2, 1.0, 0.5)))
    with pytest.raises(DataError, match="hardly rises from strength 0 to 1"):
        found.strengths_of([0.5])


def test_what_falls_back_far_out_is_no_part_of_the_motion() -> None:
    at = np.array([-2.0, -1, 0, 1, 2])
    np.testing.assert_allclose(
        growing(at, np.array([0.6, 0.1, 0.5, 0.9, 0.2])), [0.1, 0.1, 0.5, 0.9, 0.9]
    )
    assert rising_range(at, np.array([0.1, 0.1, 0.5, 0.9, 0.9])) == (-1.0, 1.0)


def test_it_is_written_and_read() -> None:
    found = Calibration.measured(AT, sigmoid(2 * AT))
    again = Calibration.of({KEY: found.to_dict()})
    assert again is not None
    np.testing.assert_allclose(
        again.strengths_of([0.3, 0.7]), found.strengths_of([0.3, 0.7]), atol=1e-4
    )
    assert Calibration.of({}) is None


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("must grow", {"readings": [0.5, 0.4, 0.9]}),
        ("must grow", {"strengths": [0, 0, 1]}),
        ("two strengths or more", {"readings": [0.5, 0.9]}),
        ("two strengths or more", {"readings": [0, np.nan, 1]}),
        ("rises by 0.010", {"readings": [0.5, 0.505, 0.51]}),
        ("from -1 to 1", {"saturates": [0.5, 0.5]}),
        ("from -1 to 1", {"saturates": [-2, 1]}),
        ("not a calibration", {"saturates": None}),
        ("not a calibration", {"strengths": "fast"}),
    ],
)
def test_what_is_no_calibration(message: str, changes: dict[str, Any]) -> None:
    sound = {"strengths": [-1, 0, 1], "readings": [0.1, 0.5, 0.9], "saturates": [-1, 1]}
    Calibration.from_dict(sound)
    with pytest.raises(DataError, match=message):
        Calibration.from_dict({**sound, **changes})
