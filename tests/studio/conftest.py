"""A world of a tiny generator with two motions, and sessions in it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import mm_jax
from mm_jax.artifacts import Subspace, save_subspace
from mm_jax.studio.session import Session, Studio
from mm_jax.studio.world import Worlds

L, D = 6, 12


#: What is read of a motion grows from -0.5 to 1.5, and fastest between 0 and 0.5.
CALIBRATION = {
    "strengths": [-2.0, -0.5, 0.0, 0.5, 1.5, 2.0],
    "readings": [0.1, 0.1, 0.2, 0.5, 0.8, 0.8],
    "saturates": [-0.5, 1.5],
}


def subspace(seed: int, *, fingerprint: str = "", **meta: Any) -> Subspace:
    basis = np.random.default_rng(seed).standard_normal((1, L, D)).astype(np.float32)
    if fingerprint:
        meta["generator_fingerprint"] = fingerprint
    return Subspace(
        basis / np.linalg.norm(basis), 2.0, np.array([2.0, 1.0], np.float32),
        np.zeros((L, D), np.float32), 0.8, np.ones(L, bool), meta,
    )  # fmt: skip


@pytest.fixture(scope="session")
def studio_dir(tmp_path_factory, tiny_generator):
    """A folder with a generator and two subspaces."""
    folder = tmp_path_factory.mktemp("studio")
    mm_jax.save_generator(tiny_generator, folder / "tiny", format="safetensors")
    for i, name in enumerate(("smile", "beard")):
        save_subspace(folder / f"{name}.npz", subspace(i))
    save_subspace(folder / "even.npz", subspace(2, calibration=CALIBRATION))
    return folder


@pytest.fixture(scope="session")
def worlds(studio_dir):
    files = [str(studio_dir / f"{name}.npz") for name in ("smile", "beard")]
    return Worlds([str(studio_dir / "tiny")], subspaces=files)


@pytest.fixture
def studio(worlds):
    own = Studio(worlds)
    yield own
    own.close()


@pytest.fixture
def frames():
    """The frames that a session was handed, in order."""
    return []


@pytest.fixture
def session(studio, worlds, frames):
    own = Session(studio, worlds[worlds.names[0]], frames.append)
    yield own
    own.close()


@pytest.fixture
def binary():
    """`binary("mm_edit", "--session=a.json")` is the program's exit status."""

    def run(name, *args):
        module = importlib.import_module(f"bin.{name}")
        return module.main([name, "--compile_cache=off", *map(str, args)])

    return run
