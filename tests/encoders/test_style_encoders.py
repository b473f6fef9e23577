"""pSp, e4e and ReStyle behind one `encode`, at tiny sizes; arithmetic is compared with the
original's in tests/weights_convert/test_encoders.py."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mm_jax
from mm_jax.encoders import Encoder, encode, load_encoder, make_encoder, save_encoder
from mm_jax.encoders.e4e import codes_from_deltas
from mm_jax.encoders.psp import (
    KINDS,
    StyleEncoderConfig,
    apply_style_encoder,
)
from mm_jax.errors import DataError, UsageError
from mm_jax.nn.irse50 import IRSEConfig
from tests.conftest import random_params

APPLY = jax.jit(apply_style_encoder, static_argnums=0)


def config_of(kind, *, resolution=16):
    body = IRSEConfig(
        in_channels=6 if kind.startswith("restyle") else 3,
        stem_channels=4,
        channels=(4, 4, 8),
        units=(1, 1, 1),
        reduction=2,
    )
    return StyleEncoderConfig(kind=kind, body=body, resolution=resolution, rows=6, width=12)


def make(kind, **options):
    config = config_of(kind, **options)
    return make_encoder(config, random_params(Encoder.shapes(config)), meta={"name": kind})


@pytest.fixture(scope="module", params=KINDS)
def encoder(request):
    return make(request.param)


@pytest.fixture(scope="module")
def pictures():
    return jax.random.uniform(jax.random.key(2), (2, 16, 16, 3), minval=-1)


def test_one_way_for_every_kind(encoder, pictures, tiny_generator):
    codes = encode(encoder, pictures, gen=tiny_generator, steps=2)
    assert codes.shape == (2, 6, 12) and codes.dtype == jnp.float32
    swapped = encode(encoder, pictures[::-1], gen=tiny_generator, steps=2)
    np.testing.assert_allclose(swapped[::-1], codes, atol=1e-4 * np.abs(codes).max())
    assert np.abs(codes[0] - codes[1]).max() > 1e-3
    silent = jax.tree.map(jnp.zeros_like, encoder.params)
    mean = encoder.params["latent_avg"]
    silent = dataclasses.replace(encoder, params={**silent, "latent_avg": mean})
    rested = encode(silent, pictures, gen=tiny_generator, steps=2)
    np.testing.assert_allclose(rested, np.broadcast_to(mean, rested.shape), atol=1e-6)


def test_there_and_back(encoder, tmp_path):
    again = load_encoder(save_encoder(encoder, tmp_path / "net"))
    assert (again.config, again.meta["name"]) == (encoder.config, encoder.config.kind)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(encoder), strict=True):
        np.testing.assert_array_equal(a, b)


def test_restyle_corrects_what_it_rendered(tiny_generator):
    encoder = make("restyle_psp", resolution=32)
    config, params = encoder.config, encoder.params
    pictures = jax.random.uniform(jax.random.key(2), (2, 32, 32, 3), minval=-1)
    codes = jnp.broadcast_to(params["latent_avg"][None], (2, 6, 12))
    for steps in (1, 2, 3):
        # Pictures of 16 pixels are shown to the encoder at 32.
        rendered = mm_jax.synthesize(tiny_generator, codes).repeat(2, axis=1).repeat(2, axis=2)
        both = jnp.concatenate([pictures, rendered], axis=-1)
        codes = codes + APPLY(config, params, both)
        if steps != 2:
            found = encode(encoder, pictures, gen=tiny_generator, steps=steps)
            np.testing.assert_allclose(found, codes, atol=1e-4 * np.abs(codes).max())


def test_e4e_rows_are_offsets_to_the_first(pictures):
    rows = jax.random.normal(jax.random.key(0), (2, 4, 3))
    codes = np.asarray(codes_from_deltas(rows))
    np.testing.assert_array_equal(codes[:, 0], rows[:, 0])
    np.testing.assert_allclose(codes[:, 1:] - codes[:, :1], rows[:, 1:], atol=1e-6)
    # The two kinds share their networks.
    encoder = make("psp")
    ours = codes_from_deltas(APPLY(encoder.config, encoder.params, pictures))
    theirs = APPLY(config_of("e4e"), encoder.params, pictures)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_vmap_and_gradient(pictures):
    encoder = make("psp")
    mapped = jax.vmap(lambda x: encode(encoder, x[None])[0])(pictures)
    np.testing.assert_allclose(mapped, encode(encoder, pictures), atol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(encode(encoder, x) ** 2))(pictures)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_published_sizes():
    config = StyleEncoderConfig(kind="psp")
    assert [config.level(row) for row in range(18)] == [0] * 3 + [1] * 4 + [2] * 11
    assert [config.convs(row) for row in (0, 3, 7, 17)] == [4, 5, 6, 6]
    restyle = StyleEncoderConfig(kind="restyle_e4e", body=IRSEConfig(in_channels=6))
    assert {restyle.convs(row) for row in range(18)} == {4}
    assert restyle.in_channels == 3
    plan = list(IRSEConfig().plan())
    assert len(plan) == 24
    assert [i for i, (before, after, _, _) in enumerate(plan) if before != after] == [3, 7, 21]
    assert [i for i, unit in enumerate(plan) if unit[2] == 2] == [0, 3, 7, 21]
    assert [i for i, unit in enumerate(plan) if unit[3]] == [2, 6, 20, 23]


def test_bad_arguments(pictures, tiny_generator):
    restyle = make("restyle_psp")
    with pytest.raises(UsageError, match=r"of kind restyle_psp .* give it the generator"):
        encode(restyle, pictures)
    with pytest.raises(UsageError, match="steps must be at least 1, got 0"):
        encode(restyle, pictures, gen=tiny_generator, steps=0)
    with pytest.raises(UsageError, match=r"\[N, H, H, 3\], got shape \[2, 16, 16, 6\]"):
        encode(restyle, jnp.zeros((2, 16, 16, 6)), gen=tiny_generator)
    other = make_encoder(
        config := StyleEncoderConfig(
            kind="psp", body=config_of("psp").body, resolution=16, rows=4, width=12
        ),
        random_params(Encoder.shapes(config)),
    )
    with pytest.raises(UsageError, match=r"gives latents \[4, 12\], the generator takes \[6, 12\]"):
        encode(other, pictures, gen=tiny_generator)
    lacking = {key: value for key, value in restyle.params.items() if key != "latent_avg"}
    with pytest.raises(DataError, match="encoder parameters: latent_avg is missing"):
        make_encoder(restyle.config, lacking)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "psp2"}, "kind must be one of psp, e4e, restyle_psp"),
        ({"kind": "psp", "resolution": 48}, "must be 16 times a power of two"),
        ({"kind": "psp", "resolution": 16}, "must be 16 times a power of two"),
        ({"kind": "psp", "rows": 0}, "rows must be a whole number of at least 1, got 0"),
        ({"kind": "restyle_psp"}, "3 channels do not divide"),
    ],
)
def test_configurations_that_can_not_be(values, message):
    with pytest.raises(UsageError, match=message):
        StyleEncoderConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"units": (1, 2)}, "must be a positive number for each"),
        ({"channels": (8, 20), "units": (1, 1)}, "must be multiples of 16"),
        ({"in_channels": 2.0}, "in_channels must be a whole number"),
    ],
)
def test_bodies_that_can_not_be(values, message):
    with pytest.raises(UsageError, match=message):
        IRSEConfig(**values)


def test_a_pyramid_needs_three_maps():
    body = IRSEConfig(channels=(16, 16), units=(1, 1))
    with pytest.raises(UsageError, match="a pyramid needs three stages"):
        StyleEncoderConfig(kind="e4e", body=body, resolution=16)


@pytest.mark.parametrize("kind", ["psp", "restyle_e4e"])
def test_lowers_for_accelerators(tiny_generator, kind):
    config = config_of(kind)
    encoder = make_encoder(config, dict(Encoder.shapes(config)))

    def program(encoder, gen, images):
        return encode(encoder, images, gen=gen)

    pictures = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    traced = jax.jit(program).trace(encoder, tiny_generator, pictures)
    for platform in ("cuda", "tpu"):
        assert "module @jit" in traced.lower(lowering_platforms=(platform,)).as_text()
