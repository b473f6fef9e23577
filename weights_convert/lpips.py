"""LPIPS 0.1: the package's linear weights, and the features of torchvision's VGG16 or AlexNet.

They come in two files. Linear weights are `lin{k}.model.1.weight`, in the port that is shipped with
pSp and ReStyle `{k}.1.weight`. The trunk's file is a whole classifier, whose last layers LPIPS does
not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError, UsageError
from mm_jax.perceptual.lpips import Lpips, LpipsConfig
from weights_convert.builder import TableBuilder
from weights_convert.plan import Layout, Part, Plan, Request
from weights_convert.structure import arrays

__all__ = ["LAYOUT", "lpips_from_states"]

_WHAT = "LPIPS network"
# Side of the first convolution's kernel, and how many convolutions there are.
_NETS = {(3, 13): "vgg", (11, 5): "alex"}


def lpips_from_states(
    linear: Mapping[str, np.ndarray], trunk: Mapping[str, np.ndarray]
) -> tuple[LpipsConfig, dict[str, Any]]:
    """Configuration and parameters of the two files' state dicts.

    Raises:
        DataError: keys or shapes that are not these layouts'; every one is accounted for.
    """
    config, table, state = _open(linear, trunk)
    return config, table.read(state, what=_WHAT)


def _plan(content: Any, request: Request) -> Plan:
    linear = arrays(content, what="the linear weights")
    if request.trunk is None:
        raise DataError(
            "LPIPS comes in two files: give this one, of linear weights, as --source, and the "
            "classifier of torchvision, VGG16 or AlexNet, as --trunk"
        )
    trunk = arrays(request.trunk, what="the trunk")
    config, table, state = _open(linear, trunk)
    table.check(state, what=_WHAT)
    metadata = {"trunk": config.net, "parameters": f"{table.parameters:,}"}

    def build():
        return Lpips.make(*lpips_from_states(linear, trunk), meta={"name": request.name})

    return Plan((Part(metadata, build),))


LAYOUT = Layout("LPIPS", _plan)


def _open(
    linear: Mapping[str, np.ndarray], trunk: Mapping[str, np.ndarray]
) -> tuple[LpipsConfig, TableBuilder, dict[str, np.ndarray]]:
    """Architecture, table, and the states of both files as one."""
    config = _infer_config(trunk)
    table = TableBuilder()
    before = 3
    for k, (widths, places) in enumerate(zip(config.channels, config.conv_indices(), strict=True)):
        for j, (channels, place) in enumerate(zip(widths, places, strict=True)):
            taps = 3 if j else config.trunk.convs[k].taps
            path, key = f"stage{k}/conv{j}", f"features.{place}"
            table.add_conv(path, key, taps, (before, channels), bias=True)
            before = channels
        table.add(f"weight{k}", f"lin{k}.model.1.weight", (before,), trailing=2, leading=1)
    table.ignored += [key for key in trunk if key.startswith("classifier.")]
    renamed = {_original_name(key): value for key, value in linear.items()}
    if len(renamed) < len(linear):
        raise DataError(f"{_WHAT}: the linear weights are there under both names")
    return config, table, {**trunk, **renamed}


def _original_name(key: str) -> str:
    number, dot, rest = key.partition(".")
    return f"lin{number}.model.{rest}" if number.isdigit() and dot else key


def _infer_config(trunk: Mapping[str, np.ndarray]) -> LpipsConfig:
    kernels = {
        int(key.split(".")[1]): np.shape(value)
        for key, value in trunk.items()
        if key.startswith("features.") and key.endswith(".weight") and key.split(".")[1].isdigit()
    }
    shape = kernels.get(0, ())
    net = _NETS.get((shape[-1], len(kernels))) if shape else None
    if net is None or any(len(shape) != 4 for shape in kernels.values()):
        raise DataError(
            f"not the state dict of VGG16 or AlexNet: it has {len(kernels)} convolutions, the "
            f"first of shape {list(shape)}"
        )
    widths = [kernels[place][0] for place in sorted(kernels)]
    channels = []
    for stage in LpipsConfig(net=net).channels:
        channels.append(tuple(map(int, widths[: len(stage)])))
        del widths[: len(stage)]
    try:
        return LpipsConfig(net=net, channels=tuple(channels))
    except UsageError as error:
        raise DataError(f"{_WHAT} of a shape that is not supported: {error}") from error
