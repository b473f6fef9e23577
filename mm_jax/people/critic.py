"""The critic, against which the generator's last phase sharpens its images.

A loss on pixels blurs what it cannot place exactly: wrinkles, outlines, strands. The critic looks
at patches of a render and of the generated image of the same person and tells them apart; the
generator is trained to be told apart less. As every generated image has its render, the scores of
the two are compared with each other (a relativistic pairing, Jolicoeur-Martineau 2018), and the
critic's features of the two are matched as well (Wang et al. 2018, pix2pixHD).

The critic is kept smooth about renders and generated images by the zero-centred penalty of
Mescheder et al. (2018) in its form without second derivatives: the change of its scores under
slight noise.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from mm_jax.nn.trunk import ConvStage

__all__ = ["critic_loss", "init_critic", "optimizer", "sharpness_loss"]

CHANNELS = (48, 80, 128)
#: Weight of the distance between features against that of the scores.
FEATURE_WEIGHT = 2.0
#: Standard deviation of the penalty's noise, and the penalty's weight.
NOISE, PENALTY = 0.05, 0.02
LEARNING_RATE = 1e-3


class Critic(nn.Module):
    """Images ``[N, R, R, 3]`` in [-1, 1] to scores ``[N, R/16, R/16]`` and all stages' features."""

    @nn.compact
    def __call__(self, x):
        """Scores, high for renders, and a list of features ``[N, H, W, C]``."""
        n, r = x.shape[:2]
        x = x.reshape(n, r // 2, 2, r // 2, 2, 3).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(n, r // 2, r // 2, 12)
        features = []
        for i, channels in enumerate(CHANNELS):
            x = ConvStage(channels, "gelu", name=f"stage{i}")(x)
            features.append(x)
        x = nn.gelu(nn.Dense(CHANNELS[-1] // 2, name="hidden")(x))
        # Only differences of scores count: no bias.
        return nn.Dense(1, use_bias=False, name="score")(x)[..., 0], features


def init_critic(key: jax.Array) -> dict[str, Any]:
    """Fresh parameters."""
    return dict(Critic().init(key, jnp.zeros((1, 32, 32, 3)))["params"])


def optimizer() -> optax.GradientTransformation:
    """Adam with little momentum, as is usual for critics."""
    return optax.adam(LEARNING_RATE, b1=0.5, b2=0.99)


def _look(params: Any, images: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    scores, features = Critic().apply({"params": params}, images)
    assert isinstance(scores, jax.Array) and isinstance(features, list)
    return scores, features


def sharpness_loss(params: Any, made: jax.Array, true: jax.Array) -> jax.Array:
    """What the generator lowers: how surely its images ``[N, R, R, 3]`` are told from renders."""
    (score, features), (wanted, aims) = _look(params, made), _look(params, true)
    told = jnp.mean(nn.softplus(wanted - score))
    apart = [jnp.mean(jnp.abs(a - b)) for a, b in zip(features, aims, strict=True)]
    return told + FEATURE_WEIGHT * jnp.mean(jnp.stack(apart))


def critic_loss(params: Any, made: jax.Array, true: jax.Array, key: jax.Array) -> jax.Array:
    """What the critic lowers: how often it takes the one for the other, and its roughness."""
    both = jnp.concatenate([true, made])
    scores, _ = _look(params, both)
    noisy, _ = _look(params, both + NOISE * jax.random.normal(key, both.shape))
    wanted, score = jnp.split(scores, 2)
    roughness = jnp.mean(jnp.square(noisy - scores)) / NOISE**2
    return jnp.mean(nn.softplus(score - wanted)) + PENALTY * roughness
