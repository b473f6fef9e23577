"""The architecture's arithmetic, and what it refuses."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_jax.errors import UsageError
from mm_jax.stylegan2.config import GeneratorConfig

resolutions = st.integers(3, 10).map(lambda n: 2**n)


@given(resolutions)
def test_rows_of_w_plus_follow_the_layers(resolution):
    config = GeneratorConfig(resolution=resolution)
    rows = [config.row_of(name) for name in config.layer_names]
    assert set(rows) == set(range(config.num_ws))
    assert rows == sorted(rows)
    # Each torgb shares its row with the next block's first convolution, and nothing else does.
    shared = [name for name in config.layer_names if rows.count(config.row_of(name)) == 2]
    assert len(shared) == 2 * (len(config.block_resolutions) - 1)
    assert all(name.endswith(("torgb", "conv0")) for name in shared)


def test_full_size_is_the_published_architecture():
    config = GeneratorConfig()
    assert config.num_ws == 18
    assert len(config.layer_names) == 26
    channels = [config.channels_at(r) for r in config.block_resolutions]
    assert channels == [512, 512, 512, 512, 512, 256, 128, 64, 32]
    assert config.layer_names[:5] == ("b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1", "b8.torgb")
    assert [config.row_of(name) for name in config.layer_names[:5]] == [0, 1, 1, 2, 3]
    assert config.style_width("b128.conv0") == 512
    assert config.style_width("b128.torgb") == 256


@given(
    resolutions,
    st.integers(1, 64),
    st.none() | st.floats(0.5, 512.0),
    st.booleans(),
)
def test_survives_json(resolution, width, clamp, explicit):
    blocks = resolution.bit_length() - 3 + 1
    config = GeneratorConfig(
        resolution=resolution,
        w_dim=width,
        conv_clamp=clamp,
        channels=tuple(range(1, blocks + 1)) if explicit else None,
    )
    again = GeneratorConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resolution": 48}, "power of two"),
        ({"resolution": 4}, "power of two"),
        ({"resolution": 64.0}, "power of two"),
        ({"z_dim": 0}, "z_dim must be a whole number of at least 1, got 0"),
        ({"w_dim": True}, "w_dim must be a whole number of at least 1, got True"),
        ({"mapping_layers": 0}, "mapping_layers"),
        ({"channel_base": 4}, "channel_base"),
        ({"resolution": 16, "channels": (8, 8)}, "must be 3 positive integers"),
        ({"resolution": 16, "channels": (8, 8, 0)}, "must be 3 positive integers"),
        ({"conv_clamp": 0.0}, "conv_clamp"),
        ({"conv_clamp": float("nan")}, "conv_clamp"),
        ({"mapping_lr_multiplier": 0.0}, "mapping_lr_multiplier"),
    ],
)
def test_refuses(values, message):
    with pytest.raises(UsageError, match=message):
        GeneratorConfig(**values)


def test_refuses_unknown_names():
    with pytest.raises(UsageError, match="unknown generator setting fused"):
        GeneratorConfig.from_dict({"fused": True})
    config = GeneratorConfig(resolution=16)
    with pytest.raises(UsageError, match=r"no layer 'b32\.conv0'"):
        config.row_of("b32.conv0")
    with pytest.raises(UsageError, match="no block at resolution 12"):
        config.channels_at(12)
