"""The bundled CLIP, of Hugging Face's layout, trained from nothing on people and captions.

Each step shows a batch of images and three kinds of caption: groups of graded ones, a group being
one wording of one attribute at several degrees; sentences of several attributes; and plain ones.
The targets of three soft cross-entropies come from `captions.fit`:

- for each image, over the degrees of a group: which degree is true;
- for each image, over the sentences: which are true;
- for each caption, over the images. This makes a caption's similarity mean the same on every face,
  whatever else the face shows.

A regression of all factors teaches the vision tower what there is to see before captions have a
meaning.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epy
from flax import traverse_util

from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, degree_values, fill
from mm_jax.edit_metrics import spearman
from mm_jax.errors import DataError
from mm_jax.nn.resize import area_resize
from mm_jax.people import captions
from mm_jax.people.attributes import ATTRIBUTES, MOTION_COUNT, degrees_of
from mm_jax.people.factors import NUM_FACTORS
from mm_jax.people.labelled import Labelled, Store
from mm_jax.people.tokenizer import CONTEXT, make_tokenizer
from mm_jax.people.train_probe import augment
from mm_jax.people.training import Loop, linear_decay, muon, run_loop
from mm_jax.perceptual.clip import (
    Clip,
    clip_from_params,
    encode_image,
    encode_pixels,
    encode_text,
    encode_token_ids,
    normalise,
)

with epy.lazy_imports():
    import transformers

__all__ = ["RECIPE", "ClipRecipe", "measure_captions", "measure_motions", "train_clip"]

# Logarithm of the factor on cosines at the start.
_LOGIT_SCALE = 2.3
# What a caption that fits nothing has as a target: next to nothing, but of equal parts.
_FLOOR = 1e-5


@dataclasses.dataclass(frozen=True)
class ClipRecipe:
    """Sizes and steps.

    Attributes:
        image_size, patch: of the vision tower, in pixels.
        vision_width, vision_layers, text_width, text_layers, heads, embed: of the towers.
        steps, batch: of training.
        groups: graded groups in a step: all micromotions, then other attributes.
        degrees: captions in a group.
        sentences, plain: captions of these kinds in a step.
        factor_weight: weight of the regression of factors at the start, and from the middle on.
        seed: of parameters and batches.
    """

    image_size: int = 64
    patch: int = 8
    vision_width: int = 144
    vision_layers: int = 4
    text_width: int = 112
    text_layers: int = 2
    heads: int = 4
    embed: int = 96
    steps: int = 2800
    batch: int = 64
    groups: int = 9
    degrees: int = 6
    sentences: int = 20
    plain: int = 10
    factor_weight: tuple[float, float] = (3.0, 0.3)
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
    recipe: ClipRecipe, rng: np.random.Generator, degrees: np.ndarray
) -> list[captions.Caption]:
    """Captions of one step: graded groups, sentences, plain ones.

    Args:
        recipe: how many of each.
        rng: chooses them.
        degrees: ``[N, A]`` of the images that are shown.
    """
    others = [k for k in range(MOTION_COUNT, len(ATTRIBUTES)) if ATTRIBUTES[k].templates]
    others = rng.choice(others, recipe.groups - MOTION_COUNT, replace=False)
    groups = [*range(MOTION_COUNT), *others.tolist()]
    said = [c for group in groups for c in captions.graded(rng, group, recipe.degrees)]
    said += [captions.sentence(rng, degrees[k]) for k in rng.choice(len(degrees), recipe.sentences)]
    named = rng.choice(len(ATTRIBUTES), recipe.plain, replace=False).tolist()
    said += [captions.plain(rng, k, there=bool(rng.random() < 0.7)) for k in named]
    return said


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
    fits, graded = batch["fits"], recipe.groups * recipe.degrees

    def in_groups(x):
        return x[:, :graded].reshape(-1, recipe.groups, recipe.degrees)

    by_degree = _cross_entropy(in_groups(logits), in_groups(fits))
    told = slice(graded, graded + recipe.sentences)
    # An image that no sentence is true of says nothing.
    weight = jnp.minimum(1.0, fits[:, told].sum(axis=1))
    by_sentence = weight * _cross_entropy(logits[:, told], fits[:, told])
    read = seen @ head[:-1] * 8.0 + jnp.broadcast_to(head[-1:], (len(seen), NUM_FACTORS))
    parts = {
        "by_degree": by_degree.mean(),
        "by_sentence": by_sentence.sum() / jnp.maximum(weight.sum(), 1.0),
        "by_text": _cross_entropy(logits.T, fits.T).mean(),
        "factors": jnp.mean(jnp.square(read - batch["factors"])),
        "scale": clip.logit_scale,
    }
    total = parts["by_degree"] + parts["by_sentence"] + parts["by_text"]
    return total + batch["factor_weight"] * parts["factors"], parts


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
        images = augment(batch["images"].astype(jnp.float32) / 127.5 - 1, key)

        def loss(trained):
            params, head = trained
            return clip_losses(recipe, Clip(params, clip.spec), head, {**batch, "images": images})

        trained, opt = carry
        (_, parts), grads = jax.value_and_grad(loss, has_aux=True)(trained)
        updates, opt = tx.update(grads, opt, trained)
        return (optax.apply_updates(trained, updates), opt), parts

    def step(carry, index):
        rng = np.random.default_rng((recipe.seed, index))
        images, factors = data.batch(rng, recipe.batch)  # [N, R, R, 3] uint8, [N, F]
        degrees = degrees_of(factors)
        said = step_captions(recipe, rng, degrees)
        first, last = recipe.factor_weight
        batch = {
            "images": images,
            "ids": clip.spec.tokenizer([caption.text for caption in said]),
            "fits": captions.fit(degrees, said),
            "factors": (factors - mean) / scale,
            "factor_weight": first * (last / first) ** min(1.0, 2 * index / recipe.steps),
        }
        return update(carry, batch, jax.random.fold_in(jax.random.key(recipe.seed + 2), index))

    carry = run_loop(Loop("clip", outdir, recipe.steps, start, step))
    return Clip(carry[0][0], clip.spec)


def _vocabulary(clip: Clip) -> dict[str, int]:
    return clip.spec.tokenizer.tokenizer.get_vocab()


# --- figures --------------------------------------------------------------------------------------


def _seen(clip: Clip, images: np.ndarray, batch: int = 100) -> np.ndarray:
    """Unit vectors ``[N, E]`` of images ``[N, R, R, 3]`` uint8."""
    parts = [images[first : first + batch] for first in range(0, len(images), batch)]
    return np.concatenate(
        [np.asarray(encode_image(clip, jnp.asarray(p, jnp.float32) / 127.5 - 1)) for p in parts]
    )


def measure_motions(clip: Clip, unseen: Store) -> dict[str, dict[str, float]]:
    """How well graded prompts order unseen faces, for each micromotion.

    ``degree``: Spearman correlation of the true degree with the degree read off an image, the mean
    of the prompts' degrees weighted by the softmax of their similarities. ``full``: that of the
    true degree with the bare cosine to the 100 % prompt. Faces turned to the left are left out of
    turning right, whose prompts are graded from facing the viewer.
    """
    seen, true = _seen(clip, unseen.images), degrees_of(unseen.factors)
    figures = {}
    for place, name in enumerate(MOTIONS):
        texts = [fill(MOTIONS[name].template, degree) for degree in DEFAULT_DEGREES]
        cosine = seen @ np.asarray(encode_text(clip, texts)).T
        weight = np.exp(float(clip.logit_scale) * (cosine - cosine.max(axis=1, keepdims=True)))
        read = (weight @ degree_values(DEFAULT_DEGREES)) / weight.sum(axis=1)
        rows = true[:, place] >= 0
        figures[name] = {
            "degree": float(spearman(read[rows], true[rows, place])),
            "full": float(spearman(cosine[rows, -1], true[rows, place])),
        }
    return figures


def measure_captions(clip: Clip, unseen: Store) -> dict[str, float]:
    """For each attribute, Spearman correlation of its true degree with what plain captions see.

    That is the mean cosine to all of the attribute's plain captions. For attributes with two sides
    all faces count.
    """
    seen, true = _seen(clip, unseen.images), degrees_of(unseen.factors)
    texts = [text for attribute in ATTRIBUTES for text in attribute.sayings]
    ends = np.cumsum([len(attribute.sayings) for attribute in ATTRIBUTES])[:-1]
    groups = np.split(np.asarray(encode_text(clip, texts)), ends)
    return {
        attribute.name: float(spearman(seen @ group.mean(axis=0), true[:, place]))
        for place, (attribute, group) in enumerate(zip(ATTRIBUTES, groups, strict=True))
    }
