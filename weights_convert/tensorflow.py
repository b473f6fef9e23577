"""NVlabs' TensorFlow layout: the networks of stylegan2's and stylegan2-ada's pickles (G, D, Gs).

A network's variables go by scope, such as `synthesis/8x8/Conv0_up/weight`. Weights are stored as we
store them, but for the up-sampling convolution, whose taps run the other way. The 1 of a style's
bias is added at run time there, and is part of the value here. Settings are static arguments of the
network; those that are not given have one default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError
from mm_jax.stylegan2.config import BASE_RESOLUTION, GeneratorConfig
from mm_jax.stylegan2.generator import Generator
from weights_convert.plan import Layout, Plan, Request, generator_part, refuse_choice
from weights_convert.shapes import LayerNames, infer_generator
from weights_convert.structure import is_network, network_state
from weights_convert.table import Constant, Row, check_foreign, from_foreign, listed, to_foreign

__all__ = [
    "LAYOUT",
    "infer_config",
    "params_from_tensorflow",
    "params_to_tensorflow",
    "table",
]

_WHAT = "TensorFlow generator"
_PLACES = {"G": 0, "G_ema": 2}
# Arguments that decide what is computed, and the only value of each that we compute.
_EXPECTED: dict[str, tuple[Any, ...]] = {
    "architecture": ("skip",),
    "fused_modconv": (True, False),
    "mapping_func": ("G_mapping",),
    "mapping_nonlinearity": ("lrelu",),
    "nonlinearity": ("lrelu",),
    "normalize_latents": (True,),
    "resample_kernel": ([1, 3, 3, 1], (1, 3, 3, 1)),
    "synthesis_func": ("G_synthesis_stylegan2", "G_synthesis"),
    "use_noise": (True,),
}
# Arguments that the shapes say too, or that bear on training or on truncation only.
_INDIFFERENT = (
    "fmap_base", "fmap_decay", "fmap_max", "fmap_min", "label_fmaps", "label_size",
    "latent_size", "dlatent_size", "mapping_fmaps", "mapping_layers", "num_channels",
    "num_fp16_res", "randomize_noise", "resolution", "structure", "style_mixing_prob",
    "truncation_cutoff", "truncation_cutoff_val", "truncation_psi", "truncation_psi_val",
    "dlatent_avg_beta", "w_avg_beta", "w_broadcast", "dtype",
)  # fmt: skip


def params_from_tensorflow(
    state: Mapping[str, np.ndarray],
    *,
    conv_clamp: float | None = None,
    mapping_lr_multiplier: float = 0.01,
) -> tuple[GeneratorConfig, dict[str, Any]]:
    """Configuration and parameters of a generator's variables by name.

    Raises:
        DataError: names or shapes that are not this layout's; every one is accounted for.
    """
    config = infer_config(state, conv_clamp=conv_clamp, mapping_lr_multiplier=mapping_lr_multiplier)
    return config, from_foreign(state, *table(config), Generator.shapes(config), what=_WHAT)


def params_to_tensorflow(
    config: GeneratorConfig, params: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The variables of our parameters, by name."""
    return to_foreign(params, *table(config))


def infer_config(
    state: Mapping[str, np.ndarray], *, conv_clamp: float | None, mapping_lr_multiplier: float
) -> GeneratorConfig:
    """The architecture, read from the shapes."""
    return infer_generator(
        state, _NAMES, conv_clamp=conv_clamp, mapping_lr_multiplier=mapping_lr_multiplier
    )


def table(config: GeneratorConfig) -> tuple[list[Row], list[Constant]]:
    """Every variable of the layout, for one architecture."""
    rows = [
        Row("mapping/w_avg", "dlatent_avg"),
        Row("synthesis/b4/const", "synthesis/4x4/Const/const", "map", leading=1),
    ]
    dense = {f"fc{i}": f"Dense{i}" for i in range(config.mapping_layers)}
    if config.c_dim:
        dense["embed"] = "LabelEmbed"
    for name, key in dense.items():
        rows.append(Row(f"mapping/{name}/kernel", f"mapping/{key}/weight"))
        rows.append(Row(f"mapping/{name}/bias", f"mapping/{key}/bias"))
    for block in config.block_resolutions:
        for layer in ("conv0", "conv1", "torgb"):
            if f"b{block}.{layer}" not in config.layer_names:
                continue
            ours, theirs = f"synthesis/b{block}/{layer}", _scope(block, layer)
            rows += [
                Row(f"{ours}/kernel", f"{theirs}/weight", flip=layer == "conv0"),
                Row(f"{ours}/bias", f"{theirs}/bias"),
                Row(f"{ours}/affine/kernel", f"{theirs}/mod_weight"),
                Row(f"{ours}/affine/bias", f"{theirs}/mod_bias", offset=1.0),
            ]
            if layer != "torgb":
                noise = 2 * (block.bit_length() - 1) - (5 if layer == "conv0" else 4)
                rows += [
                    Row(f"{ours}/noise_strength", f"{theirs}/noise_strength"),
                    Row(f"{ours}/noise_const", f"synthesis/noise{noise}", leading=2),
                ]
    # How far training with growing resolution had come: stylegan2 stores it, at its end.
    return rows, [Constant("lod", np.zeros(()))]


def _scope(block: int, layer: str) -> str:
    names = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB"}
    if block == BASE_RESOLUTION:
        names["conv1"] = "Conv"
    return f"synthesis/{block}x{block}/{names[layer]}"


_NAMES = LayerNames(
    what=_WHAT,
    holder="the variables",
    mean="dlatent_avg",
    dense=r"mapping/Dense\d+/weight",
    first_dense="mapping/Dense0/weight",
    embed="mapping/LabelEmbed/weight",
    inputs=0,
    colour=r"synthesis/(\d+)x\1/ToRGB/bias",
    colour_bias=lambda r: f"{_scope(r, 'torgb')}/bias",
    feature_bias=lambda r: f"{_scope(r, 'conv1')}/bias",
)


def _plan(content: Any, request: Request) -> Plan:
    network, notes = _open(content, request.network)
    state = network_state(network)
    settings = _settings(network.state.get("static_kwargs") or {})
    if request.conv_clamp != "auto":
        settings["conv_clamp"] = request.conv_clamp
    config = infer_config(state, **settings)
    check_foreign(state, *table(config), Generator.shapes(config), what=_WHAT)

    def params():
        return params_from_tensorflow(state, **settings)[1]

    return Plan((generator_part(config, params, request),), notes)


LAYOUT = Layout("NVlabs' StyleGAN2 for TensorFlow", _plan)


def _open(content: Any, network: str) -> tuple[Any, tuple[str, ...]]:
    if is_network(content):
        refuse_choice(network)
        return content, ()
    if not isinstance(content, list | tuple) or len(content) != len(_PLACES) + 1:
        raise DataError(f"a {_WHAT}'s file holds three networks: G, D and Gs")
    aside = "G" if network == "G_ema" else "G_ema"
    return content[_PLACES[network]], (f"left aside: D, {aside}",)


def _settings(arguments: Any) -> dict[str, Any]:
    if not isinstance(arguments, Mapping):
        raise DataError(f"the {_WHAT}'s arguments are no names and values")
    for key, supported in _EXPECTED.items():
        if arguments.get(key, supported[0]) not in supported:
            raise DataError(f"{_WHAT} has {key} {arguments[key]!r}, supported is {supported[0]!r}")
    read = {"conv_clamp", "mapping_lrmul"}
    if unknown := [str(k) for k in arguments if k not in {*_EXPECTED, *_INDIFFERENT, *read}]:
        raise DataError(f"{_WHAT} has arguments that are not known: {listed(unknown)}")
    clamp = arguments.get("conv_clamp")
    return {
        "conv_clamp": None if clamp is None else float(clamp),
        "mapping_lr_multiplier": float(arguments.get("mapping_lrmul", 0.01)),
    }
