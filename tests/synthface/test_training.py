"""The trainings: losses that measure what they say, and loops that resume where they stopped."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.errors import UsageError
from mm_jax.synthface import train, train_generator, train_probe
from mm_jax.synthface.card import model_card
from mm_jax.synthface.factors import FACTORS, factors_from_z
from mm_jax.synthface.pairs import make_batch
from mm_jax.synthface.renders import make_renders
from mm_jax.zoo import BUNDLED


def test_the_pyramid_loss_is_least_for_no_error_and_sees_every_scale():
    least = float(train_generator.pyramid_loss(jnp.zeros((1, 16, 16, 3))))
    flat = jnp.full((1, 16, 16, 3), 0.1)
    fine = flat * jnp.where((jnp.arange(16) % 2 == 0)[None, None, :, None], 1.0, -1.0)
    assert float(train_generator.pyramid_loss(flat)) > least
    assert float(train_generator.pyramid_loss(fine)) > least


def test_the_error_along_a_tangent_is_in_units_of_the_tangent():
    tangent = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    noise = jax.random.normal(jax.random.key(1), tangent.shape)
    energy = jnp.sum(tangent**2, axis=(1, 2, 3), keepdims=True)
    noise -= tangent * jnp.sum(noise * tangent, axis=(1, 2, 3), keepdims=True) / energy
    error = train_generator.tangent_error(0.3 * tangent + noise, tangent)
    np.testing.assert_allclose(error, 0.3, rtol=1e-2)


@pytest.mark.parametrize(
    "recipe",
    [
        train_generator.FROM_NOTHING,
        train_generator.CONTINUED,
        train_generator.LONGER,
        train_generator.SKETCH,
    ],
)
def test_learning_rates_join_at_the_phases(recipe):
    ends = np.cumsum([phase.steps for phase in recipe.phases])
    rates = np.asarray(jax.vmap(recipe.rate_at)(jnp.arange(ends[-1])))
    assert recipe.steps == ends[-1] and rates.min() > 0
    for phase, end in zip(recipe.phases, ends, strict=True):
        first, last = phase.learning_rate
        np.testing.assert_allclose(rates[end - 1], last, atol=1e-2 * first)
        held = rates[end - phase.steps + 100 : end - phase.steps + int(phase.hold * phase.steps)]
        np.testing.assert_allclose(held, first, rtol=1e-5)
        assert recipe.phase_at(int(end) - 1) is phase


def test_pairs_differ_in_one_factor():
    # Twenty pictures, as the stores are drawn.
    z, psi, pictures = make_batch(jax.random.key(0), 10, 16, 0.5)
    assert z.shape == (20, 64) and pictures.shape == (20, 16, 16, 3)
    assert float(psi.min()) >= 0.15 and float(psi.max()) <= 0.5
    first, second = np.split(np.asarray(factors_from_z(z)), 2)
    assert ((np.abs(second - first) > 1e-3).sum(axis=1) == 1).all()


def test_renders_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr("mm_jax.synthface.renders.CHUNK", 20)
    first = make_renders(tmp_path, 30, seed=5, resolution=16)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = make_renders(tmp_path, 30, seed=5, resolution=16)
    np.testing.assert_array_equal(first.images, again.images)
    assert first.images.shape == (30, 16, 16, 3) and first.factors.shape[0] == 30
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    sketches = make_renders(tmp_path, 20, seed=5, resolution=16, style="sketch")
    np.testing.assert_array_equal(sketches.factors, first.factors[:20])
    assert (sketches.images != first.images[:20]).mean() > 0.9


def test_r_squared():
    truth = np.random.RandomState(0).randn(500, 2)
    read = np.stack([truth[:, 0], np.full(500, truth[:, 1].mean())], axis=1)
    np.testing.assert_allclose(train_probe.r_squared(read, truth), [1, 0], atol=1e-6)


def test_the_probes_are_independent():
    probe, judge = (train_probe.RECIPES[n] for n in ("synthface-probe", "synthface-judge"))
    assert probe.trunk != judge.trunk
    recipes = train_probe.RECIPES.values()
    for name in ("seed", "renders_seed"):
        assert len({getattr(recipe, name) for recipe in recipes}) == len(recipes)


def test_an_unknown_stage_is_named(tmp_path):
    with pytest.raises(UsageError, match="unknown stage 'painter', want some of probe"):
        train.train(tmp_path, stages=["painter"])


def test_a_generator_to_continue_from_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="unknown generator 'nowhere'"):
        train.train(tmp_path / "out", stages=["generator"], continue_from="nowhere")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("style", ["face", "sketch"])
def test_generator_training_lowers_its_loss_and_resumes(tmp_path, style):
    phase = train_generator.Phase(16, 30, 2, (2e-3, 0.0), hold=0.5)
    recipe = train_generator.Recipe("tiny", (phase,), style=style)
    first = train_generator.fresh_params(jax.random.key(0))
    trained = train_generator.train(tmp_path, None, recipe, first=first)
    again = train_generator.train(tmp_path, None, recipe, first=first)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), trained, again))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), trained["mapping"], first["mapping"])
    assert jax.tree.all(same)  # W stays what it was
    batch = make_batch(jax.random.key(9), 4, 16, style=style)
    loss = [
        float(train_generator.losses(params, batch, None, jax.random.key(0))[0])
        for params in (first, trained)
    ]
    assert loss[1] < loss[0]


def test_the_model_card_says_what_each_model_was_trained_on():
    names = [n for n, kind in BUNDLED.items() if n.startswith("synthface") and kind != "motions"]
    figures = {f"{name} trained on": f"much of {name}" for name in names}
    table = dict.fromkeys(FACTORS, 0.5)
    figures |= dict.fromkeys(
        (
            "synthface-probe R2 on unseen renders",
            "synthface-judge R2 on unseen renders",
            "synthface-sketch-judge R2 on unseen renders",
            "generator R2 by the judge",
        ),
        table,
    )
    figures["generator inner-face PSNR"] = 31.5
    figures["sketch inner-face PSNR"] = 21.5
    figures["encoder PSNR of rebuilt pictures"] = {"generated": 33.0, "renders": 28.0}
    figures["clip Spearman on unseen renders"] = {"smile": {"degree": 0.9, "full": 0.8}}
    text = model_card(figures, machine="2 CPU cores")
    assert all(f"much of {name} |" in text for name in names)
    assert "31.5 dB" in text and "21.5 dB" in text and "{" not in text.replace("{degree}", "")
    del figures["synthface-encoder trained on"]
    with pytest.raises(KeyError, match="synthface-encoder"):
        model_card(figures, machine="2 CPU cores")
