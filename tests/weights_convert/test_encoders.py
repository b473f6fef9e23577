"""Files of pSp, e4e and ReStyle: what they compute, what their options say, what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.encoders import encode, make_encoder
from mm_jax.encoders.psp import StyleEncoderConfig, apply_style_encoder
from mm_jax.errors import DataError
from mm_jax.nn.irse50 import IRSEConfig
from mm_jax.stylegan2.networks import map_latents
from tests.weights_convert import foreign
from weights_convert.encoders import encoder_from_checkpoint, encoder_table
from weights_convert.rosinality import params_from_rosinality, params_to_rosinality

TYPES = {
    "psp": "GradualStyleEncoder",
    "e4e": "Encoder4Editing",
    "restyle_psp": "BackboneEncoder",
    "restyle_e4e": "ProgressiveBackboneEncoder",
}
ROWS, WIDTH = 6, 12
APPLY = jax.jit(apply_style_encoder, static_argnums=0)


@pytest.fixture(scope="module")
def decoder(tiny_generator):
    state, mean = params_to_rosinality(tiny_generator.config, tiny_generator.params)
    return state, mean + np.linspace(-1, 1, WIDTH, dtype=np.float32)


@pytest.fixture(scope="module")
def checkpoints(decoder):
    """A whole file's content for every kind, of the tiny generator's sizes."""
    state, mean = decoder

    def checkpoint(kind, **opts):
        restyle = kind.startswith("restyle")
        encoder = foreign.encoder_state(restyle=restyle, rows=ROWS, width=WIDTH)
        return {
            "state_dict": {
                **{f"encoder.{key}": value for key, value in encoder.items()},
                **{f"decoder.{key}": value for key, value in state.items()},
            },
            "opts": {"encoder_type": TYPES[kind], "start_from_latent_avg": True, **opts},
            "latent_avg": np.repeat(mean[None], ROWS, axis=0),
        }

    return checkpoint


@pytest.mark.parametrize("kind", TYPES)
def test_computes_what_the_original_does(kind):
    restyle, deltas = kind.startswith("restyle"), kind.endswith("e4e")
    rows = 3 if restyle else 8
    state = foreign.encoder_state(restyle=restyle, rows=rows)
    checkpoint = {
        "state_dict": {f"encoder.{key}": value for key, value in state.items()}
        | {"decoder.any": np.zeros(1)},
        "opts": {"encoder_type": TYPES[kind]},
        "latent_avg": np.zeros((1, 6), np.float32),
    }
    found = encoder_from_checkpoint(checkpoint)
    assert (found.config.kind, found.config.resolution, found.config.rows) == (kind, 16, rows)
    pictures = 0.5 + jax.random.normal(jax.random.key(0), (2, 16, 16, 6 if restyle else 3))
    ours = APPLY(found.config, found.params, pictures)
    theirs = foreign.run_encoder(
        state, pictures.transpose(0, 3, 1, 2), restyle=restyle, deltas=deltas, rows=rows
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_a_whole_file(checkpoints, decoder, tiny_generator):
    found = encoder_from_checkpoint(checkpoints("psp", output_size=16, learn_in_w=False))
    encoder = make_encoder(found.config, found.params)
    np.testing.assert_allclose(found.latent_avg, decoder[1], rtol=1e-6)
    config, params = params_from_rosinality(found.decoder, latent_avg=found.latent_avg)
    assert config == tiny_generator.config
    np.testing.assert_array_equal(params["mapping"]["w_avg"], found.latent_avg)
    pictures = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3), minval=-1)
    offsets = APPLY(found.config, found.params, pictures)
    np.testing.assert_allclose(
        encode(encoder, pictures), offsets + decoder[1][None, None], rtol=1e-5, atol=1e-5
    )


def test_mean_codes_of_every_shape(checkpoints, decoder):
    mean = decoder[1]
    for shape in ((ROWS, WIDTH), (1, WIDTH), (WIDTH,)):
        content = {**checkpoints("e4e"), "latent_avg": np.broadcast_to(mean, shape)}
        found = encoder_from_checkpoint(content)
        np.testing.assert_array_equal(found.params["latent_avg"], np.tile(mean, (ROWS, 1)))
        np.testing.assert_allclose(found.latent_avg, mean, rtol=1e-6)


def test_a_missing_mean_is_that_of_the_decoder_or_nothing(checkpoints, tiny_generator):
    def found(kind, **opts):
        return encoder_from_checkpoint({**checkpoints(kind, **opts), "latent_avg": None})

    z = jnp.asarray(np.random.RandomState(3).randn(20_000, 10), jnp.float32)
    w = np.asarray(map_latents(tiny_generator.config, tiny_generator.params, z))
    for kind, start in (("e4e", True), ("restyle_psp", False)):
        mean = found(kind, start_from_latent_avg=start)
        assert mean.latent_avg is None
        rows = np.tile(w.mean(0), (ROWS, 1))
        np.testing.assert_allclose(mean.params["latent_avg"], rows, atol=0.05 * w.std())
    assert not found("psp", start_from_latent_avg=False).params["latent_avg"].any()


def test_what_training_leaves_is_no_obstacle(checkpoints):
    content = {
        **checkpoints("restyle_e4e", stylegan_size=16),
        "optimizer": {"state": {}},
        "global_step": 3,
        "discriminator_state_dict": {},
    }
    assert encoder_from_checkpoint(content).config.kind == "restyle_e4e"


@pytest.mark.parametrize("kind", TYPES)
def test_published_layouts_are_covered(rule, goldens, kind):
    entries = rule.read(goldens / "encoders" / f"{kind}.json.gz")["entries"]
    prefix = "state_dict.encoder."
    theirs = {k.removeprefix(prefix): e for k, e in entries.items() if k.startswith(prefix)}
    body = IRSEConfig(in_channels=6 if kind.startswith("restyle") else 3)
    table = encoder_table(StyleEncoderConfig(kind=kind, body=body))
    assert {row.key for row in table.rows} | set(table.ignored) == set(theirs)
    for row in table.rows:
        shape = tuple(theirs[row.key]["shape"])
        assert np.prod(shape) == np.prod(table.shapes[row.path].shape), row.key


def state_with(key, value):
    return lambda c: {**c, "state_dict": {**c["state_dict"], key: value}}


def state_without(pattern):
    return lambda c: {
        **c,
        "state_dict": {k: v for k, v in c["state_dict"].items() if pattern not in k},
    }


def with_opts(**opts):
    return lambda c: {**c, "opts": {**c["opts"], **opts}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {"g_ema": {}}, "state_dict is missing or no dictionary"),
        (lambda c: {**c, "opts": "--size"}, "opts is missing or no dictionary"),
        (lambda c: {**c, "directions": 1}, "unknown entries: directions"),
        (with_opts(encoder_type="ResNetBackboneEncoder"), "supported are GradualStyleEncoder"),
        (with_opts(encoder_type=None), "encoder_type is None"),
        (with_opts(dataset_type="cars_encode"), "cars_encode images, not square"),
        (with_opts(learn_in_w=True), "learn_in_w"),
        (with_opts(output_size=1024), "images of 1024, the encoder has 6 rows"),
        (with_opts(output_size="16"), "images of 16, the encoder has 6 rows"),
        (state_with("discriminator.0", np.ones(1)), "not in its table: discriminator.0"),
        (state_with("encoder.styles.0.convs.99.bias", np.ones(1)), "not in its table"),
        (state_without("decoder."), "the psp encoder's file has no decoder"),
        (state_without("encoder."), "has no encoder"),
        (state_without("latlayer2.bias"), r"lacks latlayer2\.bias$"),
        (state_without("styles.0.linear.weight"), r"styles\.0\.linear\.weight"),
        (state_without("styles.5.convs.2.bias"), r"lacks styles\.5\.convs\.2\.bias$"),
        (state_without("styles.0.convs"), "must be 8 times a power of two"),
        (lambda c: {**c, "latent_avg": np.zeros((5, WIDTH), np.float32)}, "latent_avg must be"),
        (lambda c: {**c, "latent_avg": np.full(WIDTH, np.nan, np.float32)}, "finite numbers"),
    ],
)
def test_refuses(checkpoints, change, message):
    with pytest.raises(DataError, match=message):
        encoder_from_checkpoint(change(checkpoints("psp")))
