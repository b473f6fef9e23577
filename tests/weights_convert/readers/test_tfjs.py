"""Manifests of TensorFlow.js: what they mean, and what is refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import os

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mm_jax.errors import DataError
from weights_convert.readers import Limits, read_file

VALUES = np.arange(6, dtype=np.uint8)
ENTRY = {
    "name": "a/kernel",
    "shape": [2, 3],
    "dtype": "float32",
    "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0},
}


def write(folder, manifest, **files):
    for name, data in files.items():
        (folder / f"{name}.bin").write_bytes(data)
    path = folder / "weights_manifest.json"
    path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return path


def group(*entries, paths=("a.bin",)):
    return {"paths": list(paths), "weights": list(entries)}


def test_quantised_values_stay_as_they_are_stored(tmp_path):
    half = {"name": "h", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}}
    whole = {"name": "n", "shape": [], "dtype": "int32"}
    halves, number = np.array([0.5, -2.0], np.float16), np.array(7, np.int32)
    data = VALUES.tobytes() + halves.tobytes() + number.tobytes()
    path = write(tmp_path, [group(ENTRY, half, whole)], a=data)
    found = read_file(path)
    assert found.container == "tfjs"
    weights = found.content["weights"]
    assert {name: (v.dtype, v.shape) for name, v in weights.items()} == {
        "a/kernel": (np.uint8, (2, 3)),
        "h": (np.float16, (2,)),
        "n": (np.int32, ()),
    }
    np.testing.assert_array_equal(weights["a/kernel"], VALUES.reshape(2, 3))
    np.testing.assert_array_equal(weights["h"], halves)
    assert weights["n"] == 7
    assert found.content["quantization"] == {"a/kernel": (0.5, -1.0)}
    assert found.sha256 == hashlib.sha256(path.read_bytes() + data).hexdigest()
    assert found.size == len(path.read_bytes()) + len(data)


def test_a_model_json_holds_its_manifest(tmp_path):
    model = {"modelTopology": {"node": []}, "weightsManifest": [group(ENTRY)]}
    found = read_file(write(tmp_path, model, a=VALUES.tobytes()))
    assert list(found.content["weights"]) == ["a/kernel"]


@hypothesis.given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 200), max_size=4),
    seed=st.integers(0, 1000),
)
@hypothesis.settings(max_examples=40, deadline=None)
def test_weights_may_lie_across_files(tmp_path_factory, shapes, cuts, seed):
    """However the bytes are cut into files, the values are those that were written."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(seed)
    values = [rng.integers(0, 65536, shape).astype(np.uint16) for shape in shapes]
    data = b"".join(value.tobytes() for value in values)
    ends = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    parts = [data[a:b] for a, b in itertools.pairwise(ends)]
    hypothesis.assume(parts)
    paths = []
    for i, part in enumerate(parts):
        (folder / f"shard{i}").write_bytes(part)
        paths.append(f"shard{i}")
    quantization = {"dtype": "uint16", "scale": 1e-3, "min": -2}
    entries = [
        {"name": str(i), "shape": list(v.shape), "dtype": "float32", "quantization": quantization}
        for i, v in enumerate(values)
    ]
    content = read_file(write(folder, [group(*entries, paths=paths)])).content
    for i, value in enumerate(values):
        np.testing.assert_array_equal(content["weights"][str(i)], value)
        assert content["quantization"][str(i)] == (1e-3, -2.0)


def changed(**changes):
    return {**ENTRY, **changes}


QUANTISED = ENTRY["quantization"]
HOSTILE = {
    "a folder up": ([group(ENTRY, paths=["../a.bin"])], "not one beside it"),
    "an absolute path": ([group(ENTRY, paths=["/etc/passwd"])], "not one beside it"),
    "a drive": ([group(ENTRY, paths=["C:a.bin"])], "not one beside it"),
    "a backslash": ([group(ENTRY, paths=["..\\a.bin"])], "not one beside it"),
    "an address": ([group(ENTRY, paths=["https://a.bin"])], "not one beside it"),
    "the folder": ([group(ENTRY, paths=["."])], "not one beside it"),
    "no name": ([group(ENTRY, paths=[""])], "not one beside it"),
    "a zero byte": ([group(ENTRY, paths=["a\0.bin"])], "not one beside it"),
    "a number": ([group(ENTRY, paths=[1])], "not one beside it"),
    "a missing file": ([group(ENTRY, paths=["b.bin"])], "names b.bin, which cannot be read"),
    "a file twice": ([group(ENTRY, paths=["a.bin", "a.bin"])], "names one file twice"),
    "a pipe": ([group(ENTRY, paths=["pipe"])], "got no regular file"),
    "a folder": ([group(ENTRY, paths=["folder"])], "names folder, which must be a checkpoint file"),
    "an empty file": ([group(ENTRY, paths=["empty"])], "got an empty one"),
    "too many files": (
        [group(ENTRY, paths=[f"many{i}" for i in range(600)])],
        "names more than 500 files",
    ),
    "bytes that are not there": ([group(changed(shape=[7]))], "is truncated"),
    "bytes left over": ([group(changed(shape=[5]))], "describes 5 bytes of weights"),
    "an impossible shape": ([group(changed(shape=[1 << 40, 1 << 40]))], "impossible shape"),
    "an empty impossible shape": ([group(changed(shape=[0, 1 << 62, 4]))], "impossible shape"),
    "a huge rank": ([group(changed(shape=[1] * 40))], "at most 32, got 40"),
    "a negative size": ([group(changed(shape=[-2, -3]))], "not a tuple of sizes"),
    "a fraction": ([group(changed(shape=[2.0, 3]))], "not a tuple of sizes"),
    "true": ([group(changed(shape=[True, 6]))], "not a tuple of sizes"),
    "no shape": ([group(changed(shape=None))], "by name and shape"),
    "no weight name": ([group(changed(name=None))], "by name and shape"),
    "text": ([group(changed(dtype="string"))], "of type string"),
    "objects": ([group(changed(dtype=["O"]))], "of type list"),
    "a name twice": ([group(changed(shape=[3]), changed(shape=[3]))], "one weight twice"),
    "an unknown quantisation": (
        [group(changed(quantization={"dtype": "int4", "scale": 1, "min": 0}))],
        "in a way that this reader lacks",
    ),
    "no scale": ([group(changed(quantization={"dtype": "uint8"}))], "quantises the weight"),
    "an infinite scale": (
        [group(changed(quantization={**QUANTISED, "scale": float("inf")}))],
        "quantises the weight",
    ),
    "NaN": ([group(changed(quantization={**QUANTISED, "min": float("nan")}))], "quantises"),
    "a scale of text": ([group(changed(quantization={**QUANTISED, "scale": "1"}))], "quantises"),
    "a giant scale": ([group(changed(quantization={**QUANTISED, "scale": 10**400}))], "quantises"),
    "no groups": ({"weightsManifest": []}, "describes no weights"),
    "no lists": ([{"paths": "a.bin", "weights": []}], "without lists"),
    "a weight of text": ([group("a/kernel")], "not described"),
    "an object": ({"weightsManifest": {"a": 1}}, "lists no weights"),
    "a half": ('[{"paths": ["a.bin"], "weights": [', "is not json"),
    "deep": ('[{"weights":' + "[" * 100_000, "is not json"),
    "long": ('[{"weights":' + " " * 5_000_000, "must be a manifest of at most"),
    "not text": ('[{"weights": "\udcff', "is not json"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_manifests_are_refused(tmp_path, case):
    manifest, message = HOSTILE[case]
    (tmp_path / "a.bin").write_bytes(VALUES.tobytes())
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    if case == "too many files":
        for i in range(600):
            (tmp_path / f"many{i}").write_bytes(b"1")
    path = tmp_path / "weights_manifest.json"
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=message) as caught:
        read_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links_to_one_file_earn_no_memory(tmp_path):
    """Ten links to a file are joined into ten times its bytes; the limits count the file once."""
    (tmp_path / "a.bin").write_bytes(bytes(100_000))
    names = [f"link{i}" for i in range(20)]
    for name in names:
        (tmp_path / name).symlink_to(tmp_path / "a.bin")
    entry = {"name": "a", "shape": [2_000_000], "dtype": "uint8"}
    path = write(tmp_path, [group(entry, paths=names)])
    limits = Limits(expansion=2, slack_bytes=0)
    with pytest.raises(DataError, match="unfolds to more than"):
        read_file(path, limits=limits)
    assert read_file(path).content["weights"]["a"].shape == (2_000_000,)


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=150, deadline=None)
def test_damaged_manifests_are_read_or_refused(tmp_path_factory, data):
    """Any change of a few characters ends in arrays within the file, or in one line."""
    text = json.dumps([group(ENTRY)])
    letters = list(text)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(letters) - 1))
        letters[place] = data.draw(st.sampled_from('0129-.eE"[]{},: /\\nulatrN'))
    folder = tmp_path_factory.mktemp("damaged")
    path = write(folder, "".join(letters), a=VALUES.tobytes())
    try:
        content = read_file(path).content
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert sum(value.nbytes for value in content["weights"].values()) <= len(VALUES)
