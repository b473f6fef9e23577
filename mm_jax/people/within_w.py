"""A generator whose affine layers see only what W holds."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.networks import map_latents

__all__ = ["within_w"]

# Principal directions of W whose variance is lower are noise, in shares of the mean variance.
_LEAST_VARIANCE = 0.01


@functools.partial(jax.jit, static_argnums=0)
def within_w(config: GeneratorConfig, params: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
    """Parameters that draw the same images, with nothing in the way of an optimiser of latents.

    W fills some of its dimensions only. Along the others nothing holds the affine layers in
    training, and Muon, whose step is as long in all directions, moves them far. An optimisation of
    latents would find these directions and leave W by them, so the kernels are projected onto the
    principal directions of W's variance.

    Args:
        config: of the generator.
        params: its parameters.
        key: of the z from which W's directions are measured.
    """
    w = map_latents(config, params, jax.random.normal(key, (16384, config.z_dim)))
    mean = w.mean(axis=0)
    variances, directions = jnp.linalg.eigh(jnp.cov(w.T))
    held = directions * (variances >= _LEAST_VARIANCE * variances.mean())[None]

    def project(path, leaf):
        if "affine" not in (names := [str(k.key) for k in path]):
            return leaf
        layer = params["synthesis"][names[0]][names[1]]["affine"]
        kernel = held @ (held.T @ layer["kernel"])
        if names[-1] == "kernel":
            return kernel
        lost = mean @ (layer["kernel"] - kernel) / np.float32(np.sqrt(config.w_dim))
        return layer["bias"] + lost

    synthesis = jax.tree_util.tree_map_with_path(project, params["synthesis"])
    return {"mapping": params["mapping"], "synthesis": synthesis}
