"""A random direction: from one sampled face to another. What leakage is without any method."""

from __future__ import annotations

import numpy as np

from mm_jax.anchors.prompts import Motion
from mm_jax.baselines.world import Direction, World

__all__ = ["find"]


def find(world: World, motion: Motion) -> Direction:
    """The difference of two faces in W, another pair for each motion."""
    first, second = world.draw(f"random direction {motion.name}", 2)
    return Direction(np.asarray(second - first, np.float32))
