"""Calibrated strengths of an edit, and notes on those that go too far."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mm_jax.artifacts import Subspace
from mm_jax.editing.calibrated import own_strengths
from mm_jax.errors import DataError
from mm_jax.subspace.calibration import KEY, Calibration

AT = np.linspace(-2, 2, 9)


def subspace(readings: np.ndarray | None) -> Subspace:
    basis = np.zeros((1, 2, 3), np.float32)
    basis[0, 0, 0] = 1
    meta = {} if readings is None else {KEY: Calibration.measured(AT, readings).to_dict()}
    return Subspace(basis, 1.0, np.ones(1), basis[0], 1.0, np.ones(2, bool), meta)


BENT = subspace(1 / (1 + np.exp(-3 * AT)))
STRAIGHT = subspace(np.clip(0.5 + 0.5 * AT, 0, 1))
BARE = subspace(None)


def test_each_subspace_has_its_own_strengths() -> None:
    rows = [(0.0, 0.5, 1.0), (0.0, 0.5, 1.0)]
    (bent, straight), notes = own_strengths(["a", "b"], [BENT, STRAIGHT], rows, even=True)
    np.testing.assert_allclose(straight, rows[1], atol=1e-6)
    assert bent[0] == 0 and bent[2] == pytest.approx(1) and bent[1] < 0.45
    assert not notes
    plain, notes = own_strengths(["a", "b"], [BENT, BARE], rows, even=False)
    assert plain == tuple(rows) and not notes


def test_strengths_beyond_are_noted_in_the_units_that_were_given() -> None:
    _, notes = own_strengths(["a", "b"], [STRAIGHT, BARE], [(0, 1.5), (0, 9)], even=False)
    assert len(notes) == 1
    assert notes[0].startswith("a: below strength -1.00 and above 1.00 what CLIP reads hardly")
    half = dataclasses.replace(STRAIGHT, meta={KEY: Calibration.measured(
        AT / 2, np.clip(0.5 + 0.5 * AT, 0, 1)).to_dict()})  # fmt: skip
    _, notes = own_strengths(["half"], [half], [(0.0, 0.6)], even=True)
    assert "above 0.50" in notes[0]


def test_without_a_calibration_there_are_no_even_steps() -> None:
    with pytest.raises(DataError, match=r"own\.npz has no calibration; mm_extract --subspace=own"):
        own_strengths(["own.npz"], [BARE], [(0, 1)], even=True)
    damaged = dataclasses.replace(BARE, meta={KEY: {"strengths": [0, 1]}})
    with pytest.raises(DataError, match=r"own\.npz: not a calibration"):
        own_strengths(["own.npz"], [damaged], [(0, 1)], even=False)
