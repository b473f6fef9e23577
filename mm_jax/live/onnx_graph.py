"""One of our synthesis networks as an ONNX file, written operator by operator.

The file takes latents `ws` [N, L, D] float32 and gives the image `image` [N, 3, R, R] float32,
channels first, in about [-1, 1]: what `mm_jax.synthesize` computes with its fixed noise. Mapping
and truncation are not in it. It needs operator set 17, with no operators of any one runtime.

Values are stored as our folders store them, unscaled: as float16 where that loses nothing, else as
float32. What follows from parameters alone (casts, energies of kernels) is computed in the graph
too, and a runtime folds it once, when it opens the file; so the file is about as large as ours.

The arithmetic is that of `mm_jax.stylegan2.ops` with constants moved, which saves passes over the
activations: a style carries the scale of its kernel, and the gain of the leaky ReLU, which is
homogeneous, is part of what comes before it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epy

from mm_jax import io
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.latents import mean_latent, sample_latents, synthesize
from mm_jax.stylegan2.config import BASE_RESOLUTION, GeneratorConfig
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.resample import TAPS
from mm_jax.words import how_to_install

with epy.lazy_imports():
    import onnx
    import onnxruntime

__all__ = ["OPSET", "TOLERANCE", "model_of", "parity", "require_onnx", "write_onnx"]

OPSET = 17
_IR_VERSION = 8  # the first that knows operator set 17, so that older runtimes open the file
TOLERANCE = 1e-3
"""The largest difference from our own image, whose values are in about [-1, 1]."""

_EPSILON = 1e-8
_SLOPE = 0.2
_GAIN = math.sqrt(2.0)
_BATCH = "N"


def require_onnx() -> None:
    """Raises UsageError unless the extra `onnx` is installed."""
    try:
        for name in ("onnx", "onnxruntime"):
            importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"an ONNX file needs the extra onnx: {how_to_install('mm-jax[onnx]')} "
            f"({first_line(error)})"
        ) from error


def model_of(gen: Generator) -> Any:
    """The synthesis network of a generator as an `onnx.ModelProto`."""
    return _Graph(gen).model()


def parity(gen: Generator, path: io.PathLike) -> float:
    """The largest difference between the image of an ONNX file and ours.

    The latent has another w in each row, so a layer that reads a wrong row is found.

    Args:
        gen: the generator that the file was made of.
        path: the file; it runs in ONNX Runtime, on the CPU.

    Raises:
        DataError: ONNX Runtime does not open the file.
    """
    config = gen.config
    labels = np.eye(config.c_dim, dtype=np.float32)[[0] * config.num_ws] if config.c_dim else None
    drawn = np.asarray(sample_latents(gen, seeds=range(config.num_ws), labels=labels))
    each = np.arange(config.num_ws)
    ws = np.concatenate([np.asarray(mean_latent(gen)), drawn[each, each][None]])  # [2, L, D]
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"]
        )
        found = np.asarray(session.run(["image"], {"ws": ws})[0])
    except Exception as error:  # a runtime's own classes, which differ between its versions
        raise DataError(f"{path}: ONNX Runtime refuses it: {first_line(error)}") from error
    # The file's products are float32's. Accelerators would multiply in a lower precision otherwise.
    with jax.default_matmul_precision("highest"):
        wanted = np.asarray(synthesize(gen.with_precision("float32"), ws))
    return float(np.abs(found.transpose(0, 2, 3, 1) - wanted).max())


def write_onnx(gen: Generator, folder: Path) -> tuple[Path, float]:
    """Writes generator.onnx, runs it, and compares its images with ours.

    Returns:
        The file, and the largest difference of a value of the image.

    Raises:
        UsageError: the extra `onnx` is not installed.
        DataError: the file cannot be written, or its images differ by more than `TOLERANCE`.
    """
    require_onnx()
    model = model_of(gen)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    path = folder / "generator.onnx"
    io.write_atomic(path, lambda file: file.write(content))
    error = parity(gen, path)
    if not error <= TOLERANCE:
        raise DataError(
            f"{path.name} differs from the generator by {error:.2g}, more than {TOLERANCE:g}"
        )
    return path, error


class _Graph:
    """Collects the nodes and stored values of a generator's graph.

    Methods that add something return the name of its result.
    """

    def __init__(self, gen: Generator) -> None:
        self._gen = gen
        self._config: GeneratorConfig = gen.config
        self._nodes: list[Any] = []
        self._stored: list[Any] = []

    def model(self) -> Any:
        """All of it."""
        config, floats = self._config, onnx.TensorProto.FLOAT
        image = self._network()
        self._node("Identity", image, name="image")
        latents = [_BATCH, config.num_ws, config.w_dim]
        size = [_BATCH, config.img_channels, config.resolution, config.resolution]
        graph = onnx.helper.make_graph(
            self._nodes,
            "synthesis",
            [onnx.helper.make_tensor_value_info("ws", floats, latents)],
            [onnx.helper.make_tensor_value_info("image", floats, size)],
            self._stored,
        )
        model = onnx.helper.make_model(
            graph,
            producer_name="mm_jax",
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
        )
        told = {
            "generator": self._gen.name,
            "generator_fingerprint": self._gen.fingerprint,
            "licence": self._gen.meta.get("licence"),
        }
        onnx.helper.set_model_props(model, {k: str(v) for k, v in told.items() if v is not None})
        return model

    # Building.

    def _node(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        self._nodes.append(onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def _integers(self, name: str, values: int | list[int]) -> str:
        self._stored.append(onnx.numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def _floats(self, name: str, value: Any) -> str:
        """A stored array, as float32 in the graph."""
        full = np.ascontiguousarray(value, np.float32)
        with np.errstate(over="ignore"):
            half = full.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), full):
            self._stored.append(onnx.numpy_helper.from_array(full, name))
            return name
        stored = f"{name}/float16"
        self._stored.append(onnx.numpy_helper.from_array(half, stored))
        return self._node("Cast", stored, name=name, to=onnx.TensorProto.FLOAT)

    def _scalar(self, name: str, value: float) -> str:
        self._stored.append(onnx.numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    # The network.

    def _network(self) -> str:
        synthesis = self._gen.params["synthesis"]
        self._scalar("gain", _GAIN)
        self._scalar("epsilon", _EPSILON)
        self._integers("last_axes", [2, 3])
        taps = np.outer(TAPS, TAPS)
        colours = self._config.img_channels
        self._floats("upsampling", np.eye(colours)[:, :, None, None] * taps)
        const = np.transpose(synthesis["b4"]["const"], (2, 0, 1))[None]
        x, image = self._floats("b4.const", const), ""
        for r in self._config.block_resolutions:
            block = synthesis[f"b{r}"]
            if r > BASE_RESOLUTION:
                channels = self._config.channels_at(r)
                blur = np.broadcast_to(taps, (channels, 1, *taps.shape))
                self._floats(f"b{r}.blur", blur)
                x = self._conv(f"b{r}.conv0", block["conv0"], x, blur=f"b{r}.blur")
            x = self._conv(f"b{r}.conv1", block["conv1"], x)
            colour = self._to_rgb(f"b{r}.torgb", block["torgb"], x)
            if image:
                larger = self._node(
                    "ConvTranspose", image, "upsampling", name=f"b{r}.upsampled",
                    strides=[2, 2], pads=[1, 1, 1, 1],
                )  # fmt: skip
                image = self._node("Add", larger, colour, name=f"b{r}.image")
            else:
                image = colour
        return image

    def _style(self, name: str, layer: Mapping[str, Any], scale: float) -> str:
        """The style [N, I] of a layer, times the scale of its kernel."""
        affine = layer["affine"]
        row = self._integers(f"{name}.row", self._config.row_of(name))
        w = self._node("Gather", "ws", row, name=f"{name}.w", axis=1)
        kernel = self._floats(f"{name}.affine.kernel", affine["kernel"])
        bias = self._floats(f"{name}.affine.bias", affine["bias"])
        return self._node(
            "Gemm", w, kernel, bias, name=f"{name}.style",
            alpha=scale / math.sqrt(self._config.w_dim), beta=scale,
        )  # fmt: skip

    def _per_channel(self, name: str, values: str) -> str:
        """[N, C] as [N, C, 1, 1]."""
        return self._node("Unsqueeze", values, "last_axes", name=f"{name}_per_channel")

    def _styled(self, name: str, x: str, style: str) -> str:
        return self._node("Mul", x, self._per_channel(style, style), name=f"{name}.styled")

    def _conv(self, name: str, layer: Mapping[str, Any], x: str, *, blur: str = "") -> str:
        """A 3x3 layer; with `blur` it doubles the size first."""
        kernel = np.asarray(layer["kernel"])
        style = self._style(name, layer, 1 / math.sqrt(math.prod(kernel.shape[:-1])))
        x = self._styled(name, x, style)
        # ONNX wants [O, I, 3, 3], and of a transposed convolution [I, O, 3, 3].
        order = (2, 3, 0, 1) if blur else (3, 2, 0, 1)
        weight = self._floats(f"{name}.kernel", kernel.transpose(order))
        if blur:
            x = self._node("ConvTranspose", x, weight, name=f"{name}.spread", strides=[2, 2])
            channels = kernel.shape[-1]
            x = self._node(
                "Conv", x, blur, name=f"{name}.conv", group=channels, pads=[1, 1, 1, 1]
            )  # fmt: skip
        else:
            x = self._node("Conv", x, weight, name=f"{name}.conv", pads=[1, 1, 1, 1])
        x = self._node("Mul", x, self._demodulation(name, style, weight, blur), name=f"{name}.even")
        bias = self._floats(f"{name}.bias", np.asarray(layer["bias"])[None, :, None, None])
        added = [self._node("Mul", bias, "gain", name=f"{name}.bias_gained")]
        strength = float(layer["noise_strength"])
        if strength:
            noise = self._floats(
                f"{name}.noise_const", np.asarray(layer["noise_const"])[None, None]
            )
            factor = self._scalar(f"{name}.noise_strength", strength * _GAIN)
            added.append(self._node("Mul", noise, factor, name=f"{name}.noise"))
        for i, one in enumerate(added):
            x = self._node("Add", x, one, name=f"{name}.sum{i}")
        x = self._node("LeakyRelu", x, name=f"{name}.lrelu", alpha=_SLOPE)
        return self._clamped(name, x)

    def _demodulation(self, name: str, style: str, weight: str, transposed: str) -> str:
        """[N, O, 1, 1], what gives each output channel unit expected variance, times the gain."""
        squares = self._node("Mul", weight, weight, name=f"{name}.kernel_squared")
        energy = self._node(
            "ReduceSum", squares, "last_axes", name=f"{name}.energy", keepdims=0
        )  # [O, I], or [I, O] of a transposed convolution
        square = self._node("Mul", style, style, name=f"{name}.style_squared")
        # A node of its own: a Gemm that adds a number makes ONNX Runtime abort on WebGPU.
        products = self._node(
            "Gemm", square, energy, name=f"{name}.products", transB=int(not transposed)
        )
        variance = self._node("Add", products, "epsilon", name=f"{name}.variance")
        deviation = self._node("Sqrt", variance, name=f"{name}.deviation")
        inverse = self._node("Div", "gain", deviation, name=f"{name}.demodulation")
        return self._per_channel(inverse, inverse)

    def _to_rgb(self, name: str, layer: Mapping[str, Any], x: str) -> str:
        kernel = np.asarray(layer["kernel"])
        style = self._style(name, layer, 1 / math.sqrt(kernel.shape[2]))
        weight = self._floats(f"{name}.kernel", kernel.transpose(3, 2, 0, 1))
        bias = self._floats(f"{name}.bias", layer["bias"])
        x = self._node("Conv", self._styled(name, x, style), weight, bias, name=f"{name}.conv")
        return self._clamped(name, x)

    def _clamped(self, name: str, x: str) -> str:
        bound = self._config.conv_clamp
        if bound is None:
            return x
        low = self._scalar(f"{name}.low", -bound)
        high = self._scalar(f"{name}.high", bound)
        return self._node("Clip", x, low, high, name=f"{name}.clamped")
