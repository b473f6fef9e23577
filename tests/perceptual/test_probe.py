"""Probes: folders of their own kind, images of any size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.checkpoints import save_tree
from mm_jax.errors import DataError, UsageError
from mm_jax.nn.trunk import TrunkConfig
from mm_jax.perceptual.probe import Probe, ProbeConfig, load_probe, read_factors

TRUNK = TrunkConfig(resolution=16, fold=4, channels=(8,), activation="relu", hidden=12)
CONFIG = ProbeConfig(trunk=TRUNK, factors=("smile", "age", "yaw"))


@pytest.fixture(scope="module")
def probe() -> Probe:
    return Probe.make(CONFIG, Probe.init(CONFIG, jax.random.key(0)))


def test_a_saved_probe_reads_the_same(probe, tmp_path):
    probe.save(tmp_path / "p")
    images = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3), minval=-1)
    opened = load_probe(tmp_path / "p")
    assert opened.config == CONFIG and opened.factors == ("smile", "age", "yaw")
    read = read_factors(opened, images)
    assert read.shape == (2, 3)
    np.testing.assert_array_equal(read, read_factors(probe, images))


@pytest.mark.parametrize(
    ("factors", "message"),
    [(["smile"], "must have shape"), (["a", "a", "b"], "distinct"), (None, "lacks 'factors'")],
)
def test_folders_whose_names_do_not_fit_are_refused(probe, tmp_path, factors, message):
    architecture = {**TRUNK.to_dict()} | ({} if factors is None else {"factors": factors})
    save_tree(tmp_path / "p", "probe", architecture, probe.params)
    with pytest.raises((DataError, UsageError), match=message):
        load_probe(tmp_path / "p")


def test_wrong_shapes_are_named(probe):
    with pytest.raises(
        UsageError, match=r"must be square, \[N, H, H, 3\], got shape \[2, 8, 9, 3\]"
    ):
        read_factors(probe, jnp.zeros((2, 8, 9, 3)))
