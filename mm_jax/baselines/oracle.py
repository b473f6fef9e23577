"""Which of many unnamed directions a motion is, and in which layers: picked by who knows the truth.

GANSpace, SeFa and LowRankGAN find directions without saying what they do; people look through them
and choose a component and layers. Here the probe's mean Jacobian chooses in their place, among all
components and all ranges of layers, what moves the target most purely. It is more than any person
sees, so the figures of these methods are as good as they can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mm_jax.anchors.prompts import Motion
from mm_jax.baselines.world import Direction, World

__all__ = ["Pick", "pick", "picked"]

# A target that a component hardly moves is no choice: it must move by one standard deviation within
# so many standard deviations of W.
_REACH = 4.0


class Pick(NamedTuple):
    """The oracle's choice.

    Attributes:
        move: [L, D], of one standard deviation of W, zero outside the chosen layers.
        component: which one.
        first, last: the chosen rows of W+.
        share: the target's share of the changes of all factors, to first order.
    """

    move: np.ndarray
    component: int
    first: int
    last: int
    share: float

    @property
    def facts(self) -> dict[str, Any]:
        """The choice as json values."""
        return {
            "component": self.component,
            "rows": [self.first, self.last],
            "linear_share": round(self.share, 4),
            "picked_by": "oracle (mean Jacobian of the probe)",
        }


def pick(
    candidates: Callable[[int, int], np.ndarray],
    *,
    jacobian: np.ndarray,
    covariance: np.ndarray,
    target: int,
    sign: int,
) -> Pick:
    """The component and the rows that move a factor most purely.

    Args:
        candidates: first and last row to unit vectors [K, D]; K may differ, and be 0.
        jacobian: [F, L, D] of factors in standard deviations.
        covariance: [D, D] of W, which says how long a move is.
        target: the factor's position.
        sign: 1 or -1, the way it is to move.
    """
    rows = jacobian.shape[1]
    best: tuple[bool, float] = (False, -1.0)
    found: Pick | None = None
    for first in range(rows):
        for last in range(first, rows):
            vectors = candidates(first, last)
            if not len(vectors):
                continue
            # [K] standard deviation of W along each; what W does not hold is left out.
            spreads = np.sqrt(np.einsum("kd,de,ke->k", vectors, covariance, vectors))
            held = spreads > 1e-6 * np.sqrt(np.trace(covariance))
            units = vectors * spreads[:, None]
            effects = units @ jacobian[:, first : last + 1].sum(axis=1).T  # [K, F]
            sizes = np.abs(effects)
            shares = sizes[:, target] / np.maximum(sizes.sum(axis=1), 1e-30)
            moves = held & (sizes[:, target] * _REACH >= 1.0)
            for k in np.flatnonzero(held):
                if (bool(moves[k]), float(shares[k])) > best:
                    best = (bool(moves[k]), float(shares[k]))
                    way = sign * (1.0 if effects[k, target] >= 0 else -1.0)
                    move = np.zeros(jacobian.shape[1:], np.float32)
                    move[first : last + 1] = way * units[k]
                    found = Pick(move, int(k), first, last, float(shares[k]))
    assert found is not None, "there are no candidates in W"
    return found


def picked(world: World, motion: Motion, candidates: Callable[[int, int], np.ndarray]) -> Direction:
    """The direction that `pick` chooses for a motion; `candidates` as there."""
    target, sign = world.target(motion)
    chosen = pick(
        candidates,
        jacobian=world.jacobian, covariance=world.covariance, target=target, sign=sign,
    )  # fmt: skip
    return Direction(chosen.move, chosen.facts)
