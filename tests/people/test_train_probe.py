"""Probes: folders of their own kind, pictures of any size, training that learns."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.errors import DataError
from mm_jax.evaluation.reading import r_squared, read_images
from mm_jax.nn.trunk import TrunkConfig
from mm_jax.people import train_probe
from mm_jax.people.factors import FACTORS, MIRRORED, index
from mm_jax.people.renders import Renders
from mm_jax.people.train_probe import augment
from mm_jax.perceptual.probe import Probe, ProbeConfig, read_factors

CONFIG = TrunkConfig(resolution=16, fold=4, channels=(8,), activation="relu", hidden=12)


def test_augmented_pictures_are_a_little_noisy_and_blurred():
    images = jax.random.uniform(jax.random.key(0), (64, 16, 16, 3), minval=-1)
    changed = augment(images, jax.random.key(1)) - images
    np.testing.assert_allclose(changed.mean(), 0, atol=3e-3)
    # Means of two by two pixels lose nothing to the blur, only noise is left.
    left = changed.reshape(64, 8, 2, 8, 2, 3).mean((2, 4)).std((1, 2, 3))
    assert float(left.max()) < 0.035
    deviation = np.asarray(changed.std((1, 2, 3)))
    assert deviation.max() > 0.2 and np.median(deviation) < 0.2
    flat = jnp.full((4, 8, 8, 3), 0.3)
    assert float(jnp.abs(augment(flat, jax.random.key(2)) - flat).max()) < 0.3


def test_shifts_move_whole_pictures_by_up_to_two_pixels():
    at = jnp.indices((16, 16)).transpose(1, 2, 0).astype(jnp.float32)
    images = jnp.broadcast_to(at, (64, 16, 16, 2))
    moved = np.asarray(train_probe.shifted(images, jax.random.key(0)))
    steps = moved[:, 8, 8] - 8
    assert set(np.unique(steps)) == {-2, -1, 0, 1, 2}
    want = np.clip(np.asarray(at)[None] + steps[:, None, None], 0, 15)
    np.testing.assert_array_equal(moved, want)


def test_training_goes_on_from_a_probe_of_the_same_recipe_alone(tmp_path, monkeypatch):
    data = [Renders(*(np.zeros(0),) * 4, np.zeros((0, len(FACTORS)), np.float32))]
    recipe = train_probe.ProbeRecipe(CONFIG, seed=1, steps=0)
    monkeypatch.setitem(train_probe.RECIPES, "people-probe", recipe)
    config = ProbeConfig(trunk=CONFIG, factors=FACTORS)
    first = Probe(config, Probe.init(config, jax.random.key(7)))
    with pytest.warns(RuntimeWarning):  # the deviation of no factors
        same = train_probe.train_probe("people-probe", tmp_path, data, first=first)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), same.params, first.params))
    # A residual convolution is added to what is known, and changes nothing yet.
    trunk = dataclasses.replace(CONFIG, residual=True)
    monkeypatch.setitem(
        train_probe.RECIPES, "people-probe", dataclasses.replace(recipe, trunk=trunk)
    )
    with pytest.warns(RuntimeWarning):
        grown = train_probe.train_probe("people-probe", tmp_path / "grown", data, first=first)
    assert grown.config.trunk == trunk
    images = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3), minval=-1)
    np.testing.assert_allclose(read_factors(grown, images), read_factors(first, images), atol=1e-5)
    with pytest.raises(DataError, match="not built as this version's"):
        train_probe.train_probe("people-probe", tmp_path, data, first=other_trunk(first))
    other = Probe(ProbeConfig(trunk=CONFIG, factors=FACTORS[:3]), first.params)
    with pytest.raises(DataError, match="not built as this version's"):
        train_probe.train_probe("people-probe", tmp_path, data, first=other)


def other_trunk(probe: Probe) -> Probe:
    """A probe that says that it is wider."""
    trunk = dataclasses.replace(probe.config.trunk, hidden=13)
    return Probe(dataclasses.replace(probe.config, trunk=trunk), probe.params)


def test_the_probes_are_independent():
    probe, judge = (train_probe.RECIPES[n] for n in ("people-probe", "people-judge"))
    sketch = train_probe.RECIPES["people-sketch-judge"]
    assert sketch.drawn and not probe.drawn and not judge.drawn
    assert probe.trunk != judge.trunk and probe.seed != judge.seed


def test_training_learns_what_pictures_show_and_mirrors_them(tmp_path, monkeypatch):
    """Pictures brighter as people smile, and on one side as they turn; all factors say the same."""
    rng = np.random.default_rng(0)
    smile, yaw = rng.uniform(-1, 1, (2, 100)).astype(np.float32)
    turns = np.isin(FACTORS, MIRRORED)
    factors = np.where(turns, yaw[:, None], smile[:, None])
    side = np.linspace(-1, 1, 16)[:, None]
    images = 127 + 60 * smile[:, None, None, None] + 60 * yaw[:, None, None, None] * side
    images = np.broadcast_to(images, (100, 16, 16, 3)).astype(np.uint8)
    none = np.zeros(100, np.float32)
    data = Renders(images, none, none, none, factors)
    recipe = train_probe.ProbeRecipe(CONFIG, seed=1, steps=300, batch=16)
    monkeypatch.setitem(train_probe.RECIPES, "people-probe", recipe)
    split = [Renders(*(x[part] for x in data)) for part in (slice(0, 30), slice(30, 100))]
    probe = train_probe.train_probe("people-probe", tmp_path, split)
    read = read_images(probe, data.images, batch=50)
    good = r_squared(read, factors)
    assert np.mean(good[~turns]) > 0.6 and np.mean(good[turns]) > 0.6
    mirrored = read_images(probe, data.images[:, :, ::-1], batch=50)
    pairs = np.corrcoef(mirrored[:, index("yaw")], -read[:, index("yaw")])
    assert pairs[0, 1] > 0.8
