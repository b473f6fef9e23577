"""The way back takes generators of any learning-rate multiplier."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from mm_jax.stylegan2.networks import map_latents
from weights_convert.detect import detect
from weights_convert.export import with_their_multiplier, write_state
from weights_convert.plan import Request
from weights_convert.readers import read_file


@pytest.mark.parametrize("multiplier", [1.0, 0.01, 0.3])
def test_any_multiplier_is_written_as_theirs(random_generator, tmp_path, multiplier):
    config = dataclasses.replace(random_generator.config, mapping_lr_multiplier=multiplier)
    gen = dataclasses.replace(random_generator, config=config)
    path = write_state(gen, tmp_path, to="rosinality", format="safetensors")
    content = read_file(path).content
    again = detect(content)[1].plan(content, Request()).parts[0].build()
    assert again.config.mapping_lr_multiplier == 0.01
    z = np.random.RandomState(0).randn(3, config.z_dim).astype(np.float32)
    wanted, found = (
        np.asarray(jax.jit(map_latents, static_argnums=0)(one.config, one.params, z))
        for one in (gen, again)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())
    assert (with_their_multiplier(gen) is gen) == (multiplier == 0.01)
