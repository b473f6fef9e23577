"""Networks with parameters as one value: architecture, parameters, and where they come from."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import jax
import numpy as np
from etils import epy

from mm_jax.errors import DataError
from mm_jax.meta import Meta

with epy.lazy_imports():
    from mm_jax import checkpoints, zoo

__all__ = ["Network", "check_tree", "flatten_tree"]

Config = TypeVar("Config")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Network(Generic[Config]):
    """Base of all networks; a pytree: the parameters are leaves, the rest is static under jit.

    A subclass names its `kind` and its class of configurations, which has `to_dict` and
    `from_dict`, and says how fresh parameters are made.

    Attributes:
        config: architecture.
        params: parameter tree, see the text of the network's module.
        meta: name, licence, source file and the like; `ranges`, {path: [scale, offset]}, of the
            parameters that are quantised, which are saved as the whole numbers that they are.
    """

    config: Config
    params: Mapping[str, Any]
    meta: Meta = dataclasses.field(default_factory=Meta)

    kind: ClassVar[str]
    config_type: ClassVar[Any]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        jax.tree_util.register_dataclass(
            cls, data_fields=["params"], meta_fields=["config", "meta"]
        )

    @classmethod
    def init(cls, config: Any, key: jax.Array) -> dict[str, Any]:
        """Fresh float32 parameters, a nested dictionary."""
        raise NotImplementedError

    @classmethod
    def configure(cls, values: Mapping[str, Any]) -> Any:
        """The configuration of an architecture's plain json values."""
        return cls.config_type.from_dict(values)

    @classmethod
    @functools.lru_cache(maxsize=64)
    def shapes(cls, config: Any) -> Mapping[str, Any]:
        """The tree of `jax.ShapeDtypeStruct` that an architecture has; computes nothing."""
        return jax.eval_shape(lambda: cls.init(config, jax.random.key(0)))

    @classmethod
    def make(
        cls, config: Any, params: Mapping[str, Any], *, meta: Mapping[str, Any] | None = None
    ) -> Self:
        """A network whose parameters are checked against its architecture.

        Raises:
            DataError: a parameter is missing, unknown or of another shape.
        """
        check_tree(cls.shapes(config), params, what=f"{cls.kind} parameters")
        return cls(config, params, Meta(meta))

    @classmethod
    def load(cls, name_or_dir: str | os.PathLike[str]) -> Self:
        """Open a network by bundled name or folder.

        Raises:
            UsageError: unknown name.
            DataError: missing or damaged folder.
        """
        return cls.load_dir(zoo.resolve(name_or_dir, cls.kind))

    @classmethod
    def load_dir(cls, directory: str | os.PathLike[str]) -> Self:
        """Open a network's folder.

        Raises:
            DataError: missing or damaged folder, or parameters that do not fit the architecture.
        """
        return cls(*checkpoints.load_network(directory, cls.kind, cls.configure, cls.shapes))

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        format: Literal["orbax", "safetensors"] = "safetensors",
        dtype: Literal["float32", "float16"] = "float32",
    ) -> Path:
        """Write the network's folder; arguments and errors as in `checkpoints.save_tree`."""
        config: Any = self.config
        meta = dict(self.meta)
        ranges = meta.pop("ranges", {})
        return checkpoints.save_tree(
            directory, self.kind, config.to_dict(), self.params, meta=meta, format=format,
            dtype=dtype, ranges=ranges,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """What the network is called in messages, reports and records."""
        return self.meta.get("name") or self.kind

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, config={self.config})"


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
    """Check the paths and shapes of a tree of parameters.

    Raises:
        DataError: naming the first path of `tree` that `wanted` does not have as it is.
    """
    want, have = flatten_tree(wanted), flatten_tree(tree)
    for path in sorted(want.keys() - have.keys()):
        raise DataError(f"{what}: {path} is missing")
    for path in sorted(have.keys() - want.keys()):
        raise DataError(f"{what}: {path} is not part of this architecture")
    for path, leaf in want.items():
        if np.shape(have[path]) != leaf.shape:
            raise DataError(
                f"{what}: {path} must have shape {list(leaf.shape)}, "
                f"got {list(np.shape(have[path]))}"
            )
