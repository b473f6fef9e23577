"""Batches over devices: the same results on eight as on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from mm_jax import parallel
from mm_jax.errors import UsageError

CHECK = Path(__file__).parent / "parallel_check.py"
ON_EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}


def on_eight_devices(*args):
    done = subprocess.run(
        [sys.executable, "-W", "error", CHECK, *args],
        capture_output=True, text=True, env={**os.environ, **ON_EIGHT}, cwd=CHECK.parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(result):
    assert result["devices"] == 8
    assert result["parts"] == [[2, 8, 8, 3]] * 8
    assert max(result["far"].values()) < 1e-5, result["far"]


def test_drawing_on_eight_devices():
    check(on_eight_devices())


@pytest.mark.slow
def test_everything_on_eight_devices():
    check(on_eight_devices("all"))


@pytest.fixture(scope="module")
def params():
    return parallel.replicate({"w": jnp.arange(3.0)}, parallel.make_mesh(jax.devices()[:1]))


def test_a_mesh_is_found_outside_of_jit_only(params):
    assert parallel.mesh_of(params) == parallel.make_mesh(jax.devices()[:1])
    assert parallel.width(params) == 1
    assert parallel.mesh_of({"w": jnp.ones(3)}) is None
    assert parallel.mesh_of({}) is None

    @jax.jit
    def traced(params):
        assert parallel.mesh_of(params) is None
        return params["w"]

    traced(params)


def test_functions_of_batches_are_called_as_they_are(params):
    x, y = np.ones((5, 3), np.float32), np.arange(5.0, dtype=np.float32)

    def function(x, y, scale, none):
        assert none is None
        return {"sum": (x * scale).sum(axis=1) + y}

    for like in (params, {"w": x}):
        found = parallel.over_batch(function, like, x, y, 2.0, None)
        np.testing.assert_allclose(found["sum"], 6 + y)
    assert parallel.split({"x": x}, {"w": x})["x"] is x


def test_bad_meshes(params):
    with pytest.raises(UsageError, match="at least one device"):
        parallel.make_mesh([])
    with pytest.raises(UsageError, match='"data"'):
        parallel.replicate(params, Mesh(np.array(jax.devices()[:1]), ("model",)))
