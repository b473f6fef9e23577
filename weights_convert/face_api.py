"""The networks of face-api (`@vladmandic/face-api`, face-api.js), as TensorFlow.js stores them.

Which of the six it is, is told by its keys. Convolutions are [h, w, I, O] there as here. Quantised
values stay on their steps, so that what is written takes as little space as the original.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError
from mm_jax.faces.network import FaceNetwork, FaceNetworkConfig
from mm_jax.nn.network import flatten_tree
from weights_convert.builder import TableBuilder
from weights_convert.plan import Layout, Part, Plan, Request
from weights_convert.structure import arrays
from weights_convert.table import from_foreign, listed

__all__ = ["LAYOUT", "face_network_from_content", "table_of"]

_WHAT = "face-api network"


class _Table(TableBuilder):
    """Rows by face-api's names; the shapes are those of our network."""

    def __init__(self, network: str):
        super().__init__()
        self._wanted = flatten_tree(FaceNetwork.shapes(FaceNetworkConfig(network)))

    def row(self, path: str, key: str, *, leading: int = 0, trailing: int = 0):
        shape = self._wanted[path].shape
        self.add(path, key, shape, leading=leading, trailing=trailing)

    def conv(self, path: str, key: str, weight: str = "filters", bias: str = "bias"):
        self.row(f"{path}/kernel", f"{key}/{weight}")
        self.row(f"{path}/bias", f"{key}/{bias}")

    def dense(self, path: str, key: str):
        self.conv(path, key, "weights")

    def separable(self, path: str, key: str):
        self.row(f"{path}/depthwise/kernel", f"{key}/depthwise_filter", trailing=1)
        self.conv(f"{path}/pointwise", key, "pointwise_filter")


def _tiny_detector(table: _Table) -> None:
    table.conv("conv0", "conv0")
    for i in range(1, 6):
        table.separable(f"conv{i}", f"conv{i}")
    table.conv("conv8", "conv8")


def _ssd_detector(table: _Table) -> None:
    folded = ("weights", "convolution_bn_offset")
    table.conv("conv0", "MobilenetV1/Conv2d_0_pointwise", *folded)
    for i in range(1, 14):
        key = f"MobilenetV1/Conv2d_{i}_depthwise"
        table.row(f"depthwise{i}/conv/kernel", f"{key}/depthwise_weights", trailing=1)
        for ours, theirs in _NORM.items():
            table.row(f"depthwise{i}/{ours}", f"{key}/BatchNorm/{theirs}")
        table.conv(f"pointwise{i}", f"MobilenetV1/Conv2d_{i}_pointwise", *folded)
    for i in range(8):
        table.conv(f"further{i}", f"Prediction/Conv2d_{i}_pointwise", *folded)
    for i in range(6):
        for ours, theirs in (("boxes", "BoxEncodingPredictor"), ("classes", "ClassPredictor")):
            key = f"Prediction/BoxPredictor_{i}/{theirs}"
            table.conv(f"{ours}{i}", key, "weights", "biases")
    table.row("anchors", "Output/extra_dim", leading=1)
    # Constants of the graph that the network was taken from.
    table.ignored += [
        "Preprocessor/mul/x",
        "Preprocessor/sub/y",
        "Preprocessor/ResizeImage/size",
        "Postprocessor/Slice/begin",
        "Postprocessor/Slice/size",
        "Postprocessor/stack/1",
        "concat_1/axis",
        "Prediction/BoxPredictor_0/stack/3",
        "Prediction/BoxPredictor_0/stack_1/2",
        "Prediction/BoxPredictor_0/strided_slice/stack",
        "Prediction/BoxPredictor_0/strided_slice/stack_1",
        *(f"Prediction/BoxPredictor_{i}/stack_1/1" for i in range(6)),
    ]


_NORM = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_variance"}


def _dense_trunk(table: _Table) -> None:
    for i in range(4):
        for j in range(4):
            add = table.conv if i == j == 0 else table.separable
            add(f"trunk/dense{i}/conv{j}", f"dense{i}/conv{j}")
    table.dense("fc", "fc")


def _recogniser(table: _Table) -> None:
    def scaled(path: str, key: str):
        table.conv(f"{path}/conv", f"{key}/conv")
        table.row(f"{path}/scale", f"{key}/scale/weights")
        table.row(f"{path}/shift", f"{key}/scale/biases")

    scaled("conv32_down", "conv32_down")
    for features, units in ((32, 3), (64, 3), (128, 2), (256, 2)):
        names = [f"conv{features}_{i}" for i in range(1, units + 1)]
        names += [f"conv{features}_down"] if features > 32 else []
        names += [f"conv{features}_down_out"] if features == 256 else []
        for name in names:
            for half in ("conv1", "conv2"):
                scaled(f"{name}/{half}", f"{name}/{half}")
    table.row("fc/kernel", "fc")


def _age_gender(table: _Table) -> None:
    table.conv("stem", "entry_flow/conv_in")
    places = ("entry_flow/reduction_block_0", "entry_flow/reduction_block_1")
    for i, key in enumerate((*places, "exit_flow/reduction_block")):
        for j in range(2):
            table.separable(f"reduction{i}/separable{j}", f"{key}/separable_conv{j}")
        table.conv(f"reduction{i}/expansion", f"{key}/expansion_conv")
    for i in range(2):
        for j in range(3):
            table.separable(f"middle{i}_{j}", f"middle_flow/main_block_{i}/separable_conv{j}")
    table.separable("last", "exit_flow/separable_conv")
    table.dense("age", "fc/age")
    table.dense("gender", "fc/gender")


# A key that only this network has, and its shape where another shares the key.
_KNOWN: dict[str, tuple[str, tuple[int, ...] | None, Callable[[_Table], None]]] = {
    "tiny_detector": ("conv8/filters", None, _tiny_detector),
    "ssd_detector": ("Output/extra_dim", None, _ssd_detector),
    "landmarks": ("fc/weights", (256, 136), _dense_trunk),
    "expressions": ("fc/weights", (256, 7), _dense_trunk),
    "recogniser": ("conv32_down/conv/filters", None, _recogniser),
    "age_gender": ("fc/age/weights", None, _age_gender),
}


def face_network_from_content(content: Any) -> FaceNetwork:
    """The network of what `read_file` gave.

    Raises:
      DataError: keys or shapes that are none of the six networks'; every one is accounted for.
    """
    stored, ranges = _open(content)
    network, table = _told(stored)
    table.check(stored, what=_WHAT)
    used = [row.key for row in table.rows]
    state = {key: _meant(stored[key], ranges.get(key)) for key in used}
    params = from_foreign(state, table.rows, [], table.shapes, what=_WHAT)
    kept = {row.path: ranges[row.key] for row in table.rows if row.key in ranges}
    meta = {"ranges": kept} if kept else {}
    return FaceNetwork.make(FaceNetworkConfig(network), params, meta=meta)


def _plan(content: Any, request: Request) -> Plan:
    stored, ranges = _open(content)
    network, table = _told(stored)
    table.check(stored, what=_WHAT)
    side = FaceNetworkConfig(network).side
    metadata = {
        "network": network,
        "images": f"{side} px",
        "parameters": f"{table.parameters:,}",
        "quantised": f"{sum(row.key in ranges for row in table.rows)} of {len(table.rows)} arrays",
    }

    def build():
        net = face_network_from_content(content)
        meta = {**net.meta, "name": request.name}
        return FaceNetwork.make(net.config, net.params, meta=meta)

    return Plan((Part(metadata, build),))


LAYOUT = Layout(_WHAT, _plan)


def _open(content: Any) -> tuple[dict[str, np.ndarray], Mapping[str, tuple[float, float]]]:
    if not isinstance(content, Mapping) or content.keys() != {"weights", "quantization"}:
        raise DataError(f"{_WHAT} must be the manifest of TensorFlow.js, a json file")
    ranges = content["quantization"]
    # Any other kind of file may hold these two names, and anything behind them.
    if not isinstance(ranges, Mapping) or not all(
        isinstance(pair, tuple) and len(pair) == 2 and all(type(n) is float for n in pair)
        for pair in ranges.values()
    ):
        raise DataError(f"{_WHAT}: quantization is not a scale and a minimum by name")
    return arrays(content["weights"], what=_WHAT), ranges


def table_of(network: str) -> TableBuilder:
    """The table of a network by our name for it."""
    table = _Table(network)
    _KNOWN[network][2](table)
    return table


def _told(stored: Mapping[str, np.ndarray]) -> tuple[str, TableBuilder]:
    for network, (key, shape, _) in _KNOWN.items():
        if key in stored and shape in (None, np.shape(stored[key])):
            return network, table_of(network)
    raise DataError(
        f"is none of face-api's networks that are known, {', '.join(_KNOWN)}; it holds "
        f"{listed(stored)}"
    )


def _meant(value: np.ndarray, pair: tuple[float, float] | None) -> np.ndarray:
    """What a stored array means, float32; computed in float64 as TensorFlow.js does."""
    if pair is None:
        return value
    scale, offset = pair
    with np.errstate(over="ignore"):  # what becomes infinite is refused by name
        return (value.astype(np.float64) * scale + offset).astype(np.float32)
