"""The mapping network: its W reads the scores, and one can take the place of another."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.networks import init_params, map_latents, styles
from mm_jax.synthface import train_mapping
from mm_jax.synthface.factors import NUM_FACTORS, Z_DIM, scores_from_z

CONFIG = GeneratorConfig(
    resolution=8,
    z_dim=Z_DIM,
    w_dim=64,
    mapping_layers=1,
    mapping_lr_multiplier=1.0,
    channels=(6, 5),
)


@pytest.fixture
def small(monkeypatch):
    for name, value in {"STEPS": 80, "CHUNK": 20, "BATCH": 64}.items():
        monkeypatch.setattr(train_mapping, name, value)


@pytest.fixture(scope="module")
def z() -> jax.Array:
    return jax.random.normal(jax.random.key(1), (2000, Z_DIM))


def _read(mapping, z) -> np.ndarray:
    """Share of the scores' variance that a linear map of W explains ``[F]``."""
    w = np.asarray(map_latents(CONFIG, {"mapping": mapping}, z))
    w = np.concatenate([w, np.ones((len(w), 1))], axis=1)
    scores = np.asarray(scores_from_z(z))
    residual = scores - w @ np.linalg.lstsq(w, scores, rcond=None)[0]
    return 1 - residual.var(axis=0) / scores.var(axis=0)


def test_training_makes_w_say_the_scores_and_resumes(small, tmp_path, z):
    mapping = train_mapping.train_mapping(tmp_path, CONFIG)
    fresh = _params(0)["mapping"]
    assert _read(mapping, z).mean() > _read(fresh, z).mean() + 0.05
    w = np.asarray(map_latents(CONFIG, {"mapping": mapping}, z))
    np.testing.assert_allclose(w.var(axis=0).mean(), 1, rtol=0.05)
    np.testing.assert_allclose(mapping["w_avg"], w.mean(axis=0), atol=0.15)
    again = train_mapping.train_mapping(tmp_path, CONFIG)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), mapping, again))


def test_the_readout_loss_is_the_error_of_the_scores(z):
    mapping = _params(0)["mapping"]
    nothing = {
        "kernel": jnp.zeros((CONFIG.w_dim, NUM_FACTORS)),
        "bias": jnp.full((NUM_FACTORS,), 2.0),
    }
    loss = train_mapping.readout_loss(CONFIG, mapping, nothing, z)
    wanted = np.square(2 - np.asarray(scores_from_z(z))).mean()
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)


@jax.jit
def _styles(params, z: jax.Array, aside: jax.Array | float = 0.0) -> dict[str, jax.Array]:
    """Styles of the codes of z, all moved by `aside`."""
    ws = map_latents(CONFIG, params, z) + jnp.broadcast_to(aside, (len(z), CONFIG.w_dim))
    return styles(CONFIG, params, jnp.repeat(ws[:, None], CONFIG.num_ws, axis=1))


@functools.cache
def _params(seed: int):
    return init_params(jax.random.key(seed), CONFIG)


def _linear_mapping(seed: int) -> dict:
    """A mapping network whose leaky ReLU never bends: W is z, turned, stretched and moved."""
    mapping = _params(seed)["mapping"]
    return {**mapping, "fc0": {**mapping["fc0"], "bias": jnp.full((CONFIG.w_dim,), 10.0)}}


def test_styles_survive_an_exchange_of_the_mapping_network(z):
    params = {
        **_params(0),
        "mapping": _linear_mapping(1),
    }
    other = _linear_mapping(5)
    exchanged = train_mapping.exchange_mapping(CONFIG, params, other, jax.random.key(2))
    np.testing.assert_array_equal(exchanged["mapping"]["fc0"]["kernel"], other["fc0"]["kernel"])
    was, now = params["synthesis"]["b8"], exchanged["synthesis"]["b8"]
    for layer in was:
        np.testing.assert_array_equal(now[layer]["kernel"], was[layer]["kernel"])

    before, after = _styles(params, z), _styles(exchanged, z)
    for layer in before:
        a, b = np.asarray(before[layer]), np.asarray(after[layer])
        explained = 1 - (a - b).var(axis=0).sum() / a.var(axis=0).sum()
        # What scores do not say is not kept, nor meant to be.
        assert explained > 0.8 * _by_scores(a, z) > 0.1, layer
        np.testing.assert_allclose(b.mean(axis=0), a.mean(axis=0), atol=0.3)


def test_affine_layers_are_kept_within_w(z):
    # A W of 10 dimensions, moved away from the origin.
    narrow = _linear_mapping(1)
    basis = np.linalg.qr(np.random.RandomState(0).randn(CONFIG.w_dim, 10))[0].astype(np.float32)
    kernel = narrow["fc0"]["kernel"] @ basis @ basis.T
    narrow["fc0"] = {**narrow["fc0"], "kernel": kernel}
    params = {**_params(0), "mapping": narrow}
    kept = train_mapping.within_w(CONFIG, params, jax.random.key(2))
    before, after = _styles(params, z), _styles(kept, z)
    for layer in before:
        np.testing.assert_allclose(after[layer], before[layer], atol=2e-3)
    outside = np.linalg.svd(basis.T, full_matrices=True)[2][10:]
    aside = jnp.asarray(np.float32(outside[:3]).sum(0))
    moved = _styles(kept, z, aside)
    for layer in after:
        np.testing.assert_allclose(moved[layer], after[layer], atol=2e-3)


def _by_scores(values: np.ndarray, z: jax.Array) -> float:
    """Share of the variance of styles ``[N, C]`` that the scores explain linearly."""
    scores = np.asarray(scores_from_z(z))
    scores = np.concatenate([scores, np.ones((len(scores), 1))], axis=1)
    residual = values - scores @ np.linalg.lstsq(scores, values, rcond=None)[0]
    return float(1 - residual.var(axis=0).sum() / values.var(axis=0).sum())
