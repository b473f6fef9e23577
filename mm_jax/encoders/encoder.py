"""Encoders of every kind as one value, and the one way to use them: images to latents of W+."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from mm_jax import parallel, zoo
from mm_jax.checks import check_latent_shape, check_number
from mm_jax.encoders.psp import StyleEncoderConfig, apply_style_encoder, init_style_encoder
from mm_jax.encoders.restyle import refine
from mm_jax.encoders.small import SmallConfig, apply_small, init_small
from mm_jax.errors import DataError, UsageError
from mm_jax.nn.network import Network
from mm_jax.nn.trunk import fit_images
from mm_jax.stylegan2.generator import Generator

__all__ = [
    "Encoder",
    "EncoderConfig",
    "encode",
    "load_encoder",
    "make_encoder",
    "open_encoder",
    "save_encoder",
]

EncoderConfig = SmallConfig | StyleEncoderConfig


class Encoder(Network[EncoderConfig]):
    """A trained encoder.

    `config.kind` is "small" (the bundled one), "psp", "e4e", "restyle_psp" or "restyle_e4e"; the
    parameter trees are those of `mm_jax.encoders.small` and `mm_jax.encoders.psp`.
    """

    kind = "encoder"

    @classmethod
    def init(cls, config: EncoderConfig, key: jax.Array) -> dict[str, Any]:
        """Fresh float32 parameters, a nested dictionary."""
        init = init_small if isinstance(config, SmallConfig) else init_style_encoder
        return init(config, key)  # type: ignore[arg-type]

    @classmethod
    def configure(cls, values: Mapping[str, Any]) -> EncoderConfig:
        """The configuration of an architecture's plain json values."""
        if values["kind"] == SmallConfig.kind:
            return SmallConfig.from_dict(values)
        return StyleEncoderConfig.from_dict(values)

    @property
    def needs_generator(self) -> bool:
        """Whether `encode` has to be given the generator."""
        return isinstance(self.config, StyleEncoderConfig) and self.config.iterative


def make_encoder(
    config: EncoderConfig, params: Mapping[str, Any], *, meta: Mapping[str, Any] | None = None
) -> Encoder:
    """An encoder whose parameters are checked against its architecture.

    Raises:
        DataError: a parameter is missing, unknown or of another shape.
    """
    return Encoder.make(config, params, meta=meta)


def load_encoder(name_or_dir: str | os.PathLike[str] = zoo.ENCODER) -> Encoder:
    """Open an encoder of any kind by bundled name or folder.

    Raises:
        UsageError: unknown name.
        DataError: missing or damaged folder.
    """
    return Encoder.load(name_or_dir)


def save_encoder(
    encoder: Encoder,
    directory: str | os.PathLike[str],
    *,
    format: Literal["orbax", "safetensors"] = "safetensors",
    dtype: Literal["float32", "float16"] = "float32",
) -> Path:
    """Write the folder of an encoder; arguments and errors as in `save_generator`."""
    return encoder.save(directory, format=format, dtype=dtype)


def open_encoder(name: str, generator: str, gen: Generator) -> Encoder | None:
    """The encoder; "auto" is the bundled one for the bundled generator, and none for others.

    Args:
        name: a bundled name, a folder, "none" or "auto".
        generator: the name or folder of the generator.
        gen: the generator.

    Raises:
        UsageError: an unknown name. DataError: a damaged folder, or latents of another shape.
    """
    if name == "none" or (name == "auto" and generator != zoo.GENERATOR):
        return None
    encoder = load_encoder(zoo.ENCODER if name == "auto" else name)
    have, want = (encoder.config.rows, encoder.config.width), (gen.config.num_ws, gen.config.w_dim)
    check_latent_shape(f"--encoder={name}", have, want, gen.name)
    if encoder.config.in_channels != gen.config.img_channels:
        raise DataError(f"--encoder={name} takes images of another kind than photographs")
    return encoder


def encode(
    encoder: Encoder, images: jax.Array, *, gen: Generator | None = None, steps: int = 5
) -> jax.Array:
    """Latents of images, by an encoder of any kind.

    Args:
        encoder: the encoder.
        images: [N, H, H, C] in [-1, 1], C = 3 but for encoders of sketches and the like. Faces are
            aligned as the encoder's training images were. Other sizes than the encoder's are
            resized by area.
        gen: the generator that the latents are for. ReStyle encoders need it, since they compare
            their images with renderings; for the others it may be given, and is only checked to
            fit.
        steps: corrections of a ReStyle encoder.

    Returns:
        [N, L, D] float32.

    Raises:
        UsageError: images of another shape, a generator that is missing or does not fit, or
            `steps` below one.
    """
    config = encoder.config
    if gen is not None and (gen.config.num_ws, gen.config.w_dim) != (config.rows, config.width):
        raise UsageError(
            f"the encoder gives latents [{config.rows}, {config.width}], the generator takes "
            f"[{gen.config.num_ws}, {gen.config.w_dim}]"
        )
    check_number("steps", steps, minimum=1, whole=True)
    if not encoder.needs_generator:
        return parallel.over_batch(functools.partial(_encode_once, encoder), encoder, images)
    if gen is None:
        raise UsageError(
            f"an encoder of kind {config.kind} compares images with renderings: give it the "
            "generator, encode(encoder, images, gen=gen)"
        )
    if gen.config.img_channels != config.in_channels:
        raise UsageError(
            f"the encoder takes images of {config.in_channels} channels, the generator gives "
            f"{gen.config.img_channels}"
        )
    refined = functools.partial(_encode_in_steps, encoder, gen, steps=steps)
    return parallel.over_batch(refined, gen, images)


@jax.jit
def _encode_once(encoder: Encoder, images: jax.Array) -> jax.Array:
    resized = _fitting(encoder, images)
    if isinstance(encoder.config, SmallConfig):
        return apply_small(encoder.config, encoder.params, resized)
    offsets = apply_style_encoder(encoder.config, encoder.params, resized)
    return encoder.params["latent_avg"][None] + offsets


@functools.partial(jax.jit, static_argnames=("steps",))
def _encode_in_steps(encoder: Encoder, gen: Generator, images: jax.Array, steps: int) -> jax.Array:
    assert isinstance(encoder.config, StyleEncoderConfig)  # checked
    resized = _fitting(encoder, images)
    return refine(encoder.config, encoder.params, gen, resized, steps=steps)[-1]


def _fitting(encoder: Encoder, images: jax.Array) -> jax.Array:
    config = encoder.config
    return fit_images(images, config.resolution, channels=config.in_channels)
