"""What is written opens again; that torch opens it too was checked by hand with torch 2.15."""

from __future__ import annotations

import io
import zipfile

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mm_jax.errors import DataError
from weights_convert.readers import write_torch_zip

STATE = {
    "g_ema": {
        "conv.weight": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "big": np.arange(3, dtype=">i4"),
        "scalar": np.array(2.5, np.float16),
        "empty": np.zeros((0, 3), np.float32),
        "flag": np.array([True, False]),
        "jax": jnp.ones((2,)),
    },
    "latent_avg": np.full(512, np.nan, np.float32),
    "opts": {"size": 1024, "big": -(2**70), "name": "ä", "lr": 1e-3, "x": [1, (None, True)]},
    "step": np.int64(3),
    0: {},
}


def written(state) -> bytes:
    out = io.BytesIO()
    write_torch_zip(out, state)
    return out.getvalue()


def test_there_and_back(read):
    foreign = read(written(STATE))
    assert foreign.container == "torch-zip"
    content = foreign.content
    assert list(content) == list(STATE) and list(content["g_ema"]) == list(STATE["g_ema"])
    for name, value in STATE["g_ema"].items():
        value = np.asarray(value)
        assert content["g_ema"][name].dtype == value.dtype.newbyteorder("=")
        np.testing.assert_array_equal(content["g_ema"][name], value)
    np.testing.assert_array_equal(content["latent_avg"], STATE["latent_avg"])
    assert content["opts"] == STATE["opts"] and content["step"] == 3 and content[0] == {}


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        hnp.integer_dtypes(sizes=(8, 32, 64)) | hnp.floating_dtypes(sizes=(16, 32, 64)),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    st.integers() | st.floats(allow_nan=False) | st.text(),
)
def test_any_array(read, array, plain):
    content = read(written({"a": array, "b": [plain]})).content
    assert content["a"].dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(content["a"], array)
    assert content["b"] == [plain]


def test_layout_of_the_archive():
    """As torch's own: stored, aligned, and the same bytes every time."""
    content = written(STATE)
    assert content == written(STATE)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == "archive/data.pkl" and archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            header = content[entry.header_offset :]
            name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
            assert (entry.header_offset + 30 + name + extra) % 64 == 0


def test_bfloat16_becomes_float32_when_read(read):
    array = np.array([1.5, -2, np.inf], ml_dtypes.bfloat16)
    got = read(written({"a": array})).content["a"]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, array.astype(np.float32))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": np.array(["x"])}}, r"state\.a\.b: torch's files have no dtype <U1"),
        ({"a": np.zeros(2, np.uint32)}, "no dtype uint32"),
        ({"a": [object()]}, r"state\.a\.0: a object is not plain"),
        ({(1, 2): 3}, r"state: \(1, 2\) is no name"),
        ({"a": 1 << 3000}, "integer"),
    ],
)
def test_what_can_not_be_written(state, message):
    with pytest.raises(DataError, match=message):
        write_torch_zip(io.BytesIO(), state)
