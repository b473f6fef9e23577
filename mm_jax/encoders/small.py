"""The bundled encoder: a picture to a W+ code in one pass, as a start for inversion."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

import jax

from mm_jax.checkpoints import load_tree
from mm_jax.encoders.trunk import TrunkConfig, apply_trunk, fit_pictures
from mm_jax.errors import DataError
from mm_jax.zoo import resolve


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["config", "rows", "width"],
)
@dataclasses.dataclass(frozen=True)
class Encoder:
    """A trained encoder; ``params`` holds the trunk's and the mean code ``w_avg [D]``."""

    config: TrunkConfig
    rows: int
    width: int
    params: Mapping[str, Any]


def load_encoder(name_or_dir: str | os.PathLike[str] = "synthface-encoder") -> Encoder:
    """Opens an encoder by bundled name or folder.

    Raises:
      UsageError: unknown name.
      DataError: missing or damaged folder.
    """
    tree = load_tree(resolve(name_or_dir, "encoder"), "encoder")
    architecture = dict(tree.architecture)
    try:
        rows, width = int(architecture.pop("rows")), int(architecture.pop("width"))
        return Encoder(TrunkConfig(**architecture), rows, width, tree.params)
    except (KeyError, TypeError) as error:
        raise DataError(f"{name_or_dir} does not describe an encoder: {error}") from error


def apply_encoder(
    config: TrunkConfig, rows: int, width: int, params: Mapping[str, Any], images: jax.Array
) -> jax.Array:
    """W+ ``[N, L, D]``: the mean code, an offset for all rows, and one for each row."""
    out = apply_trunk(config, (rows + 1) * width, params["trunk"], images)
    offsets = out.reshape(len(images), rows + 1, width)
    return params["w_avg"][None, None, :] + offsets[:, :1] + offsets[:, 1:]


@jax.jit
def encode(encoder: Encoder, images: jax.Array) -> jax.Array:
    """Codes ``[N, L, D]`` of pictures ``[N, H, H, 3]`` in [-1, 1].

    Raises:
      UsageError: pictures of another shape.
    """
    images = fit_pictures(encoder.config, images)
    return apply_encoder(encoder.config, encoder.rows, encoder.width, encoder.params, images)
