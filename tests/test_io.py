import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mm_jax import io
from mm_jax.errors import DataError, UsageError

SLOW = settings(max_examples=60, deadline=None)


def test_errors_are_value_errors():
    assert issubclass(DataError, ValueError) and issubclass(UsageError, ValueError)


@SLOW
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.bool_, np.uint8]),
        hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    st.text(max_size=20),
)
def test_npz_round_trip(tmp_path_factory, array, text):
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    text = text.replace("\0", "")
    io.save_npz(path, array=array, text=np.array([text, "x"]))
    loaded = io.load_npz(path, required={"array": array.ndim, "text": (2,)})
    assert loaded["array"].dtype == array.dtype
    np.testing.assert_array_equal(loaded["array"], array)
    assert loaded["text"][0] == text


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_damaged_npz_is_a_data_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    io.save_npz(path, ws=np.arange(24, dtype=np.float32).reshape(2, 3, 4), names=np.array(["a"]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = (
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    path.write_bytes(content)
    try:
        loaded = io.load_npz(path, required={"ws": (2, 3, 4)})
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert loaded["ws"].shape == (2, 3, 4)


def test_npz_refusals(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="no such file"):
        io.load_npz(path, required={})
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"is an empty file, not an \.npz"):
        io.load_npz(path, required={})
    io.save_npz(path, x=np.ones((2, 3)))
    with pytest.raises(DataError, match=r"no array 'y' \(it holds x\)"):
        io.load_npz(path, required={"y": 1})
    with pytest.raises(DataError, match=r"must be an array of rank 3, got shape \[2, 3\]"):
        io.load_npz(path, required={"x": 3})
    with pytest.raises(DataError, match=r"must have shape \[\*, 4\], got"):
        io.load_npz(path, required={"x": (None, 4)})
    for bad in (np.nan, np.inf):
        io.save_npz(path, x=np.array([1.0, bad]))
        with pytest.raises(DataError, match="NaN or infinity"):
            io.load_npz(path, required={})
    with open(path, "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(
        DataError, match=r"is an array of numbers \(\.npy\), not an \.npz: .* mm_convert --source="
    ):
        io.load_npz(path, required={})


def test_pickles_are_neither_written_nor_read(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="not a plain array"):
        io.save_npz(path, x=np.array([{}], dtype=object))
    assert not path.exists()
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        io.load_npz(path, required={})


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        io.write_atomic(path, fail)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_write_makes_folders_and_ordinary_permissions(tmp_path):
    path = io.write_atomic(tmp_path / "b" / "c.txt", lambda file: file.write(b"x"))
    plain = tmp_path / "plain"
    plain.touch()
    assert path.read_bytes() == b"x"
    assert path.stat().st_mode == plain.stat().st_mode


def test_write_below_a_file_is_a_data_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        io.write_json(tmp_path / "file" / "a.json", {})


def test_json_round_trip_makes_numpy_plain(tmp_path):
    path = tmp_path / "a.json"
    io.write_json(path, {"a": np.float32(0.5), "b": np.arange(3), "c": tmp_path, "d": "é"})
    assert io.read_json(path) == {"a": 0.5, "b": [0, 1, 2], "c": str(tmp_path), "d": "é"}
    assert json.loads(path.read_text(encoding="utf-8"))["d"] == "é"


@pytest.mark.parametrize("value", [float("nan"), object(), {1j}])
def test_json_refuses_what_it_cannot_hold(tmp_path, value):
    with pytest.raises(DataError, match="cannot write"):
        io.write_json(tmp_path / "a.json", {"a": value})
    assert not (tmp_path / "a.json").exists()


def test_json_refusals(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(DataError, match="cannot read"):
        io.read_json(path)
    for content in (b"{", b"\xff\xfe{}", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not valid json"):
            io.read_json(path)


def test_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert io.sha256_file(path).startswith("ba7816bf8f01cfea414140de5dae2223")
    with pytest.raises(DataError, match="cannot read"):
        io.sha256_file(tmp_path / "b")


def test_safetensors_are_those_of_the_library(tmp_path):
    from safetensors import safe_open

    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "half": np.ones(3, np.float16),
    }
    path = tmp_path / "x.safetensors"
    io.write_atomic(path, lambda file: io.put_safetensors(file, arrays, metadata={"format": "pt"}))
    with safe_open(path, "numpy") as stored:
        assert stored.metadata() == {"format": "pt"}
        assert set(stored.keys()) == set(arrays)
        for name, value in arrays.items():
            loaded = stored.get_tensor(name)
            assert loaded.dtype == value.dtype
            np.testing.assert_array_equal(loaded, value)
