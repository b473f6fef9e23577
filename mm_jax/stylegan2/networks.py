"""The generator's two networks as thin Linen modules, and the functions that the rest calls.

Parameters form one tree, `{"mapping": .., "synthesis": ..}`, with paths that never change:

    mapping/embed|fc{i}/kernel [in, out], bias [out]        mapping/w_avg [D]
    synthesis/b4/const [4, 4, C]
    synthesis/b{r}/conv0|conv1/kernel [3, 3, I, O], bias [O], noise_const [r, r], noise_strength []
    synthesis/b{r}/torgb/kernel [1, 1, I, 3], bias [3]
    synthesis/b{r}/conv0|conv1|torgb/affine/kernel [D, I], bias [I]

Values are stored as upstream stores them: unscaled by the equalised learning rate, the affine bias
with its one included.
"""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mm_jax.errors import UsageError
from mm_jax.stylegan2.config import BASE_RESOLUTION, GeneratorConfig
from mm_jax.stylegan2.ops import (
    clamp,
    equalized,
    leaky_relu,
    modulated_conv,
    normalize_second_moment,
)
from mm_jax.stylegan2.resample import upsample_picture

Params = Mapping[str, Any]
Styles = dict[str, jax.Array]
NoiseMode = Literal["const", "none", "random"]

NOISE_MODES = ("const", "none", "random")
UNTRAINED = ("w_avg", "noise_const")


class EqualDense(nn.Module):
    """Dense layer with equalised learning rate: [.., in] -> [.., features]."""

    features: int
    lr_multiplier: float = 1.0
    bias_init: float = 0.0

    @nn.compact
    def __call__(self, x):
        scale = 1.0 / self.lr_multiplier
        kernel = self.param(
            "kernel", nn.initializers.normal(scale), (x.shape[-1], self.features), jnp.float32
        )
        bias = self.param(
            "bias", nn.initializers.constant(self.bias_init), (self.features,), jnp.float32
        )
        y = x @ equalized(kernel, lr_multiplier=self.lr_multiplier)
        return y + jnp.broadcast_to(bias * self.lr_multiplier, y.shape)


class MappingNetwork(nn.Module):
    """z (and a label) -> w."""

    config: GeneratorConfig

    @nn.compact
    def __call__(self, z, labels=None):
        config = self.config
        # Read by truncation, not here; it lives beside the weights it was measured on.
        self.param("w_avg", nn.initializers.zeros, (config.w_dim,), jnp.float32)
        x = normalize_second_moment(z)
        if config.c_dim:
            embedded = EqualDense(config.w_dim, name="embed")(labels)
            x = jnp.concatenate([x, normalize_second_moment(embedded)], axis=-1)
        for i in range(config.mapping_layers):
            layer = EqualDense(config.w_dim, config.mapping_lr_multiplier, name=f"fc{i}")
            x = leaky_relu(layer(x))
        return x


class ModulatedLayer(nn.Module):
    """What every synthesis layer has: a kernel, a bias, and the affine map from w to its style."""

    in_channels: int
    out_channels: int
    kernel_size: int
    conv_clamp: float | None

    def setup(self):
        k = self.kernel_size
        shape = (k, k, self.in_channels, self.out_channels)
        self.kernel = self.param("kernel", nn.initializers.normal(1.0), shape, jnp.float32)
        self.bias = self.param("bias", nn.initializers.zeros, (self.out_channels,), jnp.float32)
        self.affine = EqualDense(self.in_channels, bias_init=1.0)

    def style(self, w):
        """[N, D] -> [N, I]."""
        return self.affine(w)


class ConvLayer(ModulatedLayer):
    """3x3 convolution, noise, bias and leaky ReLU; `up` doubles the size first."""

    resolution: int
    up: bool

    def setup(self):
        super().setup()
        shape = (self.resolution, self.resolution)
        self.noise_const = self.param(
            "noise_const", nn.initializers.normal(1.0), shape, jnp.float32
        )
        self.noise_strength = self.param("noise_strength", nn.initializers.zeros, (), jnp.float32)

    def __call__(self, x, style, noise_mode, noise_key):
        x = modulated_conv(x, equalized(self.kernel), style, up=self.up, demodulate=True)
        if noise_mode == "const":
            x = x + (self.noise_strength * self.noise_const)[None, :, :, None]
        elif noise_mode == "random":
            noise = jax.random.normal(noise_key, (*x.shape[:3], 1), x.dtype)
            x = x + self.noise_strength * noise
        x = leaky_relu(x + self.bias[None, None, None, :])
        return clamp(x, self.conv_clamp)


class ToRgbLayer(ModulatedLayer):
    """1x1 convolution to picture channels, without demodulation."""

    def __call__(self, x, style):
        x = modulated_conv(x, equalized(self.kernel), style, up=False, demodulate=False)
        return clamp(x + self.bias[None, None, None, :], self.conv_clamp)


class SynthesisBlock(nn.Module):
    """The layers of one resolution."""

    config: GeneratorConfig
    resolution: int

    def setup(self):
        config, r = self.config, self.resolution
        channels = config.channels_at(r)
        if r == BASE_RESOLUTION:
            shape = (r, r, channels)
            self.const = self.param("const", nn.initializers.normal(1.0), shape, jnp.float32)
        else:
            before = config.channels_at(r // 2)
            self.conv0 = ConvLayer(before, channels, 3, config.conv_clamp, r, up=True)
        self.conv1 = ConvLayer(channels, channels, 3, config.conv_clamp, r, up=False)
        self.torgb = ToRgbLayer(channels, config.img_channels, 1, config.conv_clamp)

    def style(self, layer, w):
        """Style of one layer, by its name within the block."""
        return getattr(self, layer).style(w)

    def __call__(self, x, picture, styles, noise_mode, noise_key):
        keys = (None, None) if noise_key is None else jax.random.split(noise_key)
        if self.resolution == BASE_RESOLUTION:
            x = jnp.broadcast_to(self.const, (styles["conv1"].shape[0], *self.const.shape))
        else:
            x = self.conv0(x, styles["conv0"], noise_mode, keys[0])
        x = self.conv1(x, styles["conv1"], noise_mode, keys[1])
        colour = self.torgb(x, styles["torgb"])
        return x, colour if picture is None else upsample_picture(picture) + colour


class SynthesisNetwork(nn.Module):
    """W+ or styles -> pictures, up to a resolution."""

    config: GeneratorConfig

    def setup(self):
        for r in self.config.block_resolutions:
            setattr(self, f"b{r}", SynthesisBlock(self.config, r))

    def styles(self, ws, resolution):
        """ws [N, L, D] -> {layer name: [N, C]} for the layers up to `resolution`."""
        styles = {}
        for name in self.config.layer_names:
            block, layer = name.split(".")
            if int(block[1:]) <= resolution:
                styles[name] = getattr(self, block).style(layer, ws[:, self.config.row_of(name)])
        return styles

    def from_styles(self, styles, resolution, noise_mode, noise_key):
        """{layer name: [N, C]} -> {resolution: [N, R, R, 3]}."""
        x, picture, pictures = None, None, {}
        for r in self.config.block_resolutions:
            if r > resolution:
                break
            layers = {n.split(".")[1]: s for n, s in styles.items() if n.startswith(f"b{r}.")}
            key = None if noise_key is None else jax.random.fold_in(noise_key, r)
            x, picture = getattr(self, f"b{r}")(x, picture, layers, noise_mode, key)
            pictures[r] = picture
        return pictures

    def __call__(self, ws, resolution, noise_mode, noise_key):
        return self.from_styles(self.styles(ws, resolution), resolution, noise_mode, noise_key)


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
        synthesis = network.init(synthesis_key, ws, config.resolution, "none", None)
        return {"mapping": mapping["params"], "synthesis": synthesis["params"]}

    return init(mapping_key, synthesis_key)


def trainable(params: Params) -> dict[str, Any]:
    """The same tree with False at `w_avg` and `noise_const`, which training leaves alone."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key not in UNTRAINED, params)


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
    return MappingNetwork(config).apply({"params": params["mapping"]}, z, labels)


def styles(config: GeneratorConfig, params: Params, ws: jax.Array) -> Styles:
    """StyleSpace code {layer name: [N, C]} of ws [N, L, D], ordered as `config.layer_names`."""
    check_ws(config, ws)
    variables = {"params": params["synthesis"]}
    return SynthesisNetwork(config).apply(variables, ws, config.resolution, method="styles")


def synthesis_skips(
    config: GeneratorConfig,
    params: Params,
    ws: jax.Array,
    *,
    noise_mode: NoiseMode = "const",
    noise_key: jax.Array | None = None,
    resolution: int | None = None,
) -> dict[int, jax.Array]:
    """Every running picture {4: [N, 4, 4, 3], 8: .., ..} of ws [N, L, D] up to `resolution`.

    Args:
      config: architecture.
      params: the tree described at the top of this module.
      ws: one row of W+ for each level. Rows above `resolution` are not read.
      noise_mode: "const" adds the stored noise maps, "none" nothing, "random" fresh noise.
      noise_key: needed for "random" and refused otherwise.
      resolution: stop at this resolution; by default the whole generator runs.

    Raises:
      UsageError: arguments that do not fit the architecture or each other.
    """
    check_ws(config, ws)
    resolution = check_options(config, noise_mode, noise_key, resolution)
    variables = {"params": params["synthesis"]}
    return SynthesisNetwork(config).apply(variables, ws, resolution, noise_mode, noise_key)


def synthesis(
    config: GeneratorConfig,
    params: Params,
    ws: jax.Array,
    *,
    noise_mode: NoiseMode = "const",
    noise_key: jax.Array | None = None,
    resolution: int | None = None,
) -> jax.Array:
    """The picture [N, R, R, 3] of ws [N, L, D]; arguments as in `synthesis_skips`."""
    pictures = synthesis_skips(
        config, params, ws, noise_mode=noise_mode, noise_key=noise_key, resolution=resolution
    )
    return pictures[max(pictures)]


def synthesis_from_styles(
    config: GeneratorConfig,
    params: Params,
    styles: Mapping[str, jax.Array],
    *,
    noise_mode: NoiseMode = "const",
    noise_key: jax.Array | None = None,
    resolution: int | None = None,
) -> jax.Array:
    """The picture [N, R, R, 3] of a StyleSpace code {layer name: [N, C]}.

    Layers above `resolution` may be missing. Other arguments as in `synthesis_skips`.
    """
    resolution = check_options(config, noise_mode, noise_key, resolution)
    styles = _check_styles(config, styles, resolution)
    pictures = SynthesisNetwork(config).apply(
        {"params": params["synthesis"]},
        styles,
        resolution,
        noise_mode,
        noise_key,
        method="from_styles",
    )
    return pictures[resolution]


def check_ws(config: GeneratorConfig, ws: jax.Array) -> None:
    """Raises UsageError unless ws is [N, L, D] for this architecture."""
    rows, width = config.num_ws, config.w_dim
    if ws.ndim == 2 and ws.shape[0] == rows:
        raise UsageError(
            f"ws has shape {tuple(ws.shape)}, which is one latent: add the batch axis, ws[None]"
        )
    if ws.ndim == 2:
        raise UsageError(
            f"ws has shape {tuple(ws.shape)}, want [N, {rows}, {width}]: repeat w over the rows"
        )
    _check_shape("ws", ws, (None, rows, width))


def check_options(
    config: GeneratorConfig, noise_mode: str, noise_key: jax.Array | None, resolution: int | None
) -> int:
    """Validates the options of a synthesis and returns the resolution it runs to."""
    if noise_mode not in NOISE_MODES:
        raise UsageError(f"noise_mode is {noise_mode!r}, want one of {', '.join(NOISE_MODES)}")
    if noise_mode == "random" and noise_key is None:
        raise UsageError('noise_mode "random" needs a noise_key, such as jax.random.key(0)')
    if noise_mode != "random" and noise_key is not None:
        raise UsageError(f'noise_key is only for noise_mode "random", not {noise_mode!r}')
    resolution = config.resolution if resolution is None else resolution
    config.channels_at(resolution)
    return resolution


def _check_styles(config, styles, resolution) -> Styles:
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
        raise UsageError(f"{name} has shape {tuple(x.shape)}, want [{wanted}]")
