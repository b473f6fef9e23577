"""Makes ``heads.npz``, the part of the heads that the tests draw, from a whole file of heads.

    python tests/people/make_heads.py heads.npz

Skin, eyes and tongue are kept, and the targets that `mm_jax.people.looks` names. Hair, lashes,
teeth and clothes are not: tests put plain shapes in their place (`conftest.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mm_jax.people.factors import NUM_FACTORS
from mm_jax.people.heads import load_heads, reduced, save_heads
from mm_jax.people.looks import person_of

PARTS = ("skin", "left_eye", "right_eye", "tongue")


def used_targets() -> set[str]:
    """Names of the targets that people have, found at the ends of all factors and between."""
    ends = np.concatenate([np.eye(NUM_FACTORS), -np.eye(NUM_FACTORS)])
    between = np.random.default_rng(0).uniform(-1, 1, (200, NUM_FACTORS))
    names: set[str] = set()
    for factors in np.concatenate([ends, between]):
        person = person_of(factors)
        names |= set(person.shape) | {f"unit-{name}" for name in person.expression}
    return names


if __name__ == "__main__":
    whole = load_heads(sys.argv[1])
    save_heads(Path(__file__).with_name("heads.npz"), reduced(whole, PARTS, used_targets()))
