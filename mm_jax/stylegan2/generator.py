"""A generator as one value: architecture, parameters, and where they come from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Self

import jax
import numpy as np

from mm_jax.nn.network import Network, flatten_tree
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.networks import init_params

__all__ = ["Generator", "make_generator"]


class Generator(Network[GeneratorConfig]):
    """A StyleGAN2; its parameter tree is that of `mm_jax.stylegan2.modules`."""

    kind = "generator"
    config_type = GeneratorConfig

    @classmethod
    def init(cls, config: GeneratorConfig, key: jax.Array) -> dict[str, Any]:
        """Fresh float32 parameters, a nested dictionary."""
        return init_params(key, config)

    def with_precision(self, precision: str) -> Self:
        """The same generator with its products in float32 or bfloat16; parameters are shared."""
        config = dataclasses.replace(self.config, precision=precision)
        return dataclasses.replace(self, config=config)

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 over the parameters' paths, shapes and float32 values; not for traced ones."""
        digest = hashlib.sha256()
        for path, leaf in sorted(flatten_tree(self.params).items()):
            value = np.asarray(leaf, dtype="<f4", order="C")
            digest.update(f"{path}{value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()


def make_generator(
    config: GeneratorConfig, params: Mapping[str, Any], *, meta: Mapping[str, Any] | None = None
) -> Generator:
    """A generator whose parameters are checked against its architecture.

    Raises:
        DataError: a parameter is missing, unknown or of another shape.
    """
    return Generator.make(config, params, meta=meta)
