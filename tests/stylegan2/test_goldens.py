"""Parity with the original PyTorch networks, from arrays that those gave."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mm_jax
from mm_jax.stylegan2 import networks
from mm_jax.stylegan2.config import GeneratorConfig

PICTURE, GRADIENT = 1e-4, 1e-3
VARIANTS = ("uncond", "cond5", "clamp256", "map2")


@pytest.fixture(autouse=True)
def _full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def nhwc(pictures):
    return np.moveaxis(pictures, 1, -1)


def assert_close(actual, wanted, tolerance, name=""):
    assert actual.shape == wanted.shape, name
    error = np.abs(np.asarray(actual) - wanted).max() / np.ptp(wanted)
    assert error <= tolerance, f"{name}: {error:.2e} of the range"


def synthesis_only(gen):
    """The generator without what tells the variants' mappings apart: they share compiled code."""
    standard = GeneratorConfig()
    same = ("z_dim", "c_dim", "mapping_layers")
    config = dataclasses.replace(gen.config, **{key: getattr(standard, key) for key in same})
    return config, {"synthesis": gen.params["synthesis"]}


@functools.partial(jax.jit, static_argnums=0)
def pictures_and_gradient(config, params, wplus, further):
    """Skip pictures of all codes, and the mean square's gradient with respect to the first."""

    def mean_square(wplus):
        skips = networks.synthesis_skips(config, params, jnp.concatenate([wplus, further]))
        return jnp.mean(jnp.square(skips[config.resolution][: len(wplus)])), skips

    (loss, skips), gradient = jax.value_and_grad(mean_square, has_aux=True)(wplus)
    return loss, gradient, skips


@functools.partial(jax.jit, static_argnums=0)
def noiseless(config, params, ws):
    return networks.synthesis(config, params, ws, noise_mode="none")


@pytest.mark.parametrize("variant", VARIANTS)
def test_nvlabs_mapping_and_truncation(nvlabs, variant):
    gen, want = nvlabs(variant)
    for key, psi, cutoff in (
        ("ws_psi1", 1.0, None),
        ("ws_psi07", 0.7, None),
        ("ws_psi05_cut4", 0.5, 4),
    ):
        options = {"z": want["in_z"], "labels": want.get("in_c")}
        ws = mm_jax.sample_latents(gen, truncation_psi=psi, truncation_cutoff=cutoff, **options)
        assert_close(ws, want[key], PICTURE, key)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nvlabs_pictures_and_gradient(nvlabs, variant):
    gen, want = nvlabs(variant)
    config, params = synthesis_only(gen)
    further = np.concatenate([want["ws_psi1"], want["ws_psi07"]])
    loss, gradient, skips = pictures_and_gradient(config, params, want["in_wplus"], further)
    np.testing.assert_allclose(loss, want["loss_wplus"], rtol=PICTURE)
    assert_close(gradient, want["grad_wplus"], GRADIENT)
    pictures = skips[config.resolution]
    for i, key in enumerate(("image_wplus_const", "image_const", "image_psi07_const")):
        assert_close(pictures[3 * i : 3 * i + 3], nhwc(want[key]), PICTURE, key)
    assert_close(noiseless(config, params, want["ws_psi1"]), nhwc(want["image_none"]), PICTURE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nvlabs_styles(nvlabs, variant):
    gen, want = nvlabs(variant)
    styles = mm_jax.to_stylespace(gen, want["ws_psi1"])
    assert tuple(styles) == gen.config.layer_names
    for name, style in styles.items():
        assert_close(style, want[f"style.{name}"], PICTURE, name)


def test_rosinality_small(rosinality):
    gen, want = rosinality("small")
    first = mm_jax.sample_latents(gen, z=want["in_z"])
    second = mm_jax.sample_latents(gen, z=want["in_z2"])
    truncated = mm_jax.sample_latents(gen, z=want["in_z"], truncation_psi=0.7)
    assert_close(first[:, 0], want["w"], PICTURE)
    assert_close(truncated[:, 0], want["latent_trunc07"], PICTURE)

    config, params = synthesis_only(gen)
    mixed = jnp.concatenate([first[:, :3], second[:, 3:]], axis=1)
    for further, image in ((first, "image_z"), (truncated, "image_trunc07"), (mixed, "mix")):
        further = jnp.concatenate([further, first])
        loss, gradient, skips = pictures_and_gradient(config, params, want["in_wplus"], further)
        key = "image_mix_inject3" if image == "mix" else image
        assert_close(skips[64][3:6], nhwc(want[key]), PICTURE, key)
        assert_close(skips[64][:3], nhwc(want["image_wplus"]), PICTURE)
        np.testing.assert_allclose(loss, want["loss_wplus"], rtol=PICTURE)
        assert_close(gradient, want["grad_wplus"], GRADIENT)
        assert tuple(skips) == gen.config.block_resolutions
        for resolution, picture in skips.items():
            assert_close(picture[6:], nhwc(want[f"skip_{resolution}"]), PICTURE, str(resolution))
    pictures = noiseless(config, params, want["in_wplus"])
    assert_close(pictures, nhwc(want["image_wplus_zero_noise"]), PICTURE)


def test_rosinality_styles_there_and_back(rosinality):
    gen, want = rosinality("small")
    styles = mm_jax.to_stylespace(gen, want["in_wplus"])
    for i, (name, style) in enumerate(styles.items()):
        assert_close(style, want[f"style_{i:02}"], PICTURE, name)
    perturbed = {name: want[f"pstyle_{i:02}"] for i, name in enumerate(styles)}
    pictures = mm_jax.synthesize_from_styles(gen, perturbed)
    assert_close(pictures, nhwc(want["image_pstyle"]), PICTURE)


@pytest.mark.parametrize("size", ["256", pytest.param("1024", marks=pytest.mark.slow)])
def test_full_width(rosinality, size):
    gen, want = rosinality(size)
    ws = mm_jax.sample_latents(gen, z=want["in_z"])
    assert_close(ws[:, 0], want["w"], PICTURE)
    picture = np.asarray(mm_jax.synthesize(gen, ws))
    low = picture.shape[1] // 2 - 32
    crop = picture[:, low : low + 64, low : low + 64]
    whole = want["image_global_mean_std_min_max"]
    extent = whole[3] - whole[2]
    for actual, key in ((picture[:, ::8, ::8], "image_every8"), (crop, "image_crop64")):
        assert np.abs(actual - nhwc(want[key])).max() <= PICTURE * extent, key
    channels = np.stack([picture.mean((0, 1, 2)), picture.std((0, 1, 2))])
    np.testing.assert_allclose(channels, want["image_mean_std"], atol=PICTURE * extent)
    np.testing.assert_allclose(
        [picture.mean(), picture.std(), picture.min(), picture.max()], whole, atol=PICTURE * extent
    )
