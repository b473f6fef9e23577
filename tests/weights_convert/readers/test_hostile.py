"""Files that are built to run something, to look elsewhere, or to exhaust memory or time.

Each ends in one line that names the file, at little cost, and nothing is executed.
"""

from __future__ import annotations

import contextlib
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from mm_jax.errors import DataError
from tests.weights_convert.readers.builders import CONTAINERS
from weights_convert.readers import Limits, OpaqueObject, read_file

A = np.arange(6, dtype=np.float32)
P2, P4 = b"\x80\x02", b"\x80\x04"


@pytest.fixture(autouse=True)
def cheap():
    """Whatever a file asks for, it gets 10 seconds of processor time."""
    start = time.process_time()
    yield
    assert time.process_time() - start < 10


# Nothing is executed.

FOREIGN_GLOBALS = [
    "os.system",
    "posix.system",
    "builtins.eval",
    "builtins.exec",
    "builtins.getattr",
    "builtins.setattr",
    "builtins.__import__",
    "builtins.open",
    "builtins.object",
    "__builtin__.eval",
    "subprocess.Popen",
    "operator.attrgetter",
    "functools.partial",
    "importlib.import_module",
    "copyreg._reconstructor",
    "types.FunctionType",
    "torch.load",
    "torch.hub.load",
    "torch.serialization.load",
    "numpy.load",
    "pickle.loads",
    "weights_convert.readers.read_file",
]


def everywhere(build, value):
    """A value in every place where a file of torch, NVlabs or NumPy has one."""
    in_object = build.npy(np.array({"a": 1}, dtype=object))
    end = in_object.index(b"\x80")
    where = build.storage("0", "float32", 6, None)
    inside = build.torch_legacy(build.Call(value.function, value.args), {})
    return {
        "pickle": build.dumps({"a": value}),
        "protocol 5": build.dumps([value], 5),
        "torch-zip": build.torch_zip({"a": build.whole("0", A), "b": value}, {"0": A.tobytes()}),
        "torch-legacy": build.torch_legacy([where, value], {"0": A}),
        "torchscript": build.torchscript(build.scripted("Net", {"a": value}), {}),
        "nvlabs": build.dumps({"G": build.persistent_object("G", {"_modules": {"a": value}})}),
        "source": build.dumps({"G": build.persistent_object("G", value)}),
        "blob": build.dumps(
            build.Call(build.Global("torch.storage", "_load_from_bytes"), (inside,))
        ),
        "state": build.dumps(
            build.Call(build.Global("argparse", "Namespace"), (), {"a": value}, True)
        ),
        "arguments": build.dumps(build.Call(build.Global("collections", "OrderedDict"), (value,))),
        "persistent id": build.torch_zip(build.Persistent(value), {}),
        "npy": in_object[:end] + build.dumps(value),
        "npz": build.zipped({"a.npy": in_object[:end] + build.dumps(value)}),
    }


def test_the_payload_would_work(build, tmp_path):
    """Python's own machine runs what the tests below are made of."""
    sentinel = tmp_path / "ran"
    pickle.loads(build.dumps(build.Call(build.Global("os", "system"), (f"touch {sentinel}",))))
    assert sentinel.exists()


@pytest.mark.parametrize("name", FOREIGN_GLOBALS)
def test_unknown_globals(build, read, tmp_path, name):
    """They are recorded by name, or the file is refused; nothing is imported or called."""
    module, _, function = name.rpartition(".")
    sentinel = tmp_path / "ran"
    call = build.Call(build.Global(module, function), (f"touch {sentinel}",))
    recorded = set()
    for place, content in everywhere(build, call).items():
        with contextlib.suppress(DataError):
            assert read(content).unknown == (name,), place
            recorded.add(place)
    assert recorded >= {"pickle", "protocol 5", "torch-zip", "torch-legacy", "nvlabs", "state"}
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("argparse", "Namespace.__init__"),
        ("argparse", "_sys.modules"),
        ("collections", "OrderedDict.__reduce__"),
        ("torch", "FloatStorage.__init__.__globals__"),
        ("torch.storage", "os.system"),
        ("numpy", "dtype.__class__"),
        ("", "os.system"),
        ("numpy.core.multiarray", "_reconstruct\0"),
        ("NUMPY", "dtype"),
        ("os\nsystem", "x"),
        ("\u202eos", "system"),
        ("x" * 5000, "y"),
    ],
)
def test_names_are_looked_up_whole(read, module, name):
    parts = b"".join(b"X" + struct.pack("<I", len(s.encode())) + s.encode() for s in (module, name))
    got = read(P4 + parts + b"\x93.")
    assert len(got.unknown) == 1 and got.unknown[0].isprintable() and len(got.unknown[0]) <= 90
    assert type(got.content) is OpaqueObject


def test_classes_of_programs_are_for_programs(build, read, refused):
    """What a TorchScript archive may name besides, and only there."""
    own = build.scripted("Net", {})
    typed = build.Call(build.Global("torch.jit._pickle", "build_intlist"), ([1],))
    for value in (own, typed):
        assert read(build.torch_zip(value, {})).unknown
    for module in ("__torch__x", "torch", "__torch", "os.__torch__", ""):
        value = build.Call(build.Global(module, "Net"), (), {}, True)
        assert read(build.torchscript(value, {})).unknown
    for args in ((1,), ([1], 2), (1, "List"), ([1], "a", "b")):
        value = build.Call(build.Global("torch.jit._pickle", "restore_type_tag"), args)
        assert "gives a type" in refused(build.torchscript(value, {}))


def test_names_that_are_no_text(refused):
    assert "not a string" in refused(P4 + b"K\x01\x8c\x06system\x93.")
    assert "not a string" in refused(P4 + b"]\x8c\x06system\x93.")
    assert "has no end" in refused(P2 + b"c" + b"a" * 1000 + b"\nb\n.")


@pytest.mark.parametrize(
    ("code", "opcode"),
    [
        (b"(S'id'\nios\nsystem\n.", "STRING"),
        (b"(X\x02\x00\x00\x00idios\nsystem\n.", "INST"),
        (b"(cos\nsystem\nX\x02\x00\x00\x00ido.", "OBJ"),
        (b"(cargparse\nNamespace\no.", "OBJ"),
        (b"\x82\x01.", "EXT1"),
        (b"\x83\x01\x00.", "EXT2"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"N\x98.", "READONLY_BUFFER"),
        (b"P0\n.", "PERSID"),
        (b"I1\n.", "INT"),
        (b"V\\u0041\n.", "UNICODE"),
        (b"\xff.", "0xff"),
    ],
)
def test_opcodes_that_are_not_supported(refused, code, opcode):
    assert opcode in refused(P4 + code)


@pytest.mark.parametrize(
    "value",
    [
        1,
        "os.system",
        ("os", "system"),
        {"a": 1},
        b"x",
        "Global",
        "storage class",
        "dtype",
        "result of a call",
    ],
)
def test_only_functions_of_the_list_are_called(build, refused, value):
    value = {
        "Global": build.Global("numpy", "ndarray"),
        "storage class": build.Global("torch", "FloatStorage"),
        "dtype": build.Global("torch", "float32"),
        "result of a call": build.Call(build.Global("argparse", "Namespace"), ("id",)),
    }.get(value if isinstance(value, str) else "", value)
    for new in (False, True):
        assert "not to be called" in refused(build.dumps(build.Call(value, ("id",), None, new)))


def test_arguments_are_a_tuple(build, refused):
    function = build.Global("collections", "OrderedDict")
    for args in ([], {}, "x", None):
        assert "without a tuple" in refused(build.dumps(build.Call(function, args)))
    keywords = P4 + b"cargparse\nNamespace\n)}\x8c\x01aK\x01s\x92."
    assert "with keywords" in refused(keywords)


def test_state_is_only_recorded(build, read):
    """Neither __setstate__ nor __class__ nor __dict__ mean anything."""
    names = ("__setstate__", "__class__", "__dict__", "__reduce__", "__del__", "__getattr__")
    state = dict.fromkeys(names, "os.system")
    value = build.Call(build.Global("argparse", "Namespace"), ("a",), state, True)
    got = read(build.dumps(value)).content
    assert type(got) is OpaqueObject and got.args == ("a",) and got.state == state
    assert not {"__del__", "__reduce__"} & set(vars(got))
    value = build.Call(build.Global("collections", "OrderedDict"), (), state)
    assert read(build.dumps(value)).content == {}


@pytest.mark.parametrize("target", [b"]", b")", b"N", b"K\x01", b"X\x01\x00\x00\x00a", b"\x8f"])
def test_state_of_plain_values(refused, target):
    assert "a state" in refused(P4 + target + b"}X\x01\x00\x00\x00aK\x01sb.")


def test_state_of_known_values(build, refused):
    for value in (
        build.Global("argparse", "Namespace"),
        build.Global("torch", "float32"),
        build.tensor(build.blob(A), (6,), (1,)),
    ):
        args = build.dumps(value)[2:-1]
        assert "a state" in refused(P2 + args + b"}X\x01\x00\x00\x00aK\x01sb.")


# Data outside of the pickle.

IDENTITIES = {
    "another kind": ("module", "x", "y"),
    "text": "storage",
    "too short": ("storage", "F", "0", "cpu"),
    "no class": ("storage", "FloatStorage", "0", "cpu", 6),
    "another class": ("storage", "Namespace", "0", "cpu", 6),
    "key": ("storage", "F", 0, "cpu", 6),
    "negative": ("storage", "F", "0", "cpu", -6),
    "float": ("storage", "F", "0", "cpu", 6.0),
    "bool": ("storage", "F", "0", "cpu", True),
    "too many": ("storage", "F", "0", "cpu", 7),
    "too few": ("storage", "F", "0", "cpu", 5),
    "enormous": ("storage", "F", "0", "cpu", 1 << 62),
    "missing": ("storage", "F", "9", "cpu", 6),
    "path": ("storage", "F", "../../../etc/passwd", "cpu", 6),
    "list": ["storage", "F", "0", "cpu", 6],
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_persistent_ids(build, refused, name):
    classes = {"F": ("torch", "FloatStorage"), "Namespace": ("argparse", "Namespace")}

    def named(part):
        known = isinstance(part, str) and part in classes
        return build.Global(*classes[part]) if known else part

    identity = IDENTITIES[name]
    if isinstance(identity, list | tuple):
        identity = type(identity)(named(part) for part in identity)
    value = build.tensor(build.Persistent(identity), (6,), (1,))
    refused(build.torch_zip(value, {"0": A.tobytes()}))
    refused(build.torch_legacy(value, {"0": A}))
    assert "outside of it" in refused(build.dumps(value))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (6, (1,), (1,)),
        (6, (), ()),
        (-1, (1,), (1,)),
        (5, (2,), (-1,)),
        (0, (2, 3), (1, 3)),
        (0, (2, 3), (3,)),
        (0, (-1, 3), (3, 1)),
        (0, (2,), (1 << 62,)),
        (0, (1 << 62,), (0,)),
        (0, (1 << 30, 1 << 30), (0, 0)),
        (0, (1 << 40,), (0,)),
        (1 << 70, (1,), (1,)),
        (0, (1,) * 33, (1,) * 33),
        (0.0, (6,), (1,)),
        (True, (5,), (1,)),
        (0, [6], (1,)),
        (0, (6,), [1]),
        (0, (6.0,), (1,)),
        ("0", (6,), (1,)),
        (None, None, None),
    ],
)
def test_tensors_outside_their_storage(build, refused, offset, shape, strides):
    if shape == (2, 3) and strides == (1, 3):
        strides = (1, 5)
    value = build.tensor(build.storage("0", "float32", 6), shape, strides, offset)
    refused(build.torch_zip([value], {"0": A.tobytes()}))
    refused(build.torch_legacy([value], {"0": A}))
    refused(build.dumps(build.tensor(build.blob(A), shape, strides, offset)))


def test_views_outside_legacy_storages(build, refused, read):
    for view in ((1, 6), ("1", 1, 6), ("1", -1, 2), ("1", 0, 1 << 62), ("1", 0.0, 1), "x", {}):
        where = build.storage("0", "float32", 6, view)
        refused(build.torch_legacy(build.tensor(where, (1,), (1,)), {"0": A}))
    # Inside the storage, but outside the view.
    where = build.storage("0", "float32", 6, ("1", 1, 2))
    refused(build.torch_legacy(build.tensor(where, (3,), (1,)), {"0": A}))
    assert read(build.torch_legacy(build.tensor(where, (2,), (1,)), {"0": A})).content[0] == 1


def test_expanded_views_are_bounded(build, refused, read):
    """A few bytes can be looked at as a terabyte, or as gigabytes very often."""
    where = build.storage("0", "float32", 6)
    small = build.tensor(where, (1000, 1000), (0, 0))
    assert read(build.torch_zip(small, {"0": A.tobytes()})).content.shape == (1000, 1000)
    large = [build.tensor(where, (1 << 24,), (0,)) for _ in range(8)]
    assert "unfolds" in refused(build.torch_zip(large, {"0": A.tobytes()}))
    shared = build.tensor(where, (1 << 22,), (0,))
    assert "unfolds" in refused(build.torch_zip([shared] * 100, {"0": A.tobytes()}))


def test_legacy_storages_that_do_not_fit(build, refused):
    good = build.torch_legacy({"a": build.whole("0", A)}, {"0": A})
    at = len(good) - 32
    for count in (0, 5, 7, -1, 1 << 62, -(1 << 63)):
        refused(good[:at] + struct.pack("<q", count) + good[at + 8 :])
    for keys in ([], ["0", "0"], ["1"], ["0", "1"], [0], "0", None, [["0"]]):
        listed = build.dumps(keys)
        start = good.index(build.dumps(["0"]))
        refused(good[:start] + listed + good[at:])
    two = [build.whole("0", A), build.tensor(build.storage("0", "float64", 3), (3,), (1,))]
    assert "in two ways" in refused(build.torch_legacy(two, {"0": A}))
    big = good.replace(b"\x88", b"\x89", 1)
    assert "big-endian" in refused(big)


def test_blobs_in_blobs(build, refused):
    """A storage whose bytes are a torch file that holds a storage whose bytes are ..."""
    value = build.blob(A)
    for _ in range(5):
        content = build.torch_legacy(value, {})
        value = build.Call(build.Global("torch.storage", "_load_from_bytes"), (content,))
    assert "nests torch files" in refused(build.dumps(build.tensor(value, (6,), (1,))))
    for content in (b"", b"x", pickle.dumps(1), build.torch_legacy({"a": 1}, {}), 5, "x"):
        value = build.Call(build.Global("torch.storage", "_load_from_bytes"), (content,))
        refused(build.dumps(value))


# Memory and time.


def nested(build, opening: bytes, closing: bytes, depth: int) -> bytes:
    return P4 + opening * depth + b"N" + closing * depth + b"."


@pytest.mark.parametrize(
    "content",
    [
        P4 + b"]" * 30_000 + b"N" + b"a" * 30_000 + b".",
        P4 + b"N" + b"\x85" * 50_000 + b".",
        P4 + b"(" * 50_000 + b"t" * 50_000 + b".",
        P4 + b"}K\x01" * 30_000 + b"N" + b"s" * 30_000 + b".",
        P4 + b"cargparse\nNamespace\n" * 20_000 + b")" + b"\x81\x85" * 20_000 + b".",
    ],
)
def test_deep_nesting(refused, content):
    assert "deep" in refused(content)


@pytest.mark.parametrize(
    "content",
    [
        b"]\x94h\x00a.",
        b"}\x94K\x01h\x00s.",
        b"]\x94h\x00\x85a.",
        b"cargparse\nNamespace\n)\x81\x94}K\x01h\x00sb.",
        b"]\x94(}K\x01h\x00sh\x00t.",
    ],
)
def test_values_that_hold_themselves(refused, content):
    refused(P4 + content)


@pytest.mark.parametrize("opening", [b"]", b"("])
def test_billion_laughs(refused, opening):
    """Ten references to ten references to ...: 30 lines that unfold to 10^30 values."""
    closing = b"e" if opening == b"]" else b"t"
    mark = b"(" if opening == b"]" else b""
    content = P4 + b"N\x85\x94"
    for level in range(30):
        content += b"0" + opening + mark + b"h" + bytes([level])
        content += (b"h" + bytes([level])) * 9 + closing + b"\x94"
    assert "values" in refused(content + b".")


def test_copies_by_constructors(build, refused):
    """list(list) of a long one, over and over; the same for text that becomes bytes."""
    many = b"](" + b"N" * 200_000 + b"e\x85\x94"
    for name in ("list", "tuple"):
        call = b"0" + f"cbuiltins\n{name}\n".encode() + b"h\x00R"
        assert "steps" in refused(P4 + many + b"N" + call * 1000 + b".")
    long = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000
    call = b"0c_codecs\nencode\nh\x00R"
    text = P4 + long + b"\x8c\x06latin1\x86\x94" + call * 2000 + b"."
    assert "unfolds" in refused(text)
    pairs = b"](" + b"NN\x86" * 100_000 + b"e\x85\x94"
    assert "steps" in refused(P4 + pairs + b"0ccollections\nOrderedDict\nh\x00R" * 1000 + b".")


@pytest.mark.parametrize(
    "content",
    [
        b"B\xff\xff\xff\xff.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"X\xff\xff\xff\xff.",
        b"T\xff\xff\xff\x7f.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x8b\xff\xff\xff\xff.",
        b"\x8b\x00\x04\x00\x00" + b"\x7f" * 1024 + b".",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
        b"j\xff\xff\xff\xff.",
        b"h\x05.",
        b"N0.",
        b".",
        b"0.",
        b"1.",
        b"(.",
        b"NN.",
        b"(2.",
        b"\x94.",
        b"t.",
        b"a.",
        b"]a.",
        b"Na.",
        b"}Ns.",
        b"}(Nu.",
        b"](Ne(.",
        b"\x8f(]\x90.",
        b"(]\x91.",
        b"}]Ns.",
        b"}G\x00\x00\x00\x00\x00\x00\x00\x00Ns.",
        b"}\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01Ns.",
        b"})Ns.",
        b"}})Ns.",
        b"R.",
        b")R.",
        b"b.",
        b"Q.",
        b"\x93.",
        b"X\x02\x00\x00\x00\xff\xff.",
        b"X\x03\x00\x00\x00\xed\xa0\x80.",
        b"cargparse\nNamespace\n.",
        b"ctorch\nFloatStorage\n.",
        b"",
    ],
)
def test_broken_pickles(refused, content):
    tracemalloc.start()
    try:
        refused(P4 + content)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_memo_of_any_index(read):
    assert read(P2 + b"K\x07r\xff\xff\xff\xff0j\xff\xff\xff\xff.").content == 7


def test_many_opcodes(refused, read):
    limits = Limits(steps=1000)
    assert read(P4 + b"N0" * 400 + b"N.", limits).content is None
    assert "1000 steps" in refused(P4 + b"N0" * 600 + b"N.", limits)
    small = Limits(slack_bytes=1 << 24)
    assert "unfolds" in refused(P4 + b"(" + b"\x8f" * 100_000 + b"t.", small)


# Arrays of NumPy.


def array_state(build, *state, dtype=("f4", False, True), order=("<", None, None, None, -1, -1, 0)):
    made = build.Call(build.Global("numpy", "dtype"), dtype, (3, *order))
    args = (build.Global("numpy", "ndarray"), (0,), b"b")
    state = tuple(made if part is ... else part for part in state)
    return build.Call(build.Global("numpy.core.multiarray", "_reconstruct"), args, state)


@pytest.mark.parametrize(
    "state",
    [
        (1, (2,), ..., False, bytes(7)),
        (1, (2,), ..., False, bytes(9)),
        (1, (-2,), ..., False, bytes(8)),
        (1, (1 << 62,), ..., False, b""),
        (1, (1 << 62, 0), ..., False, b""),
        (1, (1,) * 40, ..., False, bytes(4)),
        (1, [2], ..., False, bytes(8)),
        (1, (2,), "f4", False, bytes(8)),
        (1, (2,), ..., "F", bytes(8)),
        (1, (2,), ..., False, [1, 2]),
        (1, (2,), ..., False, "\u1234" * 8),
        (1, (2,), ..., False),
        ("shape",),
    ],
)
def test_arrays_that_do_not_fit(build, refused, state):
    refused(build.dumps(array_state(build, *state), 4))


@pytest.mark.parametrize(
    "code", ["V8", "M8", "m8", "f16", "U0", "U99999", "f4,f4", "(2,)f4", "O9", "x", "", 4, None]
)
def test_dtypes(build, refused, code):
    refused(build.dumps(array_state(build, 1, (1,), ..., False, bytes(8), dtype=(code, 0, 1)), 4))


def test_dtypes_with_fields(build, refused):
    order = ("<", ("f4", (2,)), None, None, -1, -1, 0)
    refused(build.dumps(array_state(build, 1, (1,), ..., False, bytes(4), order=order), 4))
    order = ("x", None, None, None, -1, -1, 0)
    refused(build.dumps(array_state(build, 1, (1,), ..., False, bytes(4), order=order), 4))


def test_strings_and_objects(build, refused):
    beyond = array_state(build, 1, (1,), ..., False, b"\xff\xff\xff\x7f", dtype=("U1", False, True))
    assert "Unicode" in refused(build.dumps(beyond, 4))
    for state in ((1, (1,), ..., False, bytes(8)), (1, (3,), ..., False, [1, 2])):
        refused(build.dumps(array_state(build, *state, dtype=("O", False, True)), 4))
    unfilled = build.Call(
        build.Global("numpy.core.multiarray", "_reconstruct"),
        (build.Global("numpy", "ndarray"), (0,), b"b"),
    )
    assert "without content" in refused(build.dumps(unfilled))
    subclass = build.Call(unfilled.function, (build.Global("argparse", "Namespace"), (0,), b"b"))
    assert "no numpy.ndarray" in refused(build.dumps(subclass))


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize(
    "header",
    [
        HEADER.replace("(2,)", "(3,)"),
        HEADER.replace("(2,)", "(1,)"),
        HEADER.replace("(2,)", "(-2,)"),
        HEADER.replace("(2,)", "__import__('os').system('id')"),
        HEADER.replace("(2,)", "(99999999999999999999,)"),
        HEADER.replace("(2,)", "(1000000000000,1000000000000,0)"),
        HEADER.replace("'<f4'", "[('a', '<f4')]"),
        HEADER.replace("<f4", "|V4"),
        HEADER.replace("<f4", "|O"),
        HEADER.replace("False", "0"),
        "(" * 3000,
        "-" * 3000 + "1",
        " " * 5000 + HEADER,
        "",
    ],
)
def test_npy_headers(refused, header):
    raw = header.encode()
    refused(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + bytes(8))
    refused(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(raw)) + raw + bytes(8))


def test_npy_versions(refused):
    for start in (b"", b"\x09\x00", b"\x01\x01", b"\x01\x00\xff\xff", b"\x02\x00\xff\xff\xff\xff"):
        refused(b"\x93NUMPY" + start + HEADER.encode())


# safetensors.


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"{}x",
        b"{" + b'"a":{' * 100_000,
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"a":1,"a":2}',
        b'{"\xff":1}',
        {"a": 1},
        {"a": {}},
        {"a": {"dtype": "F32", "shape": [6]}},
        {"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 24]}},
        {"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 28]}},
        {"a": {"dtype": "F32", "shape": [6], "data_offsets": [-24, 0]}},
        {"a": {"dtype": "F32", "shape": [6], "data_offsets": [24, 0]}},
        {"a": {"dtype": "F32", "shape": [6], "data_offsets": [0.0, 24]}},
        {"a": {"dtype": "F32", "shape": [-6], "data_offsets": [0, 24]}},
        {"a": {"dtype": "F32", "shape": ["6"], "data_offsets": [0, 24]}},
        {"a": {"dtype": "F32", "shape": 6, "data_offsets": [0, 24]}},
        {"a": {"dtype": "F32", "shape": [True, 6], "data_offsets": [0, 24]}},
        {"a": {"dtype": "F8_E4M3", "shape": [24], "data_offsets": [0, 24]}},
        {"a": {"dtype": ["F32"], "shape": [6], "data_offsets": [0, 24]}},
        {"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}},
        {"a": {"dtype": "F32", "shape": [5], "data_offsets": [4, 24]}},
        {"a": {"dtype": "F32", "shape": [6, 1 << 60, 0], "data_offsets": [0, 0]}},
        {k: {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]} for k in "ab"},
    ],
)
def test_safetensors_headers(build, refused, header):
    refused(build.safetensors(header, A.tobytes()))


def test_safetensors_lengths(build, refused):
    good = build.safetensors({}, b"")
    for length in (3, 1 << 20, 1 << 31):
        refused(struct.pack("<Q", length) + good[8:])


# Archives.


def changed(content: bytes, at: int, form: str, value: int) -> bytes:
    return content[:at] + struct.pack(form, value) + content[at + struct.calcsize(form) :]


def good_zip(build):
    return build.torch_zip({"a": build.whole("0", A)}, {"0": A.tobytes()})


def test_inflating_bombs(build, refused):
    zeros = bytes(50_000_000)
    where = build.storage("0", "float32", len(zeros) // 4)
    value = build.tensor(where, (len(zeros) // 4,), (1,))
    bomb = build.torch_zip(value, {"0": zeros}, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 60_000
    tracemalloc.start()
    try:
        assert "unfolds" in refused(bomb, Limits(slack_bytes=1 << 20))
        # One that says it is small inflates no further than that.
        entry = bomb.rindex(b"PK\x01\x02")
        lying = changed(bomb, entry + 24, "<I", 1000)
        assert "does not inflate to what it says" in refused(lying)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_archives_that_mislead(build, refused):
    good = good_zip(build)
    first = good.index(b"PK\x01\x02")
    last = good.rindex(b"PK\x01\x02")
    end = good.rindex(b"PK\x05\x06")
    cases = {
        "flags": changed(good, first + 8, "<H", 1),
        "method": changed(good, first + 10, "<H", 12),
        "local method": changed(good, 8, "<H", 8),
        "sum": changed(good, last + 16, "<I", 1234),
        "packed": changed(good, first + 20, "<I", 1),
        "size": changed(good, first + 24, "<I", 1 << 30),
        "both sizes": changed(changed(good, first + 20, "<I", 1 << 30), first + 24, "<I", 1 << 30),
        "zip64": changed(good, first + 24, "<I", 0xFFFFFFFF),
        "name": changed(good, first + 28, "<H", 0xFFFF),
        "extra": changed(good, first + 30, "<H", 0xFFFF),
        "offset": changed(good, last + 42, "<I", 0),
        "offset outside": changed(good, last + 42, "<I", 1 << 31),
        "offset inside": changed(good, last + 42, "<I", 7),
        "local name": changed(good, 26, "<H", 3),
        "local extra": changed(good, 28, "<H", 60000),
        "count": changed(changed(good, end + 8, "<H", 3), end + 10, "<H", 3),
        "more": changed(changed(good, end + 8, "<H", 9), end + 10, "<H", 9),
        "disk": changed(good, end + 4, "<H", 1),
        "directory size": changed(good, end + 12, "<I", 1 << 31),
        "directory": changed(good, end + 16, "<I", 0),
        "comment": changed(good, end + 20, "<H", 5),
        "behind": good + b"x",
        "before": b"PKxx" + good,
        "damaged data": good.replace(A.tobytes(), bytes(24)),
    }
    for content in cases.values():
        refused(content)


def test_zip64_directories(build, refused, read):
    good = good_zip(build)
    start, end = good.index(b"PK\x01\x02"), good.rindex(b"PK\x05\x06")
    count = struct.unpack_from("<H", good, end + 10)[0]

    def with_directory(*numbers: int, at: int = end) -> bytes:
        record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *numbers)
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
        return good[:end] + record + locator + good[end:]

    assert read(with_directory(count, count, end - start, start)).content.keys() == {"a"}
    huge = (1 << 64) - 1
    for numbers in (
        (huge, huge, end - start, start),
        (count, count, huge, start),
        (count, count, end - start, huge),
        (count, count, 0, end),
        (0, 0, end - start, start),
        (count, count + 1, end - start, start),
    ):
        refused(with_directory(*numbers))
    for at in (0, end + 1, huge):
        refused(with_directory(count, count, end - start, start, at=at))


def test_entries_over_one_another(build, refused):
    """The directory lists one entry many times under other names."""
    good = good_zip(build)
    start, end = good.index(b"PK\x01\x02"), good.rindex(b"PK\x05\x06")
    entries = good[start:end]
    count = entries.count(b"PK\x01\x02")
    for name in (b"archive", b"brchive"):
        twice = entries + entries.replace(b"archive/", name + b"/")
        tail = bytearray(good[end:])
        struct.pack_into("<2H2I", tail, 8, 2 * count, 2 * count, len(twice), start)
        refused(good[:start] + twice + bytes(tail))


def test_archives_of_too_many_files(build, refused):
    content = build.zipped({f"archive/{i}": b"" for i in range(50)})
    assert "at most 40 files, got 50" in refused(content, Limits(entries=40))


def test_archives_of_other_kinds(build, refused):
    assert "neither torch's nor NumPy's" in refused(build.zipped({"word/document.xml": b"x"}))
    assert "neither torch's nor NumPy's" in refused(build.zipped({}))
    refused(build.zipped({"a/data.pkl": P2 + b"N.", "b/data.pkl": P2 + b"N."}))
    refused(build.torch_zip({}, {}, order=b"middle"))


# Not a checkpoint, or not all of it.


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "a JPEG image"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\n\n  <html lang=en>", "a web page"),
        (b'<?xml version="1.0"?><Error>', "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"\x1f\x8b\x08" + bytes(50), "gzip"),
        (b"x" * 257 + b"ustar\0" + bytes(300), "tar"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"hello world", "text"),
        (bytes(100), "none of the formats"),
        (b"\x00", "none of the formats"),
        (b"\x80\x01N.", "protocol 2 to 5, got 1"),
        (b"\x80\x06N.", "protocol 2 to 5, got 6"),
        (b"\x80", "truncated"),
        (b"PK", "truncated"),
        (b"", "got an empty one"),
    ],
)
def test_other_files(refused, content, what):
    assert what in refused(content)


def test_no_file(tmp_path):
    for path, what in (
        (tmp_path / "missing.pt", "No such file"),
        (tmp_path, "got a folder"),
        ("/dev/zero", "got no regular file"),
    ):
        with pytest.raises(DataError, match=what) as caught:
            read_file(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", CONTAINERS)
def test_truncated_at_every_length(build, refused, name):
    content = build.samples()[name]
    for length in range(len(content)):
        refused(content[:length])
