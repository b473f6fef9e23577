"""Sampling, truncation and synthesis through the public functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mm_jax
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import draw_latents, fold_in_each, truncate


@pytest.fixture(scope="module")
def gen(tiny_generator):
    """The tiny generator with audible noise and a mean of its own."""

    def enliven(path, leaf):
        return leaf + 0.3 if path[-1].key in ("noise_strength", "w_avg") else leaf

    params = jax.tree_util.tree_map_with_path(enliven, tiny_generator.params)
    return mm_jax.Generator(tiny_generator.config, params, tiny_generator.meta)


@pytest.fixture(scope="module")
def ws(gen):
    return mm_jax.sample_latents(gen, seeds=range(3))


def test_seeds_mean_what_they_mean_upstream(gen):
    seeds = np.array([5, 0, 7])  # numpy's integers do as well
    z = mm_jax.seeds_to_z(gen, seeds)
    for row, seed in zip(z, seeds, strict=True):
        wanted = np.random.RandomState(seed).randn(1, 10)[0]
        np.testing.assert_array_equal(row, wanted.astype(np.float32))


def test_seeds_and_z_are_two_ways_to_the_same_codes(gen, ws):
    z = mm_jax.seeds_to_z(gen, range(3))
    np.testing.assert_allclose(mm_jax.sample_latents(gen, z=z), ws, atol=1e-6)
    assert ws.shape == (3, 6, 12)


def test_keys_are_another_way_to_draw(gen):
    key = jax.random.key(7)
    z = jax.random.normal(key, (3, gen.config.z_dim))
    drawn = draw_latents(gen, key, 3, truncation_psi=0.5)
    wanted = mm_jax.sample_latents(gen, z=z, truncation_psi=0.5)
    np.testing.assert_array_equal(drawn, wanted)
    raw = jax.random.key_data(key)
    np.testing.assert_array_equal(draw_latents(gen, raw, 3, truncation_psi=0.5), wanted)
    # Of keys of their own, a longer list begins with the same latents.
    many = draw_latents(gen, fold_in_each(key, range(5)))
    np.testing.assert_allclose(many[2:4], draw_latents(gen, fold_in_each(key, [2, 3])), atol=1e-6)
    assert np.abs(np.diff(np.asarray(many)[:, 0], axis=0)).max(axis=1).min() > 0.1
    with pytest.raises(UsageError, match="count"):
        draw_latents(gen, key)


def test_truncation_is_a_line_through_the_mean(gen, ws):
    mean = mm_jax.mean_latent(gen)
    assert mean.shape == (1, 6, 12)
    np.testing.assert_allclose(truncate(gen, ws, psi=1.0), ws, atol=1e-6)
    gone = truncate(gen, ws, psi=0.0)
    np.testing.assert_allclose(gone, np.broadcast_to(mean, ws.shape), atol=1e-6)
    half = mm_jax.sample_latents(gen, seeds=range(3), truncation_psi=0.5)
    np.testing.assert_allclose(half, (ws + np.broadcast_to(mean, ws.shape)) / 2, atol=1e-6)
    cut = truncate(gen, ws, psi=0.5, cutoff=2)
    np.testing.assert_allclose(cut[:, :2], half[:, :2], atol=1e-6)
    np.testing.assert_array_equal(cut[:, 2:], ws[:, 2:])
    each = truncate(gen, ws, psi=jnp.array([0.0, 0.5, 1.0]))
    for i, whole in enumerate((gone, half, ws)):
        np.testing.assert_allclose(each[i], whole[i], atol=1e-6)


def test_batches_do_not_change_pictures(gen, ws):
    pictures = mm_jax.synthesize(gen, ws)
    assert pictures.shape == (3, 16, 16, 3)
    assert pictures.dtype == jnp.float32
    np.testing.assert_allclose(mm_jax.synthesize(gen, ws, batch_size=2), pictures, atol=1e-5)
    key = jax.random.key(0)
    options = {"noise_mode": "random", "noise_key": key}
    np.testing.assert_allclose(
        mm_jax.synthesize(gen, ws, batch_size=2, **options),
        mm_jax.synthesize(gen, ws, **options),
        atol=1e-5,
    )


def test_styles_skips_and_pictures_agree(gen, ws):
    pictures = mm_jax.synthesize(gen, ws)
    styles = mm_jax.to_stylespace(gen, ws)
    assert tuple(styles) == gen.config.layer_names
    np.testing.assert_allclose(mm_jax.synthesize_from_styles(gen, styles), pictures, atol=1e-5)
    skips = mm_jax.skip_images(gen, np.asarray(ws))
    assert tuple(skips) == (4, 8, 16)
    np.testing.assert_allclose(skips[16], pictures, atol=1e-5)
    np.testing.assert_allclose(mm_jax.synthesize(gen, ws, resolution=8), skips[8], atol=1e-5)


def test_gradients_through_the_public_function(gen, ws):
    def energy(gen, ws):
        return jnp.sum(mm_jax.synthesize(gen, ws, batch_size=2) ** 2)

    weights, codes = jax.jit(jax.grad(energy, argnums=(0, 1)))(gen, ws)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((weights, codes)))
    step = 1e-3 * codes / jnp.linalg.norm(codes)
    difference = energy(gen, ws + step) - energy(gen, ws - step)
    np.testing.assert_allclose(difference, 2 * jnp.vdot(codes, step), rtol=2e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of seeds and z"),
        ({"seeds": [0], "z": np.zeros((1, 10))}, "exactly one of seeds and z"),
        ({"seeds": []}, "seeds must be at least one, got none"),
        ({"seeds": [1.5]}, r"seed must be an integer, got 1\.5"),
        ({"seeds": [True]}, "seed must be an integer, got True"),
        ({"seeds": [-1]}, "seed must be from 0 to 4294967295, got -1"),
        ({"seeds": [2**32]}, "seed must be from 0 to 4294967295, got 4294967296"),
        ({"z": np.zeros(10)}, r"z must have shape \[N, 10\], got \(10,\)"),
        ({"seeds": [0], "truncation_cutoff": 7}, "truncation_cutoff must be from 0 to 6, got 7"),
        ({"seeds": [0], "truncation_psi": np.ones(2)}, "truncation_psi must be a number"),
        ({"seeds": [0], "labels": np.zeros((1, 2))}, "takes no labels"),
    ],
)
def test_sampling_refuses(gen, options, message):
    with pytest.raises(UsageError, match=message):
        mm_jax.sample_latents(gen, **options)


def test_synthesis_refuses(gen, ws):
    with pytest.raises(UsageError, match="one latent: add the batch axis"):
        mm_jax.synthesize(gen, ws[0])
    with pytest.raises(UsageError, match="batch_size must be at least 1, got 0"):
        mm_jax.synthesize(gen, ws, batch_size=0)
    with pytest.raises(UsageError, match="needs a noise_key"):
        mm_jax.synthesize(gen, ws, noise_mode="random")
    with pytest.raises(UsageError, match="one latent: add the batch axis"):
        mm_jax.to_stylespace(gen, ws[0])


def test_latents_that_are_not_finite_are_refused(tiny_generator):
    ws = np.full((1, 6, 12), np.nan, np.float32)
    for draw in (mm_jax.synthesize, mm_jax.to_stylespace):
        with pytest.raises(DataError, match="ws holds NaN"):
            draw(tiny_generator, ws)
    # Under jit there is nothing to look at.
    assert np.isnan(jax.jit(mm_jax.synthesize)(tiny_generator, ws)).any()


def test_one_seed_is_no_list_of_seeds(tiny_generator):
    with pytest.raises(UsageError, match=r"such as \[3\] or range\(3\)"):
        mm_jax.sample_latents(tiny_generator, seeds=3)
