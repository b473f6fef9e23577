"""NVlabs' PyTorch layout: stylegan2-ada-pytorch and stylegan3's networks_stylegan2.

State dicts are those of a whole generator: keys start with `mapping.` or `synthesis.`. Stored
values are ours but for the order of axes. What is no tensor, such as `conv_clamp`, is an attribute
of the pickled modules. The arguments they were made with are no guide: stylegan2-ada-pytorch nests
those of the synthesis, stylegan3 does not, and their defaults differ (no clamp; 256).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator
from weights_convert.filters import fir_kernel
from weights_convert.plan import (
    Layout,
    Plan,
    Request,
    check_square,
    generator_part,
    refuse_choice,
)
from weights_convert.shapes import LayerNames, infer_generator
from weights_convert.structure import arrays, is_module, module_state, submodules
from weights_convert.table import Constant, Row, check_foreign, from_foreign, listed, to_foreign

__all__ = ["LAYOUT", "infer_config", "params_from_nvlabs", "params_to_nvlabs", "table"]

_WHAT = "NVlabs generator"
_NETWORKS = ("G_ema", "G")
_LR_MULTIPLIER = 0.01
# Attributes of modules whose value decides what is computed, and the only one that we compute.
_EXPECTED = {"architecture": "skip", "use_noise": True}
_NAMES = LayerNames(
    what=_WHAT,
    holder="the state dict",
    mean="mapping.w_avg",
    dense=r"mapping\.fc\d+\.weight",
    first_dense="mapping.fc0.weight",
    embed="mapping.embed.weight",
    inputs=1,
    colour=r"synthesis\.b(\d+)\.torgb\.bias",
    colour_bias=lambda r: f"synthesis.b{r}.torgb.bias",
    feature_bias=lambda r: f"synthesis.b{r}.conv1.bias",
)


def params_from_nvlabs(
    state: Mapping[str, np.ndarray],
    *,
    conv_clamp: float | None,
    mapping_lr_multiplier: float = _LR_MULTIPLIER,
) -> tuple[GeneratorConfig, dict[str, Any]]:
    """Configuration and parameters of a generator's state dict.

    Raises:
        DataError: keys or shapes that are not this layout's, every one is accounted for.
    """
    config = infer_config(state, conv_clamp=conv_clamp, mapping_lr_multiplier=mapping_lr_multiplier)
    return config, from_foreign(state, *table(config), Generator.shapes(config), what=_WHAT)


def params_to_nvlabs(config: GeneratorConfig, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The state dict of our parameters."""
    return to_foreign(params, *table(config))


def _plan(content: Any, request: Request) -> Plan:
    network, notes = _open(content, request.network)
    if is_module(network):
        state = module_state(network)
        settings = _settings(network)
    else:
        state = arrays(network, what=_WHAT)
        settings = {}
    if request.conv_clamp != "auto":
        settings["conv_clamp"] = request.conv_clamp
    if "conv_clamp" not in settings:
        raise DataError(
            f"the state dict of an {_WHAT} does not say its conv_clamp: add --conv_clamp=none "
            "(the default of stylegan2-ada-pytorch), or =256 (that of stylegan3)"
        )
    check_square(state.get("synthesis.b4.const"))
    config = infer_config(state, **settings)
    check_foreign(state, *table(config), Generator.shapes(config), what=_WHAT)

    def params():
        return params_from_nvlabs(state, **settings)[1]

    return Plan((generator_part(config, params, request),), notes)


LAYOUT = Layout("NVlabs' StyleGAN2 for PyTorch", _plan)


def _open(content: Any, network: str) -> tuple[Any, tuple[str, ...]]:
    """The module or state dict of the wanted network, and remarks."""
    named = isinstance(content, Mapping)
    held = [key for key in _NETWORKS if key in content] if named else []
    if not held:
        refuse_choice(network)
        return content, ()
    if network not in held:
        raise DataError(f"the file holds no {network}, only {listed(held)}")
    aside = [str(key) for key, value in content.items() if key != network and value is not None]
    return content[network], ((f"left aside: {listed(aside)}",) if aside else ())


def _settings(module: Any) -> dict[str, Any]:
    """conv_clamp and the mapping's multiplier, as the modules have them.

    Raises:
        DataError: modules that compute something else than our generator, or that disagree.
    """
    clamps, multipliers = set(), set()
    for name, attributes in submodules(module):
        dense = re.fullmatch(r"mapping\.fc\d+", name) is not None
        linear = name.endswith("affine") or name == "mapping.embed"
        expected = {**_EXPECTED, "activation": "linear" if linear else "lrelu"}
        for key, wanted in expected.items():
            if attributes.get(key, wanted) != wanted:
                raise DataError(
                    f"{_WHAT}: {name} has {key} {attributes[key]!r}, supported is {wanted!r}"
                )
        if "conv_clamp" in attributes:
            clamps.add(attributes["conv_clamp"])
        if dense and "bias_gain" in attributes:
            multipliers.add(attributes["bias_gain"])
    for what, found in (("conv_clamp", clamps), ("learning-rate multiplier", multipliers)):
        if len(found) > 1:
            raise DataError(f"{_WHAT}: layers differ in their {what}: {listed(map(str, found))}")
    settings: dict[str, Any] = {
        "mapping_lr_multiplier": float(next(iter(multipliers), _LR_MULTIPLIER))
    }
    if clamps:
        clamp = clamps.pop()
        settings["conv_clamp"] = None if clamp is None else float(clamp)
    return settings


def infer_config(
    state: Mapping[str, np.ndarray],
    *,
    conv_clamp: float | None,
    mapping_lr_multiplier: float = _LR_MULTIPLIER,
) -> GeneratorConfig:
    """The architecture, read from the shapes."""
    return infer_generator(
        state, _NAMES, conv_clamp=conv_clamp, mapping_lr_multiplier=mapping_lr_multiplier
    )


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
