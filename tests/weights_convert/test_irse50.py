"""Face recognisers: folded as if they were not, and refused where they are something else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.errors import DataError
from mm_jax.nn.irse50 import IRSEConfig
from mm_jax.perceptual.arcface import ArcFace, ArcFaceConfig, embed_crops
from tests.weights_convert import foreign
from weights_convert.irse50 import arcface_from_state

CONFIG = ArcFaceConfig(
    body=IRSEConfig(stem_channels=4, channels=(4, 8, 12), units=(1, 1, 2), reduction=2),
    resolution=16,
    embedding=5,
)


@pytest.fixture(scope="module")
def state():
    return foreign.arcface_state()


def test_folded_normalisation_changes_nothing(state):
    config, params = arcface_from_state(state)
    assert config == CONFIG
    # Pictures without a zero on average: an error along the borders could not hide.
    crops = 0.7 + jax.random.normal(jax.random.key(0), (3, 16, 16, 3))
    ours = jax.jit(embed_crops)(ArcFace.make(config, params), crops)
    theirs = jax.jit(foreign.run_arcface)(state, crops.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_counters_may_be_missing(state):
    without = {key: value for key, value in state.items() if "num_batches" not in key}
    (config, ours), (_, theirs) = arcface_from_state(without), arcface_from_state(state)
    assert config == CONFIG
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_published_architecture_is_read_from_shapes(rule, goldens):
    entries = rule.read(goldens / "irse50" / "manifest.json.gz")["entries"]
    shapes = {key: np.broadcast_to(np.float32(0.5), e["shape"]) for key, e in entries.items()}
    # All is there but one value too many: the shapes have been understood.
    shapes["body.23.res_layer.6.weight"] = np.zeros(1)
    with pytest.raises(DataError, match=r"not in its table: body\.23\.res_layer\.6\.weight$"):
        arcface_from_state(shapes)


def without(*keys):
    return lambda state: {k: v for k, v in state.items() if k not in keys}


def having(key, change):
    return lambda state: {**state, key: change(state.get(key))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {}, "not the state dict of the IR-SE50 face recogniser"),
        (without("body.2.res_layer.1.weight"), r"body\.3\.res_layer\.1\.weight is not|body\.2"),
        (without("output_layer.3.weight"), r"output_layer\.3\.weight is missing"),
        (having("output_layer.3.weight", lambda v: v[:, :-1]), "are no square of 12 channels"),
        (
            without("body.1.res_layer.4.running_var", "body.0.res_layer.2.weight"),
            r"lacks body\.0\.res_layer\.2\.weight, body\.1\.res_layer\.4\.running_var$",
        ),
        (having("body.0.shortcut_layer.0.weight", lambda _: np.ones(1)), "not in its table"),
        (having("body.1.res_layer.5.fc1.weight", lambda v: v[:, :, 0]), "does not become"),
        (having("input_layer.2.weight", lambda v: v * np.nan), "holds NaN or infinity"),
        (having("body.0.res_layer.5.fc1.weight", lambda v: v[:0]), "not the state dict"),
    ],
)
def test_refuses(state, change, message):
    with pytest.raises(DataError, match=message):
        arcface_from_state(change(state))


def test_values_are_float32(state):
    for leaf in jax.tree.leaves(arcface_from_state(state)[1]):
        assert leaf.dtype == jnp.float32
