"""Generators that differ from another in some parameters, as small folders.

A folder holds the differences of the changed parameters in float16, and its `config.json` names the
base: a bundled name or a folder, and its fingerprint. It opens like any generator's folder
(`mm_jax.load_generator`), provided that the base is there and is the same.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from mm_jax import io
from mm_jax.checkpoints import CONFIG, load_tree, nested, save_tree
from mm_jax.errors import DataError
from mm_jax.meta import Meta
from mm_jax.nn.network import flatten_tree
from mm_jax.stylegan2.generator import Generator

__all__ = ["KIND", "is_delta", "load_delta", "save_delta"]

KIND = "generator_delta"


def save_delta(
    tuned: Generator,
    directory: io.PathLike,
    *,
    base: Generator,
    base_name: str | os.PathLike[str],
    meta: dict[str, Any] | None = None,
) -> Path:
    """Write what sets `tuned` apart from `base`.

    Args:
        tuned: a generator of the same architecture.
        directory: the folder to be.
        base: what it was made from.
        base_name: how the base is opened: a bundled name, or its folder, which is kept as an
            absolute path.
        meta: further json values, such as how it was tuned.

    Raises:
        DataError: another architecture, differences that are not finite or beyond float16, nothing
            that differs, or a folder that cannot be written.
    """
    if tuned.config != base.config:
        raise DataError("a delta is between generators of one architecture, got two")
    old, new = flatten_tree(base.params), flatten_tree(tuned.params)
    changes = {path: np.asarray(new[path]) - np.asarray(old[path]) for path in old}
    changes = {path: change for path, change in changes.items() if change.any()}
    if not changes:
        raise DataError("the generators are equal: there is no delta to write")
    name = os.fspath(base_name)
    facts = {
        "base": os.path.abspath(name) if os.path.isdir(name) else name,
        "base_fingerprint": base.fingerprint,
        "licence": base.meta.get("licence"),
    }
    return save_tree(
        directory,
        KIND,
        base.config.to_dict(),
        nested(changes),
        meta={**(meta or {}), **facts},
        dtype="float16",
    )


def is_delta(directory: io.PathLike) -> bool:
    """Whether a folder holds a delta; False where there is nothing to read."""
    config = Path(directory) / CONFIG
    if not config.is_file():
        return False
    values = io.read_json(config)
    return isinstance(values, dict) and values.get("kind") == KIND


def load_delta(directory: io.PathLike, base: Generator) -> Generator:
    """The generator that a delta makes of its base, whose facts it keeps where it has none.

    Raises:
        DataError: a damaged folder, or one that was made from another generator.
    """
    tree = load_tree(directory, KIND)
    home = tree.meta.get("base_fingerprint")
    if home != base.fingerprint:
        raise DataError(
            f"{directory} was made from another generator than {base.name}: it wants the one with "
            f"fingerprint {str(home)[:12]}, this one has {base.fingerprint[:12]}"
        )
    params = dict(flatten_tree(base.params))
    for path, change in flatten_tree(tree.params).items():
        if path not in params or np.shape(params[path]) != change.shape:
            raise DataError(f"{directory}: {path} is not a parameter of {base.name}")
        params[path] = jnp.asarray(params[path]) + change
    return Generator(base.config, nested(params), Meta({**base.meta, **tree.meta}))
