"""The shape of a StyleGAN2 generator: one frozen, hashable description."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from mm_jax.checks import check_one_of
from mm_jax.errors import UsageError
from mm_jax.stylegan2.precision import PRECISIONS

BASE_RESOLUTION = 4


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Architecture of a skip generator (Karras et al. 2020, configurations e and f).

    Attributes:
        resolution: side of the final image in pixels, a power of two from 8 up.
        z_dim: width of Z.
        w_dim: width D of W and of each row of W+.
        c_dim: number of classes, 0 for an unconditional generator.
        mapping_layers: dense layers between z and w.
        channel_base: channels at resolution r are `min(channel_base // r, channel_max)`.
        channel_max: upper bound of the above.
        channels: explicit channels at 4, 8, .., resolution; overrides the two above.
        conv_clamp: bound on every convolution's output after its activation, or None.
        mapping_lr_multiplier: learning-rate multiplier of the mapping's stored weights.
        img_channels: channels of the image.
        precision: of the products, see `mm_jax.stylegan2.precision`. It says how images are
            computed, not what the generator is, so it is not written to files.

    Raises:
        UsageError: a value that no generator of this family can have.
    """

    resolution: int = 1024
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    channel_base: int = 32768
    channel_max: int = 512
    channels: tuple[int, ...] | None = None
    conv_clamp: float | None = None
    mapping_lr_multiplier: float = 0.01
    img_channels: int = 3
    precision: str = "float32"

    def __post_init__(self) -> None:
        if not _is_int(self.resolution) or self.resolution < 8 or self.resolution.bit_count() != 1:
            raise UsageError(f"resolution must be a power of two from 8 up, got {self.resolution}")
        for name, minimum in (
            ("z_dim", 1),
            ("w_dim", 1),
            ("c_dim", 0),
            ("mapping_layers", 1),
            ("channel_base", self.resolution),
            ("channel_max", 1),
            ("img_channels", 1),
        ):
            value = getattr(self, name)
            if not _is_int(value) or value < minimum:
                raise UsageError(
                    f"{name} must be a whole number of at least {minimum}, got {value}"
                )
        if self.channels is not None:
            channels = tuple(self.channels)
            want = len(self.block_resolutions)
            if len(channels) != want or not all(_is_int(c) and c > 0 for c in channels):
                raise UsageError(
                    f"channels must be {want} positive integers, got {channels}: one for each "
                    f"resolution {', '.join(map(str, self.block_resolutions))}"
                )
            object.__setattr__(self, "channels", channels)
        check_one_of("precision", self.precision, PRECISIONS)
        if self.conv_clamp is not None and not 0 < self.conv_clamp < math.inf:
            raise UsageError(f"conv_clamp must be None or a positive number, got {self.conv_clamp}")
        if not 0 < self.mapping_lr_multiplier < math.inf:
            raise UsageError(
                f"mapping_lr_multiplier must be a positive number, got {self.mapping_lr_multiplier}"
            )

    @property
    def block_resolutions(self) -> tuple[int, ...]:
        """4, 8, .., resolution."""
        return tuple(2**i for i in range(2, self.resolution.bit_length()))

    @property
    def num_ws(self) -> int:
        """Rows L of W+: 2 log2(resolution) - 2."""
        return 2 * (self.resolution.bit_length() - 1) - 2

    def channels_at(self, resolution: int) -> int:
        """Channels of the block at `resolution`."""
        if resolution not in self.block_resolutions:
            raise UsageError(
                f"no block at resolution {resolution}: it must be one of "
                f"{', '.join(map(str, self.block_resolutions))}"
            )
        if self.channels is not None:
            return self.channels[self.block_resolutions.index(resolution)]
        return min(self.channel_base // resolution, self.channel_max)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Modulated layers in the order of StyleSpace: b4.conv1, b4.torgb, b8.conv0, .."""
        names = []
        for r in self.block_resolutions:
            convs = ("conv1",) if r == BASE_RESOLUTION else ("conv0", "conv1")
            names += [f"b{r}.{layer}" for layer in (*convs, "torgb")]
        return tuple(names)

    def row_of(self, layer_name: str) -> int:
        """Row of W+ that styles a layer. A torgb shares its row with the next block's conv0."""
        if layer_name not in self.layer_names:
            raise UsageError(
                f"no layer {layer_name!r}: it must be one such as 'b4.conv1' or 'b8.torgb'"
            )
        block, layer = layer_name.split(".")
        first = 2 * (int(block[1:]).bit_length() - 1) - 5
        return first + {"conv0": 0, "conv1": 1, "torgb": 2}[layer]

    def style_width(self, layer_name: str) -> int:
        """Channels of a layer's input, which is the length of its style vector."""
        self.row_of(layer_name)
        block, layer = layer_name.split(".")
        resolution = int(block[1:])
        return self.channels_at(resolution // 2 if layer == "conv0" else resolution)

    def to_dict(self) -> dict[str, Any]:
        """Plain values of the architecture, fit for JSON."""
        values = dataclasses.asdict(self)
        del values["precision"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GeneratorConfig":
        """Inverse of `to_dict`; refuses keys it does not know."""
        known = {f.name for f in dataclasses.fields(cls)} - {"precision"}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"unknown generator setting {', '.join(unknown)}")
        values = dict(values)
        if values.get("channels") is not None:
            values["channels"] = tuple(values["channels"])
        return cls(**values)
