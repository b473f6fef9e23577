"""Renders with known factors: written, read, refused when damaged."""

import json

import numpy as np
import pytest

from mm_jax.errors import DataError, UsageError
from mm_jax.evaluation.renders import load_known_renders, save_known_renders

NAMES = ("age", "yaw")


@pytest.fixture
def folder(tmp_path):
    random = np.random.RandomState(0)
    save_known_renders(
        tmp_path / "renders",
        random.randint(0, 256, (3, 8, 8, 3)).astype(np.uint8),
        random.standard_normal((3, 4)).astype(np.float32),
        random.uniform(-1, 1, (3, 2)).astype(np.float32),
        scale=np.array([0.5, 0.25], np.float32),
        names=NAMES,
    )
    return tmp_path / "renders"


def test_round_trip(folder):
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (3, 8, 8, 3))
    known = load_known_renders(folder)
    assert known.names == NAMES and known.images.dtype == np.float32
    np.testing.assert_array_equal(np.rint((known.images + 1) * 127.5), images)
    np.testing.assert_array_equal(known.scale, [0.5, 0.25])


def test_what_is_damaged_is_refused(folder, tmp_path):
    (folder / "renders.json").write_text(json.dumps({"factors": ["age"]}))
    with pytest.raises(DataError, match="does not name the 2 factors"):
        load_known_renders(folder)
    (folder / "renders.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"renders\.npz"):
        load_known_renders(folder)
    with pytest.raises(UsageError, match="unknown renders 'nowhere'"):
        load_known_renders("nowhere")
