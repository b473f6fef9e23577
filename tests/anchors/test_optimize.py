"""Anchors by optimisation: equal to a plain loop over codes, and to themselves in any batch."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax import descent
from mm_jax.anchors import optimize
from mm_jax.anchors.optimize import Objective, optimize_latents, random_views
from mm_jax.anchors.options import AnchorOptions
from mm_jax.descent import learning_rates
from mm_jax.errors import DataError
from mm_jax.latents import sample_latents, synthesize
from mm_jax.perceptual.clip import encode_image, encode_text

PROMPTS = ["a person with no smile", "a person with 50% smile", "a person with 100% smile"]


@pytest.fixture(scope="module")
def texts(tiny_clip: Any) -> jax.Array:
    return encode_text(tiny_clip, PROMPTS)


@pytest.fixture(scope="module")
def starts(tiny_generator: Any) -> jax.Array:
    return sample_latents(tiny_generator, seeds=[0, 1], truncation_psi=0.7)


def plain_loop(
    gradient: Any, start: jax.Array, text: jax.Array, *, steps: int
) -> tuple[np.ndarray, list[float]]:
    """The paper's loop for a single code, with Adam written out in NumPy (float64)."""
    w = np.asarray(start, np.float64)
    first, second = np.zeros_like(w), np.zeros_like(w)
    losses = []
    for i, rate in enumerate(learning_rates(steps, 0.1)):
        value, g = gradient(jnp.asarray(w, jnp.float32), start, text)
        losses.append(float(value))
        g = np.asarray(g, np.float64)
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        unbiased = first / (1 - 0.9 ** (i + 1)), second / (1 - 0.999 ** (i + 1))
        w = w - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    return w, losses


def test_equals_one_code_after_another(
    tiny_generator: Any, tiny_clip: Any, starts: jax.Array, texts: jax.Array
) -> None:
    steps = 14
    run = functools.partial(
        optimize_latents,
        tiny_generator,
        tiny_clip,
        options=AnchorOptions(preprocess="styleclip", steps=steps, l2_weight=0.02),
    )
    reports: list[tuple[str, int, int]] = []
    # Six codes by four: the second batch is filled up.
    together = run(
        start=starts,
        texts=texts,
        batch_size=4,
        progress=lambda *report: reports.append(report),
    )
    assert together.ws.shape == (2, 3, 6, 12)
    assert together.losses.shape == together.similarities.shape == (2, 3, steps)
    # In chunks of the largest divisor of steps up to ten.
    assert reports == [("anchors", done, 28) for done in (7, 14, 21, 28)]
    assert (together.losses[..., -1] < together.losses[..., 0]).all()
    assert (together.similarities[..., -1] > together.similarities[..., 0]).all()

    for n, m in ((0, 2), (1, 2)):  # one of either batch
        alone = run(start=starts[n : n + 1], texts=texts[m : m + 1])
        np.testing.assert_allclose(alone.ws[0, 0], together.ws[n, m], atol=1e-5)
        np.testing.assert_allclose(alone.losses[0, 0], together.losses[n, m], atol=1e-5)

    @jax.jit
    @jax.value_and_grad
    def gradient(w: jax.Array, start: jax.Array, text: jax.Array) -> jax.Array:
        picture = synthesize(tiny_generator, w[None])
        vector = encode_image(tiny_clip, picture, preprocess="styleclip")[0]
        return 1 - jnp.dot(vector, text) + 0.02 * jnp.sum((w - start) ** 2)

    for n, m in ((0, 0), (1, 2)):
        ws, losses = plain_loop(gradient, starts[n], texts[m], steps=steps)
        np.testing.assert_allclose(together.ws[n, m], ws, atol=1e-4)
        np.testing.assert_allclose(together.losses[n, m], losses, atol=1e-5)


def test_is_compiled_once_for_all_weights_and_numbers(
    tiny_generator: Any, tiny_clip: Any, starts: jax.Array, texts: jax.Array
) -> None:
    run = functools.partial(
        optimize_latents,
        start=starts[:1],
        texts=texts,
    )
    options = AnchorOptions(resolution=8, steps=10)
    first = run(tiny_generator, tiny_clip, options=options)
    program: Any = descent.adam_chunk
    compiled = program._cache_size()
    other = jax.tree.map(lambda leaf: leaf * 0.9, (tiny_generator, tiny_clip))
    options = options.replace(steps=20, l2_weight=0.5, learning_rate=0.03)
    second = run(*other, options=options)
    assert program._cache_size() == compiled
    assert np.abs(first.ws - second.ws).max() > 0.05
    # A lower resolution gives the rows above it no reason to move.
    held = np.asarray(starts[0, -2:])
    np.testing.assert_array_equal(first.ws[0, :, -2:], np.broadcast_to(held, (3, 2, 12)))
    assert (np.abs(first.ws[0, :, :4] - starts[0, None, :4]).max(axis=(0, 2)) > 0.05).all()


def test_layers_and_contrast(
    tiny_generator: Any, tiny_clip: Any, starts: jax.Array, texts: jax.Array
) -> None:
    moving = np.array([False, True, True, False, False, False])
    result = optimize_latents(
        tiny_generator,
        tiny_clip,
        start=starts[:1],
        texts=texts,
        options=AnchorOptions(
            objective="contrast", resolution=8, layers=(1, 2), steps=30, l2_weight=0.0
        ),
    )
    moved = np.abs(result.ws[0] - np.asarray(starts)[:1]).max(axis=(0, 2))
    assert (moved[moving] > 0.1).all()
    np.testing.assert_array_equal(moved[~moving], 0)
    assert (result.losses[..., -1] < result.losses[..., 0]).all()
    # Each picture now matches its own prompt better, relative to the others, than at the start.
    codes = np.concatenate([result.ws[0], starts[:1]])
    pictures = synthesize(tiny_generator, codes, resolution=8)
    cosines = np.asarray(encode_image(tiny_clip, pictures) @ texts.T)
    margins = np.diag(cosines[:3]) - cosines[:3].mean(axis=1)
    assert (margins > cosines[3] - cosines[3].mean()).all()


def test_identity_holds_back(
    tiny_generator: Any, tiny_clip: Any, starts: jax.Array, texts: jax.Array
) -> None:
    def embed(weights: jax.Array, images: jax.Array) -> jax.Array:
        features = images[:, ::2, ::2].reshape(images.shape[0], -1) @ weights
        return features / jnp.linalg.norm(features, axis=1, keepdims=True)

    weights = jax.random.normal(jax.random.key(3), (48, 8))
    # A callable pytree: its leaves are arguments, so changing them needs no new program.
    identity = jax.tree_util.Partial(embed, weights)
    similarity = {}
    for weight in (1e-9, 5.0):
        result = optimize_latents(
            tiny_generator,
            tiny_clip,
            start=starts[:1],
            texts=texts[:2],
            options=AnchorOptions(resolution=8, steps=40, identity_weight=weight),
            identity=identity,
        )
        codes = np.concatenate([starts[:1], result.ws[0]])
        vectors = identity(synthesize(tiny_generator, codes, resolution=8))
        similarity[weight] = float((vectors[1:] @ vectors[0]).mean())
    assert similarity[1e-9] < 0.95
    assert similarity[5.0] > 0.99


def test_views_are_crops_with_noise() -> None:
    images = jnp.broadcast_to(jnp.linspace(-1, 1, 24)[None, None, :, None], (2, 24, 24, 3))
    views = random_views(images, jax.random.key(0), count=64, size=12)
    assert views.shape == (64, 2, 12, 12, 3)
    # The same crop and the same noise for every picture.
    np.testing.assert_array_equal(views[:, 0], views[:, 1])
    columns = np.asarray(views[:, 0].mean(axis=(1, 3)))
    span = columns[:, -3:].mean(axis=1) - columns[:, :3].mean(axis=1)
    assert span.min() > 0.8 * span.max() and span.std() > 0.01
    assert 0.04 < float(jnp.std(views[:, 0, :, 0] - views[:, 0, :, :1].mean(axis=1))) < 0.06
    other = random_views(images, jax.random.key(1), count=64, size=12)
    assert float(jnp.abs(other - views).max()) > 0.1


def test_augmented_views_are_seeded_and_do_not_mix_codes(
    tiny_generator: Any, tiny_clip: Any, starts: jax.Array, texts: jax.Array
) -> None:
    run = functools.partial(
        optimize_latents,
        tiny_generator,
        tiny_clip,
        start=starts[:1],
        options=AnchorOptions(resolution=8, augment=2, steps=10),
        batch_size=1,
    )
    both = run(texts=texts[:2], key=jax.random.key(5))
    again = run(texts=texts[1:2], key=jax.random.key(5))
    np.testing.assert_allclose(both.ws[:, 1], again.ws[:, 0], atol=1e-5)
    other = run(texts=texts[1:2], key=jax.random.key(6))
    assert np.abs(other.ws - again.ws).max() > 1e-3


def test_divergence_is_said(
    tiny_generator: Any, tiny_clip: Any, starts: jax.Array, texts: jax.Array
) -> None:
    with pytest.raises(DataError, match="diverged: try a lower learning_rate"):
        optimize_latents(
            tiny_generator,
            tiny_clip,
            start=starts[:1],
            texts=texts,
            options=AnchorOptions(resolution=8, steps=20, learning_rate=1e30),
        )


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_lowers_for_accelerators(
    tiny_generator: Any, tiny_clip: Any, starts: jax.Array, texts: jax.Array, platform: str
) -> None:
    problem = optimize._Problem(
        start=starts,
        own=jnp.zeros(2, jnp.int32),
        texts=texts,
        absent=jnp.zeros(len(texts)),
        moving=jnp.ones(6),
        l2_weight=jnp.zeros(()),
        identity_weight=jnp.zeros(()),
    )
    adam = descent.Adam()
    loss = jax.tree_util.Partial(
        optimize._loss, tiny_generator, tiny_clip, None, problem, jax.random.key(0),
        Objective(resolution=16, augment=1),
    )  # fmt: skip
    program: Any = descent.adam_chunk
    traced = program.trace(
        loss,
        adam,
        problem.moving[None, :, None],
        None,
        descent.State(starts, adam.init(starts)),
        jnp.ones(2),
        jnp.arange(2),
    )
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert max(len(line) for line in text.splitlines()) < 10_000, "weights are in the program"
