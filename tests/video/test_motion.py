"""The flow finds known shifts; the progress of a motion is that of what moved it."""

import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.errors import DataError, UsageError
from mm_jax.video.flow import carried_from, optical_flow
from mm_jax.video.motion import follow, measure_motion

# Frames of twice the side at which points are followed.
SIZE, FRAMES = 128, 9


def texture(shift_x=0.0, shift_y=0.0):
    """Clouds [SIZE, SIZE, 3] in [-1, 1], detailed at every scale, moved by so many pixels."""
    kx, ky = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE))
    radius = np.hypot(kx, ky) * SIZE
    spectrum = np.fft.fft2(np.random.default_rng(0).standard_normal((SIZE, SIZE)))
    spectrum *= np.exp(-np.square(radius / 12)) / np.maximum(radius, 1) ** 1.5
    moved = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (kx * shift_x + ky * shift_y))).real
    scale = 3 * np.sqrt(np.square(np.abs(spectrum)).sum()) / SIZE**2
    return np.repeat(np.clip(moved / scale, -1, 1)[:, :, None], 3, axis=2).astype(np.float32)


def moved(progress, reach=8.0):
    return np.stack([texture(reach * p, -0.5 * reach * p) for p in progress])


def test_flow_recovers_shifts():
    shifts = np.array([(0.0, 0.0), (1.0, 0.5), (-3.5, 2.0), (6.0, -5.0)])
    pictures = jnp.asarray([0.5 + 0.5 * texture(*shift)[:, :, 0] for shift in shifts])
    first = jnp.broadcast_to(pictures[:1], pictures.shape)
    flow = np.asarray(optical_flow(first, pictures))
    errors = np.abs(flow - shifts[:, None, None])[:, 32:-32, 32:-32]
    assert np.median(errors) < 0.1 and np.quantile(errors, 0.95) < 0.4
    assert np.abs(flow[0]).max() < 1e-3


def test_edited_faces_are_carried_from_where_they_were():
    shifts = np.array([(0.0, 0.0), (2.0, -1.0), (-3.0, 2.0)])
    # Also where the edit makes all of it brighter, and of lower contrast.
    edited = np.stack([texture(*shift) for shift in shifts])
    for changed in (edited, 0.2 + 0.6 * edited):
        flows = carried_from(changed, texture()) * SIZE
        assert flows.shape == (3, 128, 128, 2)
        errors = np.abs(flows + shifts[:, None, None])[:, 24:-24, 24:-24]
        assert np.median(errors) < 0.3 and np.quantile(errors, 0.95) < 1.5
    assert np.abs(carried_from(edited[:1], texture())).max() == 0
    # Images of any size, and more of them than are done at once.
    assert carried_from(np.zeros((11, 16, 16, 3)), np.zeros((16, 16, 3))).shape == (11, 16, 16, 2)


def test_a_change_of_colour_alone_moves_nothing():
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    blush = 0.3 * np.exp(-0.5 * (x**2 + y**2) / 20**2)
    edited = (texture() + blush[:, :, None].astype(np.float32))[None]
    assert np.abs(carried_from(edited, texture())).max() * SIZE < 2


@pytest.mark.parametrize("back", [False, True])
def test_progress_is_that_of_the_motion_forth_and_back(back):
    wanted = np.linspace(0, 1, FRAMES) ** 2
    if back:
        wanted = 1 - np.abs(2 * np.linspace(0, 1, FRAMES) - 1)
    points = follow(moved(wanted))
    inner = (np.abs(points[0] - (SIZE - 1) / 2) < SIZE / 4).all(axis=1)
    reached = (points - points[:1])[:, inner].mean(axis=1)
    np.testing.assert_allclose(reached, 8 * wanted[:, None] * [[1, -0.5]], rtol=0.08, atol=0.5)
    motion = measure_motion(points)
    np.testing.assert_allclose(motion.progress, wanted, atol=0.04)
    assert motion.fraction > 0.9
    steps = np.hypot(8, 4) * np.abs(np.diff(wanted))
    np.testing.assert_allclose(motion.size[1:], steps, rtol=0.15, atol=0.1)
    assert motion.size[0] == 0


def test_progress_ignores_order_of_points_and_place():
    rng = np.random.default_rng(0)
    progress = np.array([0.0, 0.2, 0.7, 1.0, 0.6])
    points = rng.uniform(0, 64, (1, 20, 2)) + progress[:, None, None] * rng.normal(size=(1, 20, 2))
    first = measure_motion(points)
    second = measure_motion(points[:, ::-1] + 7.0)
    np.testing.assert_allclose(first.progress, progress, atol=1e-5)
    np.testing.assert_allclose(second.progress, first.progress, atol=1e-5)


def test_what_cannot_be_measured():
    with pytest.raises(DataError, match="stand still"):
        measure_motion(np.ones((3, 4, 2)))
    with pytest.raises(DataError, match="NaN"):
        measure_motion(np.full((3, 4, 2), np.nan))
    with pytest.raises(UsageError, match="two frames or more"):
        follow(moved([0.0]))
    with pytest.raises(UsageError, match=r"\[T, S, S, 3\]"):
        follow(np.zeros((3, 8, 9, 3)))
    with pytest.raises(UsageError, match=r"\[N, S, S\]"):
        optical_flow(jnp.zeros((1, 8, 8)), jnp.zeros((1, 8, 9)))
    with pytest.raises(UsageError, match=r"\[T, P, 2\]"):
        measure_motion(np.zeros((1, 4, 2)))
