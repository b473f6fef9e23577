"""How far a motion can be driven."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax import latents
from mm_jax.artifacts import Subspace
from mm_jax.editing import limits
from mm_jax.editing.limits import motion_limits


@pytest.fixture
def subspace(tiny_generator):
    config = tiny_generator.config
    basis = np.random.default_rng(0).standard_normal((1, config.num_ws, config.w_dim))
    basis = (basis / np.linalg.norm(basis)).astype(np.float32)
    mean = np.zeros(basis.shape[1:], np.float32)
    return Subspace(basis, 1.0, np.ones(1, np.float32), mean, 1.0, np.ones(len(mean), bool))


def pictures_of(follow):
    """A synthesis whose pictures are as far along as `follow` says, of how far latents are."""

    def synthesize(gen, ws, *, resolution):
        origin = np.asarray(latents.mean_latent(gen))[0]
        along = np.asarray(ws) - origin
        amount = follow(along[:, 0, 0] / STEP)
        return np.broadcast_to(amount[:, None, None, None] / 4, (len(ws), 4, 4, 3))

    return synthesize


STEP = 1.0


@pytest.mark.parametrize(
    ("follow", "wanted"),
    [
        (lambda s: s, (-2.0, 2.0)),
        (lambda s: np.minimum(s, 1.0), (-2.0, 1.0)),
        (lambda s: np.clip(s, -1.0, 4 / 3), (-1.0, 4 / 3)),
    ],
)
def test_limits_are_where_pictures_stop(tiny_generator, subspace, monkeypatch, follow, wanted):
    monkeypatch.setattr(limits, "synthesize", pictures_of(follow))
    monkeypatch.setattr(limits, "sample_latents", lambda gen, **_: latents.mean_latent(gen))
    monkeypatch.setattr(f"{__name__}.STEP", float(np.asarray(subspace.direction)[0, 0]))
    assert motion_limits(tiny_generator, subspace) == pytest.approx(wanted, abs=1e-5)


def test_limits_of_a_generator(tiny_generator, subspace):
    low, high = motion_limits(tiny_generator, subspace)
    assert -2 <= low < 0 < high <= 2
