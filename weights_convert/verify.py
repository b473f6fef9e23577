"""Whether what was converted computes, and computes what the original did.

Without expected values a forward pass shows the range of the running images and refuses NaN. With
a file of expected values every array of it that has a known name is compared, as the largest
difference over the largest expected value.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.artifacts import Latents, Subspace
from mm_jax.encoders.encoder import Encoder
from mm_jax.encoders.psp import StyleEncoderConfig, apply_style_encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.faces.network import FaceNetwork
from mm_jax.latents import sample_latents
from mm_jax.perceptual.arcface import ArcFace, embed_crops
from mm_jax.perceptual.clip import Clip, encode_image
from mm_jax.perceptual.lpips import Lpips, lpips
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import NoiseMode
from mm_jax.words import counted
from weights_convert.lean import lean_images

__all__ = ["TOLERANCE", "Check", "Verified", "compare", "finite_range", "verify"]

TOLERANCE = 1e-4
_SEED, _PSI = 0, 0.7

# Expected image: codes, noise, and the part of the image that is stored (H and W last).
_PICTURES: dict[str, tuple[str, NoiseMode, Callable[[np.ndarray], np.ndarray] | None]] = {
    "image_z": ("psi1", "const", None),
    "image_const": ("psi1", "const", None),
    "image_none": ("psi1", "none", None),
    "image_wplus": ("wplus", "const", None),
    "image_wplus_const": ("wplus", "const", None),
    "image_wplus_zero_noise": ("wplus", "none", None),
    "image_trunc07": ("psi07", "const", None),
    "image_psi07_const": ("psi07", "const", None),
    "image_every8": ("psi1", "const", lambda image: image[..., ::8, ::8]),
    "image_crop64": ("psi1", "const", lambda image: _centre(image, 64)),
}
_CODES = re.compile(r"(?:ws_psi|latent_trunc)(\d{1,3})(?:_cut(\d{1,2}))?")
_SKIP = re.compile(r"skip_(\d{1,5})")


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison: the largest difference over the largest expected value."""

    name: str
    error: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= TOLERANCE


@dataclasses.dataclass(frozen=True)
class Verified:
    """Rows of figures for reading, and comparisons with expected values."""

    figures: tuple[str, ...]
    checks: tuple[Check, ...] = ()


def verify(built: Any, expected: Mapping[str, np.ndarray]) -> Verified:
    """Runs what was converted.

    Args:
        built: the result of a part.
        expected: inputs (`in_*`) and outputs by name, as in docs/weights.md; may be empty.

    Raises:
        DataError: outputs that are not finite, or inputs that do not fit.
    """
    try:
        with jax.default_matmul_precision("highest"):
            return _verify(built, expected)
    except UsageError as error:
        raise DataError(f"the expected file's inputs do not fit: {error}") from error


@functools.singledispatch
def _verify(built: Any, expected: Mapping[str, np.ndarray]) -> Verified:
    raise TypeError(f"no way to verify a {type(built).__name__}")


@_verify.register
def _(built: Generator, expected: Mapping[str, np.ndarray]) -> Verified:
    run = _Outputs(built, expected)
    shown = run.images("psi1" if "in_z" in expected else "seed", "const")
    figures = tuple(f"{side:>5} px  {finite_range(image)}" for side, image in shown.items())
    outputs = {name: run.output(name, value.ndim) for name, value in expected.items()}
    return Verified(
        figures,
        tuple(compare(n, out, expected[n]) for n, out in outputs.items() if out is not None),
    )


@_verify.register
def _(built: Encoder, expected: Mapping[str, np.ndarray]) -> Verified:
    config = built.config
    assert isinstance(config, StyleEncoderConfig)  # the only foreign kind
    shape = (config.body.in_channels, config.resolution, config.resolution)
    inputs = _input(expected, "in_x", shape)
    codes = jax.jit(apply_style_encoder, static_argnums=0)(config, built.params, inputs)
    return Verified((f"codes    {finite_range(codes)}",), _against(expected, "in_x", codes=codes))


@_verify.register
def _(built: ArcFace, expected: Mapping[str, np.ndarray]) -> Verified:
    side = built.config.resolution
    inputs = _input(expected, "in_x112", (built.config.body.in_channels, side, side))
    found = jax.jit(embed_crops)(built, inputs)
    return Verified(
        (f"embedding  {finite_range(found)}",), _against(expected, "in_x112", embedding=found)
    )


@_verify.register
def _(built: Lpips, expected: Mapping[str, np.ndarray]) -> Verified:
    one = _input(expected, "in_x", (3, 64, 64))
    other = _input(expected, "in_y", (3, 64, 64), phase=1.0)
    found = lpips(built, one, other)
    return Verified((f"distance {finite_range(found)}",), _against(expected, "in_y", dist=found))


@_verify.register
def _(built: Clip, expected: Mapping[str, np.ndarray]) -> Verified:
    picture = _input({}, "", (3, built.image_size, built.image_size))
    found = encode_image(built, picture)
    return Verified((f"features {finite_range(found)}",))


@_verify.register
def _(built: FaceNetwork, expected: Mapping[str, np.ndarray]) -> Verified:
    side = built.config.side
    images = _input(expected, "in_x", (3, side, side))
    found = dict(zip(built.config.outputs, jax.tree.leaves(built(images)), strict=True))
    return Verified(
        tuple(f"{name:11} {finite_range(value)}" for name, value in found.items()),
        _against(expected, "in_x", **found),
    )


@_verify.register
def _(built: Subspace, expected: Mapping[str, np.ndarray]) -> Verified:
    rows = np.linalg.norm(np.asarray(built.direction), axis=-1)
    shape = " x ".join(map(str, np.shape(built.basis)))
    return Verified(
        (
            f"basis {shape}, natural scale {float(built.scale):.4g}",
            f"length by row of W+ {' '.join(f'{row:.3g}' for row in rows)}",
        )
    )


@_verify.register
def _(built: Latents, expected: Mapping[str, np.ndarray]) -> Verified:
    ws = np.asarray(built.ws)
    return Verified(
        (f"{counted(len(ws), 'latent')} of shape {list(ws.shape[1:])}  {finite_range(ws)}",)
    )


def compare(name: str, actual: Any, expected: np.ndarray) -> Check:
    """The comparison of two arrays; another shape is an infinite difference."""
    actual = np.asarray(actual)
    if actual.shape != expected.shape:
        return Check(name, float("inf"))
    scale = float(np.abs(expected).max(initial=0)) or 1.0
    return Check(name, float(np.abs(actual - expected).max(initial=0)) / scale)


def finite_range(values: Any) -> str:
    """Mean, standard deviation and ends of values, for reading.

    Raises:
        DataError: not all of them are finite.
    """
    values = np.asarray(values)
    if not np.isfinite(values).all():
        raise DataError("the converted network gives NaN or infinity")
    return (
        f"mean {values.mean():7.3f}  std {values.std():7.3f}  "
        f"min {values.min():8.3f}  max {values.max():8.3f}"
    )


def _input(
    expected: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], *, phase: float = 0.0
) -> jax.Array:
    """Images [N, H, W, C]: the expected file's [N, C, H, W], or one of waves."""
    if name not in expected:
        rows, columns = np.meshgrid(*(np.arange(side) for side in shape[1:]), indexing="ij")
        waves = [np.sin(0.05 * (1 + c) * rows + 0.07 * columns + phase) for c in range(shape[0])]
        return jnp.asarray(np.stack(waves, axis=-1)[None], jnp.float32)
    images = expected[name]
    if images.ndim != 4 or images.shape[1] != shape[0]:
        raise DataError(f"{name} must have shape [N, {shape[0]}, H, W], got {list(images.shape)}")
    return jnp.asarray(np.moveaxis(images, 1, -1), jnp.float32)


def _against(expected: Mapping[str, np.ndarray], needed: str, **outputs: Any) -> tuple[Check, ...]:
    """Comparisons of the outputs that are expected, where their input is given."""
    return tuple(
        compare(name, value, expected[name])
        for name, value in outputs.items()
        if needed in expected and name in expected
    )


class _Outputs:
    """Outputs of a generator by the names that files of expected values have for them."""

    def __init__(self, gen: Generator, expected: Mapping[str, np.ndarray]):
        self.gen = gen
        self.expected = expected
        self._kept: dict[Any, Any] = {}

    def output(self, name: str, ndim: int) -> np.ndarray | None:
        """The output; None where the name is not known or its input is not given."""
        if name == "w":
            kind, noise, part = "psi1", "", None
        elif match := _CODES.fullmatch(name):
            kind, noise, part = f"psi{match[1]}_cut{match[2] or ''}", "", None
        elif match := _SKIP.fullmatch(name):
            kind, noise, part = "psi1", "const", None
        else:
            kind, noise, part = _PICTURES.get(name, ("", "", None))
        if not kind or ("in_wplus" if kind == "wplus" else "in_z") not in self.expected:
            return None
        if not noise:
            ws = np.asarray(self.codes(kind))
            return ws[:, 0] if ndim == 2 else ws
        side = int(name.removeprefix("skip_")) if match else self.gen.config.resolution
        image = self.images(kind, noise).get(side, np.zeros(0))
        return part(image) if part else image

    def codes(self, kind: str) -> jax.Array:
        """Codes [N, L, D]: "wplus", "seed", or of in_z as in "psi07_cut4"."""
        labels = self.expected.get("in_c")
        if kind == "wplus":
            return jnp.asarray(self.expected["in_wplus"], jnp.float32)
        if kind == "seed":
            if self.gen.config.c_dim and labels is None:
                labels = np.eye(1, self.gen.config.c_dim, dtype=np.float32)
            return sample_latents(self.gen, seeds=[_SEED], labels=labels, truncation_psi=_PSI)
        psi, _, cutoff = kind.removeprefix("psi").partition("_cut")
        return sample_latents(
            self.gen,
            z=self.expected["in_z"],
            labels=labels,
            truncation_psi=int(psi) / 10 ** (len(psi) - 1),
            truncation_cutoff=int(cutoff) if cutoff else None,
        )

    def images(self, kind: str, noise: NoiseMode) -> dict[int, np.ndarray]:
        """The running images [N, C, H, W] by resolution."""
        if (kind, noise) not in self._kept:
            skips = lean_images(self.gen, self.codes(kind), noise_mode=noise)
            self._kept[kind, noise] = {
                side: np.moveaxis(image, -1, 1) for side, image in skips.items()
            }
        return self._kept[kind, noise]


def _centre(image: np.ndarray, side: int) -> np.ndarray:
    first = (image.shape[-1] - side) // 2
    return image[..., first : first + side, first : first + side]
