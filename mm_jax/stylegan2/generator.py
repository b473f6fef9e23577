"""A generator as one value: architecture, parameters, and where they come from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mm_jax.errors import DataError
from mm_jax.meta import Meta
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.networks import init_params

__all__ = ["Generator", "check_tree", "flatten_tree", "make_generator", "parameter_shapes"]


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """A pytree: the parameters are leaves, the rest is static under jit.

    Attributes:
      config: architecture.
      params: parameter tree, see `mm_jax.stylegan2.modules`.
      meta: name, licence, source file and the like.
    """

    config: GeneratorConfig
    params: Mapping[str, Any]
    meta: Meta = dataclasses.field(default_factory=Meta)

    @property
    def name(self) -> str:
        """What the generator is called in messages and reports."""
        return self.meta.get("name") or "generator"

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 over the parameters' paths, shapes and float32 values; not for traced ones."""
        digest = hashlib.sha256()
        for path, leaf in sorted(flatten_tree(self.params).items()):
            value = np.asarray(leaf, dtype="<f4", order="C")
            digest.update(f"{path}{value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"Generator(name={self.name!r}, config={self.config})"


jax.tree_util.register_dataclass(Generator, data_fields=["params"], meta_fields=["config", "meta"])


def make_generator(
    config: GeneratorConfig, params: Mapping[str, Any], *, meta: Mapping[str, Any] | None = None
) -> Generator:
    """A generator whose parameters are checked against its architecture.

    Raises:
      DataError: a parameter is missing, unknown or of another shape.
    """
    check_tree(parameter_shapes(config), params, what="generator parameters")
    return Generator(config=config, params=params, meta=Meta(meta))


@functools.lru_cache(maxsize=64)
def parameter_shapes(config: GeneratorConfig) -> Mapping[str, Any]:
    """The tree of `jax.ShapeDtypeStruct`s that an architecture wants; computes nothing."""
    return jax.eval_shape(lambda: init_params(jax.random.key(0), config))


def flatten_tree(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries -> {"a/b/c": leaf}."""
    flat = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten_tree(value, f"{path}/")
        else:
            flat[path] = value
    return flat


def check_tree(wanted: Mapping[str, Any], tree: Mapping[str, Any], *, what: str) -> None:
    """Raises DataError at the first path of `tree` that `wanted` does not have as it is."""
    want, have = flatten_tree(wanted), flatten_tree(tree)
    for path in sorted(want.keys() - have.keys()):
        raise DataError(f"{what}: {path} is missing")
    for path in sorted(have.keys() - want.keys()):
        raise DataError(f"{what}: {path} is not part of this architecture")
    for path, leaf in want.items():
        if np.shape(have[path]) != leaf.shape:
            raise DataError(
                f"{what}: {path} has shape {list(np.shape(have[path]))}, want {list(leaf.shape)}"
            )
