"""Contents as readers give them, built from our own parameters by upstream's names."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.nn.network import flatten_tree
from weights_convert import nvlabs, rosinality, tensorflow
from weights_convert.readers import OpaqueObject, PersistentObject

CLASSES = {
    "": "Generator",
    "mapping": "MappingNetwork",
    "synthesis": "SynthesisNetwork",
    "torgb": "ToRGBLayer",
    "conv": "SynthesisLayer",
    "b": "SynthesisBlock",
    "L": "SynthesisLayer",
    "skip": "Conv2dLayer",
}
BUFFERS = ("w_avg", "resample_filter", "noise_const")


def _class_name(name):
    last = name.rpartition(".")[2]
    if last.startswith("fc") or last in ("affine", "embed"):
        return "FullyConnectedLayer"
    return next(v for k, v in CLASSES.items() if last == k or (k and last.startswith(k)))


def _attributes(name, clamp, multiplier):
    kind = _class_name(name)
    metadata = {"training": False, "_init_args": (), "_init_kwargs": {}}
    if kind == "SynthesisBlock":
        metadata |= {"architecture": "skip", "use_fp16": False}
    if kind in ("SynthesisLayer", "ToRGBLayer"):
        metadata |= {"conv_clamp": clamp}
    if kind == "SynthesisLayer":
        metadata |= {"use_noise": True, "activation": "lrelu"}
    if kind == "FullyConnectedLayer":
        dense = ".fc" in name
        metadata["activation"] = "lrelu" if dense else "linear"
        metadata["bias_gain"] = multiplier if dense else 1
    return metadata


def make_module(state, *, clamp=None, multiplier=0.01, change=None):
    """A tree of persistent objects of a state dict; `change` is {module name: attributes}."""

    def node(name):
        metadata = _attributes(name, clamp, multiplier) | (change or {}).get(name, {})
        held = {"_parameters": {}, "_buffers": {}, "_modules": {}}
        return PersistentObject(_class_name(name), 6, "0" * 64, {**metadata, **held})

    nodes = {"": node("")}
    for key, value in state.items():
        *parents, last = key.split(".")
        for i in range(len(parents)):
            name = ".".join(parents[: i + 1])
            if name not in nodes:
                nodes[name] = node(name)
                above = nodes[name.rpartition(".")[0]]
                above.state["_modules"][name.rpartition(".")[2]] = nodes[name]
        kind = "_buffers" if last in BUFFERS else "_parameters"
        nodes[".".join(parents)].state[kind][last] = value
    return nodes[""]


def make_network(variables, *, arguments=None):
    """dnnlib's Network of variables by full name."""

    def node(name, own, components):
        state = {
            "version": 4,
            "name": name,
            "static_kwargs": dict(arguments or {}),
            "components": components,
            "build_module_src": "raise SystemExit",
            "build_func_name": "G_main",
            "variables": own,
        }
        return OpaqueObject("dnnlib.tflib.network", "Network", (), state)

    own = {"": [], "mapping": [], "synthesis": []}
    for key, value in variables.items():
        scope, _, rest = key.partition("/")
        own[scope if rest else ""].append((rest or key, value))
    parts = {name: node(name, own[name], {}) for name in ("mapping", "synthesis")}
    return node("G", own[""], parts)


@pytest.fixture(scope="session")
def module_of():
    return make_module


@pytest.fixture(scope="session")
def network_of():
    return make_network


@pytest.fixture(scope="session")
def states(random_generator):
    """Its state by the names of each layout; rosinality's with latent_avg."""
    config, params = random_generator.config, random_generator.params
    state, mean = rosinality.params_to_rosinality(config, params)
    return {
        "nvlabs": nvlabs.params_to_nvlabs(config, params),
        "rosinality": {**state, "latent_avg": mean},
        "tensorflow": tensorflow.params_to_tensorflow(config, params),
    }


@pytest.fixture
def same(random_generator):
    """Asserts that a generator has the parameters of `random_generator`."""

    def check(gen, config=None, tolerance=0.0):
        assert gen.config == (config or random_generator.config)
        wanted = flatten_tree(random_generator.params)
        for path, leaf in flatten_tree(gen.params).items():
            np.testing.assert_allclose(leaf, wanted[path], rtol=0, atol=tolerance, err_msg=path)

    return check
