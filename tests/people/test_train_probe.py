"""Probes: folders of their own kind, pictures of any size, training that learns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.evaluation.reading import r_squared
from mm_jax.nn.trunk import TrunkConfig
from mm_jax.people import train_probe
from mm_jax.people.factors import FACTORS, MIRRORED, index
from mm_jax.people.renders import Renders
from mm_jax.people.train_probe import augment

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
    read = train_probe.read_all(probe, data.images, batch=50)
    good = r_squared(read, factors)
    assert np.mean(good[~turns]) > 0.6 and np.mean(good[turns]) > 0.6
    mirrored = train_probe.read_all(probe, data.images[:, :, ::-1], batch=50)
    pairs = np.corrcoef(mirrored[:, index("yaw")], -read[:, index("yaw")])
    assert pairs[0, 1] > 0.8
