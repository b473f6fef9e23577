"""What was converted as the files that the rest of the project opens."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm_jax.artifacts import Latents, Subspace, save_latents, save_subspace
from mm_jax.checkpoints import save_generator
from mm_jax.encoders.encoder import Encoder, save_encoder
from mm_jax.meta import Meta
from mm_jax.perceptual.arcface import ArcFace, save_arcface
from mm_jax.perceptual.clip import Clip
from mm_jax.perceptual.clip_files import save_clip
from mm_jax.perceptual.lpips import Lpips, save_lpips
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
    save_generator(_with_facts(built, facts), folder, format="safetensors")
    return ""


@write.register
def _(built: Encoder, folder: Path, facts: Mapping[str, Any]) -> str:
    save_encoder(_with_facts(built, facts), folder)
    return ""


@write.register
def _(built: ArcFace, folder: Path, facts: Mapping[str, Any]) -> str:
    save_arcface(_with_facts(built, facts), folder)
    return ""


@write.register
def _(built: Lpips, folder: Path, facts: Mapping[str, Any]) -> str:
    save_lpips(_with_facts(built, facts), folder)
    return ""


@write.register
def _(built: Clip, folder: Path, facts: Mapping[str, Any]) -> str:
    save_clip(built, folder)
    return ""


@write.register
def _(built: Subspace, folder: Path, facts: Mapping[str, Any]) -> str:
    return save_subspace(folder / "subspace.npz", _with_facts(built, facts)).name


@write.register
def _(built: Latents, folder: Path, facts: Mapping[str, Any]) -> str:
    return save_latents(folder / "latents.npz", built).name


def _with_facts(built: Any, facts: Mapping[str, Any]) -> Any:
    return dataclasses.replace(built, meta=Meta({**built.meta, **facts}))
