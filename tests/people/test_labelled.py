"""Batches from several stores."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from mm_jax.people.factors import FACTORS, MIRRORED, Z_DIM, factors_from_z, index, mirror_z
from mm_jax.people.labelled import Labelled, mirror_factors


class Store(NamedTuple):
    images: np.ndarray
    factors: np.ndarray


def _store(seed: int, count: int) -> Store:
    """Images that rise from left to right as their yaw does."""
    factors = np.random.default_rng(seed).uniform(-1, 1, (count, len(FACTORS))).astype(np.float32)
    slope = np.linspace(-1, 1, 8)[None, None, :, None] * factors[:, None, None, None, index("yaw")]
    images = np.round(127.5 * (1 + np.broadcast_to(slope, (count, 8, 8, 3)))).astype(np.uint8)
    return Store(images, factors)


def test_images_keep_their_factors_and_half_are_mirrored():
    stores = [_store(0, 5), _store(1, 40)]
    data = Labelled(stores)
    assert len(data) == 45
    images, factors = data.batch(np.random.default_rng(2), 400)
    assert images.dtype == np.uint8 and factors.dtype == np.float32
    ends = images[:, 0, -1, 0].astype(float) / 127.5 - 1
    np.testing.assert_allclose(ends, factors[:, index("yaw")], atol=0.01)
    known = {row.tobytes(): store for store, s in enumerate(stores) for row in s.factors}
    plain = [row.tobytes() in known for row in factors]
    assert 0.4 < np.mean(plain) < 0.6
    assert all(mirror_factors(row).tobytes() in known for row in factors[~np.array(plain)])
    # Every image is as likely as any other, whichever store holds it.
    from_first = [known[row.tobytes()] == 0 for row in factors[plain]]
    assert 0.02 < np.mean(from_first) < 0.25


def test_all_factors_in_order():
    stores = [_store(0, 3), _store(1, 4)]
    expected = np.concatenate([stores[0].factors, stores[1].factors])
    np.testing.assert_array_equal(Labelled(stores).factors(), expected)


def test_mirrored_factors_are_those_of_the_mirrored_z():
    z = jax.random.normal(jax.random.key(0), (4, Z_DIM))
    mirrored = mirror_factors(np.asarray(factors_from_z(z)))
    np.testing.assert_allclose(mirrored, factors_from_z(mirror_z(z)), atol=1e-5)
    assert (mirrored != np.asarray(factors_from_z(z))).any(axis=0).sum() == len(MIRRORED)
