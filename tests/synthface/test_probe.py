"""Probes: folders of their own kind, pictures of any size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.checkpoints import save_tree
from mm_jax.errors import DataError, UsageError
from mm_jax.nn.trunk import TrunkConfig, init_trunk
from mm_jax.synthface.factors import FACTORS, NUM_FACTORS
from mm_jax.synthface.probe import Probe, load_probe, read_factors

CONFIG = TrunkConfig(resolution=16, fold=4, channels=(8,), activation="relu", hidden=12)


@pytest.fixture(scope="module")
def probe() -> Probe:
    return Probe(CONFIG, init_trunk(CONFIG, NUM_FACTORS, jax.random.key(0)))


def test_a_saved_probe_reads_the_same(probe, tmp_path):
    architecture = {**CONFIG.to_dict(), "factors": list(FACTORS)}
    save_tree(tmp_path / "p", "probe", architecture, probe.params)
    pictures = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3), minval=-1)
    read = read_factors(load_probe(tmp_path / "p"), pictures)
    assert read.shape == (2, NUM_FACTORS)
    np.testing.assert_array_equal(read, read_factors(probe, pictures))


def test_a_probe_of_other_factors_is_refused(probe, tmp_path):
    save_tree(tmp_path / "p", "probe", {**CONFIG.to_dict(), "factors": ["hat"]}, probe.params)
    with pytest.raises(DataError, match="reads other factors"):
        load_probe(tmp_path / "p")


def test_wrong_shapes_are_named(probe):
    with pytest.raises(
        UsageError, match=r"must be square, \[N, H, H, 3\], got shape \[2, 8, 9, 3\]"
    ):
        read_factors(probe, jnp.zeros((2, 8, 9, 3)))
