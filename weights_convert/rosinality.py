"""rosinality's layout: the `g_ema` of its `.pt` files, and the decoder of pSp, e4e and ReStyle.

Stored values are ours but for the order of axes and axes of length one. The mean latent stands
beside the state dict, as `latent_avg`, and is missing from training files; it is computed then.
Training files hold `g`, `d`, `g_ema`, `g_optim`, `d_optim`, `args` and `ada_aug_p`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mm_jax.errors import DataError, UsageError
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import map_latents
from weights_convert.filters import fir_kernel
from weights_convert.plan import (
    LARGEST,
    Layout,
    Part,
    Plan,
    Request,
    check_square,
    generator_part,
    refuse_choice,
)
from weights_convert.rosinality_legacy import fill_noise, modern_names
from weights_convert.structure import arrays, is_module, module_state, state_of
from weights_convert.table import Constant, Row, check_foreign, from_foreign, listed, to_foreign

__all__ = [
    "LAYOUT",
    "infer_config",
    "params_from_rosinality",
    "params_to_rosinality",
    "plan_state",
    "table",
]

_WHAT = "rosinality generator"
_MEAN = "latent_avg"
_MEAN_SAMPLES = 10_000
_MEAN_SEED = 0
_NETWORKS = {"G_ema": "g_ema", "G": "g"}


def params_from_rosinality(
    state: Mapping[str, np.ndarray], *, latent_avg: np.ndarray | None
) -> tuple[GeneratorConfig, dict[str, Any]]:
    """Configuration and parameters of a generator's state dict.

    Args:
        state: arrays by key, such as "convs.0.conv.weight".
        latent_avg: [D], or None to take the mean of 10,000 mapped z (of a fixed seed).

    Raises:
        DataError: keys or shapes that are not this layout's; every one is accounted for.
    """
    config = infer_config(state)
    unknown = np.zeros(config.w_dim, np.float32)
    state = {**state, _MEAN: unknown if latent_avg is None else latent_avg}
    params = from_foreign(state, *table(config), Generator.shapes(config), what=_WHAT)
    if latent_avg is None:
        z = np.random.RandomState(_MEAN_SEED).randn(_MEAN_SAMPLES, config.z_dim)
        w = map_latents(config, params, jnp.asarray(z, jnp.float32))
        params["mapping"]["w_avg"] = np.asarray(w).mean(axis=0)
    return config, params


def params_to_rosinality(
    config: GeneratorConfig, params: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The state dict and latent_avg of our parameters.

    Raises:
        UsageError: the layout has no labels and no clamp.
    """
    if config.c_dim or config.conv_clamp is not None:
        raise UsageError("rosinality's layout holds no labels and no conv_clamp")
    state = to_foreign(params, *table(config))
    return state, state.pop(_MEAN)


def plan_state(
    state: Mapping[str, np.ndarray],
    latent_avg: np.ndarray | None,
    request: Request,
    *,
    folder: str = "",
) -> tuple[Part, tuple[str, ...]]:
    """The part that one state dict is, of any age, and remarks.

    Args:
        state: arrays by key.
        latent_avg: [D] or [1, D], or None to measure it.
        request: gives the name.
        folder: as in `Part`.

    Raises:
        DataError: keys or shapes that are not this layout's; every one is accounted for.
    """
    state, notes = modern_names(state)
    check_square(state.get("input.input"))
    config = infer_config(state)
    state, more = fill_noise(state, layers=config.num_ws - 1)
    notes += more
    if latent_avg is None:
        notes += (
            f"the file has no {_MEAN}: the mean of {_MEAN_SAMPLES:,} mapped z of seed {_MEAN_SEED}",
        )
    elif latent_avg.shape == (1, config.w_dim):
        latent_avg = latent_avg[0]
    mean = np.zeros(config.w_dim) if latent_avg is None else latent_avg
    shapes = Generator.shapes(config)
    check_foreign({**state, _MEAN: mean}, *table(config), shapes, what=_WHAT)

    def params():
        return params_from_rosinality(state, latent_avg=latent_avg)[1]

    return generator_part(config, params, request, folder=folder), notes


def _plan(content: Any, request: Request) -> Plan:
    state, latent_avg, notes = _open(content, request.network)
    part, more = plan_state(state, latent_avg, request)
    return Plan((part,), notes + more)


LAYOUT = Layout("rosinality's StyleGAN2", _plan)


def _open(
    content: Any, network: str
) -> tuple[dict[str, np.ndarray], np.ndarray | None, tuple[str, ...]]:
    """State dict, mean and remarks, of a training file, a converted file or a bare state dict."""
    if is_module(content):
        refuse_choice(network)
        return module_state(content), None, ()
    if not isinstance(content, Mapping):
        raise DataError(f"a {_WHAT}'s file holds names and arrays, not a {type(content).__name__}")
    content = dict(content)
    mean = content.pop(_MEAN, None)
    if mean is not None:
        mean = arrays({_MEAN: mean}, what=_WHAT)[_MEAN]
    held = [key for key in _NETWORKS.values() if key in content]
    if not held:
        refuse_choice(network)
        return arrays(content, what=_WHAT), mean, ()
    wanted = _NETWORKS[network]
    if wanted not in held:
        raise DataError(f"the file holds no {wanted}, only {listed(held)}")
    # The stored mean is that of the averaged network.
    mean = mean if network == "G_ema" else None
    aside = [key for key in content if key != wanted]
    notes = (f"left aside: {listed(aside)}",) if aside else ()
    return state_of(content[wanted], what=wanted), mean, notes


def infer_config(state: Mapping[str, np.ndarray]) -> GeneratorConfig:
    """The architecture, read from the shapes."""

    def count(pattern):
        return sum(re.fullmatch(pattern, key) is not None for key in state)

    blocks = count(r"to_rgbs\.\d+\.bias")
    try:
        if 4 * 2**blocks > LARGEST:
            raise UsageError(f"{blocks + 1} blocks")
        channels = [np.shape(state["input.input"])[1]]
        channels += [np.shape(state[f"convs.{2 * i}.activate.bias"])[0] for i in range(blocks)]
        w_dim, z_dim = np.shape(state["style.1.weight"])
        return GeneratorConfig(
            resolution=4 * 2**blocks,
            z_dim=int(z_dim),
            w_dim=int(w_dim),
            mapping_layers=count(r"style\.\d+\.weight"),
            channels=tuple(map(int, channels)),
            img_channels=int(np.shape(state["to_rgb1.bias"])[1]),
        )
    except (KeyError, IndexError) as error:
        raise DataError(f"not the state dict of a {_WHAT}: {error}") from error
    except (UsageError, ValueError) as error:
        raise DataError(f"{_WHAT} of a shape that is not supported: {error}") from error


def table(config: GeneratorConfig) -> tuple[list[Row], list[Constant]]:
    """Every key of the layout, for one architecture; the mean latent goes by `latent_avg`."""
    fir = fir_kernel(total=4.0)
    rows = [
        Row("mapping/w_avg", _MEAN),
        Row("synthesis/b4/const", "input.input", "map", leading=1),
    ]
    constants = []
    for i in range(config.mapping_layers):
        # Index 0 of their mapping is the normalisation.
        rows.append(Row(f"mapping/fc{i}/kernel", f"style.{i + 1}.weight", "dense"))
        rows.append(Row(f"mapping/fc{i}/bias", f"style.{i + 1}.bias"))
    for index, r in enumerate(config.block_resolutions):
        ours = f"synthesis/b{r}"
        if index == 0:
            convs, rgb = {"conv1": "conv1"}, "to_rgb1"
        else:
            first = 2 * (index - 1)
            convs = {"conv0": f"convs.{first}", "conv1": f"convs.{first + 1}"}
            rgb = f"to_rgbs.{index - 1}"
            constants.append(Constant(f"{convs['conv0']}.conv.blur.kernel", fir))
            constants.append(Constant(f"{rgb}.upsample.kernel", fir))
        for name, key in convs.items():
            noise = 0 if index == 0 else 2 * index - 1 + (name == "conv1")
            rows += _modulated(f"{ours}/{name}", key)
            rows += [
                Row(f"{ours}/{name}/bias", f"{key}.activate.bias"),
                Row(f"{ours}/{name}/noise_strength", f"{key}.noise.weight", leading=1),
                Row(f"{ours}/{name}/noise_const", f"noises.noise_{noise}", leading=2),
            ]
        rows += _modulated(f"{ours}/torgb", rgb)
        rows.append(Row(f"{ours}/torgb/bias", f"{rgb}.bias", leading=1, trailing=2))
    return rows, constants


def _modulated(ours: str, key: str) -> list[Row]:
    return [
        Row(f"{ours}/kernel", f"{key}.conv.weight", "conv", leading=1),
        Row(f"{ours}/affine/kernel", f"{key}.conv.modulation.weight", "dense"),
        Row(f"{ours}/affine/bias", f"{key}.conv.modulation.bias"),
    ]
