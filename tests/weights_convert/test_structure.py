"""One walk through contents of any kind: names, modules, networks, and its bounds."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.errors import DataError
from weights_convert.readers import OpaqueObject
from weights_convert.structure import key_names, module_state, network_state, submodules

ONE = np.ones(1, np.float32)


def test_names_of_everything(module_of, network_of):
    content = {
        "G": module_of({"synthesis.b4.const": ONE, "mapping.w_avg": ONE}),
        "nets": (network_of({"lod": ONE, "synthesis/4x4/Const/const": ONE}),),
        "args": OpaqueObject("argparse", "Namespace", (), {"size": 1}),
        "empty": {},
        "none": None,
    }
    assert set(key_names(content)) == {
        "G.mapping.w_avg",
        "G.synthesis.b4.const",
        "nets.0.lod",
        "nets.0.synthesis/4x4/Const/const",
        "args",
    }


def test_modules_of_torch_count_too(module_of):
    module = module_of({"mapping.w_avg": ONE})
    inner = OpaqueObject("torch.nn", "Module", (), {"_buffers": {"x": ONE}, "_modules": {}})
    module.state["_modules"]["mapping"].state["_modules"]["b"] = inner
    module.state["_parameters"]["absent"] = None
    assert set(module_state(module)) == {"mapping.w_avg", "mapping.b.x"}
    assert {name for name, _ in submodules(module)} == {"", "mapping", "mapping.b"}


def test_contents_without_end_are_refused(module_of):
    wide = {}
    for _ in range(40):
        wide = {"a": wide, "b": wide}
    deep = {}
    deep["longer"] = deep
    module = module_of({"mapping.w_avg": ONE})
    module.state["_modules"]["again"] = module
    for content in (wide, deep, module):
        with pytest.raises(DataError, match="than any checkpoint"):
            key_names(content)
    with pytest.raises(DataError, match="than any checkpoint"):
        list(submodules(module))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"_modules": [1]}, "list stands where names and values should"),
        ({"_modules": {}, "_parameters": {"w": "text"}}, "w must be an array, got a str"),
        ({"_modules": {}, "_buffers": 3}, "int stands where"),
    ],
)
def test_modules_that_are_damaged(state, words):
    with pytest.raises(DataError, match=words):
        module_state(OpaqueObject("torch.nn", "Module", (), state))


def test_what_is_no_module_or_network():
    with pytest.raises(DataError, match="a dict stands where a module should"):
        module_state({})
    with pytest.raises(DataError, match="Namespace stands where a TensorFlow network should"):
        network_state(OpaqueObject("argparse", "Namespace", (), {}))
    with pytest.raises(DataError, match="not pairs"):
        network_state(OpaqueObject("x", "Network", (), {"variables": ["ab", 1]}))
