"""Tables account for every key, both ways, and refuse what they do not know."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.errors import DataError, UsageError
from mm_jax.nn.network import flatten_tree
from mm_jax.stylegan2 import networks
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import make_generator
from weights_convert import nvlabs, rosinality

CONFIG = GeneratorConfig(resolution=16, z_dim=5, w_dim=6, mapping_layers=2, channels=(7, 4, 3))


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(np.asarray, networks.init_params(jax.random.key(0), CONFIG))


def state_of(layout, params):
    if layout == "nvlabs":
        return nvlabs.params_to_nvlabs(CONFIG, params)
    state, mean = rosinality.params_to_rosinality(CONFIG, params)
    assert mean.shape == (6,)
    return state


def read(layout, state):
    if layout == "nvlabs":
        return nvlabs.params_from_nvlabs(state, conv_clamp=None)
    return rosinality.params_from_rosinality(state, latent_avg=np.zeros(6, np.float32))


@pytest.mark.parametrize("layout", ["nvlabs", "rosinality"])
def test_there_and_back(layout, params):
    config, again = read(layout, state_of(layout, params))
    assert config == CONFIG
    make_generator(config, again)
    for path, leaf in flatten_tree(params).items():
        np.testing.assert_array_equal(flatten_tree(again)[path], leaf, err_msg=path)


def test_conditional_and_clamped():
    config = GeneratorConfig(
        resolution=8, z_dim=3, w_dim=4, c_dim=2, mapping_layers=1, channels=(2, 2), conv_clamp=256.0
    )
    params = networks.init_params(jax.random.key(0), config)
    state = nvlabs.params_to_nvlabs(config, params)
    assert nvlabs.params_from_nvlabs(state, conv_clamp=256.0)[0] == config
    with pytest.raises(UsageError, match="holds no labels and no conv_clamp"):
        rosinality.params_to_rosinality(config, params)


def test_missing_mean_is_measured(params):
    state = state_of("rosinality", params)
    config, read = rosinality.params_from_rosinality(state, latent_avg=None)
    z = np.random.RandomState(1).randn(20_000, 5)
    w = np.asarray(networks.map_latents(config, params, jnp.asarray(z, jnp.float32)))
    np.testing.assert_allclose(read["mapping"]["w_avg"], w.mean(0), atol=0.05 * w.std())


def without(key):
    return lambda state: {k: v for k, v in state.items() if k != key}


def having(key, change):
    return lambda state: {**state, key: change(state.get(key))}


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("nvlabs", without("synthesis.b8.conv0.affine.bias"), r"lacks synthesis\.b8\.conv0"),
        ("nvlabs", without("mapping.w_avg"), "not the state dict"),
        ("nvlabs", lambda state: {}, "not the state dict"),
        ("nvlabs", having("synthesis.b8.skip.weight", lambda _: np.ones(1)), "not in its table"),
        ("nvlabs", having("synthesis.b8.conv0.weight", lambda v: v[:, :, :2]), "does not become"),
        ("nvlabs", having("synthesis.b8.conv0.bias", lambda v: v * np.nan), "NaN or infinity"),
        ("nvlabs", having("synthesis.b8.resample_filter", lambda v: 4 * v), "not the filter"),
        ("rosinality", without("noises.noise_3"), r"lacks noises\.noise_3"),
        ("rosinality", without("input.input"), "not the state dict"),
        ("rosinality", having("style.1.weight", lambda v: v[0]), "not supported"),
        ("rosinality", having("conv1.bias", lambda _: np.ones((1, 7, 1, 1))), "not in its table"),
        ("rosinality", having("to_rgb1.bias", lambda v: v[:, :, 0]), "does not become"),
        ("rosinality", having("convs.0.conv.blur.kernel", lambda v: v / 4), "not the filter"),
    ],
)
def test_refuses(layout, change, message, params):
    with pytest.raises(DataError, match=message):
        read(layout, change(state_of(layout, params)))
