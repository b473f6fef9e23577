import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.artifacts import Anchors, load_subspace, save_subspace
from mm_jax.errors import DataError, UsageError
from mm_jax.subspace import extract_subspace, svd_subspace
from mm_jax.subspace.decompose import mirrored
from mm_jax.subspace.latent_svd import latent_svd

ROWS, WIDTH, COUNT = 4, 12, 7
QUICK = settings(max_examples=12, deadline=None)
METHODS = pytest.mark.parametrize("method", ["svd", "rpca"])
JOINT = pytest.mark.parametrize("joint", [True, False])


def unit(array):
    return array / np.linalg.norm(array)


def motion(seed=0, *, noise=0.0, bend=0.0, spikes=0.0, length=5.0):
    """Anchors along a known unit direction, and that direction."""
    rng = np.random.default_rng(seed)
    start, direction, side = rng.normal(size=(3, ROWS, WIDTH))
    direction = unit(direction)
    side = unit(side - (side * direction).sum() * direction)
    degrees = np.linspace(0, 1, COUNT)
    ws = start + degrees[:, None, None] * length * direction
    ws = ws + bend * np.sin(np.pi * degrees)[:, None, None] * side
    ws = ws + noise * rng.normal(size=ws.shape)
    ws = ws + (rng.random(ws.shape) < spikes) * rng.choice([-3.0, 3.0], ws.shape)
    return Anchors(ws.astype(np.float32), start.astype(np.float32), degrees), direction


def cosine(a, b):
    return float((np.asarray(a) * np.asarray(b)).sum() / np.linalg.norm(a) / np.linalg.norm(b))


@METHODS
@JOINT
@pytest.mark.parametrize("centre", ["start", "mean"])
def test_a_straight_motion_is_found_with_its_length(method, joint, centre):
    anchors, direction = motion(noise=0.01)
    subspace = extract_subspace(anchors, method=method, joint=joint, centre=centre)
    assert cosine(subspace.basis[0], direction) > 0.99
    assert subspace.scale == pytest.approx(5.0, rel=0.02)
    assert subspace.pc1_ratio > 0.98 and subspace.meta["pc1_ratio_raw"] > 0.97
    assert subspace.meta["method"] == method and subspace.meta["centre"] == centre
    assert subspace.meta["effective_rank"] < 1.2


@JOINT
def test_robust_pca_withstands_what_svd_does_not(joint):
    clean, spoiled = [], []
    for seed in range(4):
        anchors, direction = motion(seed, spikes=0.06)
        clean.append(
            cosine(extract_subspace(anchors, method="rpca", joint=joint).basis[0], direction)
        )
        spoiled.append(
            cosine(extract_subspace(anchors, method="svd", joint=joint).basis[0], direction)
        )
    assert np.mean(clean) > np.mean(spoiled)


@QUICK
@given(st.integers(0, 1000), st.floats(0.05, 50), st.booleans())
def test_scale_shift_and_rotation(seed, factor, joint):
    anchors, _ = motion(seed, noise=0.05, bend=1.0)
    one = extract_subspace(anchors, method="svd", joint=joint, rank=2)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
    shift = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    moved = Anchors(
        np.float32(factor) * (anchors.ws @ turn) + shift,
        np.float32(factor) * (anchors.start @ turn) + shift,
        anchors.degrees,
    )
    other = extract_subspace(moved, method="svd", joint=joint, rank=2)
    assert other.scale == pytest.approx(factor * one.scale, rel=1e-3)
    np.testing.assert_allclose(other.basis, one.basis @ turn, atol=5e-3)
    assert other.pc1_ratio == pytest.approx(one.pc1_ratio, abs=1e-3)


@METHODS
def test_the_order_of_anchors_and_of_numbers_does_not_matter(method):
    anchors, _ = motion(1, noise=0.05)
    one = extract_subspace(anchors, method=method)
    rng = np.random.default_rng(0)
    order, columns = rng.permutation(COUNT), rng.permutation(WIDTH)
    shuffled = Anchors(
        anchors.ws[order][:, :, columns], anchors.start[:, columns], anchors.degrees[order]
    )
    other = extract_subspace(shuffled, method=method)
    np.testing.assert_allclose(other.basis, one.basis[:, :, columns], atol=5e-3)
    assert other.scale == pytest.approx(one.scale, rel=1e-3)


@METHODS
@JOINT
def test_growing_degree_is_positive(method, joint):
    anchors, direction = motion(2, noise=0.02)
    backwards = dataclasses.replace(anchors, degrees=anchors.degrees[::-1].copy())
    forth = extract_subspace(anchors, method=method, joint=joint)
    back = extract_subspace(backwards, method=method, joint=joint)
    assert cosine(forth.basis[0], direction) > 0.9 and forth.scale > 0
    assert cosine(back.basis[0], direction) < -0.9 and back.scale > 0


def test_a_motion_that_comes_back_is_as_long_as_its_farthest_point():
    anchors, direction = motion(3)
    there = np.concatenate([anchors.ws, anchors.ws[-2::-1]])
    subspace = extract_subspace(Anchors(there, anchors.start, np.arange(len(there))), method="svd")
    assert cosine(subspace.basis[0], direction) > 0.99
    assert subspace.scale == pytest.approx(5.0, rel=1e-3)


@METHODS
@JOINT
def test_the_basis_is_orthonormal_and_can_be_saved(tmp_path, method, joint):
    anchors, _ = motion(4, noise=0.05, bend=2.0)
    subspace = extract_subspace(anchors, method=method, joint=joint, rank=2)
    flat = np.asarray(subspace.basis).reshape(2, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(2), atol=1e-4)
    loaded = load_subspace(save_subspace(tmp_path / "s.npz", subspace))
    np.testing.assert_array_equal(loaded.basis, subspace.basis)
    assert loaded.meta == subspace.meta


def test_rank_by_explained_variance():
    anchors, _ = motion(5, noise=0.02, bend=2.0)
    assert extract_subspace(anchors, method="svd", explained=0.5).rank == 1
    full = extract_subspace(anchors, method="svd", explained=1.0)
    some = extract_subspace(anchors, method="svd", explained=0.98)
    assert 1 < some.rank < full.rank
    assert some.meta["explained_variance"][some.rank - 1] >= 0.98
    assert some.meta["explained_variance"][some.rank - 2] < 0.98


def test_several_sets_share_one_direction():
    one, direction = motion(6, noise=0.2)
    rng = np.random.default_rng(0)
    sets = []
    for i in range(3):
        shift = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
        noise = 0.2 * rng.normal(size=one.ws.shape).astype(np.float32)
        meta = {"template": "t", "seed": i}
        sets.append(Anchors(one.ws + shift + noise, one.start + shift, one.degrees, meta))
    together = extract_subspace(sets, method="svd")
    alone = [cosine(extract_subspace(s, method="svd").basis[0], direction) for s in sets]
    assert cosine(together.basis[0], direction) > np.mean(alone)
    assert together.scale == pytest.approx(5.0, rel=0.1)
    assert together.meta["template"] == "t" and "seed" not in together.meta
    assert together.meta["anchor_sets"] == 3 and together.meta["anchors"] == 3 * COUNT


def test_layers_leave_the_other_rows_alone():
    anchors, direction = motion(7, noise=0.01)
    subspace = extract_subspace(anchors, method="svd", layers=[1, 3])
    assert subspace.mask.tolist() == [False, True, False, True]
    assert not np.asarray(subspace.basis)[:, [0, 2]].any()
    assert cosine(subspace.basis[0][1], direction[1]) > 0.99


def test_uncentred_data_is_mostly_the_mean_code():
    anchors, _ = motion(8, length=1.0)
    subspace = extract_subspace(anchors, method="svd", centre="none")
    assert abs(cosine(subspace.basis[0], anchors.start)) > 0.9
    assert not np.asarray(subspace.mean).any()


def test_decomposing_works_under_jit_and_vmap():
    sets = np.stack([motion(seed, noise=0.1)[0].ws for seed in range(3)])
    sets = jnp.asarray(sets - sets[:, :1])
    for joint in (True, False):
        basis, singular = jax.jit(jax.vmap(lambda m, j=joint: svd_subspace(m, joint=j)))(sets)
        for i in range(3):
            alone, values = svd_subspace(sets[i], joint=joint)
            np.testing.assert_allclose(singular[i], values, atol=1e-4)
            np.testing.assert_allclose(abs(cosine(basis[i, 0], alone[0])), 1, atol=1e-4)


def nan_anchors():
    anchors, _ = motion()
    ws = anchors.ws.copy()
    ws[0, 0, 0] = np.nan
    return dataclasses.replace(anchors, ws=ws)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({}, {"rank": 0}, UsageError, "at least 1, got 0"),
        ({}, {"rank": COUNT + 1}, UsageError, "at most the 7 components there are, got 8"),
        ({}, {"rank": 3, "method": "svd"}, UsageError, "rank must be at most 1, .*, got 3"),
        ({}, {"rank": 1.5}, UsageError, "whole number"),
        ({}, {"explained": 0.0}, UsageError, "explained must be above 0 and at most 1, got 0.0"),
        ({}, {"explained": 0.5, "rank": 1}, UsageError, "not both"),
        (
            {},
            {"method": "ica"},
            UsageError,
            "method must be one of auto, rpca, svd, compat, got 'ica'",
        ),
        ({}, {"centre": "median"}, UsageError, "centre must be one of"),
        ({}, {"layers": [4]}, UsageError, "rows 0 to 3 of W"),
        ({}, {"layers": []}, UsageError, "got none"),
        ({}, {"method": "compat", "rank": 2}, UsageError, "gives rank 1"),
        ({"start": np.ones((3, WIDTH))}, {}, DataError, r"start \[L, D\]"),
        ({"ws": np.ones((ROWS, WIDTH))}, {}, DataError, r"ws \[M, L, D\]"),
        ({"degrees": np.ones(3)}, {}, DataError, "7 anchors with degrees of shape"),
        ({"ws": np.zeros((7, 4, 12)), "start": np.zeros((4, 12))}, {}, DataError, "do not move"),
    ],
)
def test_refusals(change, options, error, message):
    anchors = dataclasses.replace(motion()[0], **change)
    with pytest.raises(error, match=message):
        extract_subspace(anchors, **options)


def test_sets_that_do_not_go_together_are_refused():
    anchors, _ = motion()
    with pytest.raises(DataError, match="NaN"):
        extract_subspace(nan_anchors())
    with pytest.raises(UsageError, match="at least one set"):
        extract_subspace([])
    narrow = Anchors(anchors.ws[:, :2], anchors.start[:2], anchors.degrees)
    with pytest.raises(DataError, match="different spaces"):
        extract_subspace([anchors, narrow])
    longer = dataclasses.replace(anchors, degrees=anchors.degrees * 2)
    with pytest.raises(DataError, match="different degrees"):
        extract_subspace([anchors, longer])


def test_latent_svd_finds_the_principal_axes():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(ROWS * WIDTH, 2)))[0].T
    spread = rng.normal(size=(400, 2)) * [6.0, 3.0]
    ws = (spread @ axes + rng.normal(size=ROWS * WIDTH)).reshape(-1, ROWS, WIDTH)
    subspace = latent_svd(ws.astype(np.float32), rank=2)
    for k, std in enumerate((6.0, 3.0)):
        assert abs(cosine(subspace.basis[k].ravel(), axes[k])) > 0.99
        assert float(subspace.component(k).scale) == pytest.approx(std, rel=0.1)
    assert subspace.pc1_ratio == pytest.approx(36 / 45, abs=0.05)
    flat = np.asarray(subspace.basis).reshape(2, -1)
    assert (flat[np.arange(2), np.abs(flat).argmax(axis=1)] > 0).all()


def test_latent_svd_of_repeated_rows_is_exact():
    w = np.random.default_rng(0).normal(size=(30, 1, WIDTH)).astype(np.float32)
    repeated = np.repeat(w, ROWS, axis=1)
    quick = latent_svd(repeated, rank=3)
    shifted = repeated.copy()
    shifted[:, 1] += 1.0  # another mean, so that the short way is not taken
    full = latent_svd(shifted, rank=3)
    np.testing.assert_allclose(quick.singular_values, full.singular_values[:WIDTH], rtol=1e-4)
    np.testing.assert_allclose(np.abs(quick.basis), np.abs(full.basis), atol=1e-3)
    assert quick.scale == pytest.approx(full.scale, rel=1e-4)


@pytest.mark.parametrize(
    ("ws", "message"),
    [
        (np.ones((5, 4)), r"\[N, L, D\]"),
        (np.ones((1, 2, 3)), "N >= 2"),
        (np.ones((3, 2, 3)), "all equal"),
        (np.full((3, 2, 3), np.nan), "NaN"),
    ],
)
def test_latent_svd_refusals(ws, message):
    with pytest.raises(DataError, match=message):
        latent_svd(ws)


def test_the_method_goes_by_the_kind_of_anchors():
    anchors, _ = motion(spikes=0.02)
    text = dataclasses.replace(anchors, meta={"source": "text"})
    video = dataclasses.replace(anchors, meta={"source": "video"})
    assert extract_subspace(text).meta["method"] == "svd"
    assert extract_subspace([text, video]).meta["method"] == "svd"
    assert extract_subspace(video).meta["rpca"]["outliers"] == "rows"


def test_few_anchors_keep_their_motion_by_default():
    """Rows of W+ that only one anchor moves are no outliers: they are what a prompt asks for."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    direction = unit(rng.normal(size=(ROWS, WIDTH)))
    ws = start + np.array([-2.0, 0.5, 3.0])[:, None, None] * direction
    ws += 0.4 * rng.normal(size=ws.shape) * (rng.random(ws.shape) < 0.3)
    anchors = Anchors(ws.astype(np.float32), start, np.array([0.0, 0.5, 1.0]))
    found = extract_subspace(anchors)
    assert cosine(found.basis[0], direction) > 0.9
    assert found.scale == pytest.approx(3.0, rel=0.15)


def test_a_set_may_lack_its_last_anchor():
    anchors, direction = motion(noise=0.01)
    short = dataclasses.replace(
        anchors,
        ws=anchors.ws[:-1],
        degrees=anchors.degrees[:-1],
        meta={"dropped": [{"degree": "100%", "value": 1.0}]},
    )
    found = extract_subspace([anchors, short])
    assert cosine(found.basis[0], direction) > 0.99
    assert found.scale == pytest.approx(5.0, rel=0.02)  # as the set says that has it
    lone = extract_subspace(short)
    assert lone.scale == pytest.approx(5.0 * 5 / 6, rel=0.02)


def test_mirrored_is_the_opposite_motion():
    anchors, _ = motion(noise=0.1)
    found = extract_subspace(anchors, rank=2)
    turned = mirrored(found)
    np.testing.assert_array_equal(turned.direction, -np.asarray(found.direction))
    np.testing.assert_array_equal(turned.basis[1], found.basis[1])
