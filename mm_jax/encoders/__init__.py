"""Pictures to latent codes.

The names are resolved on first use, so that importing this package does not load JAX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mm_jax.encoders.encoder import (
        Encoder,
        encode,
        load_encoder,
        make_encoder,
        save_encoder,
    )

__all__ = ["Encoder", "encode", "load_encoder", "make_encoder", "save_encoder"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("mm_jax.encoders.encoder"), name)
