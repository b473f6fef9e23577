"""CLIP as a frozen pytree and two functions: images and texts to unit vectors.

The network is Hugging Face's Flax module or our own towers (`clip_towers`); its parameters are
ordinary leaves, so a `Clip` is passed to jitted functions as an argument and never becomes a
constant of the compiled program. Everything else about it is static and compares by content.

Reference: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision".
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.buckets import bucket, filled
from mm_jax.errors import DataError, UsageError
from mm_jax.nn.resize import area_resize
from mm_jax.perceptual.clip_tokens import ClipTokenizer
from mm_jax.perceptual.clip_towers import patches_by_matmul
from mm_jax.perceptual.hugging_face import make_towers

__all__ = [
    "PREPROCESS",
    "Clip",
    "ClipSpec",
    "clip_from_params",
    "encode_image",
    "encode_text",
    "encode_token_ids",
]

#: How `encode_image` brings pixels in [-1, 1] to what the network is shown. "clip": the mean and
#: standard deviation that it was trained with; "styleclip": pixels as they are, as the paper does.
PREPROCESS = ("clip", "styleclip")


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """What is static about a CLIP.

    Attributes:
        config_json: the Hugging Face configuration as sorted json (hashable, unlike the object).
        mean, std: per channel, of pixels in [0, 1].
        tokenizer: texts to ids.
        name: as it was asked for; for messages and records only.
    """

    config_json: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tokenizer: ClipTokenizer
    name: str = field(compare=False)

    @property
    def config(self) -> dict[str, Any]:
        """The Hugging Face configuration as plain values."""
        return json.loads(self.config_json)

    @property
    def module(self) -> Any:
        """The towers, shared between equal configurations, see `clip_module`."""
        return _module(self.config_json)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["spec"])
@dataclass(frozen=True)
class Clip:
    """A frozen CLIP.

    Attributes:
        params: the Flax parameters, a nested dict of float32 arrays (traced).
        spec: everything else (static).
    """

    params: Mapping[str, Any]
    spec: ClipSpec

    @property
    def name(self) -> str:
        """The name or folder that it was loaded from."""
        return self.spec.name

    @property
    def image_size(self) -> int:
        """S, the side of the images that the network is shown."""
        return self.spec.module.config.vision_config.image_size

    @property
    def embed_dim(self) -> int:
        """E, the length of the vectors."""
        return self.spec.module.config.projection_dim

    @property
    def logit_scale(self) -> jax.Array:
        """The trained factor on cosines, [] float32."""
        return jnp.exp(self.params["logit_scale"])


def clip_module(config: Mapping[str, Any]) -> Any:
    """The towers of a Hugging Face configuration, one for all that are equal.

    They are a `FlaxCLIPModule` where transformers has it, else our `ClipTowers`.

    Raises:
        DataError: it is not the configuration of a CLIP, or one that is not supported.
    """
    return _module(_as_json(config))


def _as_json(config: Mapping[str, Any]) -> str:
    return json.dumps(dict(config), sort_keys=True, default=str)


@functools.lru_cache(maxsize=8)
def _module(config_json: str) -> Any:
    return make_towers(json.loads(config_json))


def clip_from_params(
    params: Mapping[str, Any],
    *,
    config: Mapping[str, Any],
    tokenizer: Any,
    mean: Sequence[float],
    std: Sequence[float],
    name: str = "unnamed",
) -> Clip:
    """Put a `Clip` together from its parts, as a training run holds them.

    Args:
        params: of the towers, `FlaxCLIPModule` and `ClipTowers` alike; taken as float32.
        config: `CLIPConfig.to_dict()`.
        tokenizer: a `transformers.PreTrainedTokenizerFast` that ends each text with the end token.
        mean: per channel, of pixels in [0, 1].
        std: per channel, likewise.
        name: for messages and records.

    Raises:
        DataError: the tokenizer does not fit the configuration, or mean and std are not three
            numbers each, the latter positive.
    """
    text = clip_module(config).config.text_config
    spec = ClipSpec(
        config_json=_as_json(config),
        mean=_per_channel("mean", mean),
        std=_per_channel("std", std, positive=True),
        tokenizer=ClipTokenizer(
            tokenizer,
            end_id=text.eos_token_id,
            vocab_size=text.vocab_size,
            context_length=text.max_position_embeddings,
        ),
        name=name,
    )
    return Clip(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), dict(params)), spec)


def _per_channel(
    what: str, values: Sequence[float], *, positive: bool = False
) -> tuple[float, ...]:
    numbers = np.asarray(values, np.float64) if _are_numbers(values) else np.empty(0)
    if numbers.shape != (3,) or not np.isfinite(numbers).all() or (positive and min(numbers) <= 0):
        raise DataError(f"the pixels' {what} must be three numbers, got {values!r}")
    return tuple(numbers.tolist())


def _are_numbers(values: Any) -> bool:
    return isinstance(values, Sequence | np.ndarray) and all(
        isinstance(value, int | float | np.number) for value in values
    )


def encode_image(clip: Clip, images: jax.Array, *, preprocess: str = "clip") -> jax.Array:
    """Images to unit vectors; differentiable, works under jit and vmap.

    Args:
        clip: the network.
        images: [N, H, H, 3] float in the nominal range [-1, 1], of any side H; resized by area.
        preprocess: one of `PREPROCESS`.

    Returns:
        [N, E] float32 of unit length.

    Raises:
        UsageError: the images' shape or dtype, or `preprocess`, is another.
    """
    check_images(images)
    check_preprocess(preprocess)
    return _encode_image(clip, images, preprocess=preprocess)


def encode_text(clip: Clip, texts: Sequence[str], *, cut: bool = False) -> jax.Array:
    """Texts to unit vectors.

    Args:
        clip: the network.
        texts: M strings.
        cut: whether texts that are too long are cut, or refused.

    Returns:
        [M, E] float32 of unit length.

    Raises:
        UsageError: `texts` is not a non-empty list of strings, or a text is too long.
    """
    ids = clip.spec.tokenizer(texts, cut=cut)
    return encode_token_ids(clip, jnp.asarray(filled(ids, bucket(len(ids)))))[: len(ids)]


def check_images(images: jax.Array) -> None:
    """Refuse what is not a batch of square float images."""
    shape = list(jnp.shape(images))
    if len(shape) == 3 and shape[-1] == 3:
        raise UsageError(f"images must be [N, H, W, 3], got one of shape {shape}: add an axis")
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2]:
        raise UsageError(f"images must be square, [N, H, H, 3], got shape {shape}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise UsageError(f"images must be float in [-1, 1], got {images.dtype}")


def check_preprocess(preprocess: str) -> None:
    """Refuse an unknown way of preprocessing."""
    if preprocess not in PREPROCESS:
        raise UsageError(f"preprocess must be one of {', '.join(PREPROCESS)}, got {preprocess!r}")


def normalise(spec: ClipSpec, pixels: jax.Array, *, preprocess: str) -> jax.Array:
    """Pixels [..., 3] in [-1, 1] to the values that the network is shown."""
    if preprocess == "styleclip":
        return pixels
    shape = (1,) * (pixels.ndim - 1) + (3,)
    mean = jnp.asarray(spec.mean, jnp.float32).reshape(shape)
    std = jnp.asarray(spec.std, jnp.float32).reshape(shape)
    return (pixels * 0.5 + 0.5 - mean) / std


def encode_pixels(clip: Clip, pixels: jax.Array) -> jax.Array:
    """What the network is shown, [N, S, S, 3], to unit vectors [N, E]."""

    def project(module: Any, values: jax.Array) -> jax.Array:
        return module.visual_projection(module.vision_model(pixel_values=values)[1])

    with nn.intercept_methods(_patches_by_matmul):
        features = clip.spec.module.apply({"params": clip.params}, pixels, method=project)
    return _unit(features)


@functools.partial(jax.jit, static_argnames=("preprocess",))
def _encode_image(clip: Clip, images: jax.Array, *, preprocess: str) -> jax.Array:
    pixels = area_resize(images, clip.image_size)
    return encode_pixels(clip, normalise(clip.spec, pixels, preprocess=preprocess))


@jax.jit
def encode_token_ids(clip: Clip, ids: jax.Array) -> jax.Array:
    """Token ids [M, T] int32, with an end token each, to unit vectors [M, E] float32."""

    def project(module: Any, ids: jax.Array, mask: jax.Array, positions: jax.Array) -> jax.Array:
        hidden = module.text_model(input_ids=ids, attention_mask=mask, position_ids=positions)
        return module.text_projection(hidden[1])

    positions = jnp.broadcast_to(jnp.arange(ids.shape[1])[None, :], ids.shape)
    features = clip.spec.module.apply(
        {"params": clip.params}, ids, jnp.ones_like(ids), positions, method=project
    )
    return _unit(features)


def _unit(features: jax.Array) -> jax.Array:
    # The small number only keeps the gradient of a zero vector finite.
    return features * jax.lax.rsqrt(jnp.sum(features**2, axis=-1, keepdims=True) + 1e-12)


def _patches_by_matmul(
    next_call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: Any
) -> Any:
    """Do the patch embedding of Hugging Face's module as one matrix product, as ours does."""
    module = context.module
    if not isinstance(module, nn.Conv) or context.method_name != "__call__":
        return next_call(*args, **kwargs)
    return patches_by_matmul(args[0], module.get_variable("params", "kernel"))
