"""The factors, and the fixed map from z."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.people.factors import (
    FACTORS,
    HAIR_STYLES,
    MIRRORED,
    NUM_FACTORS,
    Z_DIM,
    factors_from_scores,
    factors_from_z,
    hair_style,
    index,
    mean_factors,
    mirror_z,
    scores_from_z,
    set_scores,
)

N = 8000
# Compiled once, for one number of people.
read_scores, read_factors = jax.jit(scores_from_z), jax.jit(factors_from_z)
make_z, mirror = jax.jit(set_scores), jax.jit(mirror_z)


@pytest.fixture(scope="module")
def z():
    return np.asarray(jax.random.normal(jax.random.key(0), (N, Z_DIM)))


@pytest.fixture(scope="module")
def factors(z):
    return np.asarray(read_factors(z))


def column(factors, name):
    return factors[:, index(name)]


def test_factors_fill_their_range(factors):
    assert factors.shape == (8000, NUM_FACTORS) and factors.dtype == np.float32
    assert np.abs(factors).max() <= 1
    assert (factors.min(axis=0) < -0.95).all() and (factors.max(axis=0) > 0.95).all()


@pytest.mark.parametrize("name", ["smile", "yaw", "eye_spacing", "skin_tone", "hair_style", "jaw"])
def test_most_factors_are_uniform(factors, name):
    """Correlated ones, too: only scores are mixed."""
    share = np.sort((column(factors, name) + 1) / 2)
    assert np.abs(share - np.linspace(0, 1, len(share))).max() < 0.02


@pytest.mark.parametrize(("name", "power"), [("eye_close", 4.5), ("anger", 1.6), ("age", 1.4)])
def test_expressions_are_mild_more_often(factors, name, power):
    share = np.sort(((column(factors, name) + 1) / 2) ** (1 / power))
    assert np.abs(share - np.linspace(0, 1, len(share))).max() < 0.02


def test_scores_are_independent_and_normal(z):
    scores = np.asarray(read_scores(z))
    covariance = np.cov(scores.T)
    np.testing.assert_allclose(np.diag(covariance), 1, atol=0.08)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.06
    assert np.abs(scores.mean(axis=0)).max() < 0.06


def test_a_population(factors):
    """Who is drawn: dependencies are as described, and all others are none."""
    rank = np.corrcoef(factors.argsort(axis=0).argsort(axis=0).T)

    def between(a, b):
        return rank[index(a), index(b)]

    assert between("skin_tone", "african") > 0.6 and between("hair_tone", "skin_tone") < -0.5
    assert between("anger", "smile") < -0.3
    assert between("eye_colour", "hair_tone") > 0.5 and between("hair_style", "gender") > 0.65
    women, men = column(factors, "gender") < -0.8, column(factors, "gender") > 0.8
    assert women.mean() > 0.25 and men.mean() > 0.25  # few are between
    assert column(factors, "beard")[women].max() < -0.95 < column(factors, "beard")[men].mean()
    assert column(factors, "lip_colour")[men].max() < -0.95
    assert column(factors, "lip_colour")[women].mean() > -0.2
    free = [index(n) for n in ("mouth_open", "eye_close", "yaw", "age", "gaze_x", "ears")]
    others = np.abs(rank[free] - np.eye(NUM_FACTORS)[free])
    assert others.max() < 0.06


def test_the_length_of_z_does_not_matter(z, factors):
    np.testing.assert_allclose(read_factors(3 * z), factors, atol=1e-5)


def test_scores_that_are_set_are_read_back(z):
    wanted = np.random.default_rng(1).normal(size=(N, NUM_FACTORS)).astype(np.float32)
    made = np.asarray(make_z(z, wanted))
    short = np.linalg.norm(wanted, axis=1) < 10
    assert short.mean() > 0.95
    np.testing.assert_allclose(np.asarray(read_scores(made))[short], wanted[short], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), np.sqrt(Z_DIM), rtol=1e-4)
    np.testing.assert_allclose(make_z(made, np.asarray(read_scores(made))), made, atol=1e-4)
    # What z says besides keeps its direction.
    idle = np.asarray(make_z(made, 0 * wanted)) / np.sqrt(Z_DIM)
    np.testing.assert_allclose(idle, make_z(z, 0 * wanted) / np.sqrt(Z_DIM), atol=1e-4)
    # Longer scores are shortened, not turned.
    far = np.asarray(read_scores(np.asarray(make_z(z, 10 * wanted))))
    cosine = (far * wanted).sum(axis=1) / np.linalg.norm(far, axis=1)
    np.testing.assert_allclose(cosine / np.linalg.norm(wanted, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(far, axis=1), np.sqrt(0.85 * Z_DIM), rtol=1e-4)


def test_mirroring_z_mirrors_factors(z, factors):
    other = np.asarray(mirror(z))
    np.testing.assert_allclose(mirror(other), z, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(other, axis=1), np.linalg.norm(z, axis=1), rtol=1e-5)
    sign = np.where(np.isin(FACTORS, MIRRORED), -1, 1)
    np.testing.assert_allclose(read_factors(other), sign * factors, atol=1e-4)


def test_the_map_is_smooth(z, factors):
    step = np.random.default_rng(2).normal(size=z.shape).astype(np.float32)
    assert np.abs(np.asarray(read_factors(z + 1e-3 * step)) - factors).max() < 0.05


def test_the_mean_person(factors):
    mean = mean_factors()
    assert mean.shape == (NUM_FACTORS,)
    np.testing.assert_allclose(mean, factors.mean(axis=0), atol=0.04)
    middle = np.asarray(factors_from_scores(jnp.zeros((1, NUM_FACTORS))))[0]
    np.testing.assert_allclose(middle[index("smile")], 0, atol=1e-6)
    np.testing.assert_allclose(middle[index("anger")], 2 * 0.5**1.6 - 1, atol=1e-6)


def test_hair_styles_are_equally_wide():
    values = np.zeros((701, NUM_FACTORS), np.float32)
    values[:, index("hair_style")] = np.linspace(-1, 1, 701)
    style = hair_style(values)
    assert style[0] == 0 and style[-1] == len(HAIR_STYLES) - 1 and (np.diff(style) >= 0).all()
    np.testing.assert_allclose(np.bincount(style), 701 / len(HAIR_STYLES), atol=1.2)


def test_unknown_factors_are_named():
    with pytest.raises(KeyError, match="unknown factor 'moustache'; known: smile, anger"):
        index("moustache")
