"""Folders of CLIP in Hugging Face's layout, which the project opens as they are.

A conversion checks one and writes it again: float32, safetensors, without what is not needed.
"""

from __future__ import annotations

from pathlib import Path

from mm_jax import io
from mm_jax.errors import DataError
from mm_jax.perceptual.clip_files import load_clip
from weights_convert.plan import Part, Plan

__all__ = ["plan_folder"]


def plan_folder(folder: Path) -> Plan:
    """The plan for a folder.

    Raises:
        DataError: it holds no CLIP.
    """
    config = io.read_json(folder / "config.json")
    if isinstance(config, dict) and "architecture" in config:
        raise DataError(f"{folder} is a network of this project: add --to=rosinality or nvlabs")
    if not isinstance(config, dict) or config.get("model_type") != "clip":
        raise DataError(f"{folder}: its config.json is not that of a CLIP")
    vision = config.get("vision_config")
    facts = {
        "picture": (vision if isinstance(vision, dict) else {}).get("image_size"),
        "projection": config.get("projection_dim"),
    }
    return Plan((Part(facts, lambda: load_clip(folder)),))
