"""IR-SE50 in PyTorch's layout: ArcFace's `model_ir_se50.pth`, and the body of pSp, e4e and ReStyle.

Normalisations are stored as they were trained. They are read first and folded then, in float64,
into what `mm_jax.nn.irse50` has in their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError, UsageError
from mm_jax.nn.irse50 import IRSEConfig
from mm_jax.perceptual.arcface import ArcFace, ArcFaceConfig
from weights_convert.builder import TableBuilder
from weights_convert.plan import Layout, Part, Plan, Request
from weights_convert.structure import arrays

__all__ = ["LAYOUT", "arcface_from_state", "body_table", "fold_body", "infer_body"]

_WHAT = "IR-SE50 face recogniser"
_NORM_EPSILON = 1e-5


def arcface_from_state(state: Mapping[str, np.ndarray]) -> tuple[ArcFaceConfig, dict[str, Any]]:
    """Configuration and parameters of a face recogniser's state dict.

    Raises:
        DataError: keys or shapes that are not this layout's; every one is accounted for.
    """
    config = _infer_config(state)
    tree = _table(config).read(state, what=_WHAT)
    last, inputs = config.body.channels[-1], len(tree["dense"]["kernel"])

    # The features are flattened channels first there, last here.
    kernel = tree["dense"]["kernel"].astype(np.float64).reshape(last, inputs // last, -1)
    scale, shift = _affine(tree["before"])
    bias = tree["dense"]["bias"] + np.einsum("cpe,c->e", kernel, shift)
    kernel = (kernel * scale[:, None, None]).transpose(1, 0, 2).reshape(inputs, -1)
    scale, shift = _affine(tree["after"])
    dense = {"kernel": kernel * scale[None, :], "bias": bias * scale + shift}
    return config, {"body": fold_body(config.body, tree), "dense": _as_float32(dense)}


def _plan(content: Any, request: Request) -> Plan:
    state = arrays(content, what=_WHAT)
    config = _infer_config(state)
    table = _table(config)
    table.check(state, what=_WHAT)
    metadata = {
        "crops": f"{config.resolution} px",
        "embedding": config.embedding,
        "parameters": f"{table.parameters:,}",
    }

    def build():
        return ArcFace.make(*arcface_from_state(state), meta={"name": request.name})

    return Plan((Part(metadata, build),))


LAYOUT = Layout("IR-SE50 face recogniser", _plan)


def _infer_config(state: Mapping[str, np.ndarray]) -> ArcFaceConfig:
    body = infer_body(state, what=_WHAT)
    last = body.channels[-1]
    try:
        embedding, inputs = np.shape(state["output_layer.3.weight"])
    except (KeyError, ValueError) as error:
        raise DataError(f"{_WHAT}: output_layer.3.weight is missing or no matrix") from error
    side = round((inputs / last) ** 0.5)
    if side * side * last != inputs or not side:
        raise DataError(
            f"{_WHAT}: output_layer.3.weight takes {inputs} features, which are no square of "
            f"{last} channels"
        )
    return ArcFaceConfig(body=body, resolution=int(side * body.shrink), embedding=int(embedding))


def _table(config: ArcFaceConfig) -> TableBuilder:
    last = config.body.channels[-1]
    side = config.resolution // config.body.shrink
    table = body_table(config.body)
    table.add_norm("before", "output_layer.0", last)
    table.add_dense("dense", "output_layer.3", (side * side * last, config.embedding))
    table.add_norm("after", "output_layer.4", config.embedding)
    return table


def infer_body(state: Mapping[str, np.ndarray], *, prefix: str = "", what: str) -> IRSEConfig:
    """The architecture of a body, read from the shapes.

    A stage is taken to begin where a unit widens, as in every published network.

    Raises:
        DataError: not such a body.
    """
    numbers = [
        int(match[1])
        for key in state
        if (match := re.fullmatch(re.escape(prefix) + r"body\.(\d+)\.res_layer\.1\.weight", key))
    ]
    channels: list[int] = []
    units: list[int] = []
    try:
        stem, images = np.shape(state[f"{prefix}input_layer.0.weight"])[:2]
        for i in range(len(numbers)):
            wide = int(np.shape(state[f"{prefix}body.{i}.res_layer.1.weight"])[0])
            if i == 0 or wide != channels[-1]:
                channels.append(wide)
                units.append(0)
            units[-1] += 1
        narrow = int(np.shape(state[f"{prefix}body.0.res_layer.5.fc1.weight"])[0])
        return IRSEConfig(
            in_channels=int(images),
            stem_channels=int(stem),
            channels=tuple(channels),
            units=tuple(units),
            reduction=channels[0] // narrow,
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, UsageError):
            raise DataError(f"{what} of a shape that is not supported: {error}") from error
        raise DataError(f"not the state dict of the {what}: {error}") from error


def body_table(config: IRSEConfig, *, prefix: str = "") -> TableBuilder:
    """The table of a body; paths are below `body`, with the normalisations apart."""
    table = TableBuilder()
    stem = config.stem_channels
    table.add_conv("body/stem/conv", f"{prefix}input_layer.0", 3, (config.in_channels, stem))
    table.add_norm("body/stem/norm", f"{prefix}input_layer.1", stem)
    table.add("body/stem/slope", f"{prefix}input_layer.2.weight", (stem,))
    for i, (before, channels, _, _) in enumerate(config.plan()):
        ours, theirs = f"body/unit{i}", f"{prefix}body.{i}.res_layer"
        narrow = channels // config.reduction
        table.add_norm(f"{ours}/norm0", f"{theirs}.0", before)
        table.add_conv(f"{ours}/conv0", f"{theirs}.1", 3, (before, channels))
        table.add(f"{ours}/slope", f"{theirs}.2.weight", (channels,))
        table.add_conv(f"{ours}/conv1", f"{theirs}.3", 3, (channels, channels))
        table.add_norm(f"{ours}/norm1", f"{theirs}.4", channels)
        for name, key, widths in (
            ("squeeze", "fc1", (channels, narrow)),
            ("excite", "fc2", (narrow, channels)),
        ):
            table.add(f"{ours}/{name}", f"{theirs}.5.{key}.weight", widths, "dense", trailing=2)
        if before != channels:
            key = f"{prefix}body.{i}.shortcut_layer"
            table.add_conv(f"{ours}/shortcut/conv", f"{key}.0", 1, (before, channels))
            table.add_norm(f"{ours}/shortcut/norm", f"{key}.1", channels)
    return table


def fold_body(config: IRSEConfig, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters of what `body_table` has read."""
    body = tree["body"]
    stem = body["stem"]
    folded: dict[str, Any] = {"stem": {**_folded(stem), "slope": stem["slope"]}}
    for i, (before, channels, _, _) in enumerate(config.plan()):
        unit = body[f"unit{i}"]
        scale, shift = _affine(unit["norm0"])
        second = _folded({"conv": unit["conv1"], "norm": unit["norm1"]})
        folded[f"unit{i}"] = _as_float32({"scale": scale, "shift": shift}) | {
            "kernel0": unit["conv0"]["kernel"],
            "slope": unit["slope"],
            "kernel1": second["kernel"],
            "bias1": second["bias"],
            "squeeze": unit["squeeze"],
            "excite": unit["excite"],
        }
        if before != channels:
            folded[f"unit{i}"]["shortcut"] = _folded(unit["shortcut"])
    return folded


def _affine(norm: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What an evaluated normalisation multiplies by and adds, float64."""
    norm = {key: value.astype(np.float64) for key, value in norm.items()}
    scale = norm["weight"] / np.sqrt(norm["var"] + _NORM_EPSILON)
    return scale, norm["bias"] - norm["mean"] * scale


def _folded(layer: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A convolution without bias and the normalisation behind it as one convolution."""
    scale, shift = _affine(layer["norm"])
    kernel = layer["conv"]["kernel"].astype(np.float64) * scale[None, None, None, :]
    return _as_float32({"kernel": kernel, "bias": shift})


def _as_float32(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: np.asarray(value, np.float32) for key, value in values.items()}
