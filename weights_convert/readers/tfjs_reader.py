"""TensorFlow.js: a json manifest of weights, and the files that it names, which lie beside it.

A manifest is a list of groups {paths, weights}, or a model.json that holds one as
`weightsManifest`. The bytes of a group's files are one stretch, in which its weights follow one
another. A weight may be stored as integers, of which value * scale + min is meant, or as float16.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from weights_convert.readers.arrays import TORCH_ITEM_BYTES, check_shape
from weights_convert.readers.foreign import Meter, Refused
from weights_convert.readers.machine import spelled
from weights_convert.readers.records import Bytes, Storage, Tensor, require

__all__ = ["looks_like_tfjs", "read_tfjs"]

_DTYPES = ("float32", "int32", "uint8", "bool", "float16", "complex64")
# What each type may be stored as.
_STORED = {"float32": ("uint8", "uint16", "float16"), "int32": ("uint8", "uint16")}
_START = 1 << 16


def looks_like_tfjs(data: memoryview) -> bool:
    """json that lists files and weights; a model.json holds its graph first, and may be long."""
    start = bytes(data[:1]) if data[:1] in (b"[", b"{") else b""
    if not start:
        return False
    if start == b"[":
        return b'"weights"' in bytes(data[:_START])
    return b'"weightsManifest"' in bytes(data)


def read_tfjs(
    data: memoryview, meter: Meter, open_beside: Callable[[str], memoryview]
) -> dict[str, Any]:
    """The weights as they are stored, and what their values mean.

    Args:
      data: the manifest.
      meter: what may still be spent.
      open_beside: the bytes of a file in the manifest's folder; raises Refused.

    Returns:
      `weights`: records by name, of integers where they are quantised; `quantization`: (scale,
      min) of those by name.

    Raises:
      Refused: a damaged manifest, a file elsewhere than beside it, weights that do not fill the
        files.
    """
    limit = meter.limits.header_bytes
    if len(data) > limit:
        raise Refused(f"must be a manifest of at most {limit} bytes, got {len(data)}")
    try:
        manifest = json.loads(str(data, "utf-8"))
    except (ValueError, RecursionError):
        raise Refused("is not a manifest of TensorFlow.js: it is not json") from None
    if isinstance(manifest, dict):
        manifest = manifest.get("weightsManifest")
    if not isinstance(manifest, list):
        raise Refused("is not a manifest of TensorFlow.js: it lists no weights")
    weights: dict[str, Any] = {}
    quantization: dict[str, Any] = {}
    names: set[str] = set()
    for group in manifest:
        if not isinstance(group, dict) or not all(
            isinstance(group.get(key), list) for key in ("paths", "weights")
        ):
            raise Refused("has a group without lists of paths and weights")
        parts = []
        for name in group["paths"]:
            meter.steps(10)
            require(_plain_name(name) not in names, "names one file twice")
            names.add(name)
            parts.append(open_beside(name))
        content = _joined(parts, meter)
        end = 0
        for entry in group["weights"]:
            meter.steps(10)
            name, tensor, end, meant = _weight(entry, content, end, meter)
            require(name not in weights, "describes one weight twice")
            weights[name] = tensor
            if meant is not None:
                quantization[name] = meant
        if end != len(content):
            raise Refused(f"describes {end} bytes of weights, its files hold {len(content)}")
    require(bool(weights), "describes no weights")
    return {"weights": weights, "quantization": quantization}


def _plain_name(name: Any) -> str:
    """A file's name, or nothing that leads elsewhere than to the manifest's own folder."""
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= 255
        or name in (".", "..")
        or any(letter in "/\\:" or not letter.isprintable() for letter in name)
    ):
        raise Refused(f"wants the file {spelled(name)}, which is not one beside it")
    return name


def _joined(parts: list[memoryview], meter: Meter) -> memoryview:
    """One stretch of bytes; a copy where there are several."""
    if len(parts) == 1:
        return parts[0]
    meter.bytes(sum(map(len, parts)))
    return memoryview(b"".join(parts))


def _weight(
    entry: Any, content: memoryview, start: int, meter: Meter
) -> tuple[str, Tensor, int, tuple[float, float] | None]:
    """Name, record, its end in the bytes, and (scale, min)."""
    require(isinstance(entry, dict), "has a weight that is not described")
    name, shape, dtype = (entry.get(key) for key in ("name", "shape", "dtype"))
    if type(name) is not str or not isinstance(shape, list):
        raise Refused(f"does not describe its weight {spelled(name)} by name and shape")
    if type(dtype) is not str or dtype not in _DTYPES:
        raise Refused(
            f"holds the weight {spelled(name)} of type {spelled(dtype)}, which must be one of "
            f"{', '.join(_DTYPES)}"
        )
    meant = None
    if (stored := entry.get("quantization")) is not None:
        dtype, meant = _quantization(name, dtype, stored)
    shape = check_shape(tuple(shape), meter.limits)
    size = math.prod(shape) * TORCH_ITEM_BYTES[dtype]
    if size > len(content) - start:
        raise Refused(f"is truncated: its weight {spelled(name)} ends after its files")
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    storage = Storage(Bytes(content), dtype, start, size)
    return name, Tensor(storage, dtype, 0, shape, strides), start + size, meant


def _quantization(name: str, dtype: str, stored: Any) -> tuple[str, tuple[float, float] | None]:
    """How a weight is stored, and (scale, min), which float16 has none of."""
    code = stored.get("dtype") if isinstance(stored, dict) else None
    if type(code) is not str or code not in _STORED.get(dtype, ()):
        raise Refused(f"quantises the weight {spelled(name)} in a way that this reader lacks")
    if code == "float16":
        return code, None
    numbers: list[float] = []
    for key in ("scale", "min"):
        number: Any = stored.get(key)
        if type(number) not in (int, float) or not abs(number) < 1e30:
            raise Refused(f"quantises the weight {spelled(name)} without a finite {key}")
        numbers.append(float(number))
    return code, (numbers[0], numbers[1])
