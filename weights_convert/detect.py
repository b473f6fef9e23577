"""Identifies the layout of a file from its key names.

Signatures are tried in order, those of relatives that are not supported first: a file of another
architecture is refused by its name, not by the list of its keys.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError
from weights_convert import (
    directions,
    encoders,
    face_api,
    irse50,
    lpips,
    nvlabs,
    openai_clip,
    rosinality,
    tensorflow,
)
from weights_convert.plan import Layout
from weights_convert.structure import key_names
from weights_convert.table import listed

__all__ = ["BY_NAME", "REFUSED", "detect"]


@dataclasses.dataclass(frozen=True)
class Signature:
    """Patterns of names: each of `held` is the whole of some name in the file, `absent` of none."""

    what: str
    held: tuple[str, ...]
    absent: str | None = None

    def fits(self, names: Iterable[str]) -> bool:
        joined = "\n".join(names)

        def found(pattern):
            return re.search(f"^(?:{pattern})$", joined, re.MULTILINE) is not None

        return all(map(found, self.held)) and not (self.absent and found(self.absent))


BY_NAME: dict[str, Layout] = {
    "rosinality": rosinality.LAYOUT,
    "nvlabs": nvlabs.LAYOUT,
    "tensorflow": tensorflow.LAYOUT,
    "encoder": encoders.LAYOUT,
    "irse50": irse50.LAYOUT,
    "lpips": lpips.LAYOUT,
    "openai_clip": openai_clip.LAYOUT,
    "face_api": face_api.LAYOUT,
    "direction": directions.DIRECTION,
    "ganspace": directions.COMPONENTS,
    "codes": directions.CODES,
}
"""Every layout by the name that `--layout` has for it."""

_SUPPORTED: dict[str, tuple[str, ...]] = {
    "tensorflow": (r"(\d\.)?synthesis/4x4/ToRGB/mod_weight", r"(\d\.)?dlatent_avg"),
    "nvlabs": (r"(\w+\.)?synthesis\.b4\.const", r"(\w+\.)?mapping\.fc0\.weight"),
    "rosinality": (
        r"(g_ema\.|g\.)?input\.input",
        r"(g_ema\.|g\.)?style\.1\.(linear\.)?weight(_orig)?",
        r"(g_ema\.|g\.)?conv1\.conv\.weight",
    ),
    "encoder": (
        r"state_dict\.encoder\.(input_layer|body)\..*",
        r"state_dict\.decoder\..*",
        r"opts\..*",
    ),
    "irse50": (r"input_layer\.0\.weight", r"output_layer\.3\.weight"),
    "lpips": (r"(lin0\.model|0)\.1\.weight", r"(lin4\.model|4)\.1\.weight"),
    "openai_clip": (r"visual\.class_embedding", r"positional_embedding", r"visual\.proj"),
    "face_api": (
        r"weights\.(conv8/filters|Output/extra_dim|fc/(age/)?weights|conv32_down/conv/filters)",
    ),
    "ganspace": ("comp", "mean", "std"),
}

REFUSED: tuple[Signature, ...] = (
    Signature("StyleGAN3 generator", (r"(.*\.)?synthesis\.(input\.freqs|L\d+_.*)",)),
    Signature(
        "StyleGAN generator (the first version)", (r"(.*[./])?4x4/(Const/)?StyleMod/weight",)
    ),
    Signature("StyleGAN generator (the first version)", (r"(.*\.)?generator\.progression\.0\..*",)),
    Signature(
        "StyleGAN2 generator with growing resolution (configurations a to d)",
        (r"(.*[./])?ToRGB_lod\d+/.*",),
    ),
    Signature(
        "StyleGAN2 generator of the resnet architecture",
        (r"(.*\.)?synthesis[./](b8\.skip\.|8x8/Skip/)weight",),
    ),
    Signature(
        "StyleGAN2 generator of the orig architecture",
        (r"(.*\.)?synthesis[./](b4\.const|4x4/Const/const)",),
        absent=r"(.*\.)?synthesis[./](b4\.torgb\.bias|4x4/ToRGB/bias)",
    ),
    Signature(
        "conditional TensorFlow generator of stylegan2 (labels that are not embedded)",
        (r"(.*[./])?mapping/LabelConcat/weight",),
    ),
    Signature("HyperStyle network", (r"(state_dict\.)?hypernet\..*",)),
    Signature(
        "ReStyle encoder with a ResNet34 trunk",
        (r"state_dict\.encoder\.conv1\.weight", r"state_dict\.encoder\.bn1\.weight"),
    ),
    Signature(
        "classifier of torchvision by itself (for LPIPS, it is the --trunk)",
        (r"features\.0\.weight", r"classifier\.6\.weight"),
    ),
    Signature("StyleCLIP mapper", (r"state_dict\.mapper\..*",)),
    Signature(
        "CLIP with a ResNet in place of a vision transformer",
        (r"visual\.layer1\.0\.conv1\.weight", r"visual\.attnpool\.positional_embedding"),
    ),
)
"""What is recognised and not supported."""


def detect(content: Any, name: str = "auto") -> tuple[str, Layout]:
    """The layout of a file's content, by name.

    Args:
        content: what `read_file` gave.
        name: a layout to take it for, in place of telling.

    Raises:
        DataError: a file of another kind; it is named where it is known, else its keys are.
    """
    names = key_names(content)
    for signature in REFUSED:
        if signature.fits(names):
            raise DataError(f"holds a {signature.what}, which is not supported")
    found = name if name != "auto" else _told_by(content, names)
    return found, BY_NAME[found]


def _told_by(content: Any, names: tuple[str, ...]) -> str:
    for found, patterns in _SUPPORTED.items():
        if Signature(found, patterns).fits(names):
            return found
    if isinstance(content, np.ndarray):
        return "direction"
    if isinstance(content, Mapping) and content and all(map(_is_picture, content)):
        return "codes"
    held = listed(names) if names else "nothing that has a name"
    raise DataError(f"is of no layout that is known; it holds {held}")


def _is_picture(key: Any) -> bool:
    return isinstance(key, str) and key.lower().endswith((".jpg", ".jpeg", ".png"))
