import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rpca import lower_bound
from mm_jax.errors import UsageError
from mm_jax.subspace.linalg import singular_value_threshold, thin_svd
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
    matrix = np.random.default_rng(0).normal(size=(6, 30)).astype(np.float32)
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    kept = np.maximum(s - 5.0, 0)
    result, nuclear = singular_value_threshold(jnp.asarray(matrix), jnp.float32(5.0))
    np.testing.assert_allclose(result, (u * kept) @ vt, atol=2e-5)
    assert float(nuclear) == pytest.approx(kept.sum(), rel=1e-5)
    assert not np.asarray(
        singular_value_threshold(jnp.asarray(matrix), jnp.float32(100.0))[0]
    ).any()


def test_soft_threshold():
    np.testing.assert_array_equal(soft_threshold(jnp.array([-3.0, 0.5, 2.0]), 1.0), [-2, 0, 1])


def test_low_rank_and_sparse_parts_are_recovered_exactly():
    low, sparse = sample(3, rows=30, columns=120, share=0.05)
    result = robust_pca(low + sparse, tolerance=1e-6)
    scale = np.abs(low).max()
    np.testing.assert_allclose(result.low_rank, low, atol=2e-3 * scale)
    np.testing.assert_allclose(result.sparse, sparse, atol=2e-3 * scale)
    assert np.linalg.matrix_rank(result.low_rank, tol=1e-2) == 1


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 2e-6), (np.float64, 1e-6)])
def test_the_duality_gap_is_closed(dtype, most):
    rng = np.random.default_rng(5)
    data = np.linspace(0, 1, 12)[:, None] * rng.normal(size=96) + 0.02 * rng.normal(size=(12, 96))
    data += (rng.random(data.shape) < 0.1) * rng.normal(size=data.shape)
    weight = 1 / np.sqrt(96)
    with jax.enable_x64(dtype == np.float64):
        low = robust_pca(data.astype(dtype), tolerance=1e-6, max_iterations=1500).low_rank
        assert low.dtype == dtype
        low = np.asarray(low, np.float64)
    nuclear = np.linalg.svd(low, compute_uv=False).sum()
    objective = nuclear + weight * np.abs(data - low).sum()
    assert -1e-9 < (objective - lower_bound(data, weight, 1500)) / objective < most


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
    assert float(result.residuals.max()) <= 1e-5
    gap = np.linalg.norm(data - result.low_rank - result.sparse) / np.linalg.norm(data)
    assert gap <= 2e-5
    nothing = robust_pca(np.zeros((3, 4), np.float32))
    assert not np.asarray(nothing.low_rank).any() and not np.asarray(nothing.sparse).any()
    assert int(nothing.iterations) == 1


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
    with pytest.raises(UsageError, match="robust_pca wants"):
        robust_pca(data, **settings)


def test_unknown_outliers():
    with pytest.raises(UsageError, match="entries or rows"):
        robust_pca(np.ones((2, 3)), outliers="columns")  # type: ignore[arg-type]
