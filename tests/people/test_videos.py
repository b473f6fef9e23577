"""The bundled videos."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.errors import UsageError
from mm_jax.media.video_reading import read_frames, video_info
from mm_jax.people.factors import FACTORS, MOTION_FACTORS, index
from mm_jax.people.videos import (
    BUNDLED,
    FRAMES,
    MOTIONS,
    motion_factors,
    resting_person,
    write_videos,
)


@pytest.mark.parametrize("name", MOTIONS)
def test_one_factor_moves_evenly(name):
    motion = MOTIONS[name]
    values = motion_factors(motion, seed=3, frames=9)
    assert values.shape == (9, len(FACTORS)) and np.abs(values).max() <= 1
    moved = np.flatnonzero(np.ptp(values, axis=0))
    assert moved.tolist() == [index(motion.factor)]
    expected = np.linspace(motion.start, motion.end, 9)
    np.testing.assert_allclose(values[:, moved[0]], expected, atol=1e-6)


def test_there_and_back():
    values = motion_factors(MOTIONS["smile"], seed=3, frames=7, there_and_back=True)
    np.testing.assert_allclose(values, values[::-1], atol=1e-6)
    assert values[:, index("smile")].argmax() == 3


def test_people_differ_and_all_are_at_rest():
    one, other = resting_person(1), resting_person(2)
    rest = [index(name) for name in MOTION_FACTORS]
    np.testing.assert_array_equal(one[rest], other[rest])
    assert (np.delete(one, rest) != np.delete(other, rest)).all()


def test_a_video_has_two_frames():
    with pytest.raises(UsageError, match="frames must be at least 2, got 1"):
        motion_factors(MOTIONS["smile"], seed=0, frames=1)


def test_videos_are_written_once(tmp_path):
    def draw(factors):
        """Grey images, as light as the factors that move."""
        level = 127.5 + 100 * (factors[:, index("yaw")] + factors[:, index("smile")]) / 2
        return np.tile(level[:, None, None, None], (1, 32, 32, 3)).astype(np.uint8)

    write_videos(tmp_path, draw)
    files = {path.stem: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert files.keys() == BUNDLED.keys()
    write_videos(tmp_path, draw)
    assert {path.stem: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    level = [frame.mean() for _, frame in read_frames(video_info(tmp_path / "smile.mp4"))]
    assert len(level) == FRAMES and (np.diff(level) > 0).mean() > 0.9
