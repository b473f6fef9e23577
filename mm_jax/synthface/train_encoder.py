"""The bundled encoder, trained on pictures whose codes are known: the generator's own."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.encoders.encoder import Encoder, make_encoder
from mm_jax.encoders.small import SmallConfig, apply_small
from mm_jax.encoders.trunk import TrunkConfig, init_trunk
from mm_jax.people.training import Loop, linear_decay, muon, run_loop
from mm_jax.stylegan2.generator import Generator
from mm_jax.synthface.generated import Generated
from mm_jax.synthface.train_probe import augment

TRUNK = TrunkConfig(
    resolution=128, fold=2, channels=(32, 64, 96, 128), activation="gelu", hidden=384
)
BATCH = 48


def train_encoder(
    outdir: Path, gen: Generator, data: Generated, *, steps: int, seed: int = 40
) -> Encoder:
    """Train or resume in ``outdir``; the loss is the squared error of W+ over its variance."""
    rows, width = gen.config.num_ws, gen.config.w_dim
    config = SmallConfig(trunk=TRUNK, rows=rows, width=width)
    variance = float(np.var(data.ws, axis=0).mean())
    tx = muon(linear_decay(2e-3, steps), kernel_rate=1.0)

    def start():
        trunk = init_trunk(TRUNK, (rows + 1) * width, jax.random.key(seed))
        trunk["head"]["kernel"] *= 0.1
        return (trunk, tx.init(trunk))

    w_avg = gen.params["mapping"]["w_avg"]

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry, images, ws, key):
        def loss(trunk):
            params = {"trunk": trunk, "w_avg": w_avg}
            coded = apply_small(config, params, augment(images, key))
            return jnp.mean(jnp.square(coded - ws)) / variance

        trunk, opt = carry
        value, grads = jax.value_and_grad(loss)(trunk)
        updates, opt = tx.update(grads, opt, trunk)
        return (optax.apply_updates(trunk, updates), opt), {"error": value}

    def step(carry, index):
        rng = np.random.default_rng((seed, index))
        chosen = rng.integers(0, len(data.images), BATCH)
        images = data.images[chosen].astype(np.float32) / 127.5 - 1
        key = jax.random.fold_in(jax.random.key(seed + 1), index)
        return update(carry, images, data.ws[chosen], key)

    carry = run_loop(Loop("encoder", outdir, steps, start, step))
    return make_encoder(config, {"trunk": carry[0], "w_avg": w_avg})
