"""Files as torch, NVlabs, NumPy and safetensors write them give the values that they hold."""

from __future__ import annotations

import argparse
import collections
import hashlib
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from weights_convert.readers import OpaqueObject, PersistentObject, read_file
from weights_convert.structure import is_module

KINDS = {
    "torch-zip",
    "torch-legacy",
    "torchscript",
    "nvlabs-pickle",
    "tensorflow-pickle",
    "safetensors",
    "numpy",
    "pickle",
}


def arrays_of(value, prefix=""):
    if isinstance(value, dict):
        parts = [arrays_of(part, f"{prefix}.{key}") for key, part in value.items()]
        return {path: array for part in parts for path, array in part.items()}
    return {prefix: value} if isinstance(value, np.ndarray) else {}


@pytest.mark.parametrize(
    ("name", "container"),
    [("all.pt", "torch-zip"), ("legacy.pt", "torch-legacy"), ("all.pkl", "pickle")],
)
def test_files_of_torch(goldens, name, container):
    """All element types, views, parameters, and the states of a model and an optimiser."""
    folder = goldens / "checkpoints"
    foreign = read_file(folder / name)
    assert foreign.container == container
    assert foreign.sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert foreign.size == (folder / name).stat().st_size
    got = arrays_of(foreign.content)
    with np.load(folder / "expected.npz") as expected:
        missing = set(expected.files) - set(got)
        # These three came to torch after its legacy format.
        assert missing == (set() if name == "all.pt" else {".uint16", ".uint32", ".uint64"})
        for path, value in got.items():
            assert value.dtype == expected[path].dtype and not value.flags.writeable
            np.testing.assert_array_equal(value, expected[path], err_msg=path)
    content = foreign.content
    assert content["args"] == OpaqueObject(
        "argparse", "Namespace", (), {"size": 64, "lr": 0.1, "name": "x"}
    )
    plain = {key: content[key] for key in ("size", "device", "dt", "set", "big", "neg", "none")}
    assert plain == {
        "size": (4, 6),
        "device": "cuda:0",
        "dt": "torch.float16",
        "set": {1, 2},
        "big": 2**70,
        "neg": -5,
        "none": None,
    }
    assert content["bytes"] == b"abc\xff" and content["cplx"] == 1 + 2j
    assert content["nps"] == np.float32(2.5) and type(content["nps"]) is np.float32
    assert type(content["sd"]) is type(content["od"]) is dict


def test_pickle_of_nvlabs(goldens, rule):
    """A real one; its parameters are those that the rule makes."""
    folder = goldens / "nvlabs" / "map2"
    foreign = read_file(folder / "network.pkl")
    assert foreign.container == "nvlabs-pickle"

    def state_of(module, prefix=""):
        assert isinstance(module, PersistentObject) and module.version == 6
        # The golden file was written without the sources.
        assert module.module_src_sha256 is None
        found = {}
        for part in ("_parameters", "_buffers"):
            found |= {prefix + k: v for k, v in module.state[part].items() if v is not None}
        for name, child in module.state["_modules"].items():
            found |= state_of(child, f"{prefix}{name}.")
        return found

    for network in ("G_ema", "D"):
        state = state_of(foreign.content[network])
        expected = rule.weights(folder / "manifest.json", f"{network}.")
        assert set(state) == set(expected)
        for key, value in expected.items():
            np.testing.assert_array_equal(state[key], value, err_msg=key)
    generator = foreign.content["G_ema"]
    assert generator.class_name == "Generator"
    assert generator.state["_init_kwargs"]["img_resolution"] == 64
    assert type(generator.state["_init_kwargs"]) is dict
    assert foreign.content["training_set_kwargs"] is not None


def test_every_kind(build, read):
    kinds = set()
    for name, content in build.samples().items():
        foreign = read(content)
        assert foreign.container == name.split(" ")[0]
        kinds.add(foreign.container)
    assert kinds == KINDS


def test_module_source_is_only_hashed(build, read):
    content = read(build.samples()["nvlabs-pickle"]).content
    assert content["G_ema"].module_src_sha256 == hashlib.sha256(b"raise SystemExit").hexdigest()
    np.testing.assert_array_equal(
        content["G_ema"].state["_parameters"]["weight"], np.arange(6.0).reshape(2, 3)
    )


def test_tensorflow_tuple(build, read):
    networks = read(build.samples()["tensorflow-pickle"]).content
    assert isinstance(networks, tuple) and len(networks) == 3
    assert networks[0].name == "Network" and networks[0].state["version"] == 4
    np.testing.assert_array_equal(
        networks[0].state["variables"][0][1], np.arange(6.0).reshape(2, 3)
    )


def test_programs_of_torchscript(build, read):
    """Modules are recorded, of any class that is the archive's own; code is not looked at."""
    foreign = read(build.samples()["torchscript"])
    net = foreign.content
    assert (net.module, net.name) == ("__torch__.model.___torch_mangle_7", "Net")
    assert net.state["training"] is False
    np.testing.assert_array_equal(net.state["weight"], [[0, 1, 2], [3, 4, 5]])
    tagged = build.Call(build.Global("torch.jit._pickle", "restore_type_tag"), ({"a": 1}, "Dict"))
    sizes = build.Call(build.Global("torch.jit._pickle", "build_intlist"), ([1, 2],))
    state = {"sizes": sizes, "tagged": tagged}
    content = read(build.torchscript(build.scripted("Net", state), {})).content
    assert content.state == {"sizes": [1, 2], "tagged": {"a": 1}}


def test_restyle_latents(build, read):
    """A dictionary that np.save wrapped in an array of objects."""
    latents = read(build.samples()["numpy objects"]).content
    np.testing.assert_array_equal(latents["x.jpg"][0], np.arange(6.0).reshape(2, 3))
    nested = np.empty((2, 2), dtype=object)
    nested[:] = [["a", 1], [None, [2]]]
    assert read(build.npy(nested)).content == [["a", 1], [None, [2]]]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_in_pickles(read, protocol, order):
    value = {
        "f": np.arange(6, dtype=f"{order}f4").reshape(2, 3),
        "F": np.asfortranarray(np.arange(6, dtype=f"{order}i2").reshape(2, 3)),
        "b": np.array([True, False]),
        "U": np.array(["smile", "ä"], dtype=f"{order}U5"),
        "S": np.array([b"x"]),
        "empty": np.zeros((0, 3), f"{order}f8"),
        "scalar": np.dtype(f"{order}f8").type(0.25),
        "dtype": np.dtype("f4"),
        "pairs": collections.OrderedDict([("a", 1)]),
        "args": argparse.Namespace(a=1),
        "bytes": bytearray(b"\xff" * 300),
        "complex": complex(1, 2),
        "frozen": frozenset({1}),
    }
    content = read(pickle.dumps(value, protocol)).content
    for name in ("f", "F", "b", "U", "S", "empty"):
        assert content[name].dtype == value[name].dtype.newbyteorder("=")
        assert content[name].dtype.isnative and not content[name].flags.writeable
        np.testing.assert_array_equal(content[name], value[name])
    assert content["scalar"] == 0.25 and content["dtype"] == "float32"
    assert content["pairs"] == {"a": 1} and content["bytes"] == b"\xff" * 300
    assert content["complex"] == 1 + 2j and content["frozen"] == {1}
    assert content["args"].state == {"a": 1}


def test_pickle_of_python2(read):
    """Bytes are text there, and modules have their old names."""
    state = b"(K\x01K\x02\x85cnumpy\ndtype\nq\x01U\x02f4\x85R\x89U\x08\x00\x00\x80?\x00\x00\x00@t"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + state
        + b"b"
    )
    content = read(
        b"\x80\x02}(U\x01a" + array + b"U\x01sc__builtin__\nset\n](K\x01e\x85Ru."
    ).content
    np.testing.assert_array_equal(content["a"], np.array([1, 2], np.float32))
    assert content["s"] == {1}


def test_numpy_files(build, read):
    a = np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3))
    for value in (a, np.float32(3), np.zeros((0, 4), np.int32), np.array(["a", "bc"]), a > 2):
        value = np.asarray(value)
        got = read(build.npy(value)).content
        assert got.dtype == value.dtype and got.shape == value.shape
        np.testing.assert_array_equal(got, value)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = read(build.zipped({"a.npy": build.npy(a)}, compression)).content
        np.testing.assert_array_equal(content["a"], a)


def test_safetensors_files(read):
    values = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "h": np.array([1.5], np.float16),
        "scalar": np.array(3, np.int64),
        "flags": np.array([True, False]),
        "bf": np.array([1.5, -2], ml_dtypes.bfloat16),
        "empty": np.zeros((0, 3), np.float32),
    }
    content = read(safetensors.numpy.save(values, metadata={"format": "pt"})).content
    assert set(content) == set(values)
    for name, value in values.items():
        wanted = value.astype(np.float32) if name == "bf" else value
        assert content[name].dtype == wanted.dtype
        np.testing.assert_array_equal(content[name], wanted)


def test_big_endian_torch(build, read):
    a = np.arange(3, dtype=">f4")
    content = build.torch_zip({"a": build.whole("0", a)}, {"0": a.tobytes()}, order=b"big")
    got = read(content).content["a"]
    assert got.dtype == np.float32 and got.dtype.isnative
    np.testing.assert_array_equal(got, a)


def test_views_of_legacy_storages(build, read):
    """Old files name a part of a storage, and the offset counts from there."""
    a = np.arange(10, dtype=np.float32)
    where = build.storage("0", "float32", 10, ("1", 4, 6))
    content = build.torch_legacy(build.tensor(where, (2, 2), (2, 1), 1), {"0": a})
    np.testing.assert_array_equal(read(content).content, [[5, 6], [7, 8]])


def test_not_finite_passes(build, read):
    a = np.array([np.nan, np.inf, -np.inf], np.float32)
    content = build.torch_zip([build.whole("0", a)], {"0": a.tobytes()})
    np.testing.assert_array_equal(read(content).content[0], a)


def test_storages_are_shared_and_mapped(build, read):
    a = np.arange(1 << 20, dtype=np.float32)
    where = build.storage("0", "float32", a.size)
    views = {
        "even": build.tensor(where, (1 << 19,), (2,)),
        "all": build.tensor(where, (a.size,), (1,)),
    }
    content = read(build.torch_zip(views, {"0": a.tobytes()})).content
    assert np.shares_memory(content["even"], content["all"])
    assert not content["all"].flags.owndata
    np.testing.assert_array_equal(content["even"], a[::2])


def test_name_of_file_and_folder_mean_nothing(build, tmp_path):
    for name in ("weights.npz", "picture.png", "ohne Endung äö"):
        (tmp_path / name).write_bytes(build.torch_zip({"x": 1}, {}, prefix="été"))
        assert read_file(tmp_path / name).container == "torch-zip"
        assert read_file(str(tmp_path / name)).content == {"x": 1}


def test_checksums_that_torch_left_out(build, read):
    a = np.arange(3, dtype=np.float32)
    content = build.torch_zip([build.whole("0", a)], {"0": a.tobytes()})
    np.testing.assert_array_equal(read(build.without_sums(content)).content[0], a)


def test_objects_of_unknown_classes_stay_closed(build, read):
    """Whatever protocol makes them: their items are left out, their state is recorded."""
    make = build.Global("fork.networks", "Discriminator")
    content = {
        "G_ema": {"weight": np.arange(3.0)},
        "D": build.Call(make, (1,), {"width": 4}, True),
        "class": make,
        "config": build.Call(build.Global("collections", "defaultdict"), (make,)),
    }
    got = read(build.dumps(content))
    np.testing.assert_array_equal(got.content["G_ema"]["weight"], np.arange(3.0))
    assert got.content["D"] == OpaqueObject("fork.networks", "Discriminator", (1,), {"width": 4})
    assert got.content["class"] == OpaqueObject("fork.networks", "Discriminator", (), None)
    assert got.content["config"] == {}
    assert got.unknown == ("fork.networks.Discriminator",)
    # A dictionary of the fork's own, made with keywords and filled item by item.
    filled = b"\x80\x04cfork\nConfig\n)}\x8c\x01aK\x01s\x92(\x8c\x01bK\x02u."
    assert read(filled).content == OpaqueObject("fork", "Config", (), None)


def test_modules_that_torch_saved_whole(build, read):
    """Before 1.6 their class came with its source code, which nobody runs."""
    name = build.Persistent(
        ("module", build.Global("model", "Net"), "model.py", "raise SystemExit")
    )
    state = {"_parameters": {"w": 1}, "_buffers": {}, "_modules": {}}
    got = read(build.torch_legacy(build.Call(name, (), state, True), {}))
    assert is_module(got.content) and got.unknown == ("model.Net",)
