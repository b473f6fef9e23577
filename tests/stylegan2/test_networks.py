"""What holds for any weights: the spaces agree, noise adds, samples do not mix."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.errors import DataError, UsageError
from mm_jax.nn.network import check_tree
from mm_jax.stylegan2 import networks
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator, make_generator


@pytest.fixture(scope="module")
def ws(tiny):
    shape = (3, tiny.config.num_ws, tiny.config.w_dim)
    return jax.random.normal(jax.random.key(5), shape)


@pytest.fixture(scope="module")
def skips(tiny, ws):
    return jax.jit(lambda params: networks.synthesis_skips(tiny.config, params, ws))(tiny.params)


def test_early_stop_is_the_skip_picture(tiny, ws, skips):
    for resolution in (4, 8):
        run = jax.jit(
            lambda ws, r=resolution: networks.synthesis(tiny.config, tiny.params, ws, resolution=r)
        )
        np.testing.assert_allclose(run(ws), skips[resolution], atol=1e-5)
        # Rows that style only later blocks are free.
        rows = 2 * (resolution.bit_length() - 1) - 2
        np.testing.assert_array_equal(run(ws), run(ws.at[:, rows:].set(7.0)))


def test_styles_are_another_way_to_the_same_picture(tiny, ws, skips):
    @jax.jit
    def through_styles(ws):
        styles = networks.styles(tiny.config, tiny.params, ws)
        return networks.synthesis_from_styles(tiny.config, tiny.params, styles)

    np.testing.assert_allclose(through_styles(ws), skips[16], atol=1e-5)


def test_vmap_is_the_batch(tiny, ws, skips):
    def one(w):
        return networks.synthesis(tiny.config, tiny.params, w[None])[0]

    np.testing.assert_allclose(jax.jit(jax.vmap(one))(ws), skips[16], atol=1e-4)


def test_noise(tiny, ws):
    @jax.jit
    def picture(params, key):
        mode = "none" if key is None else "random"
        return networks.synthesis(tiny.config, params, ws, noise_mode=mode, noise_key=key)

    def with_leaf(name, value):
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.full_like(leaf, value) if path[-1].key == name else leaf,
            tiny.params,
        )

    none = picture(tiny.params, None)
    const = jax.jit(lambda params: networks.synthesis(tiny.config, params, ws))
    np.testing.assert_allclose(none, const(with_leaf("noise_const", 0.0)), atol=1e-5)
    assert np.abs(none - const(tiny.params)).max() > 1e-2

    key = jax.random.key(3)
    random = picture(tiny.params, key)
    np.testing.assert_array_equal(random, picture(tiny.params, key))
    assert np.abs(random - picture(tiny.params, jax.random.key(4))).max() > 1e-2
    np.testing.assert_allclose(picture(with_leaf("noise_strength", 0.0), key), none, atol=1e-5)
    # A picture's noise belongs to its own key; old-style keys mean the same as new ones.
    keys = jax.random.split(key, 3)
    np.testing.assert_array_equal(random, picture(tiny.params, keys))
    other = picture(tiny.params, keys.at[0].set(jax.random.key(9)))
    np.testing.assert_allclose(other[1:], random[1:], atol=1e-5)
    np.testing.assert_array_equal(random, picture(tiny.params, jax.random.key_data(key)))


def test_initial_pictures_and_codes_have_unit_scale():
    config = GeneratorConfig(resolution=16, z_dim=32, w_dim=32, channels=(32, 32, 32))
    params = networks.init_params(jax.random.key(0), config)

    @jax.jit
    def spread(params, z):
        w = networks.map_latents(config, params, z)
        ws = jnp.repeat(w[:8, None], config.num_ws, axis=1)
        return w.std(), networks.synthesis(config, params, ws).std()

    codes, pictures = spread(params, jax.random.normal(jax.random.key(1), (64, 32)))
    assert 0.5 < codes < 2.0
    assert 0.3 < pictures < 3.0


def test_conditional_mapping_listens_to_its_labels():
    config = GeneratorConfig(resolution=8, z_dim=4, w_dim=4, c_dim=3, channels=(4, 4))
    params = networks.init_params(jax.random.key(0), config)
    z = jnp.repeat(jax.random.normal(jax.random.key(1), (1, 4)), 3, axis=0)
    w = jax.jit(lambda params: networks.map_latents(config, params, z, jnp.eye(3)))(params)
    assert np.abs(w[0] - w[1]).max() > 1e-2
    with pytest.raises(UsageError, match=r"labels of shape \[N, 3\]"):
        networks.map_latents(config, params, z)
    with pytest.raises(UsageError, match=r"labels must have shape .*, got \(2, 3\)"):
        networks.map_latents(config, params, z, jnp.eye(3)[:2])


def test_errors_name_what_is_wanted(tiny, ws):
    config, params = tiny.config, tiny.params
    for bad, message in (
        (ws[0], "one latent: add the batch axis"),
        (ws[:, 0], "repeat w over the rows"),
        (ws[:, :3], r"must have shape \[N, 6, 12\]"),
    ):
        with pytest.raises(UsageError, match=message):
            networks.synthesis(config, params, bad)
    options: Any
    for options, message in (
        ({"noise_mode": "loud"}, "must be one of const, none, random"),
        ({"noise_mode": "random"}, "needs a noise_key"),
        ({"noise_key": jax.random.key(0)}, "only for noise_mode"),
        ({"noise_mode": "random", "noise_key": jax.random.split(jax.random.key(0), 2)}, "key"),
        ({"resolution": 32}, "no block at resolution 32"),
    ):
        with pytest.raises(UsageError, match=message):
            networks.synthesis(config, params, ws, **options)
    with pytest.raises(UsageError, match=r"z must have shape .*, got \(2, 3\)"):
        networks.map_latents(config, params, jnp.zeros((2, 3)))
    with pytest.raises(UsageError, match="takes no labels"):
        networks.map_latents(config, params, jnp.zeros((2, 10)), jnp.zeros((2, 1)))
    styles = {name: jnp.ones((2, config.style_width(name))) for name in config.layer_names}
    for bad, message in (
        ({**styles, "b32.conv0": styles["b4.conv1"]}, "no layer 'b32.conv0'"),
        ({k: v for k, v in styles.items() if k != "b8.torgb"}, "lack layer 'b8.torgb'"),
        ({**styles, "b8.conv1": jnp.ones((3, 8))}, "style 'b8.conv1' has shape"),
    ):
        with pytest.raises(UsageError, match=message):
            networks.synthesis_from_styles(config, params, bad)


class TestGenerator:
    def test_is_a_pytree_and_knows_its_weights(self, tiny):
        leaves, structure = jax.tree_util.tree_flatten(tiny)
        again = jax.tree_util.tree_unflatten(structure, leaves)
        assert isinstance(again, Generator)
        assert again.fingerprint == tiny.fingerprint
        assert (again.name, again.config) == ("tiny", tiny.config)
        changed = dataclasses.replace(tiny, params=jax.tree.map(lambda x: x + 1, tiny.params))
        assert changed.fingerprint != tiny.fingerprint

    def test_parameters_must_fit(self, tiny):
        wanted = Generator.shapes(tiny.config)
        check_tree(wanted, tiny.params, what="x")
        for path, replacement, message in (
            ("w_avg", None, "mapping/w_avg is missing"),
            ("w_avg", np.zeros(3), r"mapping/w_avg must have shape \[12\], got \[3\]"),
            ("extra", np.zeros(3), "mapping/extra is not part"),
        ):
            mapping = {**tiny.params["mapping"], path: replacement}
            if replacement is None:
                del mapping[path]
            with pytest.raises(DataError, match=message):
                make_generator(tiny.config, {**tiny.params, "mapping": mapping})
