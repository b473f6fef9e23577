"""Folders of CLIP: Hugging Face's, which the project opens as they are, and OpenCLIP's.

A conversion checks a folder and writes it again: float32, safetensors, without what is not needed.
Weights that torch pickled (`pytorch_model.bin`) are read without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax import io
from mm_jax.errors import DataError
from mm_jax.perceptual.clip_files import check_kind, has_weights, load_clip
from mm_jax.perceptual.hugging_face import read_tokenizer
from weights_convert import openai_clip
from weights_convert.plan import Part, Plan, Request
from weights_convert.readers import read_file
from weights_convert.structure import arrays
from weights_convert.wrappers import unwrapped

__all__ = ["plan_folder"]

_OPEN_CLIP = "open_clip_config.json"
_OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)


def plan_folder(folder: Path, request: Request) -> Plan:
    """The plan for a folder.

    Raises:
        DataError: it holds no CLIP, or one that is not supported.
    """
    if (folder / _OPEN_CLIP).is_file():
        return _plan_open_clip(folder, request)
    config = io.read_json(folder / "config.json")
    if isinstance(config, dict) and "architecture" in config:
        raise DataError(f"{folder} is a network of this project: add --to=rosinality or nvlabs")
    check_kind(config, folder)
    vision = config.get("vision_config")
    metadata = {
        "picture": (vision if isinstance(vision, dict) else {}).get("image_size"),
        "projection": config.get("projection_dim"),
    }
    if has_weights(folder):
        return Plan((Part(metadata, lambda: load_clip(folder)),))
    files = sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise DataError(f"{folder} holds no weights of a CLIP")
    stored = _stored(files)
    note = f"weights of {', '.join(file.name for file in files)}, read without torch"
    return Plan((Part(metadata, lambda: load_clip(folder, stored=stored)),), (note,))


def _stored(files: list[Path]) -> dict[str, np.ndarray]:
    stored: dict[str, np.ndarray] = {}
    for file in files:
        content = unwrapped(read_file(file).content, _is_state, network=Request.network).content
        stored |= arrays(content, what=file.name)
    return stored


def _is_state(content: Any) -> bool:
    return isinstance(content, Mapping) and any("text_model." in str(key) for key in content)


def _plan_open_clip(folder: Path, request: Request) -> Plan:
    """OpenCLIP keeps OpenAI's names; what these do not say stands in its configuration."""
    config = io.read_json(folder / _OPEN_CLIP)
    model = config.get("model_cfg") if isinstance(config, dict) else None
    if not isinstance(model, dict):
        raise DataError(f"{folder / _OPEN_CLIP} has no model_cfg")
    vision, text = model.get("vision_cfg"), model.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict):
        raise DataError(f"{folder / _OPEN_CLIP} has no vision_cfg and text_cfg")
    if (
        "timm_model_name" in vision
        or "hf_model_name" in text
        or isinstance(vision.get("layers"), list)
    ):
        name = vision.get("timm_model_name") or text.get("hf_model_name") or "a ResNet"
        raise DataError(
            f"{folder} must hold OpenCLIP's own vision and text transformers, got "
            f"{str(name)[:60]}, which is not supported"
        )
    file = next((folder / n for n in _OPEN_CLIP_WEIGHTS if (folder / n).is_file()), None)
    if file is None:
        raise DataError(f"{folder} lacks {' or '.join(_OPEN_CLIP_WEIGHTS)}")
    content = unwrapped(read_file(file).content, openai_clip.is_state, network=Request.network)
    pictures = config.get("preprocess_cfg")
    pictures = pictures if isinstance(pictures, dict) else {}
    heads = openai_clip.Heads(
        vision=vision.get("head_width", openai_clip.HEAD), text=text.get("heads")
    )
    plan = openai_clip.plan_state(
        arrays(content.content, what="OpenCLIP"),
        request,
        activation="quick_gelu" if model.get("quick_gelu") else "gelu",
        heads=heads,
        mean=pictures.get("mean", openai_clip.MEAN),
        std=pictures.get("std", openai_clip.STD),
        tokenizer=None if request.vocabulary else lambda: read_tokenizer(folder),
    )
    return Plan(plan.parts, (*content.notes, *plan.notes))
