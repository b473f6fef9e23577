"""Files of the first weeks of rosinality's repository, by the names that it has used since.

Until 2019-12-16 a styled convolution's bias was a [1, C, 1, 1] parameter of its own, blur filters
were stored once for each channel, and the mapping's biases were not scaled by its learning-rate
multiplier; until 2019-12-19 linear weights were called `linear.weight_orig`; until 2020-01-15 the
noise maps were not stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from mm_jax.errors import DataError

__all__ = ["fill_noise", "modern_names"]

_NOISE_SEED = 0
_LR_MULTIPLIER = 0.01
_STYLED_BIAS = re.compile(r"(conv1|convs\.\d+)\.bias")
_BLUR = re.compile(r"(.*\.conv\.)blur\.weight|(.*\.)upsample\.blur\.weight")


def modern_names(state: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The state dict by today's names, and a remark if it was an old one.

    Raises:
        DataError: blur filters that differ between channels.
    """
    first_days = any(_STYLED_BIAS.fullmatch(key) for key in state)
    unscaled = first_days and any(key.endswith("linear.weight_orig") for key in state)
    renamed = {}
    for key, value in state.items():
        if unscaled and re.fullmatch(r"style\.\d+\.bias", key):
            value = value / np.float32(_LR_MULTIPLIER)
        elif match := _STYLED_BIAS.fullmatch(key):
            key, value = f"{match[1]}.activate.bias", _without_ones(key, value)
        elif match := _BLUR.fullmatch(key):
            value = _one_filter(key, value)
            key = f"{match[1]}blur.kernel" if match[1] else f"{match[2]}upsample.kernel"
        key = re.sub(r"\.linear\.weight_orig$", ".weight", key)
        key = re.sub(r"\.modulation\.linear\.bias$", ".modulation.bias", key)
        renamed[key] = value
    old = renamed.keys() != state.keys()
    return renamed, ("names are those of December 2019",) if old else ()


def fill_noise(
    state: Mapping[str, np.ndarray], *, layers: int
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The state dict with noise maps, and a remark if it had none at all.

    Some maps of several missing is damage, not age, and left to the table.
    """
    if any(key.startswith("noises.") for key in state):
        return dict(state), ()
    random = np.random.RandomState(_NOISE_SEED)
    drawn = {}
    for i in range(layers):
        side = 2 ** ((i + 5) // 2)
        drawn[f"noises.noise_{i}"] = random.standard_normal((1, 1, side, side)).astype(np.float32)
    remark = f"the file has no noise maps: drawn anew from seed {_NOISE_SEED}"
    return {**state, **drawn}, (remark,)


def _without_ones(key: str, value: np.ndarray) -> np.ndarray:
    if value.ndim != 4 or value.shape != (1, value.shape[1], 1, 1):
        raise DataError(f"{key} must have shape [1, C, 1, 1], got {list(value.shape)}")
    return value.reshape(-1)


def _one_filter(key: str, value: np.ndarray) -> np.ndarray:
    if value.ndim != 4 or value.shape[1] != 1 or not (value == value[:1]).all():
        raise DataError(f"{key} is not one filter repeated for each channel")
    return value[0, 0]
