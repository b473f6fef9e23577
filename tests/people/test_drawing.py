"""Pencil drawings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.people.drawing import pencil

SIDE = 64


def disc(at: tuple[int, int], *, level: float, ground: float) -> np.ndarray:
    """A grey disc of radius 12 on grey ground, ``[1, R, R, 3]``."""
    row, column = np.mgrid[:SIDE, :SIDE]
    inside = (row - at[0]) ** 2 + (column - at[1]) ** 2 < 12**2
    image = np.where(inside, level, ground).astype(np.float32)
    return np.repeat(image[None, :, :, None], 3, axis=3)


def test_a_drawing_moves_with_what_it_shows():
    one = pencil(disc((30, 30), level=-0.5, ground=0.5))
    other = pencil(disc((34, 27), level=-0.5, ground=0.5))
    moved = np.roll(np.asarray(one), (4, -3), axis=(1, 2))
    # Away from the edges, where rolling brings in the other side.
    np.testing.assert_allclose(other[:, 8:-8, 8:-8], moved[:, 8:-8, 8:-8], atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 0.4])
def test_lines_are_at_edges_on_light_and_on_dark_ground(factor):
    """As dark a line for skin that is less than half as light."""
    light, dark = 0.8 * factor, 0.4 * factor
    drawn = np.asarray(pencil(disc((32, 32), level=2 * dark - 1, ground=2 * light - 1)))[0, ..., 0]
    edge, ground = drawn[32, 20:24].min(), drawn[32, 4]
    assert edge < ground - 0.5


def test_a_flat_image_has_no_lines_and_lighter_is_lighter():
    levels = np.array([-0.8, 0.0, 0.8], np.float32)
    flat = np.broadcast_to(levels[:, None, None, None], (3, SIDE, SIDE, 3))
    drawn = np.asarray(pencil(flat))
    assert np.ptp(drawn, axis=(1, 2)).max() < 1e-5
    assert (np.diff(drawn[:, 0, 0, 0]) > 0).all()
    assert (np.abs(drawn) <= 1).all()


def test_works_under_jit_and_vmap_and_has_finite_gradients():
    images = jax.random.uniform(jax.random.key(0), (3, SIDE, SIDE, 3), minval=-1, maxval=1)
    whole = pencil(images)
    each = jax.jit(jax.vmap(lambda image: pencil(image[None])[0]))(images)
    np.testing.assert_allclose(each, whole, atol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(jnp.square(pencil(x))))(images)
    assert np.isfinite(gradient).all()
