"""Anchors: codes of one identity along one micromotion, from prompts of growing degree or clips."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, Motion, degree_values, fill
    from mm_jax.anchors.text import text_anchors
    from mm_jax.anchors.video import video_anchors

__all__ = [
    "DEFAULT_DEGREES",
    "MOTIONS",
    "Motion",
    "degree_values",
    "fill",
    "text_anchors",
    "video_anchors",
]

_HOME = {"text_anchors": "text", "video_anchors": "video"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'prompts')}"), name)
