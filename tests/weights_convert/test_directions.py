"""Directions keep their length as the natural scale; components their order and spread."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.artifacts import load_subspace, save_subspace
from mm_jax.errors import DataError
from weights_convert.detect import detect
from weights_convert.directions import codes, components, direction
from weights_convert.plan import Request

RANDOM = np.random.RandomState(0)


@pytest.mark.parametrize("norm", [1e-3, 1.06, 88.0])
@pytest.mark.parametrize("shape", [(1, 6, 5), (6, 5)])
def test_a_direction_of_w_plus(norm, shape, tmp_path):
    value = RANDOM.standard_normal(shape)
    value *= norm / np.linalg.norm(value)
    subspace = direction(value.astype(np.float32), rows=18)
    assert subspace.scale == pytest.approx(norm, rel=1e-5)
    assert np.linalg.norm(subspace.basis) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(subspace.direction, value.reshape(6, 5), rtol=1e-5, atol=1e-6 * norm)
    loaded = load_subspace(save_subspace(tmp_path / "d.npz", subspace))
    np.testing.assert_array_equal(loaded.basis, subspace.basis)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1, 1, 5)])
def test_a_direction_of_w_moves_every_row_by_itself(shape):
    value = RANDOM.standard_normal(shape)
    subspace = direction(value, rows=14)
    assert subspace.basis.shape == (1, 14, 5)
    for row in np.asarray(subspace.direction):
        np.testing.assert_allclose(row, value.reshape(-1), rtol=1e-5)


def test_rows_of_zero_are_out_of_the_mask():
    value = np.ones((1, 6, 5))
    value[0, 4:] = 0
    assert direction(value, rows=18).mask.tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((1, 6, 5)), "length 0"),
        (np.full((1, 6, 5), np.nan), "finite"),
        (np.ones((2, 6, 5)), r"got \[2, 6, 5\]"),
        (np.ones((512, 512)), "even L from 4 to 20"),
        (np.ones((1, 7, 5)), "even L"),
        (np.zeros((0, 5)), r"got \[0, 5\]"),
        (np.float32(1), r"got \[\]"),
        (np.array(["a"]), "numbers"),
    ],
)
def test_what_is_no_direction(value, words):
    with pytest.raises(DataError, match=words):
        direction(value, rows=18)


@pytest.fixture
def pca():
    comp = np.linalg.qr(RANDOM.standard_normal((7, 7)))[0][:3]
    return {
        "comp": comp[:, None].astype(np.float32),
        "mean": RANDOM.standard_normal((1, 7)).astype(np.float32),
        "std": np.array([4.0, 2.0, 1.0], np.float32),
    }


def test_strength_one_is_one_deviation(pca, tmp_path):
    name, layout, _ = detect(pca)
    assert name == "ganspace"
    subspace = layout.plan(pca, Request(rows=8)).parts[0].build()
    loaded = load_subspace(save_subspace(tmp_path / "pca.npz", subspace))
    for k in range(3):
        for row in np.asarray(loaded.component(k).direction):
            np.testing.assert_allclose(row, pca["std"][k] * pca["comp"][k, 0], atol=1e-5)
    np.testing.assert_allclose(loaded.mean, np.repeat(pca["mean"], 8, axis=0))
    assert loaded.pc1_ratio == pytest.approx(16 / 21)


def test_components_that_are_none(pca):
    for change, words in [
        ({"std": pca["std"][:2]}, "are not"),
        ({"std": -pca["std"]}, "not positive"),
        ({"comp": 2 * pca["comp"]}, "orthonormal"),
        ({"mean": np.full((1, 7), np.inf)}, "finite"),
    ]:
        with pytest.raises(DataError, match=words):
            components({**pca, **change}, rows=8)


def test_codes_of_an_inversion():
    first, second = RANDOM.standard_normal((2, 6, 5))
    content = {"a.jpg": [np.zeros((6, 5)), first], "b.png": [np.zeros((6, 5)), second]}
    name, layout, _ = detect(content)
    assert name == "codes"
    latents = layout.plan(content, Request()).parts[0].build()
    assert latents.names == ("a", "b")
    np.testing.assert_allclose(latents.ws, np.stack([first, second]), rtol=1e-6)
    assert codes(first).ws.shape == (1, 6, 5)
    for bad in ({"a.jpg": first, "x/a.png": second}, {"a.jpg": first, "b.jpg": second[:4]}, {}):
        with pytest.raises(DataError, match="must have one shape, and distinct names"):
            codes(bad)
