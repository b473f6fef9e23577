import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.artifacts import Subspace
from mm_jax.editing import apply_edit
from mm_jax.errors import DataError, UsageError

ROWS, WIDTH = 4, 5


def make(seed, scale=2.0, mask=None):
    vector = np.random.default_rng(seed).normal(size=(1, ROWS, WIDTH)).astype(np.float32)
    return Subspace(
        basis=vector / np.linalg.norm(vector),
        scale=scale,
        singular_values=np.ones(1, np.float32),
        mean=np.zeros((ROWS, WIDTH), np.float32),
        pc1_ratio=1.0,
        mask=np.ones(ROWS, bool) if mask is None else np.asarray(mask),
    )


WS = np.random.default_rng(9).normal(size=(3, ROWS, WIDTH)).astype(np.float32)


def test_edit_is_affine():
    one = make(0)
    edited = apply_edit(WS, one, [-1.0, 0.0, 0.5])
    assert edited.shape == (3, 3, ROWS, WIDTH)
    np.testing.assert_array_equal(edited[:, 1], WS)
    for i, strength in enumerate((-1.0, 0.0, 0.5)):
        expected = WS + strength * 2.0 * one.basis
        np.testing.assert_allclose(edited[:, i], expected, rtol=1e-6, atol=1e-6)
    assert apply_edit(WS, one, 1).shape == (3, 1, ROWS, WIDTH)


def test_full_strength_moves_by_the_scale():
    moved = np.asarray(apply_edit(WS, make(0, scale=3.5), 1.0))[:, 0] - WS
    np.testing.assert_allclose(np.linalg.norm(moved.reshape(3, -1), axis=1), 3.5, rtol=1e-5)


def test_edits_compose_in_any_order():
    a, b = make(0), make(1)
    both = apply_edit(WS, [a, b], [[1.0, 2.0], [0.5, -1.0]])
    swapped = apply_edit(WS, [b, a], [[0.5, -1.0], [1.0, 2.0]])
    np.testing.assert_allclose(both, swapped, atol=1e-6)
    in_turn = apply_edit(apply_edit(WS, a, 2.0)[:, 0], b, -1.0)[:, 0]
    np.testing.assert_allclose(both[:, 1], in_turn, atol=1e-5)
    np.testing.assert_allclose(
        apply_edit(WS, [a, b], [0.3]), apply_edit(WS, [a, b], [[0.3], [0.3]]), atol=1e-6
    )


def test_masks_and_layers_limit_the_rows():
    masked = make(0, mask=[True, True, False, False])
    change = np.asarray(apply_edit(WS, masked, 1.0, layers=[1, 2]))[:, 0] - WS
    assert np.abs(change[:, [0, 2, 3]]).max() == 0
    assert np.abs(change[:, 1]).min() > 0


def test_jit_vmap_and_grad():
    one = make(0)
    plain = apply_edit(WS, one, [0.0, 1.0])
    np.testing.assert_allclose(
        jax.jit(apply_edit)(WS, one, jnp.array([0.0, 1.0])), plain, rtol=1e-6
    )
    mapped = jax.vmap(lambda w: apply_edit(w[None], one, jnp.array([0.0, 1.0]))[0])(jnp.asarray(WS))
    np.testing.assert_allclose(mapped, plain, rtol=1e-6)
    slope = jax.grad(lambda s: apply_edit(WS, one, s).sum())(0.3)
    assert float(slope) == pytest.approx(3 * float(one.direction.sum()), rel=1e-4)


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ("strong", "finite numbers"),
        ([0.0, np.nan], "finite numbers"),
        ([None], "finite numbers"),
        ([[1.0], [1.0, 2.0]], "must be numbers"),
        ([], r"got shape \[0\]"),
        (np.ones((2, 3)), r"got shape \[2, 3\]"),
        (np.ones((1, 2, 3)), "got shape"),
    ],
)
def test_bad_strengths_are_usage_errors(strengths, message):
    with pytest.raises(UsageError, match=message):
        apply_edit(WS, make(0), strengths)


def test_bad_codes_are_refused():
    with pytest.raises(UsageError, match=r"ws\[None\]"):
        apply_edit(WS[0], make(0), 1.0)
    with pytest.raises(UsageError, match=r"\[N, L, D\]"):
        apply_edit(WS[0, 0], make(0), 1.0)
    with pytest.raises(DataError, match="NaN"):
        apply_edit(WS * np.nan, make(0), 1.0)
    with pytest.raises(DataError, match=r"\[3, 5\] each, the subspace is for \[4, 5\]"):
        apply_edit(WS[:, :3], make(0), 1.0)
    with pytest.raises(UsageError, match="at least one subspace"):
        apply_edit(WS, [], 1.0)
    for layers in ([], [4], [-1]):
        with pytest.raises(UsageError, match="layers must"):
            apply_edit(WS, make(0), 1.0, layers=layers)
