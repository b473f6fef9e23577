"""NVlabs' PyTorch layout: stylegan2-ada-pytorch and stylegan3's networks_stylegan2.

State dicts are those of a whole generator: keys start with `mapping.` or `synthesis.`. Stored
values are ours but for the order of axes. `conv_clamp` is no tensor: it stands in the pickle's
init_kwargs, and its default differs between the two repositories, so it has to be given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError, UsageError
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import parameter_shapes
from weights_convert.filters import fir_kernel
from weights_convert.table import Constant, Row, from_foreign, to_foreign

__all__ = ["infer_config", "params_from_nvlabs", "params_to_nvlabs", "table"]

_WHAT = "NVlabs generator"


def params_from_nvlabs(
    state: Mapping[str, np.ndarray], *, conv_clamp: float | None
) -> tuple[GeneratorConfig, dict[str, Any]]:
    """Configuration and parameters of a generator's state dict.

    Raises:
      DataError: keys or shapes that are not this layout's, every one is accounted for.
    """
    config = infer_config(state, conv_clamp=conv_clamp)
    return config, from_foreign(state, *table(config), parameter_shapes(config), what=_WHAT)


def params_to_nvlabs(config: GeneratorConfig, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The state dict of our parameters."""
    return to_foreign(params, *table(config))


def infer_config(state: Mapping[str, np.ndarray], *, conv_clamp: float | None) -> GeneratorConfig:
    """The architecture, read from the shapes."""
    blocks = sorted(
        int(match[1])
        for key in state
        if (match := re.fullmatch(r"synthesis\.b(\d+)\.torgb\.bias", key))
    )
    layers = sum(re.fullmatch(r"mapping\.fc\d+\.weight", key) is not None for key in state)
    try:
        w_dim = int(np.shape(state["mapping.w_avg"])[0])
        c_dim = 0
        z_dim = int(np.shape(state["mapping.fc0.weight"])[1])
        if "mapping.embed.weight" in state:
            c_dim = int(np.shape(state["mapping.embed.weight"])[1])
            z_dim -= w_dim
        return GeneratorConfig(
            resolution=blocks[-1],
            z_dim=z_dim,
            w_dim=w_dim,
            c_dim=c_dim,
            mapping_layers=layers,
            channels=tuple(int(np.shape(state[f"synthesis.b{r}.conv1.bias"])[0]) for r in blocks),
            img_channels=int(np.shape(state["synthesis.b4.torgb.bias"])[0]),
            conv_clamp=conv_clamp,
        )
    except (KeyError, IndexError) as error:
        raise DataError(f"not the state dict of an {_WHAT}: {error}") from error
    except UsageError as error:
        raise DataError(f"{_WHAT} of a shape that is not supported: {error}") from error


def table(config: GeneratorConfig) -> tuple[list[Row], list[Constant]]:
    """Every key of the layout, for one architecture."""
    fir = fir_kernel(total=1.0)
    dense = [f"fc{i}" for i in range(config.mapping_layers)]
    if config.c_dim:
        dense.append("embed")
    rows = [Row("mapping/w_avg", "mapping.w_avg")]
    for name in dense:
        rows.append(Row(f"mapping/{name}/kernel", f"mapping.{name}.weight", "dense"))
        rows.append(Row(f"mapping/{name}/bias", f"mapping.{name}.bias"))
    rows.append(Row("synthesis/b4/const", "synthesis.b4.const", "map"))
    constants = [Constant(f"synthesis.b{r}.resample_filter", fir) for r in config.block_resolutions]
    for name in config.layer_names:
        ours, theirs = f"synthesis/{name.replace('.', '/')}", f"synthesis.{name}"
        rows += [
            Row(f"{ours}/kernel", f"{theirs}.weight", "conv"),
            Row(f"{ours}/bias", f"{theirs}.bias"),
            Row(f"{ours}/affine/kernel", f"{theirs}.affine.weight", "dense"),
            Row(f"{ours}/affine/bias", f"{theirs}.affine.bias"),
        ]
        if not name.endswith("torgb"):
            rows += [
                Row(f"{ours}/noise_const", f"{theirs}.noise_const"),
                Row(f"{ours}/noise_strength", f"{theirs}.noise_strength"),
            ]
            constants.append(Constant(f"{theirs}.resample_filter", fir))
    return rows, constants
