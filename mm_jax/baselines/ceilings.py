"""What is in reach with the truth at hand: directions of W from the probe's factors.

- Regression: the least-squares fit of sampled latents on all factors together; the target's
  coefficient is how w changes with the target while all other factors stay.
- Jacobian: with J [F, D] the mean derivative of the factors and C the covariance of W, the smallest
  move, in the metric of W, that moves the target alone: C J' (J C J' + r I)^-1 e_t.

Both see the probe, so they are ceilings, not methods: the judge that measures is another network.
"""

from __future__ import annotations

import numpy as np

from mm_jax.anchors.prompts import Motion
from mm_jax.baselines.world import Direction, World

__all__ = ["find_jacobian", "find_regression", "partial_slopes", "target_alone"]

# Of the mean diagonal of J C J': directions that factors hardly know are not relied on.
_RIDGE = 1e-3


def partial_slopes(w: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Coefficients [F, D] of latents [n, D] on factors [n, F], with an intercept."""
    design = factors.astype(np.float64) - factors.mean(axis=0, dtype=np.float64)[None]
    centred = w.astype(np.float64) - w.mean(axis=0, dtype=np.float64)[None]
    return np.linalg.lstsq(design, centred, rcond=None)[0]


def target_alone(jacobian: np.ndarray, covariance: np.ndarray, target: int) -> np.ndarray:
    """The move [D] of W that changes one factor by 1 and the others by about 0, to first order.

    Args:
        jacobian: [F, D] derivatives of the factors.
        covariance: [D, D] of W.
        target: the factor's position.
    """
    steps = covariance @ jacobian.T  # [D, F]
    gram = jacobian @ steps
    ridge = _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    return steps @ np.linalg.solve(gram + ridge, np.eye(len(gram))[target])


def find_regression(world: World, motion: Motion) -> Direction:
    """How w changes with the target as the probe reads it, all other factors held."""
    target, sign = world.target(motion)
    units = world.faces.factors / world.scale[None]
    return Direction.of_w(
        sign * partial_slopes(world.faces.w, units)[target], world.gen.config.num_ws
    )


def find_jacobian(world: World, motion: Motion) -> Direction:
    """The smallest move of W that moves the target alone, by the mean Jacobian."""
    target, sign = world.target(motion)
    move = target_alone(world.jacobian.sum(axis=1, dtype=np.float64), world.covariance, target)
    return Direction.of_w(sign * move, world.gen.config.num_ws)
