"""The generator's programs also lower for accelerators that this machine need not have."""

import jax
import jax.numpy as jnp
import pytest

import mm_jax
from mm_jax.stylegan2 import networks


def mean_square(gen, ws):
    return jnp.mean(jnp.square(mm_jax.synthesize(gen, ws)))


PROGRAMS = {
    "mapping": lambda gen, ws, key: networks.map_latents(gen.config, gen.params, ws[:, 0, :10]),
    "pictures": lambda gen, ws, key: mm_jax.synthesize(gen, ws),
    "noise": lambda gen, ws, key: mm_jax.synthesize(
        gen, ws, noise_mode="random", noise_key=key, batch_size=1
    ),
    "skips": lambda gen, ws, key: mm_jax.skip_images(gen, ws, resolution=8),
    "styles": lambda gen, ws, key: mm_jax.synthesize_from_styles(
        gen, mm_jax.to_stylespace(gen, ws)
    ),
    "truncation": lambda gen, ws, key: mm_jax.sample_latents(
        gen, z=ws[:, 0, :10], truncation_psi=0.5, truncation_cutoff=2
    ),
    "code gradient": lambda gen, ws, key: jax.grad(mean_square, argnums=1)(gen, ws),
    "weight gradient": lambda gen, ws, key: jax.grad(mean_square)(gen, ws).params,
    "code gradients in parallel": lambda gen, ws, key: jax.vmap(
        lambda w: jax.grad(mean_square, argnums=1)(gen, w[None])
    )(ws),
}


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_lowers(tiny, program, platform):
    ws = jnp.zeros((2, tiny.config.num_ws, tiny.config.w_dim))
    traced = jax.jit(PROGRAMS[program]).trace(tiny, ws, jax.random.key(0))
    lowered = traced.lower(lowering_platforms=(platform,))
    assert "module @jit" in lowered.as_text()
