"""Identifies the layout of a file from its key names.

Signatures are tried in order, those of relatives that are not supported first: a file of another
architecture is refused by its name, not by the list of its keys.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mm_jax.errors import DataError
from weights_convert import (
    bare,
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
from weights_convert.plan import Layout, Request
from weights_convert.structure import is_module, key_names
from weights_convert.table import listed

__all__ = ["BY_NAME", "REFUSED", "Detected", "detect", "is_known"]

_ANY = Request()


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
    "ganspace_cache": directions.CACHE,
    "ganspace_edit": directions.EDIT,
    "sefa": directions.SEFA,
    "higan": directions.HIGAN,
    "codes": directions.CODES,
}
"""Every layout by the name that `--layout` has for it."""

_SUPPORTED: dict[str, tuple[str, ...]] = {
    "tensorflow": (r"(\d\.)?synthesis/4x4/ToRGB/mod_weight", r"(\d\.)?dlatent_avg"),
    "nvlabs": (r"((G_ema|G)\.)?synthesis\.b4\.const", r"((G_ema|G)\.)?mapping\.fc0\.weight"),
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
    "ganspace_cache": ("lat_comp", "lat_mean", "lat_stdev"),
    "ganspace_edit": ("lat_comp", "lat_stdev", "edit_start", "edit_end"),
    "sefa": ("eigvec",),
    "higan": ("boundary", r"meta_data\..*"),
}

REFUSED: tuple[Signature, ...] = (
    Signature(
        "StyleGAN-XL generator",
        (r"(.*\.)?synthesis\.(input\.freqs|L\d+_.*)", r"(.*\.)?mapping\.embed_proj\..*"),
    ),
    Signature("StyleGAN3 generator", (r"(.*\.)?synthesis\.(input\.freqs|L\d+_.*)",)),
    Signature(
        "StyleGAN generator (the first version)", (r"(.*[./])?4x4/(Const/)?StyleMod/weight",)
    ),
    Signature("StyleGAN generator (the first version)", (r"(.*\.)?generator\.progression\.0\..*",)),
    Signature(
        "StyleGAN2 generator with growing resolution (configurations a to d)",
        (r"(.*[./])?ToRGB_lod\d+/.*",),
    ),
    Signature("EG3D generator", (r"(.*\.)?backbone\.synthesis\.b4\.const",)),
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
    Signature(
        "generator of lucidrains' stylegan2_pytorch", (r"(.*\.)?G\.blocks\.0\.to_style1\..*",)
    ),
    Signature("generator of BasicSR or GFPGAN", (r"(.*\.)?style_conv1\.modulated_conv\.weight",)),
    Signature(
        "generator of MMGeneration",
        (r"(.*\.)?constant_input\.const", r"(.*\.)?style_mapping\.\d+\..*"),
    ),
    Signature("network of SAM (age)", (r"(state_dict\.)?pretrained_encoder\..*",)),
    Signature(
        "OpenCLIP with a tower of timm (SigLIP, ConvNeXt and others)",
        (r"(.*\.)?visual\.trunk\..*",),
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
        (r"(.*\.)?visual\.layer1\.0\.conv1\.weight", r"(.*\.)?visual\.attnpool\.positional_.*"),
    ),
)
"""What is recognised and not supported."""


class Detected(NamedTuple):
    """What a file is: the layout, by name, and why it is taken for it where that is not plain."""

    name: str
    layout: Layout
    notes: tuple[str, ...] = ()


def detect(content: Any, name: str = "auto", request: Request = _ANY) -> Detected:
    """The layout of a file's content.

    Args:
        content: what `read_file` gave, `unwrapped`.
        name: a layout to take it for, in place of telling.
        request: what is asked of the file; its names tell what bare arrays are.

    Raises:
        DataError: a file of another kind, which is named where it is known, else its keys are; or
            one that may be of several kinds.
    """
    names = key_names(content)
    for signature in REFUSED:
        if signature.fits(names):
            raise DataError(f"holds a {signature.what}, which is not supported")
    if name != "auto":
        return Detected(name, BY_NAME[name])
    if found := _by_keys(names):
        return Detected(found, BY_NAME[found])
    if found := bare.told(content, request):
        return Detected(found.layout, BY_NAME[found.layout], found.notes)
    held = listed(names) if names else "nothing that has a name"
    entries = content.items() if isinstance(content, Mapping) else ()
    if empty := [key for key, value in entries if is_module(value) and not key_names(value)]:
        held += f"; {listed(map(str, empty))} is a module without parameters"
    raise DataError(f"is of no layout that is known; it holds {held}")


def is_known(content: Any, name: str = "auto") -> bool:
    """Whether the names in a content are those of a layout: of any, or of that of a name."""
    names = key_names(content)
    if name == "auto":
        return _by_keys(names) is not None
    return name not in _SUPPORTED or Signature(name, _SUPPORTED[name]).fits(names)


def _by_keys(names: tuple[str, ...]) -> str | None:
    for found, patterns in _SUPPORTED.items():
        if Signature(found, patterns).fits(names):
            return found
    return None
