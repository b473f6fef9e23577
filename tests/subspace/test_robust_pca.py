import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.rpca import lower_bound
from mm_jax.errors import UsageError
from mm_jax.subspace.linalg import (
    left_singular_vectors,
    singular_value_threshold,
    thin_svd,
)
from mm_jax.subspace.robust_pca import robust_pca, row_threshold, soft_threshold

QUICK = settings(max_examples=10, deadline=None)


def sample(seed, rows=8, columns=60, rank=1, share=0.05):
    rng = np.random.default_rng(seed)
    low = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns))
    sparse = (rng.random((rows, columns)) < share) * rng.choice([-4.0, 4.0], (rows, columns))
    return low.astype(np.float32), sparse.astype(np.float32)


def mixture(seed, **options):
    low, sparse = sample(seed, **options)
    return low + sparse


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (6, 6), (1, 7), (3, 5, 12)])
def test_thin_svd_rebuilds(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    u, s, vt = thin_svd(jnp.asarray(matrix))
    np.testing.assert_allclose((u * s[..., None, :]) @ vt, matrix, atol=2e-5)
    np.testing.assert_allclose(s, np.linalg.svd(matrix, compute_uv=False), rtol=1e-4, atol=1e-5)


def test_thresholding_equals_the_svd_way():
    rng = np.random.default_rng(0)
    # Singular values from 1 to 1e-3: of the smaller ones a Gram matrix in float32 knows little.
    left, right = (np.linalg.qr(rng.normal(size=(n, 6)))[0] for n in (6, 30))
    size = np.logspace(0, -3, 6)
    matrix = ((left * size) @ right.T).astype(np.float32)
    basis = left_singular_vectors(jnp.asarray(matrix), jnp.eye(6))
    for _ in range(3):
        result, nuclear, basis = singular_value_threshold(matrix, jnp.float32(2e-3), basis)
    kept = np.maximum(size - 2e-3, 0)
    np.testing.assert_allclose(result, (left * kept) @ right.T, atol=3e-7)
    assert float(nuclear) == pytest.approx(kept.sum(), rel=1e-6)
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-6)
    assert not np.asarray(singular_value_threshold(matrix, jnp.float32(2.0), basis)[0]).any()


def test_singular_vectors_are_followed():
    rng = np.random.default_rng(1)
    matrix, change = rng.normal(size=(2, 6, 30)).astype(np.float32)
    basis = left_singular_vectors(jnp.asarray(matrix), jnp.eye(6))
    turned = matrix + 0.02 * change
    for _ in range(3):
        result, _, basis = singular_value_threshold(turned, jnp.float32(1.0), basis)
    u, s, vt = np.linalg.svd(turned, full_matrices=False)
    np.testing.assert_allclose(result, (u * np.maximum(s - 1.0, 0)) @ vt, atol=1e-5)


def test_soft_threshold():
    np.testing.assert_array_equal(soft_threshold(jnp.array([-3.0, 0.5, 2.0]), 1.0), [-2, 0, 1])


def test_low_rank_and_sparse_parts_are_recovered_exactly():
    low, sparse = sample(3, rows=30, columns=120, share=0.05)
    result = robust_pca(low + sparse, tolerance=1e-6)
    scale = np.abs(low).max()
    np.testing.assert_allclose(result.low_rank, low, atol=2e-3 * scale)
    np.testing.assert_allclose(result.sparse, sparse, atol=2e-3 * scale)
    assert np.linalg.matrix_rank(result.low_rank, tol=1e-2) == 1


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 1e-6), (np.float64, 1e-8)])
def test_the_optimum_is_reached(dtype, most):
    rng = np.random.default_rng(5)
    data = np.linspace(0, 1, 12)[:, None] * rng.normal(size=96) + 0.02 * rng.normal(size=(12, 96))
    data += (rng.random(data.shape) < 0.1) * rng.normal(size=data.shape)
    weight = 1 / np.sqrt(96)
    tolerance = 4e-6 if dtype == np.float32 else 1e-8
    with jax.enable_x64(dtype == np.float64):
        result = robust_pca(data.astype(dtype), tolerance=tolerance, max_iterations=3000)
        assert result.low_rank.dtype == dtype and float(result.gap) <= tolerance
        low = np.asarray(result.low_rank, np.float64)
    nuclear = np.linalg.svd(low, compute_uv=False).sum()
    objective = nuclear + weight * np.abs(data - low).sum()
    assert float(result.objective) == pytest.approx(objective, rel=1e-6)
    assert -1e-9 < (objective - lower_bound(data, weight, 2500)) / objective < most


def test_what_is_no_number_shows():
    data = np.ones((4, 6), np.float32)
    data[1, 2] = np.nan
    result = robust_pca(data)
    assert np.isnan(result.gap) and np.isnan(result.low_rank).any()
    assert int(result.iterations) < 100


@QUICK
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 30),
    columns=st.sampled_from([1, 7, 64, 300]),
    rank=st.integers(0, 3),
    noise=st.sampled_from([0.0, 0.02, 1.0]),
    outliers=st.sampled_from(["entries", "rows"]),
)
# Rounding takes the gap up again after its lowest.
@example(seed=254, rows=30, columns=64, rank=1, noise=0.02, outliers="entries")
@example(seed=265, rows=30, columns=64, rank=1, noise=0.02, outliers="entries")
@example(seed=4109, rows=28, columns=300, rank=1, noise=0.02, outliers="entries")
@example(seed=6387, rows=2, columns=7, rank=3, noise=0.0, outliers="entries")
def test_the_gap_is_closed_and_true(seed, rows, columns, rank, noise, outliers):
    low, sparse = sample(seed, rows=rows, columns=columns, rank=rank)
    data = low + sparse + noise * np.random.default_rng(seed).normal(size=low.shape)
    # Few small matrices creep: the last example's takes 24,000 steps.
    result = robust_pca(data.astype(np.float32), outliers=outliers, max_iterations=60_000)
    assert float(result.gap) <= 1e-4 and int(result.iterations) < 60_000
    # Nothing tried comes below the objective by more than the gap.
    weight = 2 / np.sqrt(rows) if outliers == "rows" else 1 / np.sqrt(max(rows, columns))

    def objective(part):
        rest = data - part
        size = np.linalg.norm(rest, axis=1) if outliers == "rows" else np.abs(rest)
        return np.linalg.svd(part, compute_uv=False).sum() + weight * size.sum()

    found = np.asarray(result.low_rank, np.float64)
    least = objective(found) * (1 - float(result.gap) - 2e-6)
    u, s, vt = np.linalg.svd(found, full_matrices=False)
    others = [0 * found, data, low, data - np.asarray(result.sparse), 0.99 * found, 1.01 * found]
    others += [(u[:, :k] * s[:k]) @ vt[:k] for k in range(len(s))]
    assert min(map(objective, others)) >= least


def test_row_threshold_shortens_vectors():
    values = jnp.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(row_threshold(values, 1.0), [[2.4, 3.2], [0, 0], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(row_threshold(values.T, 1.0, axis=0).T, row_threshold(values, 1.0))


@pytest.mark.parametrize("wide", [True, False])
def test_whole_rows_that_are_off_leave_the_low_rank_part(wide):
    rng = np.random.default_rng(4)
    rows, columns = (20, 200) if wide else (40, 30)
    direction = rng.normal(size=columns) / np.sqrt(columns)
    data = np.linspace(0, 1, rows)[:, None] * direction
    bad = rng.permutation(np.arange(1, rows))[: rows // 5]
    data[bad] += 3 * rng.normal(size=(len(bad), columns)) / np.sqrt(columns)
    result = robust_pca(data.astype(np.float32), outliers="rows")
    share = np.linalg.norm(result.sparse, axis=1) / np.linalg.norm(data, axis=1).clip(1e-9)
    good = np.setdiff1d(np.arange(1, rows), bad)
    assert share[bad].min() > 0.9 and np.median(share[good]) < 0.2

    def cosine(matrix):
        return abs(np.linalg.svd(matrix)[2][0] @ direction) / np.linalg.norm(direction)

    assert cosine(np.asarray(result.low_rank)) > 0.99 > 0.8 > cosine(data)


@QUICK
@given(st.integers(0, 10_000), st.sampled_from([-8, -3, 1, 5]))
def test_scaling_the_data_scales_the_parts(seed, power):
    data = mixture(seed)
    one = robust_pca(data)
    other = robust_pca(data * np.float32(2.0**power))
    # A power of two changes no mantissa, so that even the number of steps is the same.
    assert int(one.iterations) == int(other.iterations)
    np.testing.assert_allclose(
        np.asarray(other.low_rank) * 2.0**-power, one.low_rank, rtol=1e-5, atol=1e-5
    )


@QUICK
@given(st.integers(0, 10_000))
def test_permutations_and_signs_go_through(seed):
    data = mixture(seed)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(data.shape[0]), rng.permutation(data.shape[1])
    signs = rng.choice([-1.0, 1.0], data.shape[1]).astype(np.float32)
    one = np.asarray(robust_pca(data).low_rank)
    other = robust_pca((data * signs)[rows][:, columns]).low_rank
    np.testing.assert_allclose(
        other, (one * signs)[rows][:, columns], atol=2e-3 * np.abs(one).max()
    )


def test_a_batch_equals_one_call_each_under_jit_and_vmap():
    batch = np.stack([mixture(seed, rank=1 + seed % 3) for seed in range(6)])
    batch[4] = 0
    together = jax.jit(robust_pca)(batch)
    assert together.low_rank.shape == batch.shape and together.iterations.shape == (6,)
    assert len(set(together.iterations.tolist())) > 1
    mapped = jax.vmap(robust_pca)(batch.reshape(2, 3, *batch.shape[1:]))
    np.testing.assert_allclose(mapped.low_rank.reshape(batch.shape), together.low_rank, atol=1e-3)
    for i in range(6):
        alone = robust_pca(batch[i])
        np.testing.assert_allclose(together.low_rank[i], alone.low_rank, atol=1e-3)
        np.testing.assert_allclose(together.sparse[i], alone.sparse, atol=1e-3)


def test_parts_sum_to_the_data_and_zero_stays_zero():
    data = mixture(0)
    result = robust_pca(data)
    rest = np.linalg.norm(data - result.low_rank - result.sparse) / np.linalg.norm(data)
    assert rest <= 2e-5
    nothing = robust_pca(np.zeros((3, 4), np.float32))
    assert not np.asarray(nothing.low_rank).any() and not np.asarray(nothing.sparse).any()
    assert float(nothing.gap) == 0


def test_tall_matrices_are_the_transposes_of_wide_ones():
    data = mixture(1)
    wide, tall = robust_pca(data), robust_pca(data.T)
    np.testing.assert_allclose(tall.low_rank.T, wide.low_rank, atol=1e-6)


def test_more_weight_leaves_less_sparse():
    data = mixture(2)
    energies = [float(jnp.abs(robust_pca(data, weight=w).sparse).sum()) for w in (0.1, 0.3, 10.0)]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] == pytest.approx(0, abs=1e-2)


def test_lowers_for_accelerators():
    traced = jax.jit(robust_pca).trace(jax.ShapeDtypeStruct((4, 12, 64), jnp.float32))
    for platform in ("cuda", "tpu"):
        assert "while" in traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        (np.ones(3), {}),
        (np.ones((0, 3)), {}),
        (np.ones((2, 3)), {"weight": 0.0}),
        (np.ones((2, 3)), {"tolerance": 0.0}),
        (np.ones((2, 3)), {"max_iterations": 0}),
    ],
)
def test_refusals(data, settings):
    with pytest.raises(UsageError, match="robust_pca needs"):
        robust_pca(data, **settings)


def test_unknown_outliers():
    with pytest.raises(UsageError, match="entries or rows"):
        robust_pca(np.ones((2, 3)), outliers="columns")  # type: ignore[arg-type]
