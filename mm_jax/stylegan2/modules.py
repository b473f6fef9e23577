"""The generator's two networks as thin Linen modules.

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

import flax.linen as nn
import jax
import jax.numpy as jnp

from mm_jax.stylegan2.config import BASE_RESOLUTION, GeneratorConfig
from mm_jax.stylegan2.ops import (
    clamp,
    equalized,
    leaky_relu,
    modulated_conv,
    normalize_second_moment,
)
from mm_jax.stylegan2.resample import upsample_picture

Keys = jax.Array | None


def _split(keys: Keys) -> tuple[Keys, Keys]:
    """Two fresh keys for each of [N] keys, or None for None."""
    if keys is None:
        return None, None
    fresh = jax.vmap(jax.random.split)(keys)
    return fresh[:, 0], fresh[:, 1]


class EqualDense(nn.Module):
    """Dense layer with equalised learning rate: [.., in] -> [.., features]."""

    features: int
    lr_multiplier: float = 1.0
    bias_init: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Vectors [N, I] to [N, C]."""
        scale = 1.0 / self.lr_multiplier
        kernel = self.param(
            "kernel", nn.initializers.normal(scale), (x.shape[-1], self.features), jnp.float32
        )
        bias = self.param(
            "bias", nn.initializers.constant(self.bias_init), (self.features,), jnp.float32
        )
        # The row is scaled, not the matrix, which is larger, and with which XLA:CPU is slow then.
        y = equalized(x, kernel.shape, lr_multiplier=self.lr_multiplier) @ kernel
        return y + jnp.broadcast_to(bias * self.lr_multiplier, y.shape)


class MappingNetwork(nn.Module):
    """z (and a label) -> w."""

    config: GeneratorConfig

    @nn.compact
    def __call__(self, z: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        """z [N, Z] and one-hot labels [N, K] to w [N, D]."""
        config = self.config
        # Read by truncation, not here; it lives beside the weights it was measured on.
        self.param("w_avg", nn.initializers.zeros, (config.w_dim,), jnp.float32)
        x = normalize_second_moment(z)
        if config.c_dim:
            assert labels is not None  # `networks` asks for them
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

    def setup(self) -> None:
        """Make the kernel, bias and style map."""
        k = self.kernel_size
        shape = (k, k, self.in_channels, self.out_channels)
        self.kernel: jax.Array = self.param(
            "kernel", nn.initializers.normal(1.0), shape, jnp.float32
        )
        self.bias: jax.Array = self.param(
            "bias", nn.initializers.zeros, (self.out_channels,), jnp.float32
        )
        self.affine: EqualDense = EqualDense(self.in_channels, bias_init=1.0)

    def style(self, w: jax.Array) -> jax.Array:
        """[N, D] -> [N, I]."""
        return self.affine(w)

    def equalized(self, style: jax.Array) -> jax.Array:
        """The style [N, I] times the kernel's scale, since the kernel is much larger."""
        return equalized(style, self.kernel.shape)


class ConvLayer(ModulatedLayer):
    """3x3 convolution, noise, bias and leaky ReLU; `up` doubles the size first."""

    resolution: int
    up: bool
    precision: str

    def setup(self) -> None:
        """Make the noise and its strength too."""
        super().setup()
        shape = (self.resolution, self.resolution)
        self.noise_const: jax.Array = self.param(
            "noise_const", nn.initializers.normal(1.0), shape, jnp.float32
        )
        self.noise_strength: jax.Array = self.param(
            "noise_strength", nn.initializers.zeros, (), jnp.float32
        )

    def __call__(
        self, x: jax.Array, style: jax.Array, noise_mode: str, noise_keys: Keys
    ) -> jax.Array:
        """Features [N, h, w, I] to [N, H, W, C], styled by [N, I]."""
        x = modulated_conv(
            x, self.kernel, self.equalized(style), up=self.up, demodulate=True,
            precision=self.precision,
        )  # fmt: skip
        if noise_mode == "const":
            x = x + (self.noise_strength * self.noise_const)[None, :, :, None]
        elif noise_mode == "random":
            shape = (*x.shape[1:3], 1)
            noise = jax.vmap(lambda key: jax.random.normal(key, shape, x.dtype))(noise_keys)
            x = x + self.noise_strength * noise
        x = leaky_relu(x + self.bias[None, None, None, :])
        return clamp(x, self.conv_clamp)


class ToRgbLayer(ModulatedLayer):
    """1x1 convolution to image channels, without demodulation."""

    def __call__(self, x: jax.Array, style: jax.Array) -> jax.Array:
        """Features [N, H, W, I] to an image [N, H, W, C]."""
        x = modulated_conv(x, self.kernel, self.equalized(style), up=False, demodulate=False)
        return clamp(x + self.bias[None, None, None, :], self.conv_clamp)


class SynthesisBlock(nn.Module):
    """The layers of one resolution."""

    config: GeneratorConfig
    resolution: int

    def setup(self) -> None:
        """Make the block's layers."""
        config, r = self.config, self.resolution
        channels = config.channels_at(r)
        if r == BASE_RESOLUTION:
            shape = (r, r, channels)
            self.const: jax.Array = self.param(
                "const", nn.initializers.normal(1.0), shape, jnp.float32
            )
        else:
            before = config.channels_at(r // 2)
            self.conv0: ConvLayer = ConvLayer(
                before, channels, 3, config.conv_clamp, r, up=True, precision=config.precision
            )
        self.conv1: ConvLayer = ConvLayer(
            channels, channels, 3, config.conv_clamp, r, up=False, precision=config.precision
        )
        self.torgb: ToRgbLayer = ToRgbLayer(channels, config.img_channels, 1, config.conv_clamp)

    def style(self, layer: str, w: jax.Array) -> jax.Array:
        """Style of one layer, by its name within the block."""
        return getattr(self, layer).style(w)

    def __call__(
        self,
        x: jax.Array | None,
        image: jax.Array | None,
        styles: Mapping[str, jax.Array],
        noise_mode: str,
        noise_keys: Keys,
    ) -> tuple[jax.Array, jax.Array]:
        """Features and running image of the block before to those of this one."""
        keys = _split(noise_keys)
        if self.resolution == BASE_RESOLUTION:
            x = jnp.broadcast_to(self.const, (styles["conv1"].shape[0], *self.const.shape))
        else:
            assert x is not None  # features of the block before
            x = self.conv0(x, styles["conv0"], noise_mode, keys[0])
        x = self.conv1(x, styles["conv1"], noise_mode, keys[1])
        colour = self.torgb(x, styles["torgb"])
        return x, colour if image is None else upsample_picture(image) + colour


class SynthesisNetwork(nn.Module):
    """W+ or styles -> images, up to a resolution."""

    config: GeneratorConfig

    def setup(self) -> None:
        """Make the blocks."""
        for r in self.config.block_resolutions:
            setattr(self, f"b{r}", SynthesisBlock(self.config, r))

    def styles(self, ws: jax.Array, resolution: int) -> dict[str, jax.Array]:
        """ws [N, L, D] -> {layer name: [N, C]} for the layers up to `resolution`."""
        styles = {}
        for name in self.config.layer_names:
            block, layer = name.split(".")
            if int(block[1:]) <= resolution:
                styles[name] = getattr(self, block).style(layer, ws[:, self.config.row_of(name)])
        return styles

    def from_styles(
        self,
        styles: Mapping[str, jax.Array],
        resolution: int,
        noise_mode: str,
        noise_keys: Keys,
    ) -> dict[int, jax.Array]:
        """{layer name: [N, C]} -> {resolution: [N, R, R, 3]}."""
        x, image, images = None, None, {}
        for r in self.config.block_resolutions:
            if r > resolution:
                break
            layers = {n.split(".")[1]: s for n, s in styles.items() if n.startswith(f"b{r}.")}
            noise_keys, keys = _split(noise_keys)
            x, image = getattr(self, f"b{r}")(x, image, layers, noise_mode, keys)
            images[r] = image
        return images

    def __call__(
        self, ws: jax.Array, resolution: int, noise_mode: str, noise_keys: Keys
    ) -> dict[int, jax.Array]:
        """ws [N, L, D] to the running images up to a resolution."""
        return self.from_styles(self.styles(ws, resolution), resolution, noise_mode, noise_keys)
