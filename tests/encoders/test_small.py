"""The trunk and the bundled encoder built on it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.checkpoints import save_tree
from mm_jax.encoders import Encoder, encode, load_encoder, make_encoder, save_encoder
from mm_jax.encoders.small import SmallConfig, apply_small
from mm_jax.errors import DataError, UsageError
from mm_jax.nn.trunk import TrunkConfig
from tests.conftest import random_params

ROWS, WIDTH = 4, 6
TRUNK = TrunkConfig(resolution=16, fold=2, channels=(8, 8), activation="gelu", hidden=12)
CONFIG = SmallConfig(trunk=TRUNK, rows=ROWS, width=WIDTH)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    params = random_params(Encoder.shapes(CONFIG))
    return make_encoder(CONFIG, {**params, "w_avg": jnp.arange(WIDTH) * 1.0})


@pytest.fixture(scope="module")
def pictures() -> jax.Array:
    return jax.random.uniform(jax.random.key(1), (3, 16, 16, 3), minval=-1)


def test_codes_do_not_depend_on_the_batch(encoder, pictures):
    codes = encode(encoder, pictures)
    assert codes.shape == (3, ROWS, WIDTH)
    np.testing.assert_allclose(encode(encoder, pictures[1:2])[0], codes[1], atol=1e-5)


def test_a_silent_trunk_gives_the_mean_code(encoder, pictures):
    silent = {
        **encoder.params,
        "trunk": {
            **encoder.params["trunk"],
            "head": jax.tree.map(jnp.zeros_like, encoder.params["trunk"]["head"]),
        },
    }
    codes = apply_small(CONFIG, silent, pictures)
    np.testing.assert_allclose(codes, np.broadcast_to(np.arange(WIDTH), codes.shape))


def test_larger_pictures_are_reduced(encoder, pictures):
    large = jnp.repeat(jnp.repeat(pictures, 2, 1), 2, 2)
    np.testing.assert_allclose(encode(encoder, large), encode(encoder, pictures), atol=1e-4)


def test_a_saved_encoder_is_the_same(encoder, pictures, tmp_path):
    again = load_encoder(save_encoder(encoder, tmp_path / "e"))
    assert again.config == CONFIG
    np.testing.assert_array_equal(encode(again, pictures), encode(encoder, pictures))


def test_a_folder_that_describes_no_encoder_is_refused(encoder, tmp_path):
    for lacking in ("kind", "rows"):
        architecture = {k: v for k, v in CONFIG.to_dict().items() if k != lacking}
        save_tree(tmp_path / "e", "encoder", architecture, encoder.params)
        with pytest.raises(DataError, match=f"the architecture lacks '{lacking}'"):
            load_encoder(tmp_path / "e")
    save_tree(tmp_path / "e", "encoder", {**CONFIG.to_dict(), "rows": 5}, encoder.params)
    with pytest.raises(DataError, match=r"trunk/head/[a-z]* has shape"):
        load_encoder(tmp_path / "e")
    save_tree(tmp_path / "e", "encoder", {"kind": "hyperstyle", "body": {}}, encoder.params)
    with pytest.raises(DataError, match="kind must be one of psp, e4e"):
        load_encoder(tmp_path / "e")


def test_wrong_shapes_are_named(encoder):
    with pytest.raises(
        UsageError, match=r"must be square, \[N, H, H, 3\], got shape \[16, 16, 3\]"
    ):
        encode(encoder, jnp.zeros((16, 16, 3)))
    with pytest.raises(UsageError, match="do not divide an image of side 20"):
        TrunkConfig(resolution=20, fold=2, channels=(8, 8), activation="relu", hidden=4)
    with pytest.raises(UsageError, match="must be 'relu' or 'gelu'"):
        TrunkConfig(resolution=16, fold=2, channels=(8,), activation="tanh", hidden=4)
