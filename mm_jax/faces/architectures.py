"""The six face networks of face-api as Linen modules.

Inputs are images [N, S, S, 3] float32 in [-1, 1], S being the module's `side`. Boxes and landmarks
come out in fractions of that side, x to the right and y down. Parameters are laid out as they were
trained, so that the values of a quantised file can be stored here without rounding them again.

References: vladmandic/face-api 1.7.15 (the networks as published, parameter for parameter); Liu et
al., "SSD", arXiv 1512.02325; Howard et al., "MobileNets", arXiv 1704.04861; Redmon and Farhadi,
"YOLO9000", arXiv 1612.08242; King, dlib's `dnn_face_recognition_ex`.
"""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

__all__ = ["EXPRESSIONS", "MODULES", "DenseTrunk", "FaceModule", "OnTrunk"]

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
"""What the probabilities of `Expressions` are of, in order."""

# Mean colours that were subtracted in training, red, green, blue, of 255.
_MEAN = (122.782, 117.001, 104.298)
_MEAN_TINY = (117.001, 114.697, 97.404)


class FaceModule(nn.Module):
    """What the six have in common.

    Attributes:
        side: S, of the images that it is shown.
        outputs: what its outputs are called, in order.
    """

    side: ClassVar[int]
    outputs: ClassVar[tuple[str, ...]]


def _centred(x: jax.Array, mean: tuple[float, float, float]) -> jax.Array:
    """[-1, 1] to colours of [0, 1] without their mean."""
    shift = jnp.asarray(mean, x.dtype) / 255
    return (x + 1) / 2 - shift[None, None, None]


def _blocks(x: jax.Array) -> jax.Array:
    """Blocks of 2x2 pixels as one with four times the channels: [N, H, W, C], H and W even."""
    count, height, width, channels = x.shape
    x = x.reshape(count, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(count, height // 2, width // 2, 4 * channels)


def _of_blocks(kernel: jax.Array) -> jax.Array:
    """A kernel [2 T, 2 U, C, F] as one [T, U, 4 C, F] of blocks, which are two pixels apart."""
    rows, columns, channels, features = kernel.shape
    kernel = kernel.reshape(rows // 2, 2, columns // 2, 2, channels, features)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(
        rows // 2, columns // 2, 4 * channels, features
    )


def _convolve(x: jax.Array, kernel: jax.Array, after: int = 0) -> jax.Array:
    """A convolution with so many rows and columns of zeros added after the last ones."""
    padding = ((0, after), (0, after))
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


class _FirstConv(nn.Module):
    """A convolution of an image's colours with stride 2, with bias; the image's sides are even.

    XLA's takes twice as long on CPU for three channels as this one, for the twelve of `_blocks`.
    """

    features: int
    taps: int = 3
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x):
        shape = (self.taps, self.taps, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel = _of_blocks(jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0))))
        # TensorFlow's SAME adds the rows and columns that are missing after the last ones.
        x = _convolve(_blocks(x), kernel, len(kernel) - 1 if self.padding == "SAME" else 0)
        return x + bias[None, None, None]


class _FirstPooledConv(nn.Module):
    """A 3x3 convolution of an image's colours, with bias, and the largest of each 2x2 of it.

    Only pixels that the image has all around are convolved. The four of a block are features of
    one convolution of `_blocks`, a third of the time of XLA's on CPU.
    """

    features: int

    @nn.compact
    def __call__(self, x):
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        shifted = [
            _of_blocks(jnp.pad(kernel, ((i, 1 - i), (j, 1 - j), (0, 0), (0, 0))))
            for i in range(2)
            for j in range(2)
        ]
        x = _convolve(_blocks(x), jnp.concatenate(shifted, axis=-1))
        x = jnp.maximum(x[..., : 2 * self.features], x[..., 2 * self.features :])
        x = jnp.maximum(x[..., : self.features], x[..., self.features :])
        return x + bias[None, None, None]


class _Depthwise(nn.Module):
    """A 3x3 convolution of each channel by itself; rows and columns beyond the edges are zero.

    A sum of nine products of shifted images: XLA's grouped convolution takes a hundred times as
    long on CPU.
    """

    strides: int = 1

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.normal(1 / 3), (3, 3, x.shape[-1]))
        stride = self.strides
        # TensorFlow's SAME: of the rows and columns to be added, the larger half comes after.
        height, width = ((-(-side // stride) - 1) * stride + 1 for side in x.shape[1:3])
        missing = [
            max(reach + 2 - side, 0)
            for reach, side in zip((height, width), x.shape[1:3], strict=True)
        ]
        x = jnp.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)))
        total = jnp.zeros((), x.dtype)
        for i in range(3):
            for j in range(3):
                shifted = x[:, i : i + height : stride, j : j + width : stride]
                total = total + shifted * kernel[i, j][None, None, None]
        return total


class _Separable(nn.Module):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution of all, with bias."""

    features: int
    strides: int = 1

    @nn.compact
    def __call__(self, x):
        x = _Depthwise(self.strides, name="depthwise")(x)
        return nn.Conv(self.features, (1, 1), name="pointwise")(x)


def _leaky(x: jax.Array) -> jax.Array:
    return nn.leaky_relu(x, 0.1)


class TinyDetector(FaceModule):
    """Tiny YOLO v2 with separable convolutions: [N, S, S, 3] to boxes and scores.

    Returns:
        Boxes [N, A, 4] (left, top, right, bottom) and scores [N, A] in (0, 1), with five boxes for
        each of (S / 32)^2 cells. S may be any multiple of 32.
    """

    side = 416
    outputs: ClassVar[tuple[str, ...]] = ("boxes", "scores")
    # Width and height of the boxes that predictions are relative to, in cells.
    anchors: ClassVar[tuple[tuple[float, float], ...]] = (
        (1.603231, 2.094468),
        (6.041143, 7.080126),
        (2.882459, 3.518061),
        (4.266906, 5.178857),
        (9.041765, 10.66308),
    )

    @nn.compact
    def __call__(self, x):
        x = _centred(x, _MEAN_TINY)
        x = _leaky(_FirstPooledConv(16, name="conv0")(x))
        for i, features in enumerate((32, 64, 128, 256, 512), start=1):
            x = _leaky(_Separable(features, name=f"conv{i}")(x))
            if i < 5:
                x = nn.max_pool(x, (2, 2), (2, 2), "SAME")
        x = nn.max_pool(x, (2, 2), (1, 1), "SAME")
        x = nn.Conv(25, (1, 1), padding="VALID", name="conv8")(x)
        cells = x.shape[1]
        x = x.reshape(x.shape[0], cells, cells, 5, 5)  # [N, row, column, anchor, x y w h score]
        places = jnp.arange(cells, dtype=x.dtype)
        corner = jnp.stack(jnp.meshgrid(places, places), axis=-1)[None, :, :, None]
        centre = (corner + nn.sigmoid(x[..., :2])) / cells
        size = jnp.exp(x[..., 2:4]) * jnp.asarray(self.anchors, x.dtype)[None, None, None] / cells
        boxes = jnp.concatenate([centre - size / 2, centre + size / 2], axis=-1)
        return boxes.reshape(len(x), -1, 4), nn.sigmoid(x[..., 4]).reshape(len(x), -1)


class SsdDetector(FaceModule):
    """SSD on MobileNet v1: [N, H, W, 3], H and W multiples of 32 up to 512, to boxes and scores.

    What is not 512 pixels wide or high is the upper left part of a square of which the rest is
    not looked at, which takes less time.

    Returns:
        Boxes [N, A, 4] (left, top, right, bottom) in fractions of 512 pixels, and scores [N, A] in
        (0, 1); A is 5118 for the whole square.
    """

    side = 512
    outputs: ClassVar[tuple[str, ...]] = ("boxes", "scores")
    # Features of the 13 separable layers; these halve the image.
    widths: ClassVar[tuple[int, ...]] = (
        64,
        128,
        128,
        256,
        256,
        512,
        512,
        512,
        512,
        512,
        512,
        1024,
        1024,
    )
    halving: ClassVar[tuple[int, ...]] = (2, 4, 6, 12)
    # (features, side of the kernel, stride) of the layers above them.
    further: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (256, 1, 1),
        (512, 3, 2),
        (128, 1, 1),
        (256, 3, 2),
        (128, 1, 1),
        (256, 3, 2),
        (64, 1, 1),
        (128, 3, 2),
    )

    # (cells along a side, boxes of each) of the layers that say where faces are.
    grids: ClassVar[tuple[tuple[int, int], ...]] = (
        (32, 3),
        (16, 6),
        (8, 6),
        (4, 6),
        (2, 6),
        (1, 6),
    )

    @nn.compact
    def __call__(self, x):
        def conv(x, features, taps, stride, name):
            # Zeros after the last rows alone, so that a part of the square has the square's cells.
            after = [stride * (-(-side // stride) - 1) + taps - side for side in x.shape[1:3]]
            padding = [(0, n) for n in after] if stride > 1 else "SAME"
            x = nn.Conv(features, (taps, taps), (stride, stride), padding, name=name)(x)
            return jnp.clip(x, 0, 6)

        seen = []
        x = jnp.clip(_FirstConv(32, name="conv0")(x), 0, 6)
        for i, features in enumerate(self.widths, start=1):
            x = _NormedDepthwise(2 if i in self.halving else 1, name=f"depthwise{i}")(x)
            x = conv(x, features, 1, 1, f"pointwise{i}")
            if i in (11, 13):
                seen.append(x)
        for i, (features, taps, stride) in enumerate(self.further):
            x = conv(x, features, taps, stride, f"further{i}")
            if i % 2:
                seen.append(x)
        offsets, classes, anchors = [], [], []
        left = self.param("anchors", nn.initializers.uniform(), (5118, 4))
        for i, (x, (cells, shapes)) in enumerate(zip(seen, self.grids, strict=True)):
            offset = nn.Conv(4 * shapes, (1, 1), name=f"boxes{i}")(x)
            offsets.append(offset.reshape(len(x), -1, 4))
            classes.append(
                nn.Conv(3 * shapes, (1, 1), name=f"classes{i}")(x).reshape(len(x), -1, 3)
            )
            own, left = jnp.split(left, [cells * cells * shapes])
            own = own.reshape(cells, cells, shapes, 4)[: x.shape[1], : x.shape[2]]
            anchors.append(own.reshape(-1, 4))
        boxes = _decoded(jnp.concatenate(offsets, axis=1), jnp.concatenate(anchors))
        # Class 0 is the background, 1 a face, and 2 nothing that was trained.
        return boxes, nn.sigmoid(jnp.concatenate(classes, axis=1)[..., 1])


class _NormedDepthwise(nn.Module):
    """A 3x3 convolution of each channel by itself, normalised by what training measured."""

    strides: int
    epsilon = 1e-3

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        x = _Depthwise(self.strides, name="conv")(x)
        one, zero = nn.initializers.ones, nn.initializers.zeros
        scale = self.param("scale", one, (channels,))
        scale = scale * jax.lax.rsqrt(self.param("var", one, (channels,)) + self.epsilon)
        bias = self.param("bias", zero, (channels,))
        shift = bias - self.param("mean", zero, (channels,)) * scale
        return jnp.clip(x * scale[None, None, None] + shift[None, None, None], 0, 6)


def _decoded(offsets: jax.Array, anchors: jax.Array) -> jax.Array:
    """Offsets [N, A, 4] in (y, x, height, width) from anchors [A, 4] (top, left, bottom, right)."""
    anchors = anchors[None]
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + size / 2 + offsets[..., :2] / 10 * size
    half = jnp.exp(offsets[..., 2:] / 5) * size / 2
    return jnp.concatenate([(centre - half)[..., ::-1], (centre + half)[..., ::-1]], axis=-1)


class _DenseBlock(nn.Module):
    """Four convolutions, each shown the sum of those before it; the first halves the image."""

    features: int
    separable: bool = True

    @nn.compact
    def __call__(self, x):
        if self.separable:
            x = _Separable(self.features, 2, name="conv0")(x)
        else:
            x = _FirstConv(self.features, name="conv0")(x)
        total = nn.relu(x)
        for i in range(1, 4):
            total = total + _Separable(self.features, name=f"conv{i}")(nn.relu(total))
        return nn.relu(total)


class DenseTrunk(nn.Module):
    """Images [N, 112, 112, 3] to features [N, 256]."""

    @nn.compact
    def __call__(self, x):
        """Images [N, 112, 112, 3] to features [N, 256]."""
        x = _centred(x, _MEAN)
        for i, features in enumerate((32, 64, 128, 256)):
            x = _DenseBlock(features, separable=i > 0, name=f"dense{i}")(x)
        return x.mean(axis=(1, 2))


class OnTrunk(FaceModule):
    """A network that reads the features of a `DenseTrunk`, for as many numbers as it has."""

    side = 112
    numbers: ClassVar[int]

    def setup(self) -> None:
        """Make the trunk and the dense layer behind it."""
        self.trunk: DenseTrunk = DenseTrunk()
        self.fc: nn.Dense = nn.Dense(self.numbers)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Images [N, 112, 112, 3] to what the network says of them."""
        return self.head(self.trunk(x))

    def head(self, features: jax.Array) -> jax.Array:
        """Features [N, 256] to what the network says of them."""
        raise NotImplementedError


class Landmarks(OnTrunk):
    """iBUG's 68 points of a face: [N, 112, 112, 3] to [N, 68, 2]."""

    outputs: ClassVar[tuple[str, ...]] = ("landmarks",)
    numbers = 136

    def head(self, features: jax.Array) -> jax.Array:
        """Features [N, 256] to points [N, 68, 2]."""
        return self.fc(features).reshape(len(features), 68, 2)


class Expressions(OnTrunk):
    """Probabilities of `EXPRESSIONS`: [N, 112, 112, 3] to [N, 7]."""

    outputs: ClassVar[tuple[str, ...]] = ("probabilities",)
    numbers = len(EXPRESSIONS)

    def head(self, features: jax.Array) -> jax.Array:
        """Features [N, 256] to probabilities [N, 7]."""
        return nn.softmax(self.fc(features))


class _Reduction(nn.Module):
    """Two separable convolutions and a pooling, beside a 1x1 convolution; halves the image."""

    features: int
    rectified: bool = True

    @nn.compact
    def __call__(self, x):
        y = nn.relu(x) if self.rectified else x
        y = _Separable(self.features, name="separable0")(y)
        y = _Separable(self.features, name="separable1")(nn.relu(y))
        y = nn.max_pool(y, (3, 3), (2, 2), "SAME")
        return y + nn.Conv(self.features, (1, 1), (2, 2), "SAME", name="expansion")(x)


class AgeGender(FaceModule):
    """Small Xception: [N, 112, 112, 3] to age in years [N] and the probability of a man [N]."""

    side = 112
    outputs: ClassVar[tuple[str, ...]] = ("age", "male")

    @nn.compact
    def __call__(self, x):
        x = _centred(x, _MEAN)
        x = nn.relu(_FirstConv(32, name="stem")(x))
        x = _Reduction(64, rectified=False, name="reduction0")(x)
        x = _Reduction(128, name="reduction1")(x)
        for i in range(2):
            y = x
            for j in range(3):
                y = _Separable(128, name=f"middle{i}_{j}")(nn.relu(y))
            x = x + y
        x = _Reduction(256, name="reduction2")(x)
        x = nn.relu(_Separable(512, name="last")(x)).mean(axis=(1, 2))
        gender = nn.softmax(nn.Dense(2, name="gender")(x))
        return nn.Dense(1, name="age")(x)[:, 0], gender[:, 0]


class _ScaledConv(nn.Module):
    """A convolution with bias, scaled and shifted: dlib's affine layer after each convolution."""

    features: int
    taps: int = 3
    strides: int = 1

    @nn.compact
    def __call__(self, x):
        padding = "SAME" if self.strides == 1 else "VALID"
        if x.shape[-1] == 3:
            x = _FirstConv(self.features, self.taps, padding, name="conv")(x)
        else:
            taps, strides = (self.taps, self.taps), (self.strides, self.strides)
            x = nn.Conv(self.features, taps, strides, padding, name="conv")(x)
        scale = self.param("scale", nn.initializers.ones, (self.features,))
        shift = self.param("shift", nn.initializers.zeros, (self.features,))
        return x * scale[None, None, None] + shift[None, None, None]


class _Residual(nn.Module):
    """Two convolutions beside the input, which is pooled where the first of them halves it."""

    features: int
    halve: bool = False

    @nn.compact
    def __call__(self, x):
        y = nn.relu(_ScaledConv(self.features, strides=2 if self.halve else 1, name="conv1")(x))
        y = _ScaledConv(self.features, name="conv2")(y)
        if self.halve:
            x = nn.avg_pool(x, (2, 2), (2, 2))
            # Channels that are new, and rows and columns that the convolution lost, are zero.
            x = jnp.pad(x, ((0, 0),) * 3 + ((0, y.shape[3] - x.shape[3]),))
            lost = ((0, x.shape[1] - y.shape[1]), (0, x.shape[2] - y.shape[2]))
            y = jnp.pad(y, ((0, 0), *lost, (0, 0)))
        return nn.relu(x + y)


class Recogniser(FaceModule):
    """dlib's ResNet: [N, 150, 150, 3] to descriptors [N, 128].

    Two faces are one person's if their descriptors are less than about 0.6 apart.
    """

    side = 150
    outputs: ClassVar[tuple[str, ...]] = ("descriptor",)

    @nn.compact
    def __call__(self, x):
        x = _centred(x, _MEAN)
        x = nn.relu(_ScaledConv(32, 7, 2, name="conv32_down")(x))
        x = nn.max_pool(x, (3, 3), (2, 2))
        for features, units in ((32, 3), (64, 3), (128, 2), (256, 2)):
            if features > 32:
                x = _Residual(features, halve=True, name=f"conv{features}_down")(x)
            for i in range(1, units + 1):
                x = _Residual(features, name=f"conv{features}_{i}")(x)
        x = _Residual(256, halve=True, name="conv256_down_out")(x)
        return nn.Dense(128, use_bias=False, name="fc")(x.mean(axis=(1, 2)))


MODULES: dict[str, type[FaceModule]] = {
    "tiny_detector": TinyDetector,
    "ssd_detector": SsdDetector,
    "landmarks": Landmarks,
    "recogniser": Recogniser,
    "expressions": Expressions,
    "age_gender": AgeGender,
}
"""The networks by name."""
