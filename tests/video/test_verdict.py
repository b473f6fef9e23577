"""A face that only trembles does not move, whatever its latents do; a motion must be followed."""

import numpy as np
import pytest

from mm_jax.video.verdict import judge_motion

RNG = np.random.default_rng(0)
T, P = 32, 68
FACE = RNG.uniform(20, 108, (P, 2))
WAY = RNG.normal(size=(P, 2))
CODE = RNG.normal(size=(6, 8))


def points(motion, noise=0.5):
    shown = FACE + np.asarray(motion)[:, None, None] * WAY
    return shown + RNG.normal(scale=noise, size=shown.shape)


def codes(motion, noise=0.05):
    moved = np.asarray(motion)[:, None, None] * CODE
    return moved + RNG.normal(scale=noise, size=moved.shape)


TIME = np.linspace(0, 1, T)


@pytest.mark.parametrize("motion", [5 * TIME, 5 * np.sin(6 * TIME), -3 * TIME**2])
def test_a_motion_is_one_whichever_way_the_latents_go(motion):
    for sign in (1, -1):
        verdict = judge_motion(points(motion), codes(sign * motion), size=128)
        assert verdict.reason is None and verdict.followed > 0.9


def test_trembling_is_no_motion_even_if_the_latents_jump():
    jumps = np.repeat([0.0, 4.0, -3.0, 1.0], T // 4)
    verdict = judge_motion(points(np.zeros(T)), codes(jumps), size=128)
    assert "does not move" in (verdict.reason or "") and verdict.fraction < 0.01


def test_latents_that_go_their_own_way():
    jumps = RNG.permutation(np.linspace(-3, 3, T))
    verdict = judge_motion(points(5 * TIME), codes(jumps), size=128)
    assert "do not move with it" in (verdict.reason or "")


def test_points_that_stand_still_exactly():
    still = np.broadcast_to(FACE, (T, P, 2))
    assert judge_motion(still, codes(TIME), size=128).reason is not None
