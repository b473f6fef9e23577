"""The bundled CLIP: Hugging Face's Flax network, trained from nothing on faces and graded captions.

Each step shows a batch of pictures and several groups of captions; a group is one phrasing of one
attribute at several degrees.  Two soft cross-entropies with targets from `captions.fit`: for each
picture over the degrees of a group, and for each caption over the pictures.  The second is what
makes a caption's similarity mean the same on every face, whatever else the face shows.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, degree_values, fill
from mm_jax.edit_metrics import spearman
from mm_jax.nn.resize import area_resize
from mm_jax.people.train_clip import fan_in_init
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
from mm_jax.synthface import captions
from mm_jax.synthface.factors import NUM_FACTORS
from mm_jax.synthface.renders import Renders
from mm_jax.synthface.tokenizer import CONTEXT, make_tokenizer
from mm_jax.synthface.train_probe import augment

IMAGE_SIZE, PATCH, VISION_WIDTH, TEXT_WIDTH, EMBED = 64, 8, 128, 96, 64
BATCH = 64
GROUPS, DEGREES, COMBINED = 7, 6, 12
MOTION_GROUPS = 5  # the first attributes are the micromotions; each has a group in every step
# Weight of the regression of all factors, at the start and from the middle of the training on: it
# teaches the vision tower what there is to see before the captions have a meaning.
AUX_WEIGHT = (20.0, 2.0)


def make_config(tokenizer: Any) -> dict[str, Any]:
    """The `CLIPConfig` as plain values."""
    from transformers import CLIPConfig

    end = tokenizer.eos_token_id
    tower = {"num_attention_heads": 4, "hidden_act": "quick_gelu"}
    config = CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(tokenizer),
            "hidden_size": TEXT_WIDTH,
            "intermediate_size": 4 * TEXT_WIDTH,
            "num_hidden_layers": 2,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={
            **tower,
            "hidden_size": VISION_WIDTH,
            "intermediate_size": 4 * VISION_WIDTH,
            "num_hidden_layers": 4,
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH,
        },
        projection_dim=EMBED,
        logit_scale_init_value=2.3,
    )
    return config.to_dict()


def fresh_clip(folder: Path, seed: int) -> Clip:
    """An untrained CLIP with its tokenizer, whose files are put into ``folder``."""
    tokenizer = make_tokenizer(captions.corpus(), folder)
    config = make_config(tokenizer)
    half = (0.5, 0.5, 0.5)
    clip = clip_from_params(
        {"logit_scale": jnp.asarray(2.3)}, config=config, tokenizer=tokenizer, mean=half, std=half
    )
    ids = jnp.zeros((1, CONTEXT), jnp.int32)
    pixels = jnp.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3))
    params = clip.spec.module.init(jax.random.key(seed), ids, pixels, ids, ids)["params"]
    return Clip(fan_in_init(params, jax.random.key(seed + 1)), clip.spec)


def make_step_captions(rng: np.random.Generator, degrees: np.ndarray) -> list[captions.Caption]:
    """Captions of one step: all micromotions, two other attributes, and combinations."""
    others = rng.choice(
        np.arange(MOTION_GROUPS, len(captions.ATTRIBUTES)), GROUPS - MOTION_GROUPS, replace=False
    )
    groups = [*range(MOTION_GROUPS), *others]
    said = [c for g in groups for c in captions.grade_group(rng, int(g), DEGREES)]
    chosen = rng.choice(len(degrees), COMBINED)
    return said + [captions.combined(rng, degrees[i]) for i in chosen]


def clip_losses(
    params, spec, head, images, ids, fits, factors, aux_weight
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The two cross-entropies and the auxiliary regression of the factors."""
    clip = Clip(params, spec)
    pixels = normalise(spec, area_resize(images, IMAGE_SIZE), preprocess="clip")
    seen = encode_pixels(clip, pixels)
    logits = clip.logit_scale * seen @ encode_token_ids(clip, ids).T
    grouped = logits[:, : GROUPS * DEGREES].reshape(-1, GROUPS, DEGREES)
    wanted = fits[:, : GROUPS * DEGREES].reshape(-1, GROUPS, DEGREES) + 1e-5
    by_picture = optax.softmax_cross_entropy(grouped, wanted / wanted.sum(-1, keepdims=True))
    wanted = fits.T + 1e-5
    by_text = optax.softmax_cross_entropy(logits.T, wanted / wanted.sum(-1, keepdims=True))
    read = seen @ head[:-1] * 8.0 + head[-1:][jnp.zeros(len(seen), int)]
    parts = {
        "by_picture": by_picture.mean(),
        "by_text": by_text.mean(),
        "factors": jnp.mean(jnp.square(read - factors)),
        "scale": clip.logit_scale,
    }
    return parts["by_picture"] + parts["by_text"] + aux_weight * parts["factors"], parts


def train_clip(outdir: Path, data: Renders, *, steps: int, seed: int = 30) -> Clip:
    """Train or resume in ``outdir`` on pictures with factors (renders and generated ones)."""
    clip = fresh_clip(outdir / "tokenizer", seed)
    all_degrees = captions.degrees_of(data.factors)
    tx = muon(linear_decay(2e-3, steps, warmup=200), kernel_rate=1.0)

    def start():
        trained = (clip.params, jnp.zeros((EMBED + 1, NUM_FACTORS)))
        return (trained, tx.init(trained))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry, images, ids, fits, factors, aux_weight, key):
        def loss(trained):
            params, head = trained
            pictures = augment(images, key)
            return clip_losses(params, clip.spec, head, pictures, ids, fits, factors, aux_weight)

        trained, opt = carry
        (_, parts), grads = jax.value_and_grad(loss, has_aux=True)(trained)
        updates, opt = tx.update(grads, opt, trained)
        return (optax.apply_updates(trained, updates), opt), parts

    def step(carry, index):
        rng = np.random.default_rng((seed, index))
        rows = rng.integers(0, len(data.images), BATCH)
        images = data.images[rows].astype(np.float32) / 127.5 - 1
        said = make_step_captions(rng, all_degrees[rows])
        ids = clip.spec.tokenizer([caption.text for caption in said])
        fits = captions.fit(all_degrees[rows], said)
        key = jax.random.fold_in(jax.random.key(seed + 2), index)
        first, last = AUX_WEIGHT
        aux_weight = first * (last / first) ** min(1.0, 2 * index / steps)
        return update(carry, images, ids, fits, data.factors[rows], aux_weight, key)

    carry = run_loop(Loop("clip", outdir, steps, start, step))
    return Clip(carry[0][0], clip.spec)


def measure_clip(clip: Clip, unseen: Renders, *, batch: int = 100) -> dict[str, dict[str, float]]:
    """How well graded prompts order unseen faces, for each micromotion.

    ``degree``: Spearman of the true degree with the degree read off a picture, the mean of the
    prompts' degrees weighted by the softmax of their similarities.  ``full``: Spearman of the true
    degree with the bare cosine to the 100 % prompt.  Faces turned to the left are left out of
    turning right, whose prompts are graded from facing the viewer.
    """
    figures = {}
    seen = np.concatenate(
        [
            np.asarray(encode_image(clip, jnp.asarray(part, jnp.float32) / 127.5 - 1))
            for part in np.split(unseen.images, len(unseen.images) // batch)
        ]
    )
    for attribute in captions.ATTRIBUTES[:MOTION_GROUPS]:
        texts = [fill(MOTIONS[attribute.name].template, degree) for degree in DEFAULT_DEGREES]
        cosine = seen @ np.asarray(encode_text(clip, texts)).T
        weight = np.exp(float(clip.logit_scale) * (cosine - cosine.max(1, keepdims=True)))
        read = (weight @ degree_values(DEFAULT_DEGREES)) / weight.sum(1)
        true = attribute.degrees(unseen.factors)
        rows = true >= 0
        figures[attribute.name] = {
            "degree": float(spearman(read[rows], true[rows])),
            "full": float(spearman(cosine[rows, -1], true[rows])),
        }
    return figures
