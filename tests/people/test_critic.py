"""The critic: it learns to tell crisp images from soft ones, and pulls soft ones towards crisp."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mm_jax.people import critic, train_generator
from mm_jax.people.train_generator import Phase

SIDE = 32


def _crisp(seed: int, count: int = 8) -> jax.Array:
    """Random blocks of four pixels with sharp edges."""
    blocks = jax.random.uniform(
        jax.random.key(seed), (count, SIDE // 4, SIDE // 4, 3), minval=-1, maxval=1
    )
    return jnp.repeat(jnp.repeat(blocks, 4, 1), 4, 2)


def _soft(images: jax.Array) -> jax.Array:
    """Images of the same means, whose edges are spread."""
    spread = sum(jnp.roll(images, (i, j), (1, 2)) for i in (-1, 0, 1) for j in (-1, 0, 1))
    return spread / 9


@pytest.fixture(scope="module")
def trained():
    """A critic that has seen crisp and soft images."""
    params = critic.init_critic(jax.random.key(0))
    tx = critic.optimizer()

    @jax.jit
    def step(carry, key):
        params, state = carry
        true = jax.random.uniform(key, (8, SIDE // 4, SIDE // 4, 3), minval=-1, maxval=1)
        true = jnp.repeat(jnp.repeat(true, 4, 1), 4, 2)
        grads = jax.grad(critic.critic_loss)(params, _soft(true), true, key)
        updates, state = tx.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), 150)
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), keys)
    return params


def test_scores_are_of_patches():
    params = critic.init_critic(jax.random.key(0))
    scores, features = critic.Critic().apply({"params": params}, jnp.zeros((2, 64, 64, 3)))
    assert scores.shape == (2, 4, 4)
    assert [f.shape for f in features] == [(2, 16, 16, 48), (2, 8, 8, 80), (2, 4, 4, 128)]


def test_an_image_like_its_render_cannot_be_told_from_it():
    params = critic.init_critic(jax.random.key(0))
    true = _crisp(2)
    np.testing.assert_allclose(critic.sharpness_loss(params, true, true), np.log(2), rtol=1e-6)
    assert critic.sharpness_loss(params, _soft(true), true) > np.log(2)


def test_it_learns_to_tell_soft_images_it_has_not_seen(trained):
    true = _crisp(3)
    scores, _ = critic.Critic().apply({"params": trained}, jnp.concatenate([true, _soft(true)]))
    crisp, soft = jnp.split(scores, 2)
    assert float(jnp.mean(crisp > soft)) > 0.9


def test_its_slope_makes_soft_images_liker_their_renders(trained):
    true = _crisp(4)
    soft = _soft(true)
    slope = jax.grad(lambda x: critic.sharpness_loss(trained, x, true))(soft)
    # Downhill is towards the render.
    assert float(jnp.sum(slope * (true - soft))) < 0
    moved = soft - 0.1 * slope / jnp.abs(slope).max()
    assert jnp.mean(jnp.square(moved - true)) < jnp.mean(jnp.square(soft - true))
    assert critic.sharpness_loss(trained, moved, true) < critic.sharpness_loss(trained, soft, true)


def test_roughness_costs(trained):
    steep = jax.tree.map(jnp.copy, trained)
    steep["score"]["kernel"] = 30 * steep["score"]["kernel"]
    true, key = _crisp(5), jax.random.key(6)
    gentle = critic.critic_loss(trained, _soft(true), true, key)
    assert critic.critic_loss(steep, _soft(true), true, key) > gentle + 0.3


@pytest.mark.parametrize("trust", [0.0, 0.5, 1.0])
def test_the_critics_slope_has_a_fixed_size_relative_to_the_pyramids(
    trained, make_random_renders, monkeypatch, trust
):
    batch = {**make_random_renders(4)._asdict(), "flip": np.zeros(4, bool)}
    true = jnp.asarray(batch["images"]).astype(jnp.float32) / 127.5 - 1
    soft = _soft(true)
    # In place of a network the image itself.
    monkeypatch.setattr(train_generator, "map_latents", lambda *_: jnp.zeros((4, 1)))
    monkeypatch.setattr(train_generator, "frame_error", lambda *_: 0.0)
    monkeypatch.setattr(train_generator, "truncated_ws", lambda *_: None)
    monkeypatch.setattr(train_generator, "synthesis", lambda _, image, *__, **___: image)
    phase = Phase(SIDE, 4, singles=4, pairs=0, learning_rate=(1e-3, 0.0), sharpen=0.6)

    def loss(image, judge):
        return train_generator.losses(
            image, batch, None, jax.random.key(0), phase, judge, trust
        )[0]  # fmt: skip

    weight = train_generator.face_weight(batch["focus"].astype(np.float32) / 255, true.shape[1])
    value, slope = jax.value_and_grad(
        lambda x: train_generator.pyramid_loss(x - true, weight)
    )(soft)  # fmt: skip
    alone = jax.value_and_grad(loss)(soft, None)
    np.testing.assert_allclose(alone[0], value, rtol=1e-5)
    np.testing.assert_allclose(alone[1], slope, rtol=1e-4, atol=1e-9)
    both = jax.value_and_grad(loss)(soft, trained)
    np.testing.assert_allclose(both[0], value, rtol=1e-5)
    push = jax.grad(lambda x: critic.sharpness_loss(trained, x, true))(soft)
    added = 0.6 * trust * np.linalg.norm(slope) / np.linalg.norm(push) * push
    np.testing.assert_allclose(both[1] - slope, added, rtol=1e-3, atol=1e-3 * np.abs(slope).max())


def test_a_phase_with_a_critic_trains_both(tiny_people, make_random_renders, monkeypatch):
    monkeypatch.setattr(train_generator, "CONFIG", tiny_people.config)
    phase = Phase(16, 4, singles=4, pairs=0, learning_rate=(1e-3, 0.0), sharpen=0.5)
    batch = {**make_random_renders(4)._asdict(), "flip": np.zeros(4, bool)}
    batch.pop("factors")
    params = jax.tree.map(jnp.asarray, tiny_people.params)
    judge = critic.init_critic(jax.random.key(0))

    def after(trust: float, phase: Phase, *, held: bool = False):
        tx = train_generator.optimizer((phase,), hold_mapping=held)
        carry = (params, params, tx.init(params))
        state = {"params": judge, "opt": critic.optimizer().init(judge)}
        # A copy, since the step gives its arguments' memory away.
        carry = jax.tree.map(jnp.copy, (*carry, state if phase.sharpen else {}))
        return train_generator.train_step(
            carry, batch, None, jax.random.key(1), trust,
            phases=(phase,), phase=phase, hold_mapping=held,
        )  # fmt: skip

    (trusted, _, _, state), parts = after(1.0, phase)
    assert all(np.isfinite(v) for v in parts.values()) and {"sharp", "critic"} <= parts.keys()
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state["params"], judge)
    assert all(jax.tree.leaves(moved))
    (ignored, *_), _ = after(0.0, phase)
    (plain, _, _, none), parts = after(1.0, dataclasses.replace(phase, sharpen=0.0))
    assert none == {} and "sharp" not in parts
    kernel = lambda p: np.asarray(p["synthesis"]["b16"]["conv1"]["kernel"])  # noqa: E731
    np.testing.assert_allclose(kernel(ignored), kernel(plain), atol=1e-5)
    assert np.abs(kernel(trusted) - kernel(plain)).max() > 1e-4
    (held, *_), _ = after(1.0, phase, held=True)
    for after_step, still in ((held, True), (trusted, False)):
        same = jax.tree.map(
            lambda a, b: bool((a == b).all()), after_step["mapping"], params["mapping"]
        )
        assert jax.tree.all(same) == still
    np.testing.assert_allclose(kernel(held), kernel(trusted), atol=1e-5)
