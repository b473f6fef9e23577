"""Programs of ArcFace and LPIPS also lower for accelerators that this machine need not have."""

import jax
import jax.numpy as jnp
import pytest

import mm_jax
from mm_jax.perceptual import arcface, lpips
from tests.perceptual.test_arcface import CONFIG
from tests.perceptual.test_lpips import CONFIGS

NETWORKS = {
    "arcface": arcface.ArcFace.make(CONFIG, dict(arcface.ArcFace.shapes(CONFIG))),
    **{
        name: lpips.Lpips.make(config, dict(lpips.Lpips.shapes(config)))
        for name, config in CONFIGS.items()
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_lowers_with_gradient(name):
    distance = mm_jax.identity_loss if name == "arcface" else lpips.lpips

    def program(net, x, y):
        return jax.value_and_grad(lambda x: distance(net, x, y).sum())(x)

    pictures = jax.ShapeDtypeStruct((2, 40, 40, 3), jnp.float32)
    traced = jax.jit(program).trace(NETWORKS[name], pictures, pictures)
    for platform in ("cuda", "tpu"):
        assert "module @jit" in traced.lower(lowering_platforms=(platform,)).as_text()
