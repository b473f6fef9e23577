"""The heads: what stays of a mesh, how parts follow it, and files, whole, damaged and hostile."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mm_jax.errors import DataError
from mm_jax.people.heads import Heads, load_heads, reduced, save_heads, subdivided
from tests.people.conftest import PACK, face, shell

EYES = ("skin", "left_eye", "right_eye")


def same(one: Heads, other: Heads) -> None:
    for name in ("base", "follow", "lips", "mouth", "target_names"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert abs(one.targets - other.targets).max() == 0
    assert set(one.parts) == set(other.parts) and set(one.groups) == set(other.groups)
    for name, part in one.parts.items():
        for field in dataclasses.fields(part):
            if field.name != "basis":
                mine, its = getattr(part, field.name), getattr(other.parts[name], field.name)
                np.testing.assert_array_equal(mine, its)
        assert abs(part.basis - other.parts[name].basis).max() == 0
    for name, index in one.groups.items():
        np.testing.assert_array_equal(index, other.groups[name])


@pytest.fixture(scope="module")
def small(heads):
    """Little of everything, to be written often."""
    _, y, z = heads.parts["skin"].place(heads.base).T
    hair = shell(heads, (y > 8.4) & (z > 0), 0.1)
    whole = dataclasses.replace(heads, parts={**heads.parts, "hair-long01": hair})
    return reduced(whole, (*EYES, "hair-long01"), ("unit-jawOpen", "chin-width-decr"))


@pytest.fixture(scope="module")
def stored(small, tmp_path_factory):
    """Arrays of a file of `small`."""
    path = save_heads(tmp_path_factory.mktemp("heads") / "small.npz", small)
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="module")
def stored_file(stored, tmp_path_factory):
    """A file: Hypothesis would print the bytes themselves, all of them."""
    path = tmp_path_factory.mktemp("stored") / "heads.npz"
    np.savez_compressed(path, **stored)
    return path


def test_the_committed_heads(heads):
    assert set(heads.parts) == {*EYES, "tongue"}
    assert heads.base.shape == (len(heads.follow), 3) and len(heads.target_names) == 162
    assert heads.follow.min() >= 0 and heads.follow.max() <= 1
    left, right = (
        heads.parts[f"{s}_eye"].place(heads.base).mean(axis=0) for s in ("left", "right")
    )
    np.testing.assert_allclose(left, right * [-1, 1, 1], atol=1e-3)
    np.testing.assert_allclose(left[:2], [0.31, 7.27], atol=0.05)
    assert PACK.stat().st_size < 600_000


def test_morphs_are_linear(heads):
    np.testing.assert_array_equal(heads.morph({}), heads.base)
    one, two = {"unit-jawOpen": 0.5}, {"unit-jawOpen": 1.0, "chin-width-decr": 0.3}
    both = {"unit-jawOpen": 1.5, "chin-width-decr": 0.3}
    moved = heads.morph(one) + heads.morph(two) - heads.base
    np.testing.assert_allclose(moved, heads.morph(both), atol=1e-5)
    chin = heads.morph({"unit-jawOpen": 1.0})[:, 1] - heads.base[:, 1]
    assert chin.min() < -0.2  # decimetres downwards
    with pytest.raises(DataError, match="no target 'unit-noSuch'"):
        heads.morph({"unit-noSuch": 1.0})


def test_missing_parts_are_named(heads):
    with pytest.raises(DataError, match="no part 'hair-long01', only left_eye"):
        heads.part("hair-long01")


def test_reducing_keeps_places(heads, small):
    weights = {"unit-jawOpen": 0.7, "chin-width-decr": -1.2}
    assert small.target_names == tuple(n for n in heads.target_names if n in weights)
    assert len(small.base) < len(heads.base)
    for name in EYES:
        after = small.parts[name].place(small.morph(weights))
        np.testing.assert_array_equal(after, heads.parts[name].place(heads.morph(weights)))
        np.testing.assert_array_equal(small.parts[name].faces, heads.parts[name].faces)
    for jaw, index in heads.groups.items():
        np.testing.assert_array_equal(small.base[small.groups[jaw]], heads.base[index])
    with pytest.raises(DataError, match="no target nonsense"):
        reduced(heads, EYES, ("nonsense",))
    with pytest.raises(DataError, match="no part 'tail'"):
        reduced(heads, ("tail",), ())


def test_offsets_grow_with_the_head(small):
    hair = small.parts["hair-long01"]
    bare = hair.basis @ small.base
    np.testing.assert_allclose(hair.place(small.base), bare + hair.offset, atol=1e-5)
    wide = small.base * np.array([2, 1, 0.5], np.float32)
    want = (bare + hair.offset) * [2, 1, 0.5]
    np.testing.assert_allclose(hair.place(wide), want, atol=1e-5)
    moved = small.base + np.float32(3)
    np.testing.assert_allclose(hair.place(moved), hair.place(small.base) + 3, atol=1e-4)


def test_a_subdivided_part_lies_within_its_cage(heads):
    cage = heads.parts["tongue"].cage
    part = subdivided(cage, 2, len(heads.base))
    np.testing.assert_allclose(part.basis.sum(axis=1), 1, atol=1e-5)
    corners, smooth = heads.base[np.unique(cage)], part.place(heads.base)
    assert (smooth >= corners.min(axis=0) - 1e-5).all()
    assert (smooth <= corners.max(axis=0) + 1e-5).all()
    assert len(part.faces) == 2 * 16 * len(cage)
    flat = subdivided(cage, 0, len(heads.base))
    np.testing.assert_array_equal(flat.place(heads.base), corners)


def test_a_file_gives_back_what_was_saved(small, heads, tmp_path):
    for case in (small, heads):
        path = save_heads(tmp_path / "heads.npz", case)
        same(load_heads(path), case)
        again = save_heads(tmp_path / "again.npz", load_heads(path))
        assert again.read_bytes() == path.read_bytes()


def test_too_long_a_target_is_refused(small, tmp_path):
    with pytest.raises(DataError, match="32 decimetres"):
        save_heads(tmp_path / "far.npz", dataclasses.replace(small, targets=small.targets * 1e3))
    assert not (tmp_path / "far.npz").exists()


# --- damaged and hostile files --------------------------------------------------------------------


def put(array, place, value):
    out = array.copy()
    out[place] = value
    return out


DAMAGE = {
    "no base": ("base", None),
    "flat base": ("base", lambda a: a.ravel()),
    "a base of text": ("base", lambda a: a.astype(str)),
    "nan": ("base", lambda a: put(a, (0, 0), np.nan)),
    "short follow": ("follow", lambda a: a[:-1]),
    "lips of another skin": ("lips", lambda a: a[:-1]),
    "whole numbers for a mask": ("mouth", lambda a: a.astype(int)),
    "names as numbers": ("target_names", lambda a: np.arange(len(a))),
    "one name twice": ("target_names", lambda a: np.repeat(a[:1], len(a))),
    "fewer names than targets": ("target_names", lambda a: a[:1]),
    "a vertex beyond the mesh": ("targets/place", lambda a: put(a, -1, 2**31)),
    "a vertex twice": ("targets/place", lambda a: put(a, 1, 0)),
    "signed places": ("targets/place", lambda a: a.astype(np.int64)),
    "float shifts": ("targets/shift", lambda a: a.astype(np.float32)),
    "fewer shifts": ("targets/shift", lambda a: a[:, :-1]),
    "no group": ("group/upper_teeth", None),
    "a group beyond the mesh": ("group/upper_teeth", lambda a: put(a, 0, 10**6)),
    "a negative group": ("group/lower_teeth", lambda a: put(a, 0, -1)),
    "no skin": ("skin/cage", None),
    "an empty cage": ("left_eye/cage", lambda a: a[:0]),
    "a cage of triangles": ("skin/cage", lambda a: a[:, :3]),
    "a cage beyond the mesh": ("skin/cage", lambda a: put(a, (0, 0), 10**6)),
    "a negative cage": ("skin/cage", lambda a: put(a, (3, 2), -2)),
    "no levels": ("skin/levels", None),
    "endless levels": ("right_eye/levels", lambda a: np.array(20)),
    "two levels": ("right_eye/levels", lambda a: np.array([1, 2])),
    "faces beyond the part": ("hair-long01/faces", lambda a: put(a, (0, 0), 10**6)),
    "negative faces": ("hair-long01/faces", lambda a: put(a, (0, 0), -1)),
    "fractional faces": ("hair-long01/faces", lambda a: a.astype(float)),
    "no offsets": ("hair-long01/offset", None),
    "fewer offsets": ("hair-long01/offset", lambda a: a[:-1]),
    "fewer distances": ("hair-long01/border", lambda a: a[:-1]),
    "a scale of 0": ("hair-long01/scales", lambda a: put(a, (0, 2), 0)),
    "a scale beyond the mesh": ("hair-long01/scales", lambda a: put(a, (1, 0), 1e9)),
    "a scale between vertices": ("hair-long01/scales", lambda a: put(a, (1, 0), 0.5)),
    "a row that ends before it starts": ("hair-long01/basis/indptr", lambda a: put(a, 1, a[-1])),
    "a row beyond the data": ("hair-long01/basis/indptr", lambda a: put(a, -1, a[-1] + 5)),
    "a basis beyond the mesh": ("hair-long01/basis/indices", lambda a: put(a, 0, 10**6)),
    "fewer weights": ("hair-long01/basis/data", lambda a: a[:-1]),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_arrays_are_refused(stored, tmp_path, name):
    key, change = DAMAGE[name]
    arrays = dict(stored)
    value = arrays.pop(key)
    if change is not None:
        arrays[key] = change(value)
    path = tmp_path / "heads.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"heads\.npz") as caught:
        load_heads(path)
    assert "\n" not in str(caught.value)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(cut=None, changes=[(200, 0)])  # a header that ends in the middle, in NumPy's words
@given(
    cut=st.none() | st.integers(0, 2**31),
    changes=st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 255)), max_size=4),
)
def test_damaged_bytes_never_end_in_another_error(stored_file, tmp_path, cut, changes):
    raw = bytearray(stored_file.read_bytes())
    if cut is not None:
        del raw[cut % len(raw) :]
    for place, value in changes:
        if raw:
            raw[place % len(raw)] = value
    path = tmp_path / "heads.npz"
    path.write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of headers in old formats
        try:
            load_heads(path)
        except DataError as error:
            assert str(path) in str(error)


def test_pickles_are_not_opened(tmp_path):
    np.savez(tmp_path / "heads.npz", base=np.array([print], object))
    with pytest.raises(DataError, match=r"heads\.npz"):
        load_heads(tmp_path / "heads.npz")
    with pytest.raises(DataError, match="no such file"):
        load_heads(tmp_path / "none.npz")


def test_faces_have_all_their_targets(heads):
    person = face(smile=1.0, yaw=0.4)
    names = {*person.shape, *(f"unit-{name}" for name in person.expression)}
    assert names <= set(heads.target_names)
