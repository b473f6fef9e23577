"""Pictures in little memory are the generator's; memory of mapped files is given back."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax import io
from mm_jax.latents import sample_latents, skip_images
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator, make_generator
from tests.conftest import random_params
from weights_convert import lean
from weights_convert.readers import read_file, release


@pytest.fixture(scope="module")
def generator():
    """Of 128 px, with noise and clamp at work."""
    config = GeneratorConfig(
        resolution=128, z_dim=5, w_dim=6, mapping_layers=1, channels=(4, 4, 5, 4, 3, 2),
        conv_clamp=1.5,
    )  # fmt: skip
    return make_generator(config, random_params(Generator.shapes(config)))


@pytest.mark.parametrize("noise_mode", ["const", "none"])
def test_tiles_leave_no_seams(generator, monkeypatch, noise_mode):
    monkeypatch.setattr(lean, "_TILE", 32)
    ws = sample_latents(generator, seeds=[1, 2])
    want = skip_images(generator, ws, noise_mode=noise_mode)
    found = lean.lean_images(generator, ws, noise_mode=noise_mode)
    assert found.keys() == want.keys()
    for side, picture in found.items():
        scale = float(np.abs(want[side]).max())
        np.testing.assert_allclose(picture, want[side], atol=2e-6 * scale, rtol=0)


@pytest.mark.parametrize("resolution", [256, 512, 1024])
def test_tiles_cover_everything_once_sure(resolution):
    places = lean._places(resolution)
    assert places[0] == 0 and places[-1] == resolution - lean._TILE
    assert all(start % 2 == 0 for start in places)
    reached = 0
    for start in places:
        sure = lean._sure(start, resolution, 1)
        assert sure.start <= reached < sure.stop
        reached = sure.stop
    assert reached == resolution


def test_released_arrays_stay_as_they_are(tmp_path):
    values = np.arange(100_000, dtype=np.float32)
    io.write_atomic(tmp_path / "x", lambda file: io.put_safetensors(file, {"a": values}))
    content = read_file(tmp_path / "x").content
    np.testing.assert_array_equal(content["a"], values)
    release(content["a"][::2], values, None)
    np.testing.assert_array_equal(content["a"], values)
