"""Weights from a manifest: the rule by which the golden outputs' networks were filled.

A manifest names, for every key of a checkpoint, a shape, a dtype and a kind. Each key draws from a
generator of its own, seeded by the manifest's prefix and the key, so that any subset can be made.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

# kind: (offset, scale) of a normal draw.
_NORMAL = {
    "equal": (0.0, 1.0),
    "const": (0.0, 1.0),
    "noise": (0.0, 1.0),
    "bias": (0.0, 0.1),
    "noise_strength": (0.0, 0.1),
    "w_avg": (0.0, 0.1),
    "affine_bias": (1.0, 0.1),
}


def weights(manifest: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of the keys that start with `prefix`, which is cut off.

    Raises:
      ValueError: the whole manifest was made and its fingerprint is not the recorded one.
    """
    rules = json.loads(manifest.read_text())
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
    offset, scale = _NORMAL[entry["kind"]]
    normal = np.random.RandomState(zlib.crc32(seed.encode())).standard_normal(shape)
    scale *= entry.get("gain", 1.0) / entry.get("lr_mul", 1.0)
    return np.asarray(offset + scale * normal, entry["dtype"]).reshape(shape)


def _check(state: dict[str, np.ndarray], fingerprint: dict[str, Any]) -> None:
    values = sum(value.size for value in state.values())
    total = sum(float(np.abs(value.astype(np.float64)).sum()) for value in state.values())
    if (len(state), values) != (fingerprint["n_keys"], fingerprint["n_values"]) or not np.isclose(
        total / values, fingerprint["abs_mean"], rtol=1e-9
    ):
        raise ValueError("the weights are not those that the golden outputs were made with")
