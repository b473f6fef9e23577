import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mm_jax import io
from mm_jax.artifacts import (
    Anchors,
    Latents,
    Subspace,
    fitted_latents,
    fitted_subspace,
    load_anchors,
    load_latents,
    load_subspace,
    save_anchors,
    save_latents,
    save_subspace,
)
from mm_jax.errors import DataError, UsageError
from mm_jax.meta import Meta

FLOATS = st.floats(-1e6, 1e6, width=32)
SIDES = st.integers(1, 4)
QUICK = settings(max_examples=40, deadline=None)


def codes(count, rows, width):
    return hnp.arrays(np.float32, (count, rows, width), elements=FLOATS)


@st.composite
def latents(draw):
    shape = draw(st.tuples(SIDES, SIDES, SIDES))
    name = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
    names = draw(st.none() | st.lists(name, min_size=shape[0], max_size=shape[0]))
    seeds = draw(st.none() | st.lists(st.integers(0, 2**40), min_size=shape[0], max_size=shape[0]))
    return Latents(draw(codes(*shape)), names, seeds)


def make_anchors(rng, count=5, rows=3, width=4, meta=None):
    ws = rng.normal(size=(count, rows, width)).astype(np.float32)
    degrees = np.linspace(0, 1, count, dtype=np.float32)
    return Anchors(ws, ws[0] - 1, degrees, meta or {"template": "a {degree} smile"})


def make_subspace(rng, rank=2, rows=3, width=4):
    basis = np.linalg.qr(rng.normal(size=(rows * width, rank)))[0].T.reshape(rank, rows, width)
    mask = np.array([True, False, True])
    values = np.array([3.0, 1.0], np.float32)
    mean = np.zeros((rows, width), np.float32)
    return Subspace(basis.astype(np.float32), 2.5, values, mean, 0.9, mask, {"method": "rpca"})


@QUICK
@given(latents())
def test_latents_round_trip(tmp_path_factory, value):
    path = save_latents(tmp_path_factory.mktemp("l") / "a.npz", value)
    loaded = load_latents(path)
    np.testing.assert_array_equal(loaded.ws, value.ws)
    assert loaded.ws.dtype == np.float32
    assert loaded.seeds == value.seeds
    if value.names is not None:
        # numpy's fixed-width text drops trailing NULs only, which the strategy leaves out
        assert loaded.names == value.names


def test_one_code_in_a_file_is_one_latent(tmp_path):
    io.save_npz(tmp_path / "a.npz", ws=np.ones((6, 4)))
    assert load_latents(tmp_path / "a.npz").ws.shape == (1, 6, 4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((1, 2, 3))}, "no array 'ws'"),
        ({"ws": np.ones(3)}, r"must have shape \[N, L, D\].*, got \[3\]"),
        ({"ws": np.ones((0, 2, 3))}, "with no empty axis"),
        ({"ws": np.array([["a"]])}, "must hold numbers"),
        ({"ws": np.full((1, 2, 3), 1e300)}, "NaN or infinity"),
        ({"ws": np.ones((2, 2, 3)), "seeds": np.arange(3)}, "3 seeds for 2 latents"),
        ({"ws": np.ones((2, 2, 3)), "seeds": np.array([0.5, 1])}, "must hold integers"),
        ({"ws": np.ones((2, 2, 3)), "names": np.array(["a"])}, "1 names for 2 latents"),
    ],
)
def test_bad_latents_are_data_errors(tmp_path, arrays, message):
    io.save_npz(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load_latents(tmp_path / "a.npz")


def test_nan_codes_are_not_written(tmp_path):
    with pytest.raises(DataError, match="NaN"):
        save_latents(tmp_path / "a.npz", Latents(np.full((1, 2, 3), np.nan)))
    with pytest.raises(UsageError, match=r"\*\.npz"):
        save_latents(tmp_path / "a.npy", Latents(np.ones((1, 2, 3))))
    assert not list(tmp_path.iterdir())


def test_anchors_round_trip(tmp_path):
    anchors = make_anchors(np.random.default_rng(0))
    loaded = load_anchors(save_anchors(tmp_path / "a.npz", anchors))
    for field in ("ws", "start", "degrees"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(anchors, field))
    assert loaded.meta == {"template": "a {degree} smile"}
    (tmp_path / "a.json").unlink()
    assert load_anchors(tmp_path / "a.npz").meta == {}
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(DataError, match="must hold a json object"):
        load_anchors(tmp_path / "a.npz")


def test_anchors_that_do_not_fit_are_data_errors(tmp_path):
    anchors = make_anchors(np.random.default_rng(0))
    with pytest.raises(DataError, match=r"'start' must have shape \[3, 4\], got \[2, 4\]"):
        save_anchors(tmp_path / "a.npz", dataclasses.replace(anchors, start=np.ones((2, 4))))
    with pytest.raises(DataError, match="'degrees'"):
        save_anchors(tmp_path / "a.npz", dataclasses.replace(anchors, degrees=np.ones(3)))


def test_subspace_round_trip(tmp_path):
    subspace = make_subspace(np.random.default_rng(0))
    loaded = load_subspace(save_subspace(tmp_path / "a.npz", subspace))
    for field in ("basis", "singular_values", "mean", "mask", "scale"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(subspace, field))
    assert loaded.pc1_ratio == pytest.approx(0.9)
    assert loaded.meta == {"method": "rpca"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 0.0}, "must be a positive number"),
        ({"scale": np.nan}, "NaN"),
        ({"basis": np.ones((1, 3, 4))}, "not orthonormal"),
        ({"mask": np.ones(3)}, "must hold bool"),
        ({"mask": np.ones(4, bool)}, r"must have shape \[3\], got \[4\]"),
        ({"mean": np.ones((3, 5))}, "'mean'"),
        ({"singular_values": np.array([-1.0])}, "none of them negative"),
    ],
)
def test_bad_subspaces_are_data_errors(tmp_path, change, message):
    subspace = dataclasses.replace(make_subspace(np.random.default_rng(0)), **change)
    with pytest.raises(DataError, match=message):
        save_subspace(tmp_path / "a.npz", subspace)
    assert not list(tmp_path.iterdir())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_subspace_files_are_data_errors(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("s") / "a.npz"
    save_subspace(path, make_subspace(np.random.default_rng(0)))
    victim = data.draw(st.sampled_from([path, path.with_suffix(".json")]))
    content = bytearray(victim.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    victim.write_bytes(content)
    try:
        load_subspace(path)
    except DataError as error:
        assert "\n" not in str(error)


def test_direction_is_scaled_and_masked():
    subspace = make_subspace(np.random.default_rng(0))
    expected = 2.5 * subspace.basis[0] * subspace.mask[:, None]
    np.testing.assert_allclose(subspace.direction, expected, rtol=1e-6)
    assert not np.asarray(subspace.direction)[1].any()


def test_component_keeps_the_strength_relative_to_the_spread():
    subspace = make_subspace(np.random.default_rng(0))
    second = subspace.component(1)
    assert second.rank == 1
    assert float(second.scale) == pytest.approx(2.5 / 3)
    assert float(second.pc1_ratio) == pytest.approx(0.1)
    np.testing.assert_array_equal(second.basis[0], subspace.basis[1])
    with pytest.raises(UsageError, match="component 2 of a subspace of rank 2"):
        subspace.component(2)


def test_artifacts_are_pytrees():
    subspace = make_subspace(np.random.default_rng(0))
    doubled = jax.jit(lambda s: dataclasses.replace(s, scale=2 * s.scale))(subspace)
    np.testing.assert_allclose(doubled.direction, 2 * subspace.direction, rtol=1e-6)
    assert doubled.meta == subspace.meta
    anchors = make_anchors(np.random.default_rng(0))
    moved = jax.tree.map(lambda leaf: jnp.asarray(leaf) + 1, anchors)
    np.testing.assert_allclose(moved.start, anchors.start + 1)
    assert jax.jit(lambda one: one.ws.sum())(Latents(np.ones((1, 2, 3)), ("a",), (1,))) == 6


def test_meta_is_plain_and_hashable():
    one = Meta({"a": np.float32(0.5), "b": [1, {"c": Meta({"d": 1})}]})
    assert one == {"a": 0.5, "b": [1, {"c": {"d": 1}}]}
    assert hash(one) == hash(Meta(dict(one))) and one == Meta(one) and one != Meta()
    for bad in ({"a": object()}, {"a": float("nan")}):
        with pytest.raises(DataError, match="plain json"):
            Meta(bad)
    with pytest.raises(DataError, match="mapping"):
        Meta([1])  # type: ignore[arg-type]


def test_what_is_of_w_fits_any_number_of_rows():
    row = np.arange(1.0, 4.0, dtype=np.float32)
    subspace = Subspace(
        basis=np.repeat(row[None, None] / np.linalg.norm(np.repeat(row[None], 18, 0)), 18, axis=1),
        scale=2.0,
        singular_values=np.array([2.0], np.float32),
        mean=np.zeros((18, 3), np.float32),
        pc1_ratio=1.0,
        mask=np.ones(18, bool),
    )
    fitted = fitted_subspace(subspace, (14, 3))
    assert fitted.basis.shape == (1, 14, 3)
    np.testing.assert_allclose(np.linalg.norm(fitted.basis), 1, rtol=1e-6)
    # Each row of the generator moves as far as before.
    np.testing.assert_allclose(fitted.direction[0], subspace.direction[0], rtol=1e-6)
    latents = Latents(np.repeat(row[None, None], 18, axis=1))
    assert fitted_latents(latents, (14, 3)).ws.shape == (1, 14, 3)
    # What differs from row to row does not fit another generator.
    latents.ws[0, 3] += 1
    assert fitted_latents(latents, (14, 3)) is latents
    other = dataclasses.replace(subspace, basis=np.roll(subspace.basis, 1, axis=2))
    other.basis[0, 0] = 0
    assert fitted_subspace(other, (14, 3)) is other


def test_the_projectors_file_is_read(tmp_path):
    io.save_npz(tmp_path / "projected_w.npz", w=np.ones((1, 18, 3), np.float32))
    assert load_latents(tmp_path / "projected_w.npz").ws.shape == (1, 18, 3)
