"""Against numbers from the released code and from an independent float64 solver.

The file holds codes D of 18 rows and 12 anchors and what the two make of them. The exact solver
ran until its relative residuals were below 1e-9; the released code on one CPU thread.
"""

from pathlib import Path

import jax
import numpy as np
import pytest

from mm_jax.artifacts import Anchors
from mm_jax.subspace import extract_subspace
from mm_jax.subspace.compat import official_direction, official_rpca
from mm_jax.subspace.robust_pca import robust_pca

GOLDEN = Path(__file__).parents[1] / "goldens" / "subspace" / "main.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def exact(golden):
    return robust_pca(golden["D"])


def test_the_objective_is_the_optimum(golden, exact):
    np.testing.assert_allclose(exact.objective, golden["objective_exact"], rtol=1e-5)


def test_parts_and_spectrum_are_the_optimum(golden, exact):
    tolerance = 1.5e-3 * np.abs(golden["L_exact"]).max()
    np.testing.assert_allclose(exact.low_rank[:4], golden["L_exact"], atol=tolerance)
    np.testing.assert_allclose(exact.sparse[:4], golden["S_exact"], atol=tolerance)
    singular = np.linalg.svd(np.asarray(exact.low_rank), compute_uv=False)
    np.testing.assert_allclose(singular, golden["singular_values_exact"], atol=2e-2)


@pytest.mark.parametrize(
    ("last", "name"), [(10, "direction_exact_pcp"), (11, "direction_exact_pcp_full")]
)
def test_directions_are_the_optimum(golden, exact, last, name):
    direction = np.asarray(exact.low_rank[:, last] - exact.low_rank[:, 0])
    gap = np.linalg.norm(direction - golden[name][0]) / np.linalg.norm(golden[name])
    assert gap < 1e-3


def test_float64_comes_closer(golden):
    with jax.enable_x64(True):
        result = robust_pca(
            golden["D"][3:4].astype(np.float64), tolerance=1e-7, max_iterations=5000
        )
        assert result.low_rank.dtype == np.float64
        np.testing.assert_allclose(result.objective, golden["objective_exact"][3:4], rtol=1e-7)
        np.testing.assert_allclose(result.low_rank[0], golden["L_exact"][3], atol=5e-4)


def test_compat_reproduces_the_released_robust_pca(golden):
    result = official_rpca(golden["D"])
    np.testing.assert_array_equal(result.iterations, golden["iters_official"])
    np.testing.assert_allclose(result.errors, golden["err_official"], rtol=1e-4)
    np.testing.assert_allclose(result.low_rank[:4], golden["L_official"], atol=1e-4)
    np.testing.assert_allclose(result.sparse[:4], golden["S_official"], atol=1e-4)


def test_compat_reproduces_the_released_direction(golden):
    direction = official_direction(golden["D"].swapaxes(0, 1))
    np.testing.assert_allclose(direction, golden["direction_official_exact_svd"][0], atol=1e-4)
    # The released code's randomised SVD alone moves its direction by this much.
    spread = float(golden["direction_official_seed_spread"])
    np.testing.assert_allclose(direction, golden["direction_official"][0], atol=spread)


def test_compat_subspace_is_the_released_direction(golden):
    codes = golden["D"].swapaxes(0, 1)
    anchors = Anchors(codes[1:], codes[0], np.linspace(0, 1, 11))
    subspace = extract_subspace(anchors, method="compat")
    np.testing.assert_allclose(
        subspace.direction, golden["direction_official_exact_svd"][0], atol=1e-4
    )


@pytest.mark.parametrize(("centre", "least"), [("start", 0.92), ("mean", 0.97)])
def test_robust_pca_points_closer_to_the_truth_than_svd(golden, centre, least):
    codes = golden["D"].swapaxes(0, 1)
    anchors = Anchors(codes[1:], codes[0], np.linspace(0, 1, 11))
    # The straight part of the motion, as the file's codes were drawn: mean, then direction.
    draws = (np.random.RandomState(42000 + row) for row in range(18))
    truth = np.stack([draw.randn(2, 512)[1] for draw in draws])

    def cosine(method):
        basis = np.asarray(extract_subspace(anchors, method=method, centre=centre).basis[0])
        return (basis * truth).sum() / np.linalg.norm(truth)

    assert cosine("rpca") > least
    assert cosine("rpca") > cosine("svd") + 0.02
