"""A probe reads the factors off an image: the judge of what an edit did.

Two of them are bundled, trained apart (other seed, other architecture, other renders):
"people-probe", which training may use, and "people-judge", which only ever measures.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mm_jax.checkpoints import load_tree
from mm_jax.errors import DataError
from mm_jax.nn.trunk import TrunkConfig, apply_trunk, fit_pictures
from mm_jax.people.factors import FACTORS, NUM_FACTORS
from mm_jax.zoo import resolve

__all__ = ["Probe", "apply_probe", "augment", "load_probe", "read_factors"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["config"])
@dataclasses.dataclass(frozen=True)
class Probe:
    """A trained probe; a pytree whose config is static."""

    config: TrunkConfig
    params: Mapping[str, Any]


def load_probe(name_or_dir: str | os.PathLike[str] = "people-judge") -> Probe:
    """Open a probe by bundled name or folder.

    Raises:
        UsageError: unknown name.
        DataError: missing or damaged folder, or a probe of other factors.
    """
    tree = load_tree(resolve(name_or_dir, "probe"), "probe")
    architecture = dict(tree.architecture)
    if tuple(architecture.pop("factors", ())) != FACTORS:
        raise DataError(f"{name_or_dir} reads other factors than this version of people draws")
    return Probe(TrunkConfig(**architecture), tree.params)


def apply_probe(config: TrunkConfig, params: Mapping[str, Any], images: jax.Array) -> jax.Array:
    """Images ``[N, R, R, 3]`` of the probe's own resolution to factors ``[N, F]``."""
    return apply_trunk(config, NUM_FACTORS, params, images)


@jax.jit
def read_factors(probe: Probe, images: jax.Array) -> jax.Array:
    """Factors ``[N, F]``, nominally in [-1, 1], of images ``[N, H, H, 3]`` in [-1, 1].

    Raises:
        UsageError: images of another shape.
    """
    return apply_probe(probe.config, probe.params, fit_pictures(images, probe.config.resolution))


def augment(images: jax.Array, key: jax.Array) -> jax.Array:
    """Slight noise and blur: a probe must not live on the exact pixels of the renderer."""
    ka, kb, kc, kd = jax.random.split(key, 4)
    n, r = images.shape[:2]
    near = images.reshape(n, r // 2, 2, r // 2, 2, 3).mean((2, 4))
    blurred = jnp.repeat(jnp.repeat(near, 2, 1), 2, 2)
    mix = jax.random.uniform(ka, (n, 1, 1, 1)) * jax.random.bernoulli(kd, 0.5, (n, 1, 1, 1))
    level = jax.random.uniform(kb, (n, 1, 1, 1), maxval=0.06)
    return images + mix * (blurred - images) + level * jax.random.normal(kc, images.shape)
