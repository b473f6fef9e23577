"""The six networks of face-api: every key accounted for, and nothing lost of quantised values."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from mm_jax.errors import DataError
from mm_jax.faces.architectures import MODULES
from mm_jax.faces.network import load_face_network
from mm_jax.nn.network import flatten_tree
from weights_convert import face_api
from weights_convert.detect import detect
from weights_convert.plan import Request
from weights_convert.write import write

RANGE = (0.01, -0.5)


@functools.cache
def content_of(network):
    """What the reader gives of a network: half of the arrays are quantised."""
    rng = np.random.default_rng(sorted(MODULES).index(network))
    table = face_api.table_of(network)
    weights, quantization = {}, {}
    for i, row in enumerate(table.rows):
        shape = (1,) * row.leading + table.shapes[row.path].shape + (1,) * row.trailing
        if i % 2:
            weights[row.key] = rng.integers(0, 256, shape, dtype=np.uint8)
            quantization[row.key] = RANGE
        else:
            weights[row.key] = rng.standard_normal(shape).astype(np.float32)
    return {"weights": weights, "quantization": quantization}


@pytest.mark.parametrize("network", MODULES)
def test_is_told_and_converted(network, tmp_path):
    content = content_of(network)
    name, layout, _ = detect(content)
    assert (name, layout) == ("face_api", face_api.LAYOUT)
    (part,) = layout.plan(content, Request(name="mine")).parts
    assert part.metadata["network"] == network
    built = part.build()
    assert (built.name, built.config.network) == ("mine", network)
    flat = flatten_tree(built.params)
    for row in face_api.table_of(network).rows:
        theirs = content["weights"][row.key].astype(np.float64)
        if row.key in content["quantization"]:
            theirs = theirs * RANGE[0] + RANGE[1]
        np.testing.assert_array_equal(flat[row.path].ravel(), theirs.astype(np.float32).ravel())

    # What is written takes as little space as what was read, and reads back bit for bit.
    loaded = write(built, tmp_path / "net", {"source": None}).load()
    jax.tree.map(np.testing.assert_array_equal, dict(loaded.params), dict(built.params))
    stored = (tmp_path / "net" / "params.safetensors").stat().st_size
    assert stored < sum(v.nbytes for v in content["weights"].values()) + 20_000
    again = load_face_network(tmp_path / "net").save(tmp_path / "again")
    assert (again / "params.safetensors").read_bytes() == (
        tmp_path / "net" / "params.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("network", MODULES)
def test_every_key_counts(network):
    content = content_of(network)
    weights = content["weights"]
    table = face_api.table_of(network)
    bias = table.rows[1].key
    cases = {
        "lacks": {key: value for key, value in weights.items() if key != bias},
        "not in its table: dense9/conv0/bias": {**weights, "dense9/conv0/bias": weights[bias]},
        "has shape": {**weights, bias: np.zeros((3, *weights[bias].shape), np.float32)},
    }
    for message, changed in cases.items():
        with pytest.raises(DataError, match=message):
            face_api.LAYOUT.plan({**content, "weights": changed}, Request())


def test_constants_of_the_graph_do_not_matter():
    content = content_of("ssd_detector")
    extra = {"Preprocessor/mul/x": np.float32(0.007), "concat_1/axis": np.int32(0)}
    plan = face_api.LAYOUT.plan({**content, "weights": {**content["weights"], **extra}}, Request())
    assert plan.parts[0].metadata["network"] == "ssd_detector"


def test_other_manifests_are_refused_by_what_they_hold():
    content = {"weights": {"conv1/kernel": np.zeros(3, np.float32)}, "quantization": {}}
    with pytest.raises(DataError, match="conv1/kernel"):
        face_api.LAYOUT.plan(content, Request())
    with pytest.raises(DataError, match="of no layout that is known"):
        detect(content)
    for odd in (3, [1], {"conv8/filters": 1}, {"conv8/filters": (1, "a")}):
        with pytest.raises(DataError, match="quantization is not"):
            face_api.LAYOUT.plan({**content_of("landmarks"), "quantization": odd}, Request())
    with pytest.raises(DataError, match="manifest of TensorFlow"):
        face_api.LAYOUT.plan({"conv8/filters": np.zeros(3)}, Request())


def test_values_that_are_not_finite_are_refused():
    content = content_of("tiny_detector")
    weights = dict(content["weights"])
    weights["conv0/filters"] = np.full_like(weights["conv0/filters"], np.nan)
    with pytest.raises(DataError, match="NaN or infinity"):
        face_api.face_network_from_content({**content, "weights": weights})
    ranges = dict.fromkeys(content["quantization"], (3e38, 0.0))
    with pytest.raises(DataError, match="NaN or infinity"):
        face_api.face_network_from_content({**content, "quantization": ranges})
