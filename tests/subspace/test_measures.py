import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from mm_jax.errors import UsageError
from mm_jax.subspace import measures

QUICK = settings(max_examples=30, deadline=None)
# Few shapes: each is compiled anew.
SPECTRA = (
    st.sampled_from([1, 5])
    .flatmap(lambda size: st.lists(st.floats(0.01, 100), min_size=size, max_size=size))
    .map(lambda values: sorted(values)[::-1])
)


@QUICK
@given(SPECTRA, st.floats(0.1, 10))
def test_bounds_and_scale(spectrum, factor):
    values = np.array(spectrum, np.float32)
    share = np.asarray(measures.explained_variance(values))
    assert np.all(np.diff(share) >= -1e-6) and share[-1] == pytest.approx(1, abs=1e-5)
    assert 1 / len(values) - 1e-5 <= float(measures.pc1_ratio(values)) <= 1 + 1e-5
    rank = float(measures.effective_rank(values))
    assert 1 - 1e-4 <= rank <= len(values) + 1e-4
    assert float(measures.effective_rank(values * np.float32(factor))) == pytest.approx(
        rank, rel=1e-3
    )


def test_effective_rank_of_known_spectra():
    assert float(measures.effective_rank(np.ones(5))) == pytest.approx(5, rel=1e-5)
    assert float(measures.effective_rank(np.array([3.0, 0, 0]))) == pytest.approx(1)
    assert float(measures.effective_rank(np.zeros(3))) == 0
    assert float(measures.pc1_ratio(np.zeros(3))) == 0


def test_rows_are_added_up():
    rows = np.array([[3.0, 0.0], [4.0, 1.0]])
    assert float(measures.pc1_ratio(rows)) == pytest.approx(25 / 26)
    with pytest.raises(UsageError, match=r"\[R\] or \[L, R\]"):
        measures.pc1_ratio(np.ones((1, 1, 1)))


@QUICK
@given(st.integers(0, 10_000), st.sampled_from([(1, 1), (2, 3), (3, 1)]))
def test_angles_equal_scipy(seed, ranks):
    k, j = ranks
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(k, 3, 4)), rng.normal(size=(j, 3, 4))
    angles = np.asarray(measures.principal_angles(a.astype(np.float32), b.astype(np.float32)))
    expected = np.sort(subspace_angles(a.reshape(k, -1).T, b.reshape(j, -1).T))
    np.testing.assert_allclose(angles, expected, atol=1e-4)


def test_small_angles_are_accurate():
    a = np.zeros((1, 6), np.float32)
    a[0, 0] = 1
    b = a.copy()
    b[0, 1] = 1e-4
    np.testing.assert_allclose(measures.principal_angles(a, b), [1e-4], rtol=1e-3)


def test_a_change_of_basis_changes_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 10)).astype(np.float32)
    mixed = rng.normal(size=(2, 2)).astype(np.float32) @ a
    np.testing.assert_allclose(measures.principal_angles(a, mixed), 0, atol=2e-3)
    np.testing.assert_allclose(
        measures.principal_angles(a, b), measures.principal_angles(mixed, b), atol=1e-3
    )
    assert float(measures.subspace_cosine(a, mixed)) == pytest.approx(1, abs=1e-5)


def test_cosines_of_single_directions():
    a, b = np.array([[1.0, 0.0, 0.0]]), np.array([[-1.0, 1.0, 0.0]])
    assert float(measures.subspace_cosine(a, b)) == pytest.approx(0.5**0.5, abs=1e-6)
    assert float(measures.direction_cosine(a, b)) == pytest.approx(-(0.5**0.5), abs=1e-6)
    assert float(measures.direction_cosine(a, 0 * a)) == 0


def test_refusals():
    with pytest.raises(UsageError, match="different width"):
        measures.principal_angles(np.ones((1, 3)), np.ones((1, 4)))
    with pytest.raises(UsageError, match="basis vectors of only"):
        measures.principal_angles(np.ones((3, 2)), np.ones((1, 2)))
    with pytest.raises(UsageError, match=r"\[K, \.\.\.\]"):
        measures.principal_angles(np.ones(3), np.ones((1, 3)))
    with pytest.raises(UsageError, match="different shape"):
        measures.direction_cosine(np.ones(3), np.ones(4))
