"""Frozen networks that look at pictures.

The names are resolved on first use, so that importing this package loads neither JAX nor
transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mm_jax.perceptual.clip import Clip, clip_from_params, encode_image, encode_text
    from mm_jax.perceptual.clip_files import load_clip, save_clip
    from mm_jax.perceptual.resize import area_resize

__all__ = [
    "Clip",
    "area_resize",
    "clip_from_params",
    "encode_image",
    "encode_text",
    "load_clip",
    "save_clip",
]

_HOME = {
    "Clip": "clip",
    "area_resize": "resize",
    "clip_from_params": "clip",
    "encode_image": "clip",
    "encode_text": "clip",
    "load_clip": "clip_files",
    "save_clip": "clip_files",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
