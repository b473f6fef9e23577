"""Cuts stand out; pans, fast movement, flashes that pass and copied frames are none."""

import numpy as np
import pytest

from mm_jax.media.cuts import CutFinder
from mm_jax.media.video_reading import video_info
from tests.media.clips import write_clip

RNG = np.random.default_rng(0)
SCENES = RNG.integers(0, 256, (3, 8, 64, 3)).astype(np.uint8).repeat(4, axis=1)  # [3, 32, 64, 3]


def shot(scene, count, *, step=0, copies=1):
    """A scene [32, 32, 3] seen by a camera that moves by `step` pixels a frame."""
    moved = [np.roll(SCENES[scene], -step * i, axis=1)[:, :32] for i in range(count)]
    return [frame for frame in moved for _ in range(copies)]


def cuts(frames):
    finder = CutFinder()
    for frame in frames:
        finder.add(np.clip(frame + RNG.integers(-1, 2, frame.shape), 0, 255))
    return finder.cuts()


@pytest.mark.parametrize(
    ("frames", "wanted"),
    [
        (shot(0, 9) + shot(1, 5) + shot(2, 9), (9, 14)),
        (shot(0, 20, step=3), ()),
        (shot(0, 10, step=3, copies=2), ()),
        (shot(0, 20), ()),
        ([*shot(0, 9), np.full((32, 32, 3), 255), *shot(0, 9)], ()),
        (shot(0, 1), ()),
    ],
)
def test_cuts_of_many_kinds(frames, wanted):
    assert cuts(frames) == wanted


def test_a_video_names_its_shots(tmp_path):
    path = write_clip(tmp_path / "a.mp4", shot(0, 8) + shot(1, 7))
    info = video_info(path)
    assert info.cuts == (8,) and info.shots == (range(8), range(8, 15))
