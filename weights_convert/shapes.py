"""The architecture of NVlabs' generators, read from the shapes of their values.

Both layouts name the same layers: by dots and with inputs last for PyTorch, by scopes and with
inputs first for TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np

from mm_jax.errors import DataError, UsageError
from mm_jax.stylegan2.config import BASE_RESOLUTION, GeneratorConfig
from weights_convert.plan import LARGEST

__all__ = ["LayerNames", "infer_generator"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerNames:
    """How a layout calls what tells the architecture.

    Attributes:
        what: the layout, for messages.
        holder: what holds the values, such as "the state dict".
        mean: the mean latent.
        dense: pattern of the weights of the mapping's dense layers.
        first_dense, embed: weights of the first of them, and of the labels' embedding.
        inputs: axis of a dense weight that counts its inputs.
        colour: pattern of the biases of the layers that give colours; group 1 is the resolution.
        colour_bias, feature_bias: name of the bias of that layer, and of the last convolution, at a
            resolution.
    """

    what: str
    holder: str
    mean: str
    dense: str
    first_dense: str
    embed: str
    inputs: int
    colour: str
    colour_bias: Callable[[int], str]
    feature_bias: Callable[[int], str]


def infer_generator(
    state: Mapping[str, np.ndarray],
    names: LayerNames,
    *,
    conv_clamp: float | None,
    mapping_lr_multiplier: float,
) -> GeneratorConfig:
    """The architecture.

    Raises:
        DataError: values are missing that tell it, or no generator of ours has it.
    """
    matches = (re.fullmatch(names.colour, key) for key in state)
    blocks = sorted(int(match[1]) for match in matches if match)
    try:
        w_dim = int(np.shape(state[names.mean])[0])
        z_dim, c_dim = int(np.shape(state[names.first_dense])[names.inputs]), 0
        if names.embed in state:
            c_dim = int(np.shape(state[names.embed])[names.inputs])
            z_dim -= w_dim
        if blocks[-1] > LARGEST:
            raise UsageError(f"resolution {blocks[-1]}")
        return GeneratorConfig(
            resolution=blocks[-1],
            z_dim=z_dim,
            w_dim=w_dim,
            c_dim=c_dim,
            mapping_layers=sum(re.fullmatch(names.dense, key) is not None for key in state),
            channels=tuple(int(np.shape(state[names.feature_bias(r)])[0]) for r in blocks),
            img_channels=int(np.shape(state[names.colour_bias(BASE_RESOLUTION)])[0]),
            conv_clamp=conv_clamp,
            mapping_lr_multiplier=mapping_lr_multiplier,
        )
    except (KeyError, IndexError) as error:
        raise DataError(f"not {names.holder} of the {names.what}: {error}") from error
    except UsageError as error:
        raise DataError(f"{names.what} of a shape that is not supported: {error}") from error
