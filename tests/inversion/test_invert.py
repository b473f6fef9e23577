"""Inversion: what a code's own picture gives back, and that pictures do not interact."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mm_jax
from mm_jax import descent
from mm_jax.encoders.encoder import make_encoder
from mm_jax.encoders.small import SmallConfig, init_small
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion import optimize, spaces
from mm_jax.inversion.invert import invert
from mm_jax.nn.trunk import TrunkConfig
from mm_jax.perceptual.lpips import Lpips
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import make_generator
from mm_jax.stylegan2.networks import init_params
from tests.perceptual.test_lpips import CONFIGS, random_weights

# All of them run in batches of two and chunks of ten steps, so that programs are shared.
STEPS, SIZE = 20, 2


@pytest.fixture(scope="module")
def codes(tiny_generator: Any) -> np.ndarray:
    return np.asarray(mm_jax.sample_latents(tiny_generator, seeds=range(5)))


@pytest.fixture(scope="module")
def pictures(tiny_generator: Any, codes: np.ndarray) -> np.ndarray:
    return np.asarray(mm_jax.synthesize(tiny_generator, codes))


@pytest.fixture(scope="module")
def found(tiny_generator: Any, pictures: np.ndarray) -> mm_jax.Inversion:
    return invert(tiny_generator, pictures, steps=STEPS, batch_size=SIZE)


@pytest.fixture(scope="module")
def small() -> Any:
    """A generator of 8 px, for what takes long to compile: L = 4 rows, D = 6."""
    config = GeneratorConfig(resolution=8, z_dim=6, w_dim=6, mapping_layers=1, channels=(4, 4))
    return make_generator(config, init_params(jax.random.key(1), config))


@pytest.fixture(scope="module")
def encoder(tiny_generator: Any) -> mm_jax.Encoder:
    trunk = TrunkConfig(resolution=16, fold=1, channels=(4, 4), activation="gelu", hidden=8)
    config = SmallConfig(trunk=trunk, rows=6, width=12)
    params = jax.jit(functools.partial(init_small, config))(jax.random.key(1))
    return make_encoder(config, params)


def test_losses_decrease_and_the_best_code_is_kept(
    tiny_generator: Any, pictures: np.ndarray, found: mm_jax.Inversion
) -> None:
    assert found.ws.shape == (5, 6, 12) and found.images.shape == pictures.shape
    assert found.losses.shape == (5, STEPS + 1) and found.psnr.shape == (5,)
    assert found.styles is None and found.noise is None
    assert (found.losses[:, -1] < 0.7 * found.losses[:, 0]).all()
    np.testing.assert_allclose(mm_jax.synthesize(tiny_generator, found.ws), found.images, atol=1e-5)
    # What is returned has the least loss of the curve.
    again = invert(tiny_generator, pictures, start=found.ws, steps=0, batch_size=SIZE)
    np.testing.assert_allclose(again.losses[:, 0], found.losses.min(axis=1), rtol=1e-4)
    np.testing.assert_allclose(again.psnr, found.psnr, atol=1e-3)


def test_pictures_do_not_interact(
    tiny_generator: Any, pictures: np.ndarray, found: mm_jax.Inversion
) -> None:
    """Five by twos, the last of them filled up, give what each alone gives, in any company."""
    alone = invert(tiny_generator, pictures[3:], steps=STEPS, batch_size=1)
    np.testing.assert_allclose(alone.ws, found.ws[3:], atol=2e-3)
    np.testing.assert_allclose(alone.losses, found.losses[3:], rtol=1e-3)
    turned = invert(tiny_generator, pictures[[4, 1]], steps=STEPS)
    np.testing.assert_allclose(turned.ws, found.ws[[4, 1]], atol=2e-3)


@pytest.mark.parametrize("space", spaces.SPACES)
def test_each_space(
    tiny_generator: Any, pictures: np.ndarray, codes: np.ndarray, space: str
) -> None:
    run = functools.partial(invert, tiny_generator, pictures[:2], space=space, steps=10)
    # An own picture is a fixed point of its code.
    own = run(start=codes[:2])
    np.testing.assert_allclose(own.images, pictures[:2], atol=1e-4)
    if space != "s":  # there, several codes may have the same styles
        np.testing.assert_allclose(own.ws, codes[:2], atol=1e-4)
    result = run()
    assert (result.losses.min(axis=1) < 0.98 * result.losses[:, 0]).all()
    if space == "w":
        np.testing.assert_array_equal(result.ws, np.repeat(result.ws[:, :1], 6, axis=1))
    assert (result.styles is None) == (space != "s")
    if result.styles is not None:
        assert tuple(result.styles) == tiny_generator.config.layer_names
        drawn = mm_jax.synthesize_from_styles(tiny_generator, result.styles)
        np.testing.assert_allclose(drawn, result.images, atol=1e-5)


def test_w_is_searched_first_and_w_plus_near_it(tiny_generator: Any, pictures: np.ndarray) -> None:
    program: Any = descent.adam_chunk
    told: list[tuple[int, int]] = []
    run = functools.partial(invert, tiny_generator, pictures[:3], batch_size=2)
    found = run(
        steps=9, w_weight=1.0, progress=lambda label, done, total: told.append((done, total))
    )
    assert found.losses.shape == (3, 10)
    assert told[-1] == (18, 18) and [done for done, _ in told] == sorted(done for done, _ in told)

    def spread(ws: Any) -> float:
        return float(np.asarray(ws).std(axis=1).mean())

    # The more it weighs, the more alike are a latent's rows; without steps for W+ they are equal.
    free, near = run(steps=9), run(steps=9, w_weight=1000.0)
    assert spread(near.ws) < 0.5 * spread(found.ws) < 0.5 * spread(free.ws)
    only = run(steps=1, w_weight=1.0)
    assert spread(only.ws) < 1e-6 and only.losses.shape == (3, 2)
    # Both searches are one program.
    compiled = program._cache_size()
    run(steps=6, w_weight=1.0)
    assert program._cache_size() == compiled + 1
    # In other spaces the mean is what latents are held to.
    near, mean = run(steps=5, space="w", w_weight=0.5), run(steps=5, space="w", mean_weight=0.5)
    np.testing.assert_array_equal(near.ws, mean.ws)


def test_codes_of_styles_are_the_nearest(tiny_generator: Any, codes: np.ndarray) -> None:
    styles = mm_jax.to_stylespace(tiny_generator, codes)
    back = spaces.ws_of(tiny_generator, styles)
    for name, style in mm_jax.to_stylespace(tiny_generator, back).items():
        np.testing.assert_allclose(style, styles[name], atol=1e-4)


@pytest.mark.slow
def test_lbfgs_needs_fewer_steps(small: Any) -> None:
    codes = mm_jax.sample_latents(small, seeds=range(2))
    pictures = np.asarray(mm_jax.synthesize(small, codes))
    adam = invert(small, pictures, steps=10)
    quick = invert(small, pictures, steps=10, optimizer="lbfgs")
    assert (quick.losses[:, -1] < adam.losses.min(axis=1)).all()
    # No step of a line search makes things worse.
    assert (np.diff(quick.losses, axis=1) < 1e-5).all()
    # A line search takes sides at rounding errors, so only where it begins is compared.
    turned = invert(small, pictures[::-1], steps=10, optimizer="lbfgs")
    np.testing.assert_allclose(turned.losses[::-1, :4], quick.losses[:, :4], rtol=1e-2)
    own = invert(
        small, pictures, steps=10, start=codes, optimizer="lbfgs", patience=3, mean_weight=0.0
    )
    np.testing.assert_allclose(own.ws, codes, atol=1e-3)


def test_early_stop_keeps_the_best_code(
    tiny_generator: Any, pictures: np.ndarray, codes: np.ndarray
) -> None:
    """A picture that has arrived is left alone; one on its way is not held up by it."""
    start = np.stack([codes[0], np.zeros_like(codes[1])])
    run = functools.partial(invert, tiny_generator, pictures[:2], start=start, steps=40)
    free, stopped = run(), run(patience=6)
    held = stopped.losses[0]
    np.testing.assert_allclose(held[-20:], held[-1], rtol=1e-5)
    np.testing.assert_allclose(stopped.ws[0], free.ws[0], atol=1e-4)
    assert stopped.losses[1].min() < 0.7 * stopped.losses[1, 0]
    reports: list[tuple[str, int, int]] = []
    run(start=codes[:2], patience=6, progress=lambda *report: reports.append(report))
    assert reports[-1] == ("inversion", 40, 40) and len(reports) < 4


def test_encoder_start(tiny_generator: Any, pictures: np.ndarray, encoder: mm_jax.Encoder) -> None:
    result = invert(tiny_generator, pictures[:2], start="encoder", encoder=encoder, steps=0)
    np.testing.assert_allclose(
        result.ws, mm_jax.encode(encoder, jnp.asarray(pictures[:2])), atol=1e-6
    )


def test_pictures_of_other_sizes_are_resized(tiny_generator: Any, pictures: np.ndarray) -> None:
    large = np.repeat(np.repeat(pictures[:2], 3, axis=1), 3, axis=2)
    one = invert(tiny_generator, large, steps=0)
    same = invert(tiny_generator, pictures[:2], steps=0)
    np.testing.assert_allclose(one.losses, same.losses, rtol=1e-5)


def test_distances_hold_back(tiny_generator: Any, pictures: np.ndarray, codes: np.ndarray) -> None:
    population = spaces.measure_population(tiny_generator, "w+")
    own = spaces.distance(jnp.asarray(codes), population.mean, population.spread)
    assert 0.5 < float(own.mean()) < 2
    halved = mm_jax.sample_latents(tiny_generator, seeds=range(5), truncation_psi=0.5)
    np.testing.assert_allclose(
        spaces.distance(halved, population.mean, population.spread), own / 4, rtol=1e-4
    )
    run = functools.partial(invert, tiny_generator, pictures[:2], start=codes[:2], steps=STEPS)
    near_mean, near_start = run(mean_weight=10.0), run(mean_weight=10.0, start_weight=1000.0)
    for result, low, high in ((near_mean, 0.0, 0.5), (near_start, 0.8, 1.01)):
        far = spaces.distance(jnp.asarray(result.ws), population.mean, population.spread)
        share = np.asarray(far / own[:2])
        assert (share > low).all() and (share < high).all()


def test_perceptual_and_identity_terms_count(tiny_generator: Any, pictures: np.ndarray) -> None:
    net = Lpips.make(CONFIGS["vgg"], random_weights(CONFIGS["vgg"]))

    def embed(weights: jax.Array, images: jax.Array) -> jax.Array:
        features = images[:, ::2, ::2].reshape(images.shape[0], -1) @ weights
        return features / jnp.linalg.norm(features, axis=1, keepdims=True)

    person = jax.tree_util.Partial(embed, jax.random.normal(jax.random.key(3), (192, 8)))
    result = invert(
        tiny_generator,
        pictures[:2],
        steps=0,
        pixel_weight=0.0,
        laplacian_weight=0.0,
        lpips=net,
        lpips_weight=2.0,
        identity=person,
        identity_weight=0.5,
    )
    drawn = mm_jax.synthesize(tiny_generator, mm_jax.mean_latent(tiny_generator))
    both, wanted = jnp.repeat(drawn, 2, axis=0), jnp.asarray(pictures[:2])
    cosine = jnp.sum(person(both) * person(wanted), axis=1)
    want = 2.0 * mm_jax.lpips(net, both, wanted) + 0.5 * (1 - cosine)
    np.testing.assert_allclose(result.losses[:, 0], want, rtol=1e-3)


def test_frames_hold_to_each_other(tiny_generator: Any, pictures: np.ndarray) -> None:
    def roughness(ws: Any) -> float:
        return float(np.square(np.diff(np.asarray(ws), axis=0)).sum())

    run = functools.partial(invert, tiny_generator, pictures, steps=STEPS)
    free, tied = run(), run(temporal_weight=1.0)
    assert roughness(tied.ws) < 0.5 * roughness(free.ws)
    in_batches = run(temporal_weight=1.0, batch_size=2)
    assert roughness(in_batches.ws) < 0.5 * roughness(free.ws)
    # A frame is tied to the one before it, and to none after the end or before the beginning.
    start = np.concatenate([np.zeros((1, 6, 12)), np.ones((2, 6, 12))])
    for size in (None, 2):
        weights = [
            invert(
                tiny_generator,
                pictures[:3],
                start=start,
                steps=0,
                temporal_weight=weight,
                batch_size=size,
            ).losses[:, 0]
            for weight in (0.0, 2.0)
        ]
        population = spaces.measure_population(tiny_generator, "w+")
        jump = 2.0 * 12.0 / float(population.spread)
        np.testing.assert_allclose(weights[1] - weights[0], [0.0, jump, 0.0], rtol=1e-3, atol=1e-4)


def test_noise_is_fitted(tiny_generator: Any, pictures: np.ndarray) -> None:
    params = jax.tree.map(lambda leaf: leaf, dict(tiny_generator.params))
    for block in params["synthesis"].values():
        for name in ("conv0", "conv1"):
            if name in block:
                block[name]["noise_strength"] = jnp.float32(0.3)
    loud = mm_jax.Generator(tiny_generator.config, params, tiny_generator.meta)
    run = functools.partial(invert, loud, steps=STEPS, batch_size=SIZE)
    fit = functools.partial(run, noise="optimize", key=jax.random.key(0))
    result = fit(pictures)
    assert result.noise is not None
    assert {name: one.shape for name, one in result.noise.items()}["b16.conv1"] == (5, 16, 16)
    for one in result.noise.values():
        np.testing.assert_allclose(np.square(one).mean(axis=(1, 2)), 1, atol=1e-3)
    own = spaces.with_noise(loud, {name: one[3] for name, one in result.noise.items()})
    np.testing.assert_allclose(
        mm_jax.synthesize(own, result.ws[3:4])[0], result.images[3], atol=1e-5
    )
    assert (result.losses[:, -1] < 0.9 * result.losses[:, 0]).all()
    # A picture's first maps depend on the key and on its place alone.
    np.testing.assert_allclose(fit(pictures[:2]).losses, result.losses[:2], rtol=1e-2)
    assert (fit(pictures[:2], key=jax.random.key(1)).losses != result.losses[:2]).any()


def test_is_compiled_once_for_all_weights_and_numbers(
    tiny_generator: Any, pictures: np.ndarray, found: mm_jax.Inversion
) -> None:
    program: Any = descent.adam_chunk
    compiled = program._cache_size()
    other = jax.tree.map(lambda leaf: leaf * 0.9, tiny_generator)
    result = invert(
        other,
        pictures[1:],
        steps=30,
        batch_size=2,
        learning_rate=0.03,
        mean_weight=0.1,
        patience=25,
    )
    assert program._cache_size() == compiled
    assert result.losses.shape == (4, 31)
    assert len(jax.tree.leaves(found)) == 4


@pytest.mark.parametrize("optimizer", ("adam", "lbfgs"))
def test_lowers_for_accelerators(small: Any, optimizer: str) -> None:
    population = spaces.measure_population(small, "w+")
    terms = optimize.Terms(
        weights=optimize.Weights(*[jnp.ones(())] * 8),
        population=population,
        lpips=None,
        identity=None,
        before=population.mean,
        patience=jnp.asarray(5, jnp.int32),
        tied=jnp.asarray(False),
    )
    batch = optimize.Targets(
        images=jnp.zeros((2, 8, 8, 3)),
        start=jnp.repeat(population.mean, 2, axis=0),
        identity=None,
        has_previous_mask=jnp.zeros(2),
        valid_mask=jnp.ones(2),
    )
    begin: Any = optimize.begin
    state = begin.eval_shape(small, terms, batch, None, optimizer=optimizer)
    program: Any = descent.adam_chunk if optimizer == "adam" else optimize.lbfgs_chunk
    traced = program.trace(
        jax.tree_util.Partial(optimize.total_loss, small, terms, batch),
        optimize.ADAM,
        None,
        jax.tree_util.Partial(optimize.accept, terms, batch),
        state,
        jnp.ones(2),
        None,
    )
    for platform in ("cuda", "tpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert max(len(line) for line in text.splitlines()) < 10_000, "weights are in the program"


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("space must be one of", {"space": "z"}),
        ("optimizer must be one of", {"optimizer": "sgd"}),
        ("noise must be one of", {"noise": "random"}),
        ("steps must be at least 0, got -1", {"steps": -1}),
        ("steps must be a whole number", {"steps": 1.5}),
        ("patience must be at least 1, got 0", {"patience": 0}),
        ("batch_size must be", {"batch_size": 0}),
        ("learning_rate must be above 0, got 0.0", {"learning_rate": 0.0}),
        ("mean_weight must be at least 0, got -1.0", {"mean_weight": -1.0}),
        ("lpips_weight must be a finite number", {"lpips_weight": float("nan")}),
        ("lbfgs takes images one by one", {"optimizer": "lbfgs", "temporal_weight": 1.0}),
        ("optimised noise needs a key", {"noise": "optimize"}),
        ('start must be "mean"', {"start": "middle"}),
        ("needs an encoder", {"start": "encoder"}),
        ("start must be [6, 12] or [5, 6, 12], got [2, 6, 12]", {"start": np.zeros((2, 6, 12))}),
        ("start must be numbers", {"start": np.full((6, 12), "x")}),
        ("one image needs a leading axis", {"images": np.zeros((16, 16, 3), np.float32)}),
        ("must be square", {"images": np.zeros((1, 16, 24, 3), np.float32)}),
        ("at least one", {"images": np.zeros((0, 16, 16, 3), np.float32)}),
        ("[N, H, H, 3]", {"images": np.zeros((1, 16, 16, 4), np.float32)}),
        ("images / 127.5 - 1", {"images": np.zeros((1, 16, 16, 3), np.uint8)}),
        ("values of up to 255", {"images": np.full((1, 16, 16, 3), 255.0)}),
    ],
)
def test_bad_arguments(
    tiny_generator: Any, pictures: np.ndarray, words: str, given: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as error:
        invert(tiny_generator, **{"images": pictures, **given})
    assert words in str(error.value)


def test_bad_data(tiny_generator: Any, pictures: np.ndarray) -> None:
    with pytest.raises(DataError, match="images hold NaN"):
        invert(tiny_generator, np.full_like(pictures, np.nan))
    with pytest.raises(DataError, match="start holds NaN"):
        invert(tiny_generator, pictures, start=np.full((6, 12), np.inf))
    with pytest.raises(DataError, match="image 0 diverged: try a lower learning_rate"):
        invert(tiny_generator, pictures[:2], steps=STEPS, learning_rate=1e30, batch_size=2)
