"""The bundled encoder, trained on generated images and on renders.

A generated image has one right latent. A render has one that is nearly right, that of its z, and
the generator's image of a better one looks more like it: so on some renders of each batch the image
of the latent can be compared with the render, through the generator, which is held still
(``compared``). That costs as much as the rest of a step many times over. From the start it keeps
the latents from being learnt: with three compared renders a step their error was still that of the
mean latent after 400 steps, and 0.83 of it after 200 without. So the bundled encoder does without.
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

from mm_jax.encoders.encoder import Encoder, make_encoder
from mm_jax.encoders.small import SmallConfig, apply_small
from mm_jax.errors import DataError
from mm_jax.nn.trunk import TrunkConfig, init_trunk
from mm_jax.people.factors import mirror_z
from mm_jax.people.generated import Generated
from mm_jax.people.renders import Renders
from mm_jax.people.train_generator import face_weight, pyramid_loss
from mm_jax.people.train_probe import augment
from mm_jax.people.training import Loop, descended, linear_decay, muon, run_loop
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import map_latents, synthesis

__all__ = ["RECIPE", "EncoderRecipe", "train_encoder"]

TRUNK = TrunkConfig(
    resolution=128, fold=2, channels=(32, 64, 96, 128), activation="gelu", hidden=384
)


@dataclasses.dataclass(frozen=True)
class EncoderRecipe:
    """How the encoder is built and trained.

    Attributes:
        trunk: its convolutional network.
        steps: of training.
        generated, renders: images of each kind in a batch.
        compared: of the renders, how many are compared with the images of their latents.
        render_weight: of the error of the latents of renders; that of generated images weighs 1.
        image_weight: of the loss on images.
        seed: of parameters and batches.
    """

    trunk: TrunkConfig = TRUNK
    steps: int = 1400
    generated: int = 32
    renders: int = 16
    compared: int = 0
    render_weight: float = 0.3
    image_weight: float = 1.0
    seed: int = 40


RECIPE = EncoderRecipe()


def train_encoder(
    outdir: Path,
    gen: Generator,
    generated: Generated,
    renders: Sequence[Renders],
    recipe: EncoderRecipe = RECIPE,
    *,
    first: Encoder | None = None,
) -> Encoder:
    """Train or resume in ``outdir``.

    Args:
        outdir: for checkpoints and the log.
        gen: the generator whose latents are wanted.
        generated: its images.
        renders: sets of renders.
        recipe: how.
        first: a trained encoder of the same recipe to begin with, in place of a fresh one.

    Raises:
        DataError: ``first`` is another network.
    """
    config = SmallConfig(trunk=recipe.trunk, rows=gen.config.num_ws, width=gen.config.w_dim)
    w_avg = gen.params["mapping"]["w_avg"]
    variance = float(np.var(generated.ws, axis=0).mean())
    ends = np.cumsum([0] + [len(part.images) for part in renders])
    tx = muon(linear_decay(2e-3, recipe.steps), kernel_rate=1.0)

    if first is not None and first.config != config:
        raise DataError("the encoder to go on from is not built as this version's")

    def start():
        if first is not None:
            # A copy, since the first step gives its arguments' memory away.
            trunk = jax.tree.map(jnp.copy, first.params["trunk"])
            return (trunk, tx.init(trunk))
        trunk = init_trunk(
            recipe.trunk, (config.rows + 1) * config.width, jax.random.key(recipe.seed)
        )
        trunk["head"]["kernel"] *= 0.1
        return (trunk, tx.init(trunk))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry, batch, gen, key):
        def loss(trunk):
            params = {"trunk": trunk, "w_avg": gen.params["mapping"]["w_avg"]}
            encode = functools.partial(apply_small, config, params)
            return encoder_losses(recipe, encode, gen, batch, variance, key)

        return descended(tx, loss, carry)

    def step(carry, index):
        rng = np.random.default_rng((recipe.seed, index))
        chosen = rng.integers(0, len(generated.images), recipe.generated)
        batch = _render_batch(rng, renders, ends, recipe.renders) | {
            "images": generated.images[chosen],
            "ws": generated.ws[chosen],
        }
        key = jax.random.fold_in(jax.random.key(recipe.seed + 1), index)
        return update(carry, batch, gen, key)

    carry = run_loop(Loop("encoder", outdir, recipe.steps, start, step))
    return make_encoder(config, {"trunk": carry[0], "w_avg": w_avg})


def _render_batch(rng, renders: Sequence[Renders], ends: np.ndarray, count: int) -> dict[str, Any]:
    """Random renders, half of them mirrored, with what `encoder_losses` wants of them."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("renders", "focus", "z", "psi")}
    flip = rng.random(count) < 0.5
    for row, mirrored in zip(rng.integers(0, ends[-1], count), flip, strict=True):
        part = int(np.searchsorted(ends, row, side="right")) - 1
        k, store = row - ends[part], renders[part]
        across = slice(None, None, -1 if mirrored else 1)
        columns["renders"].append(store.images[k][:, across])
        columns["focus"].append(store.focus[k][:, across])
        columns["z"].append(store.z[k])
        columns["psi"].append(store.psi[k])
    return {name: np.stack(values) for name, values in columns.items()} | {"flip": flip}


def encoder_losses(
    recipe: EncoderRecipe, encode, gen: Generator, batch, variance: float, key: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of an encoder, and its parts by name.

    Args:
        recipe: weights.
        encode: images ``[N, R, R, 3]`` in [-1, 1] to latents ``[N, L, D]``.
        gen: the generator.
        batch: ``images [G, R, R, 3]`` uint8 and their ``ws [G, L, D]``; of M renders ``renders``,
            ``focus``, ``z`` and ``psi`` as in `Renders`, and ``flip [M]`` bool: whether it has been
            mirrored.
        variance: of the latents: the unit of their errors.
        key: of the augmentation.
    """
    count = recipe.compared
    images = jnp.concatenate([batch["images"], batch["renders"]]).astype(jnp.float32) / 127.5 - 1
    coded = encode(augment(images, key))
    made, rendered = jnp.split(coded, [recipe.generated])
    z = jnp.where(batch["flip"][:, None], mirror_z(batch["z"]), batch["z"])
    w, mean = map_latents(gen.config, gen.params, z), gen.params["mapping"]["w_avg"][None]
    near = (mean + batch["psi"][:, None] * (w - mean))[:, None, :]
    parts = {
        "generated": jnp.mean(jnp.square(made - batch["ws"])) / variance,
        "renders": jnp.mean(jnp.square(rendered - near.repeat(rendered.shape[1], axis=1)))
        / variance,
    }
    total = parts["generated"] + recipe.render_weight * parts["renders"]
    if count:
        drawn = synthesis(gen.config, gen.params, rendered[:count], noise_mode="none")
        error = drawn - images[recipe.generated :][:count]
        weight = face_weight(batch["focus"][:count].astype(jnp.float32) / 255, drawn.shape[1])
        parts["images"] = pyramid_loss(error, weight)
        parts["psnr"] = jnp.mean(-10 * jnp.log10(jnp.mean(jnp.square(0.5 * error), axis=(1, 2, 3))))
        total = total + recipe.image_weight * parts["images"]
    return total, parts
