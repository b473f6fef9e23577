"""Weights from a manifest: the rule by which the golden outputs' networks were filled.

A manifest names, for every key of a checkpoint, a shape, a dtype and a kind. Each key draws from a
generator of its own, seeded by the manifest's prefix and the key, so that any subset can be made.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

# kind: (offset, scale) of a normal draw. Weights that are not equalised are divided by the root of
# their fan in besides.
_NORMAL = {
    "conv": (0.0, 1.0),
    "linear": (0.0, 1.0),
    "equal": (0.0, 1.0),
    "const": (0.0, 1.0),
    "noise": (0.0, 1.0),
    "bias": (0.0, 0.1),
    "noise_strength": (0.0, 0.1),
    "w_avg": (0.0, 0.1),
    "affine_bias": (1.0, 0.1),
    "bn_weight": (1.0, 0.1),
    "bn_bias": (0.0, 0.1),
    "bn_mean": (0.0, 0.1),
    "prelu": (0.25, 0.05),
    "abs_normal": (0.0, 1.0),
}


def read(manifest: Path) -> dict[str, Any]:
    """A manifest, which may be compressed."""
    data = manifest.read_bytes()
    return json.loads(gzip.decompress(data) if manifest.suffix == ".gz" else data)


def weights(manifest: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of the keys that start with `prefix`, which is cut off.

    Raises:
      ValueError: the whole manifest was made and its fingerprint is not the recorded one.
    """
    rules = read(manifest)
    keys = [key for key in rules["entries"] if key.startswith(prefix)]
    state = {
        key.removeprefix(prefix): _draw(rules["seed_prefix"] + key, rules["entries"][key])
        for key in keys
    }
    if not prefix:
        _check(state, rules["fingerprint"])
    return state


def _draw(seed: str, entry: dict[str, Any]) -> np.ndarray:
    shape = tuple(entry["shape"])
    if entry["kind"] == "fir":
        return np.asarray(entry["value"], entry["dtype"]).reshape(shape)
    if entry["kind"] == "bn_count":
        return np.zeros(shape, entry["dtype"])
    random = np.random.RandomState(zlib.crc32(seed.encode()))
    if entry["kind"] == "bn_var":
        return random.uniform(0.5, 1.5, shape).astype(entry["dtype"])
    offset, scale = _NORMAL[entry["kind"]]
    scale *= entry.get("gain", 1.0) / entry.get("lr_mul", 1.0)
    if entry["kind"] in ("conv", "linear"):
        scale /= np.sqrt(np.prod(shape[1:]))
    values = offset + scale * random.standard_normal(shape)
    if entry["kind"] == "abs_normal":
        values = np.abs(values)
    return np.asarray(values, entry["dtype"]).reshape(shape)


def _check(state: dict[str, np.ndarray], fingerprint: dict[str, Any]) -> None:
    values = sum(value.size for value in state.values())
    total = sum(float(np.abs(value.astype(np.float64)).sum()) for value in state.values())
    if (len(state), values) != (fingerprint["n_keys"], fingerprint["n_values"]) or not np.isclose(
        total / values, fingerprint["abs_mean"], rtol=1e-9
    ):
        raise ValueError("the weights are not those that the golden outputs were made with")
