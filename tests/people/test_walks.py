"""Walks: one factor changes, the person stays."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.anchors.prompts import MOTIONS
from mm_jax.errors import DataError
from mm_jax.people.attributes import MOTION_FACTOR
from mm_jax.people.factors import FACTORS, index
from mm_jax.people.walks import RANGES, load_walks, make_walks, walk_factors


def test_one_factor_changes():
    factors = walk_factors(people=3, degrees=4)
    assert factors.shape == (len(MOTIONS), 3, 4, len(FACTORS))
    for walk, name in zip(factors, MOTIONS, strict=True):
        changes = np.ptp(walk, axis=1).max(axis=0)
        assert np.flatnonzero(changes).tolist() == [index(MOTION_FACTOR[name])]
        target = walk[:, :, index(MOTION_FACTOR[name])]
        np.testing.assert_allclose(target[:, [0, -1]], [RANGES[name]] * 3, rtol=1e-6)
    others = np.delete(factors[0, :, 0], index("smile"), axis=1)
    np.testing.assert_array_equal(others, np.delete(factors[0, :, 3], index("smile"), axis=1))


def test_walks_are_drawn_once(coded, tmp_path):
    with pytest.raises(DataError, match=r"walks\.npz is missing: the stage renders"):
        load_walks(tmp_path)
    drawn = []

    def draw(factors):
        drawn.append(len(factors))
        return coded[0](factors)

    first = make_walks(tmp_path, draw, people=2, degrees=3)
    again = make_walks(tmp_path, draw, people=2, degrees=3)
    assert drawn == [len(MOTIONS) * 2 * 3]
    np.testing.assert_array_equal(first.images, again.images)
    read = coded[1](first.images.reshape(-1, 16, 16, 3)).reshape(first.factors.shape)
    np.testing.assert_allclose(read, first.factors, atol=0.01)
