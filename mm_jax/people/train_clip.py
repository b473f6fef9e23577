"""The bundled CLIP, of Hugging Face's layout, trained from nothing on people and captions.

Each step shows a batch of images and three kinds of caption: groups of graded ones, a group being
one wording of one attribute at several degrees; sentences of several attributes; and plain ones.
In some groups the words mean nothing, and no degree is truer than another.
The targets of three soft cross-entropies come from `captions.fit`:

- for each image, over the degrees of a group: which degree is true;
- for each image, over the sentences: which are true;
- for each caption, over the images. This makes a caption's similarity mean the same on every face,
  whatever else the face shows.

A regression of all factors teaches the vision tower what there is to see before captions have a
meaning.

Both towers are trained first. Then the vision tower stands still, and the text tower goes on alone
(Zhai et al. 2022, "LiT: Zero-Shot Transfer with Locked-image text Tuning"): since an image is then
only a vector, a step can hold a thousand images and nearly all attributes, which a rare word needs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epy
from flax import traverse_util

from mm_jax.anchors.prompts import MOTIONS
from mm_jax.errors import DataError
from mm_jax.nn.resize import area_resize
from mm_jax.people import captions
from mm_jax.people.attributes import ATTRIBUTES, MOTION_COUNT, MOTION_FACTOR, degrees_of
from mm_jax.people.factors import NUM_FACTORS, index
from mm_jax.people.labelled import Labelled
from mm_jax.people.measures import unit_vectors
from mm_jax.people.tokenizer import CONTEXT, make_tokenizer
from mm_jax.people.train_probe import augment, shifted
from mm_jax.people.training import Loop, descended, linear_decay, muon, run_loop
from mm_jax.perceptual.clip import (
    Clip,
    clip_from_params,
    encode_pixels,
    encode_token_ids,
    normalise,
)

with epy.lazy_imports():
    import transformers

__all__ = ["RECIPE", "ClipRecipe", "train_clip"]

# Logarithm of the factor on cosines at the start.
_LOGIT_SCALE = 2.3
# What a caption that fits nothing has as a target: next to nothing, but of equal parts.
_FLOOR = 1e-5
# In the regression of factors those of the micromotions count for more: they are small to see.
_FACTOR_WEIGHTS = np.ones(NUM_FACTORS, np.float32)
_FACTOR_WEIGHTS[[index(MOTION_FACTOR[name]) for name in MOTIONS]] = 3.0
# Lengths of texts are rounded up to a multiple of this, so that few programs are compiled.
_LENGTHS = 32
# The parameters that a text's vector and the cosines' scale depend on.
_OF_TEXT = ("text_model", "text_projection", "logit_scale")


@dataclasses.dataclass(frozen=True)
class CaptionCounts:
    """How many captions of each kind a step holds.

    Attributes:
        groups: graded groups: all micromotions, then other attributes.
        meaningless: further groups, whose words mean nothing.
        degrees: captions in a group.
        sentences: true of the first images of the batch.
        plain: captions of one attribute each, all different.
    """

    groups: int
    meaningless: int
    degrees: int
    sentences: int
    plain: int


@dataclasses.dataclass(frozen=True)
class ClipRecipe:
    """Sizes and steps.

    Attributes:
        image_size, patch: of the vision tower, in pixels.
        vision_width, vision_layers, text_width, text_layers, heads, embed: of the towers.
        steps, batch, captions: of training both towers.
        factor_weight: weight of the regression of factors at the start, and from the middle on.
        text_steps, text_batch, text_captions: of training the text tower alone.
        vectors: images that the text tower's training draws from.
        seed: of parameters and batches.
    """

    image_size: int = 128
    patch: int = 16
    vision_width: int = 192
    vision_layers: int = 5
    text_width: int = 128
    text_layers: int = 2
    heads: int = 4
    embed: int = 128
    steps: int = 4400
    batch: int = 64
    captions: CaptionCounts = CaptionCounts(
        groups=10, meaningless=1, degrees=6, sentences=20, plain=40
    )
    factor_weight: tuple[float, float] = (3.0, 1.0)
    text_steps: int = 1200
    text_batch: int = 1024
    text_captions: CaptionCounts = CaptionCounts(
        groups=20, meaningless=4, degrees=6, sentences=40, plain=100
    )
    vectors: int = 32000
    seed: int = 30


RECIPE = ClipRecipe()


def make_config(recipe: ClipRecipe, tokenizer: Any) -> dict[str, Any]:
    """The `CLIPConfig` as plain values."""
    end = tokenizer.eos_token_id
    tower = {"num_attention_heads": recipe.heads, "hidden_act": "quick_gelu"}
    config = transformers.CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(tokenizer),
            "hidden_size": recipe.text_width,
            "intermediate_size": 4 * recipe.text_width,
            "num_hidden_layers": recipe.text_layers,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={
            **tower,
            "hidden_size": recipe.vision_width,
            "intermediate_size": 4 * recipe.vision_width,
            "num_hidden_layers": recipe.vision_layers,
            "image_size": recipe.image_size,
            "patch_size": recipe.patch,
        },
        projection_dim=recipe.embed,
        logit_scale_init_value=_LOGIT_SCALE,
    )
    return config.to_dict()


def fan_in_init(params: Any, key: jax.Array) -> Any:
    """Dense and patch kernels at scale 1/sqrt(fan in), embeddings at 0.1.

    With the initial scales of the towers the loss of a small CLIP stays at ln(batch).
    """
    flat: dict[tuple[str, ...], Any] = dict(traverse_util.flatten_dict(params))
    keys = jax.random.split(key, len(flat))
    for k, (path, value) in zip(keys, flat.items(), strict=True):
        if path[-1] == "kernel":
            fan_in = value.size // value.shape[-1]
            flat[path] = jax.random.normal(k, value.shape) / np.sqrt(fan_in)
        elif path[-1] in ("embedding", "class_embedding"):
            flat[path] = 0.1 * jax.random.normal(k, value.shape)
    return traverse_util.unflatten_dict(flat)


def fresh_clip(folder: Path, recipe: ClipRecipe = RECIPE) -> Clip:
    """An untrained CLIP with its tokenizer, whose files are put into ``folder``."""
    tokenizer = make_tokenizer(captions.corpus(), folder)
    config, half = make_config(recipe, tokenizer), (0.5, 0.5, 0.5)
    empty = {"logit_scale": jnp.asarray(_LOGIT_SCALE)}
    clip = clip_from_params(empty, config=config, tokenizer=tokenizer, mean=half, std=half)
    ids = jnp.zeros((1, CONTEXT), jnp.int32)
    pixels = jnp.zeros((1, recipe.image_size, recipe.image_size, 3))

    # One program instead of hundreds of small ones.
    @jax.jit
    def init(key):
        params = clip.spec.module.init(key, ids, pixels, ids, ids)["params"]
        return fan_in_init(params, jax.random.fold_in(key, 1))

    return Clip(init(jax.random.key(recipe.seed)), clip.spec)


def step_captions(
    counts: CaptionCounts, rng: np.random.Generator, degrees: np.ndarray
) -> list[captions.Caption]:
    """Captions of one step: graded groups, sentences, plain ones.

    Args:
        counts: how many of each.
        rng: chooses them.
        degrees: ``[N, A]`` of the images that are shown.
    """
    others = [k for k in range(MOTION_COUNT, len(ATTRIBUTES)) if ATTRIBUTES[k].templates]
    others = rng.choice(others, counts.groups - MOTION_COUNT, replace=False)
    groups = [*range(MOTION_COUNT), *others.tolist()]
    said = [c for group in groups for c in captions.graded(rng, group, counts.degrees)]
    for _ in range(counts.meaningless):
        said += captions.meaningless(rng, counts.degrees)
    said += [captions.sentence(rng, degrees[k]) for k in rng.choice(len(degrees), counts.sentences)]
    named = rng.choice(len(ATTRIBUTES), counts.plain, replace=False).tolist()
    said += [captions.plain(rng, k, there=bool(rng.random() < 0.7)) for k in named]
    return said


def caption_losses(
    counts: CaptionCounts, logits: jax.Array, fits: jax.Array
) -> dict[str, jax.Array]:
    """The three cross-entropies by name, [] each.

    Args:
        counts: of the captions, which are in the order of `step_captions`.
        logits: ``[N, M]``, scaled cosines of images and captions.
        fits: ``[N, M]``, see `captions.fit`.
    """
    groups = counts.groups + counts.meaningless
    graded = groups * counts.degrees

    def in_groups(x):
        return x[:, :graded].reshape(-1, groups, counts.degrees)

    told = slice(graded, graded + counts.sentences)
    # An image that no sentence is true of says nothing.
    weight = jnp.minimum(1.0, fits[:, told].sum(axis=1))
    by_sentence = weight * _cross_entropy(logits[:, told], fits[:, told])
    return {
        "by_degree": _cross_entropy(in_groups(logits), in_groups(fits)).mean(),
        "by_sentence": by_sentence.sum() / jnp.maximum(weight.sum(), 1.0),
        "by_text": _cross_entropy(logits.T, fits.T).mean(),
    }


def clip_losses(
    recipe: ClipRecipe, clip: Clip, head: jax.Array, batch: dict[str, jax.Array]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The cross-entropies and the regression of factors.

    Args:
        recipe: of the batch.
        clip: the network.
        head: ``[E + 1, F]``, kernel and bias of the regression.
        batch: ``images [N, R, R, 3]`` in [-1, 1]; ``ids [M, T]`` and ``fits [N, M]`` of captions as
            `step_captions` orders them; ``factors [N, F]`` in standard deviations;
            ``factor_weight []``.

    Returns:
        The loss, and its parts by name.
    """
    shown = normalise(clip.spec, area_resize(batch["images"], recipe.image_size), preprocess="clip")
    seen = encode_pixels(clip, shown)
    logits = clip.logit_scale * seen @ encode_token_ids(clip, batch["ids"]).T
    by_caption = caption_losses(recipe.captions, logits, batch["fits"])
    read = seen @ head[:-1] * 8.0 + jnp.broadcast_to(head[-1:], (len(seen), NUM_FACTORS))
    error = jnp.square(read - batch["factors"]) * _FACTOR_WEIGHTS[None]
    factors = error.mean(axis=0).sum() / _FACTOR_WEIGHTS.sum()
    parts = by_caption | {"factors": factors, "scale": clip.logit_scale}
    return sum(by_caption.values()) + batch["factor_weight"] * factors, parts


def _cross_entropy(logits: jax.Array, fits: jax.Array) -> jax.Array:
    """Cross-entropy over the last axis; the targets are the fits over their sum."""
    wanted = fits + _FLOOR
    return optax.softmax_cross_entropy(logits, wanted / wanted.sum(axis=-1, keepdims=True))


def train_clip(
    outdir: Path, data: Labelled, recipe: ClipRecipe = RECIPE, *, first: Clip | None = None
) -> Clip:
    """Train or resume in ``outdir`` on images with factors (renders and generated ones).

    Args:
        outdir: for the tokenizer, the checkpoint and the log.
        data: what it learns from.
        recipe: how.
        first: a trained CLIP of the same recipe to begin with, in place of a fresh one.

    Raises:
        DataError: ``first`` is another network, or its tokenizer knows other words.
    """
    clip = fresh_clip(outdir / "tokenizer", recipe)
    if first is not None:
        shapes = [jax.tree.map(jnp.shape, c.params) for c in (first, clip)]
        if shapes[0] != shapes[1] or _vocabulary(first) != _vocabulary(clip):
            raise DataError("the CLIP to go on from is not built as this version's")
        clip = Clip(first.params, clip.spec)
    truth = data.factors()
    mean, scale = truth.mean(axis=0), truth.std(axis=0) + 1e-6
    warmup = min(200, recipe.steps // 4 + 1)
    tx = muon(linear_decay(2e-3, recipe.steps, warmup=warmup), kernel_rate=1.0)

    def start():
        trained = (clip.params, jnp.zeros((recipe.embed + 1, NUM_FACTORS)))
        # Copies, since the first step gives its arguments' memory away.
        return jax.tree.map(jnp.copy, (trained, tx.init(trained)))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry, batch, key):
        images = shifted(
            batch["images"].astype(jnp.float32) / 127.5 - 1, jax.random.fold_in(key, 1)
        )
        images = augment(images, key)

        def loss(trained):
            params, head = trained
            return clip_losses(recipe, Clip(params, clip.spec), head, {**batch, "images": images})

        return descended(tx, loss, carry)

    def step(carry, number):
        rng = np.random.default_rng((recipe.seed, number))
        images, factors = data.batch(rng, recipe.batch)  # [N, R, R, 3] uint8, [N, F]
        degrees = degrees_of(factors)
        said = step_captions(recipe.captions, rng, degrees)
        first, last = recipe.factor_weight
        batch = {
            "images": images,
            "ids": _token_ids(clip, said),
            "fits": captions.fit(degrees, said),
            "factors": (factors - mean) / scale,
            "factor_weight": first * (last / first) ** min(1.0, 2 * number / recipe.steps),
        }
        return update(carry, batch, jax.random.fold_in(jax.random.key(recipe.seed + 2), number))

    carry = run_loop(Loop("clip", outdir, recipe.steps, start, step))
    return train_text(outdir, data, Clip(carry[0][0], clip.spec), recipe)


def train_text(outdir: Path, data: Labelled, clip: Clip, recipe: ClipRecipe) -> Clip:
    """Train or resume the text tower alone, on vectors of images; the vision tower stands still.

    Args:
        outdir: for the checkpoint and the log.
        data: the images.
        clip: of which both towers have been trained.
        recipe: how.
    """
    counts = recipe.text_captions
    # Only if there is a step left to do.
    images = functools.cache(lambda: _vectors(clip, data, recipe))
    warmup = min(50, recipe.text_steps // 4 + 1)
    tx = muon(linear_decay(1e-3, recipe.text_steps, warmup=warmup), kernel_rate=1.0)

    def start():
        trained = {name: clip.params[name] for name in _OF_TEXT}
        return jax.tree.map(jnp.copy, (trained, tx.init(trained)))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry, seen, ids, fits):
        def loss(trained):
            worded = Clip({**clip.params, **trained}, clip.spec)
            logits = worded.logit_scale * seen @ encode_token_ids(worded, ids).T
            parts = caption_losses(counts, logits, fits)
            return sum(parts.values()), parts | {"scale": worded.logit_scale}

        return descended(tx, loss, carry)

    def step(carry, number):
        vectors, degrees = images()
        rng = np.random.default_rng((recipe.seed, 1, number))
        rows = rng.integers(0, len(vectors), recipe.text_batch)
        said = step_captions(counts, rng, degrees[rows])
        ids, fits = _token_ids(clip, said), captions.fit(degrees[rows], said)
        return update(carry, vectors[rows], ids, fits)

    carry = run_loop(Loop("clip-text", outdir, recipe.text_steps, start, step))
    return Clip({**clip.params, **carry[0]}, clip.spec)


def _vectors(clip: Clip, data: Labelled, recipe: ClipRecipe) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors ``[V, E]`` of random images, and the degrees ``[V, A]`` of their attributes."""
    rng, batch = np.random.default_rng((recipe.seed, 2)), min(100, recipe.vectors)
    seen, degrees = [], []
    for _ in range(recipe.vectors // batch):
        images, factors = data.batch(rng, batch)
        seen.append(unit_vectors(clip, images))
        degrees.append(degrees_of(factors))
    return np.concatenate(seen), np.concatenate(degrees)


def _token_ids(clip: Clip, said: Sequence[captions.Caption]) -> np.ndarray:
    """Ids ``[M, T]`` of captions, without the columns in which every text has ended."""
    # Made-up words can be long.
    ids = clip.spec.tokenizer([caption.text for caption in said], cut=True)
    end = clip.spec.config["text_config"]["eos_token_id"]
    longest = int((ids == end).argmax(axis=1).max()) + 1
    return ids[:, : -(-longest // _LENGTHS) * _LENGTHS]


def _vocabulary(clip: Clip) -> dict[str, int]:
    return clip.spec.tokenizer.tokenizer.get_vocab()
