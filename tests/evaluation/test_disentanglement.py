"""DCI: representations whose measures are known."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.evaluation.disentanglement import completeness, dci, disentanglement, lasso


def test_one_number_for_each_factor() -> None:
    assert disentanglement(np.eye(4)) == completeness(np.eye(4)) == 1.0
    even = np.ones((3, 5))
    assert disentanglement(even) == pytest.approx(0) and completeness(even) == pytest.approx(0)
    assert disentanglement(np.zeros((3, 2))) == completeness(np.zeros((3, 2))) == 0.0


def test_two_numbers_for_one_factor_are_pure_but_not_complete() -> None:
    importance = np.array([[1.0, 0], [1, 0], [0, 1], [0, 0]])
    assert disentanglement(importance) == 1.0
    # One factor relies evenly on two of four numbers: 1 - log 2 / log 4.
    assert completeness(importance) == pytest.approx((0.5 + 1) / 2)


def test_numbers_count_by_how_much_they_serve() -> None:
    importance = np.array([[9.0, 0], [0.5, 0.5]])
    assert disentanglement(importance) == pytest.approx(0.9)


def test_the_lasso_of_orthogonal_numbers_is_a_soft_threshold() -> None:
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.standard_normal((50, 6)))[0] * np.sqrt(50)
    wanted = np.array([[2.0], [-1], [0.3], [0.1], [0], [0]])
    found = lasso(x, x @ wanted, np.array([[0.5], [0.2]]))
    shrunk = [np.sign(wanted) * np.maximum(np.abs(wanted) - a, 0) for a in (0.5, 0.2)]
    np.testing.assert_allclose(found, shrunk, atol=1e-4)


def test_the_lasso_is_at_its_minimum() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((80, 20)) @ rng.standard_normal((20, 20))
    x -= x.mean(axis=0)
    y = x[:, :3] @ rng.standard_normal((3, 2)) + rng.standard_normal((80, 2))
    y -= y.mean(axis=0)
    (b,) = lasso(x, y, np.full((1, 2), 5.0))
    gradient = x.T @ (y - x @ b) / len(x)  # the subgradient of 5 |b|_1
    assert np.abs(gradient).max() < 5.1
    np.testing.assert_allclose(gradient[b != 0], 5 * np.sign(b[b != 0]), atol=0.3)


def test_a_turned_space_is_less_disentangled() -> None:
    rng = np.random.default_rng(2)
    factors = rng.standard_normal((600, 5))
    noise = rng.standard_normal((600, 3))
    straight = np.concatenate([3 * factors, noise, np.zeros((600, 1))], axis=1)
    turn = np.linalg.qr(rng.standard_normal((9, 9)))[0]
    plain, turned = dci(straight, factors), dci(straight @ turn, factors)
    assert plain["disentanglement"] > 0.95 and plain["completeness"] > 0.95
    assert plain["informativeness"] > 0.95 and plain["numbers"] <= 8
    assert turned["disentanglement"] < 0.6 and turned["completeness"] < 0.6
    # What is not in the latents cannot be read off them.
    assert abs(dci(noise, factors)["informativeness"]) < 0.1
