"""Damaged files give plain values or one DataError, never anything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mm_jax.errors import DataError
from tests.weights_convert.readers.builders import CONTAINERS
from weights_convert.readers import Foreign, Limits, OpaqueObject, PersistentObject, read_file
from weights_convert.readers.foreign import Refused

SMALL = Limits(slack_bytes=1 << 20, steps=100_000)
FUZZ = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Opcodes and lengths do more harm than bytes drawn evenly.
TELLING = b"\x00\x01\x7f\x80\xff()0123NJKMGUTXCB]aletd}suRQbqhjrc." + bytes(range(0x80, 0x99))


def check_plain(value):
    """Walks what was read, and looks at every byte of it."""
    kind = type(value)
    if kind is dict:
        assert all(key is None or type(key) in (str, bytes, int, bool) for key in value)
        for part in value.values():
            check_plain(part)
    elif kind in (list, tuple, set, frozenset):
        for part in value:
            check_plain(part)
    elif kind is OpaqueObject:
        check_plain([*value.args, value.state])
    elif kind is PersistentObject:
        assert type(value.state) is dict and type(value.version) is int
        check_plain(value.state)
    elif kind is np.ndarray:
        assert value.dtype.kind in "fciubUS" and value.dtype.isnative
        assert not value.flags.writeable
        value.tobytes()
        value.tolist()
    else:
        assert value is None or isinstance(
            value, (str, bytes, int, float, complex, bool, np.generic)
        )


def attempt(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    try:
        foreign = read_file(path, limits=SMALL)
    except DataError as error:
        assert isinstance(error.__cause__, Refused)
        text = str(error)
        assert text.isprintable() and str(path) in text
    else:
        assert isinstance(foreign, Foreign)
        check_plain(foreign.content)


@pytest.mark.parametrize("name", CONTAINERS)
@FUZZ
@given(data=st.data())
def test_damaged_files(build, tmp_path, name, data):
    content = bytearray(build.samples()[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        change = data.draw(st.integers(0, 4))
        if change < 2 and content:
            byte = data.draw(st.integers(0, 255) if change else st.sampled_from(TELLING))
            content[at] = byte
        elif change == 2:
            content[at:at] = data.draw(st.binary(max_size=9))
        elif change == 3:
            del content[at : at + data.draw(st.integers(1, 20))]
        else:
            start = data.draw(st.integers(0, max(len(content) - 1, 0)))
            content[at:at] = content[start : start + data.draw(st.integers(1, 60))]
    attempt(tmp_path / "file", bytes(content))


@FUZZ
@given(st.lists(st.sampled_from([bytes([byte]) for byte in range(256)]) | st.binary(max_size=8)))
def test_random_opcodes(tmp_path, parts):
    attempt(tmp_path / "file", b"\x80\x04" + b"".join(parts) + b".")


WORDS = [
    *(bytes([byte]) for byte in TELLING),
    b"K\x00\x85",
    b"K\x02K\x03\x86",
    b"X\x01\x00\x00\x00a",
    b"C\x04abcd",
    b"}",
    b")",
    b"R",
    b"R",
    b"b",
    b"\x94h\x00",
    *(
        f"c{module}\n{name}\n".encode()
        for module, name in (
            ("collections", "OrderedDict"),
            ("builtins", "list"),
            ("builtins", "set"),
            ("builtins", "bytearray"),
            ("builtins", "complex"),
            ("_codecs", "encode"),
            ("torch", "Size"),
            ("torch", "device"),
            ("torch", "float32"),
            ("torch", "FloatStorage"),
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch._utils", "_rebuild_tensor_v3"),
            ("torch._utils", "_rebuild_parameter"),
            ("torch.storage", "_load_from_bytes"),
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy.core.numeric", "_frombuffer"),
            ("argparse", "Namespace"),
            ("torch_utils.persistence", "_reconstruct_persistent_obj"),
        )
    ),
]


@FUZZ
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_programs_of_known_words(tmp_path, words):
    attempt(tmp_path / "file", b"\x80\x04" + b"".join(words) + b"\x85.")


ARGUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=8)
    | st.sampled_from(["f4", "latin1", "C", "cpu", "storage", "0"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=7).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
FUNCTIONS = sorted({word for word in WORDS if word.startswith(b"c") and word.count(b"\n") == 2})


@settings(FUZZ, max_examples=200)
@given(st.sampled_from(FUNCTIONS), st.lists(ARGUMENTS, max_size=7), ARGUMENTS, st.booleans())
def test_functions_of_the_list_with_any_arguments(build, tmp_path, function, args, state, stated):
    module, name, _ = function[1:].decode().split("\n")
    call = build.Call(build.Global(module, name), tuple(args), state if stated else None)
    attempt(tmp_path / "file", build.dumps(call, 4))
    attempt(tmp_path / "file", build.torch_zip({"a": call}, {"0": bytes(8)}))
