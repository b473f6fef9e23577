"""A probe reads the factors off a picture: the judge of what an edit did.

Two of them are bundled, trained apart (other seed, other architecture, other pictures):
"synthface-probe", which training may use, and "synthface-judge", which only ever measures.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

import jax

from mm_jax.checkpoints import load_tree
from mm_jax.errors import DataError
from mm_jax.nn.trunk import TrunkConfig, apply_trunk, fit_pictures
from mm_jax.synthface.factors import FACTORS, NUM_FACTORS
from mm_jax.zoo import resolve


@functools.partial(jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["config"])
@dataclasses.dataclass(frozen=True)
class Probe:
    """A trained probe; a pytree whose config is static."""

    config: TrunkConfig
    params: Mapping[str, Any]


def load_probe(name_or_dir: str | os.PathLike[str] = "synthface-judge") -> Probe:
    """Opens a probe by bundled name or folder.

    Raises:
      UsageError: unknown name.
      DataError: missing or damaged folder, or a probe of other factors.
    """
    tree = load_tree(resolve(name_or_dir, "probe"), "probe")
    architecture = dict(tree.architecture)
    if tuple(architecture.pop("factors", ())) != FACTORS:
        raise DataError(f"{name_or_dir} reads other factors than this version of synthface draws")
    return Probe(TrunkConfig(**architecture), tree.params)


def apply_probe(config: TrunkConfig, params: Mapping[str, Any], images: jax.Array) -> jax.Array:
    """Pictures ``[N, R, R, 3]`` of the probe's own resolution to factors ``[N, F]``."""
    return apply_trunk(config, NUM_FACTORS, params, images)


@jax.jit
def read_factors(probe: Probe, images: jax.Array) -> jax.Array:
    """Factors ``[N, F]``, nominally in [-1, 1], of pictures ``[N, H, H, 3]`` in [-1, 1].

    Raises:
      UsageError: pictures of another shape.
    """
    return apply_probe(probe.config, probe.params, fit_pictures(images, probe.config.resolution))
