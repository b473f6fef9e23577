"""LPIPS' two files: both names of the linear weights, whole classifiers, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.errors import DataError
from mm_jax.nn.network import flatten_tree
from mm_jax.perceptual.lpips import Lpips, LpipsConfig
from tests.conftest import random_params
from weights_convert.lpips import lpips_from_states

CHANNELS = {
    "vgg": ((2, 3), (4, 2), (3, 2, 5), (2, 2, 3), (2, 3, 4)),
    "alex": ((2,), (3,), (4,), (5,), (2,)),
}
PLACES = {
    "vgg": ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)),
    "alex": ((0,), (3,), (6,), (8,), (10,)),
}


def states(net):
    """Our parameters by their keys, written out by hand."""
    params = random_params(Lpips.shapes(LpipsConfig(net=net, channels=CHANNELS[net])))
    trunk, linear = {}, {}
    for k, places in enumerate(PLACES[net]):
        params[f"weight{k}"] = np.arange(1.0, 1.0 + CHANNELS[net][k][-1], dtype=np.float32)
        linear[f"lin{k}.model.1.weight"] = params[f"weight{k}"].reshape(1, -1, 1, 1)
        for j, place in enumerate(places):
            layer = params[f"stage{k}"][f"conv{j}"]
            trunk[f"features.{place}.weight"] = layer["kernel"].transpose(3, 2, 0, 1)
            trunk[f"features.{place}.bias"] = layer["bias"]
    return params, linear, trunk


@pytest.mark.parametrize("net", CHANNELS)
@pytest.mark.parametrize("renamed", [False, True])
def test_there(net, renamed):
    params, linear, trunk = states(net)
    if renamed:
        linear = {f"{k}.1.weight": value for k, value in enumerate(linear.values())}
    trunk["classifier.6.weight"] = np.zeros((10, 4))
    config, found = lpips_from_states(linear, trunk)
    assert config == LpipsConfig(net=net, channels=CHANNELS[net])
    Lpips.make(config, found)
    for path, leaf in flatten_tree(params).items():
        np.testing.assert_array_equal(flatten_tree(found)[path], leaf, err_msg=path)


@pytest.mark.parametrize("net", CHANNELS)
def test_published_layouts(rule, goldens, net):
    entries = rule.read(goldens / "lpips" / f"{net}.json.gz")["entries"]
    shapes = {key: np.broadcast_to(np.float32(0.5), e["shape"]) for key, e in entries.items()}
    linear = {k.removeprefix("lin."): v for k, v in shapes.items() if k.startswith("lin.")}
    trunk = {k.removeprefix("trunk."): v for k, v in shapes.items() if k.startswith("trunk.")}
    config, params = lpips_from_states(linear, trunk)
    assert config == LpipsConfig(net=net)
    Lpips.make(config, params)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda linear, trunk: trunk.clear(), "it has 0 convolutions"),
        (lambda linear, trunk: trunk.pop("features.28.weight"), "it has 12 convolutions"),
        (lambda linear, trunk: trunk.pop("features.28.bias"), r"lacks features\.28\.bias$"),
        (lambda linear, trunk: linear.pop("lin3.model.1.weight"), r"lacks lin3\.model\.1\.weight$"),
        (lambda linear, trunk: linear.update(shift=np.ones(1)), "not in its table: shift"),
        (lambda linear, trunk: trunk.update({"features.5.bias": np.ones(9)}), "does not become"),
        (lambda linear, trunk: trunk.update({"features.5.weight": np.ones(9)}), "not the state"),
        (
            lambda linear, trunk: linear.update({"0.1.weight": linear["lin0.model.1.weight"]}),
            "under both names",
        ),
    ],
)
def test_refuses(change, message):
    _, linear, trunk = states("vgg")
    change(linear, trunk)
    with pytest.raises(DataError, match=message):
        lpips_from_states(linear, trunk)
