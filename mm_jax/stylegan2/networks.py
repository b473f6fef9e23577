"""The generator as pure functions of a configuration and a parameter tree.

The tree is described in `mm_jax.stylegan2.modules`. Everything here works inside jit, vmap and
grad; arguments are checked by their shapes alone.
"""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mm_jax.errors import UsageError
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.modules import MappingNetwork, SynthesisNetwork

Params = Mapping[str, Any]
Styles = dict[str, jax.Array]
NoiseMode = Literal["const", "none", "random"]

NOISE_MODES = ("const", "none", "random")
UNTRAINED = ("w_avg", "noise_const")


def init_params(key: jax.Array, config: GeneratorConfig) -> dict[str, Any]:
    """Fresh float32 parameters as StyleGAN2 draws them: unit normals, zero biases and noise."""
    mapping_key, synthesis_key = jax.random.split(key)
    z = jnp.zeros((1, config.z_dim))
    labels = jnp.zeros((1, config.c_dim)) if config.c_dim else None
    ws = jnp.zeros((1, config.num_ws, config.w_dim))

    @jax.jit
    def init(mapping_key, synthesis_key):
        mapping = MappingNetwork(config).init(mapping_key, z, labels)
        network = SynthesisNetwork(config)
        # The styles alone: they meet every layer, and images would take longer to trace.
        synthesis = network.init(synthesis_key, ws, config.resolution, method="styles")
        return {"mapping": mapping["params"], "synthesis": synthesis["params"]}

    return init(mapping_key, synthesis_key)


def map_latents(
    config: GeneratorConfig, params: Params, z: jax.Array, labels: jax.Array | None = None
) -> jax.Array:
    """z [N, Z], and one-hot labels [N, C] for a conditional generator -> w [N, D]."""
    _check_shape("z", z, (None, config.z_dim))
    if config.c_dim:
        if labels is None:
            raise UsageError(
                f"this generator is conditional: give labels of shape [N, {config.c_dim}]"
            )
        _check_shape("labels", labels, (z.shape[0], config.c_dim))
    elif labels is not None:
        raise UsageError("this generator is unconditional: it takes no labels")
    return _apply(MappingNetwork(config), params["mapping"], z, labels)


def styles(config: GeneratorConfig, params: Params, ws: jax.Array) -> Styles:
    """StyleSpace latent {layer name: [N, C]} of ws [N, L, D], ordered as `config.layer_names`."""
    check_ws(config, ws)
    network = SynthesisNetwork(config)
    return _apply(network, params["synthesis"], ws, config.resolution, method="styles")


def synthesis_skips(
    config: GeneratorConfig,
    params: Params,
    ws: jax.Array,
    *,
    noise_mode: NoiseMode = "const",
    noise_key: jax.Array | None = None,
    resolution: int | None = None,
) -> dict[int, jax.Array]:
    """Every running image {4: [N, 4, 4, 3], 8: .., ..} of ws [N, L, D] up to `resolution`.

    Args:
        config: architecture.
        params: the parameter tree.
        ws: one row of W+ for each level. Rows above `resolution` are not read.
        noise_mode: "const" adds the stored noise maps, "none" nothing, "random" fresh noise.
        noise_key: needed for "random" and refused otherwise. One key, or [N] keys, one for each
            image, whose noise then depends on nothing else in the batch.
        resolution: stop at this resolution; by default the whole generator runs.

    Raises:
        UsageError: arguments that do not fit the architecture or each other.
    """
    check_ws(config, ws)
    resolution = check_options(config, noise_mode, noise_key, resolution)
    keys = per_picture_keys(noise_key, ws.shape[0])
    network = SynthesisNetwork(config)
    return _apply(network, params["synthesis"], ws, resolution, noise_mode, keys)


def synthesis(
    config: GeneratorConfig,
    params: Params,
    ws: jax.Array,
    *,
    noise_mode: NoiseMode = "const",
    noise_key: jax.Array | None = None,
    resolution: int | None = None,
) -> jax.Array:
    """The image [N, R, R, 3] of ws [N, L, D]; arguments as in `synthesis_skips`."""
    images = synthesis_skips(
        config, params, ws, noise_mode=noise_mode, noise_key=noise_key, resolution=resolution
    )
    return images[max(images)]


def synthesis_from_styles(
    config: GeneratorConfig,
    params: Params,
    styles: Mapping[str, jax.Array],
    *,
    noise_mode: NoiseMode = "const",
    noise_key: jax.Array | None = None,
    resolution: int | None = None,
) -> jax.Array:
    """The image [N, R, R, 3] of a StyleSpace latent {layer name: [N, C]}.

    Layers above `resolution` may be missing. Other arguments as in `synthesis_skips`.
    """
    resolution = check_options(config, noise_mode, noise_key, resolution)
    styles = check_styles(config, styles, resolution)
    keys = per_picture_keys(noise_key, next(iter(styles.values())).shape[0])
    arguments = (styles, resolution, noise_mode, keys)
    network = SynthesisNetwork(config)
    return _apply(network, params["synthesis"], *arguments, method="from_styles")[resolution]


def _apply(network: nn.Module, params: Params, *arguments: Any, method: str | None = None) -> Any:
    return network.apply({"params": params}, *arguments, method=method)


def check_ws(config: GeneratorConfig, ws: jax.Array) -> None:
    """Raises UsageError unless ws is [N, L, D] for this architecture."""
    rows, width = config.num_ws, config.w_dim
    if ws.ndim == 2 and ws.shape[0] == rows:
        raise UsageError(
            f"ws has shape {tuple(ws.shape)}, which is one latent: add the batch axis, ws[None]"
        )
    if ws.ndim == 2:
        raise UsageError(
            f"ws must be [N, {rows}, {width}], got {list(ws.shape)}: repeat w over the rows"
        )
    _check_shape("ws", ws, (None, rows, width))


def check_options(
    config: GeneratorConfig, noise_mode: str, noise_key: jax.Array | None, resolution: int | None
) -> int:
    """Validates the options of a synthesis and returns the resolution it runs to."""
    if noise_mode not in NOISE_MODES:
        raise UsageError(f"noise_mode must be one of {', '.join(NOISE_MODES)}, got {noise_mode!r}")
    if noise_mode == "random" and noise_key is None:
        raise UsageError('noise_mode "random" needs a noise_key, such as jax.random.key(0)')
    if noise_mode != "random" and noise_key is not None:
        raise UsageError(f'noise_key is only for noise_mode "random", not {noise_mode!r}')
    resolution = config.resolution if resolution is None else resolution
    config.channels_at(resolution)
    return resolution


def per_picture_keys(noise_key: jax.Array | None, count: int) -> jax.Array | None:
    """[count] new-style keys of one key or of as many; None stays None."""
    if noise_key is None:
        return None
    keys: Any = noise_key
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        keys = jax.random.wrap_key_data(keys)
    if keys.shape == ():
        return jax.random.split(keys, count)
    _check_shape("noise_key", keys, (count,))
    return keys


def check_styles(
    config: GeneratorConfig, styles: Mapping[str, jax.Array], resolution: int
) -> Styles:
    """The styles of the layers up to `resolution`; UsageError unless each is [N, C]."""
    unknown = sorted(set(styles) - set(config.layer_names))
    if unknown:
        raise UsageError(f"no layer {unknown[0]!r} in this generator")
    needed = [n for n in config.layer_names if int(n.split(".")[0][1:]) <= resolution]
    missing = [n for n in needed if n not in styles]
    if missing:
        raise UsageError(f"styles lack layer {missing[0]!r}")
    batch = styles[needed[0]].shape[:1]
    for name in needed:
        _check_shape(f"style {name!r}", styles[name], (*batch, config.style_width(name)))
    return {n: styles[n] for n in needed}


def _check_shape(name: str, x: jax.Array, want: tuple[int | None, ...]) -> None:
    if x.ndim != len(want) or any(w not in (None, s) for s, w in zip(x.shape, want, strict=True)):
        wanted = ", ".join("N" if w is None else str(w) for w in want)
        raise UsageError(f"{name} must have shape [{wanted}], got {tuple(x.shape)}")
