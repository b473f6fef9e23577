"""What was converted as the files that the rest of the project opens."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm_jax.artifacts import Latents, Subspace, save_latents, save_subspace
from mm_jax.checkpoints import save_generator
from mm_jax.stylegan2.generator import Generator

__all__ = ["write"]


@functools.singledispatch
def write(built: Any, folder: Path, facts: Mapping[str, Any]) -> str:
    """Writes the result of a part.

    Args:
      built: the result.
      folder: an empty folder, or one that is still to be made.
      facts: where it comes from: name, source, licence.

    Returns:
      What to give to the other programs, below the folder; "" is the folder itself.
    """
    raise TypeError(f"no way to write a {type(built).__name__}")


@write.register
def _(built: Generator, folder: Path, facts: Mapping[str, Any]) -> str:
    from mm_jax.meta import Meta

    meta = Meta({**built.meta, **facts})
    save_generator(dataclasses.replace(built, meta=meta), folder, format="safetensors")
    return ""


@write.register
def _(built: Subspace, folder: Path, facts: Mapping[str, Any]) -> str:
    meta = {**built.meta, **facts}
    return save_subspace(folder / "subspace.npz", dataclasses.replace(built, meta=meta)).name


@write.register
def _(built: Latents, folder: Path, facts: Mapping[str, Any]) -> str:
    return save_latents(folder / "latents.npz", built).name
