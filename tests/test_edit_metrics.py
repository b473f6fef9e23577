import numpy as np
import pytest
from scipy.stats import spearmanr

from mm_jax.edit_metrics import motion_truth, spearman
from mm_jax.errors import DataError, UsageError

STRENGTHS = np.linspace(-1, 1, 5)


def readings(slopes, *, n=6, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, 1, len(slopes)))
    moved = base + STRENGTHS[None, :, None] * np.asarray(slopes)
    return moved + noise * rng.normal(size=moved.shape)


@pytest.mark.parametrize("seed", range(5))
def test_spearman_equals_scipy_with_ties(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, 9), rng.integers(0, 4, 9)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b)[0])
    many = rng.integers(0, 4, (2, 3, 9)), rng.integers(0, 4, (3, 9))
    wanted = [[spearmanr(x, y)[0] for x, y in zip(xs, many[1], strict=True)] for xs in many[0]]
    np.testing.assert_allclose(spearman(*many), wanted, atol=1e-12)


def test_spearman_of_what_is_no_number_is_zero():
    assert spearman(np.array([1.0, np.nan, 3.0]), np.arange(3)) == 0


def test_spearman_of_a_constant_is_zero():
    assert spearman(np.ones(4), np.arange(4)) == 0


def test_a_clean_motion():
    truth = motion_truth(readings([2.0, 0.2, -0.4]), STRENGTHS, target=0)
    assert truth.spearman == pytest.approx(1)
    assert truth.right_way == 1
    assert truth.n == 6
    assert truth.target_change == pytest.approx(4.0)
    np.testing.assert_allclose(truth.per_factor, [1.0, 0.1, 0.2])
    assert truth.leakage_mean == pytest.approx(0.15)
    assert truth.leakage_max == pytest.approx(0.2)
    assert truth.leakage_abs_max == pytest.approx(0.2)


def test_opposite_changes_cancel_only_in_the_signed_leakage():
    values = readings([2.0, 0.0], n=4)
    values[:, :, 1] += np.array([1, -1, 1, -1])[:, None] * STRENGTHS[None]
    truth = motion_truth(values, STRENGTHS, target=0)
    assert truth.leakage_max == pytest.approx(0, abs=1e-12)
    assert truth.leakage_abs_max == pytest.approx(0.5)


def test_falling_targets_have_their_own_sign():
    values = readings([-1.0, 0.0])
    assert motion_truth(values, STRENGTHS, target=0).right_way == 0
    truth = motion_truth(values, STRENGTHS, target=0, sign=-1)
    assert truth.spearman == pytest.approx(1) and truth.right_way == 1


def test_the_figures_depend_neither_on_order_nor_on_a_common_offset():
    values = readings([1.0, 0.3, -0.1], noise=0.05)
    truth = motion_truth(values, STRENGTHS, target=0)
    order = np.random.default_rng(1).permutation(len(STRENGTHS))
    again = motion_truth(values[::-1, order] + 3.0, STRENGTHS[order], target=0)
    np.testing.assert_allclose(again.per_factor, truth.per_factor, rtol=1e-9)
    assert again.spearman == pytest.approx(truth.spearman)


def test_factor_scale_divides():
    values = readings([1.0, 1.0])
    truth = motion_truth(values, STRENGTHS, target=0, factor_scale=[1.0, 4.0])
    assert truth.leakage_max == pytest.approx(0.25)
    assert set(truth.to_dict()) >= {"spearman", "right_way", "leakage_mean", "leakage_max", "n"}


def test_a_single_factor_leaks_nothing():
    assert motion_truth(readings([1.0]), STRENGTHS, target=0).leakage_max == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"readings": np.ones((2, 5))}, DataError, r"\[N, S, F\]"),
        ({"readings": np.full((2, 5, 2), np.nan)}, DataError, "NaN"),
        ({"readings": np.ones((2, 5, 2))}, DataError, "does not change"),
        ({"strengths": [1, 2]}, UsageError, "5 finite numbers"),
        ({"strengths": np.ones(5)}, UsageError, "not all be equal"),
        ({"target": 2}, UsageError, "target 2 of 2"),
        ({"sign": 0}, UsageError, "sign"),
        ({"factor_scale": [1.0, 0.0]}, UsageError, "above 0"),
    ],
)
def test_refusals(change, error, message):
    arguments = {"readings": readings([1.0, 0.5]), "strengths": STRENGTHS, "target": 0} | change
    with pytest.raises(error, match=message):
        motion_truth(arguments.pop("readings"), arguments.pop("strengths"), **arguments)
