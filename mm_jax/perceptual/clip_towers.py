"""CLIP's two transformers in Linen, for installations whose transformers has no Flax classes.

`ClipTowers` has the tree of parameters of Hugging Face's `FlaxCLIPModule`, the same parts by the
same names and, to rounding, the same outputs and gradients, which `tests/perceptual` checks; so
folders, conversion and training are the same with either. `hugging_face.make_towers` chooses.

References: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision"; Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words". Layer normalisation comes
before attention and before the two dense layers; the vision tower has one more before its layers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mm_jax.perceptual.clip_tokens import LEGACY_END

__all__ = ["ACTIVATIONS", "ClipTowers", "patches_by_matmul"]

#: Activations by the names that configurations have for them.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(nn.gelu, approximate=False),
    "gelu_new": nn.gelu,
    "gelu_pytorch_tanh": nn.gelu,
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "relu": nn.relu,
    "silu": nn.silu,
    "swish": nn.silu,
    "tanh": nn.tanh,
}
_normal = nn.initializers.normal


class ClipTowers(nn.Module):
    """A CLIP: both towers, both projections and the factor on cosines.

    Attributes:
        config: a `transformers.CLIPConfig`.
    """

    config: Any

    def setup(self):
        """Make the parts."""
        project = functools.partial(
            nn.Dense, self.config.projection_dim, use_bias=False, kernel_init=_normal(0.02)
        )
        self.text_model = TextTower(self.config.text_config)
        self.vision_model = VisionTower(self.config.vision_config)
        self.visual_projection = project()
        self.text_projection = project()
        start = nn.initializers.constant(self.config.logit_scale_init_value)
        self.logit_scale = self.param("logit_scale", start, ())

    def __call__(
        self,
        input_ids: jax.Array,
        pixel_values: jax.Array,
        attention_mask: jax.Array,
        position_ids: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Texts [M, E] and images [N, E] as vectors that are not normalised; see the towers."""
        images = self.visual_projection(self.vision_model(pixel_values)[1])
        texts = self.text_model(input_ids, attention_mask, position_ids)[1]
        return self.text_projection(texts), images


class TextTower(nn.Module):
    """Token ids to the states of a causal transformer."""

    config: Any

    def setup(self):
        self.embeddings = TextEmbeddings(self.config)
        self.encoder = Encoder(self.config)
        self.final_layer_norm = nn.LayerNorm(epsilon=self.config.layer_norm_eps)

    def __call__(
        self, input_ids: jax.Array, attention_mask: jax.Array, position_ids: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The states of all tokens, and that of the token that ends each text.

        Args:
            input_ids: [M, T] int32.
            attention_mask: [M, T], 0 for tokens that no token may look at.
            position_ids: [M, T] int32, each token's place.

        Returns:
            [M, T, C] and [M, C] float32. A text ends at its first end token; in the legacy layout
            (`LEGACY_END`), at the first of its highest ids.
        """
        mask = nn.make_causal_mask(input_ids) * attention_mask[:, None, None, :]
        hidden = self.encoder(self.embeddings(input_ids, position_ids), mask > 0)
        hidden = self.final_layer_norm(hidden)
        legacy = self.config.eos_token_id == LEGACY_END
        ends = input_ids if legacy else input_ids == self.config.eos_token_id
        return hidden, hidden[jnp.arange(len(hidden)), jnp.argmax(ends, axis=-1)]


class VisionTower(nn.Module):
    """Pixels to the states of a transformer over patches."""

    config: Any

    def setup(self):
        norm = functools.partial(nn.LayerNorm, epsilon=self.config.layer_norm_eps)
        self.embeddings = VisionEmbeddings(self.config)
        self.pre_layrnorm = norm()  # so it is called in the files
        self.encoder = Encoder(self.config)
        self.post_layernorm = norm()

    def __call__(self, pixel_values: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The states of class token and patches, and that of the class token, normalised.

        Args:
            pixel_values: [N, S, S, 3] float32, less the mean and over the deviation of colours.

        Returns:
            [N, 1 + P, C] and [N, C] float32.
        """
        hidden = self.encoder(self.pre_layrnorm(self.embeddings(pixel_values)), None)
        return hidden, self.post_layernorm(hidden[:, 0])


class TextEmbeddings(nn.Module):
    """A vector for each token and one for its place, added."""

    config: Any

    @nn.compact
    def __call__(self, input_ids: jax.Array, position_ids: jax.Array) -> jax.Array:
        config = self.config

        def table(rows: int, name: str) -> nn.Embed:
            return nn.Embed(rows, config.hidden_size, embedding_init=_normal(), name=name)

        tokens = table(config.vocab_size, "token_embedding")(input_ids)
        places = table(config.max_position_embeddings, "position_embedding")(position_ids)
        return tokens + places


class VisionEmbeddings(nn.Module):
    """A vector for the class token and one for each patch, and one for its place, added."""

    config: Any

    @nn.compact
    def __call__(self, pixel_values: jax.Array) -> jax.Array:
        config, width = self.config, self.config.hidden_size
        first = self.param("class_embedding", _normal(0.02), (width,))
        patches = PatchEmbedding(width, config.patch_size, name="patch_embedding")(pixel_values)
        patches = patches.reshape(len(patches), -1, width)
        places = nn.Embed(
            (config.image_size // config.patch_size) ** 2 + 1,
            width,
            embedding_init=_normal(),
            name="position_embedding",
        )
        tokens = jnp.concatenate(
            [jnp.broadcast_to(first, (len(patches), 1, width)), patches], axis=1
        )
        return tokens + places(jnp.arange(tokens.shape[1])[None])


class PatchEmbedding(nn.Module):
    """Square patches of an image to vectors, a convolution whose stride is its kernel's side."""

    width: int
    side: int

    @nn.compact
    def __call__(self, pixel_values: jax.Array) -> jax.Array:
        """[N, S, S, 3] to [N, S // side, S // side, width]."""
        shape = (self.side, self.side, pixel_values.shape[-1], self.width)
        return patches_by_matmul(pixel_values, self.param("kernel", _normal(), shape))


def patches_by_matmul(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """The patch embedding as one matrix product.

    The values are those of the convolution, but the gradient of a convolution whose stride is its
    kernel's side is a dilated one, which XLA:CPU runs with its naive kernel when it lies in the
    body of a scan.

    Args:
        images: [N, H, W, C]; what is beyond whole patches is left out.
        kernel: [side, side, C, width].

    Returns:
        [N, H // side, W // side, width].
    """
    side, _, channels, width = kernel.shape
    down, across = images.shape[1] // side, images.shape[2] // side
    images = images[:, : down * side, : across * side]
    patches = images.reshape(-1, down, side, across, side, channels)
    patches = patches.transpose(0, 1, 3, 2, 4, 5).reshape(-1, down, across, side**2 * channels)
    return patches @ kernel.reshape(-1, width)


class Encoder(nn.Module):
    """The layers of a tower, one after the other."""

    config: Any

    def setup(self):
        self.layers = Layers(self.config)

    def __call__(self, hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
        """[N, T, C] to [N, T, C]; `mask` [N, 1, T, T] says which tokens a token looks at."""
        return self.layers(hidden, mask)


class Layers(nn.Module):
    """The layers by number: in the files they are one level below the encoder."""

    config: Any

    @nn.compact
    def __call__(self, hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
        for number in range(self.config.num_hidden_layers):
            hidden = Layer(self.config, name=str(number))(hidden, mask)
        return hidden


class Layer(nn.Module):
    """Attention, then two dense layers, each added to what came in and behind a normalisation."""

    config: Any

    def setup(self):
        norm = functools.partial(nn.LayerNorm, epsilon=self.config.layer_norm_eps)
        self.layer_norm1, self.layer_norm2 = norm(), norm()
        self.self_attn = Attention(self.config.hidden_size, self.config.num_attention_heads)
        self.mlp = FeedForward(self.config)

    def __call__(self, hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
        hidden = hidden + self.self_attn(self.layer_norm1(hidden), mask)
        return hidden + self.mlp(self.layer_norm2(hidden))


class Attention(nn.Module):
    """Multi-head attention of tokens to each other."""

    width: int
    heads: int

    @nn.compact
    def __call__(self, hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
        def dense(name: str) -> nn.Dense:
            return nn.Dense(self.width, kernel_init=_normal(0.01), name=name)

        split = (*hidden.shape[:-1], self.heads, self.width // self.heads)
        key, value, query = (
            dense(name)(hidden).reshape(split) for name in ("k_proj", "v_proj", "q_proj")
        )
        seen = nn.dot_product_attention(query, key, value, mask=mask)
        return dense("out_proj")(seen.reshape(hidden.shape))


class FeedForward(nn.Module):
    """Two dense layers with the configuration's activation between them."""

    config: Any

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        wide = nn.Dense(self.config.intermediate_size, kernel_init=_normal(0.01), name="fc1")(
            hidden
        )
        wide = ACTIVATIONS[self.config.hidden_act](wide)
        return nn.Dense(self.config.hidden_size, kernel_init=_normal(0.01), name="fc2")(wide)
