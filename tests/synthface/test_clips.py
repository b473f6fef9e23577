"""Rendered clips move what they say, bad frames are bad, the bundled ones are what they were."""

import numpy as np
import pytest

from mm_jax import zoo
from mm_jax.errors import DataError, UsageError
from mm_jax.media.video_reading import read_frames, video_info
from mm_jax.synthface import clips

SMALL = {"seed": 3, "frames": 4, "resolution": 32}


@pytest.fixture(scope="module")
def turning():
    return clips.render_clip(clips.MOTIONS["head_turn"], **SMALL)


def test_one_face_moves(turning):
    assert turning.shape == (4, 32, 32, 3) and turning.min() >= -1 and turning.max() <= 1
    steps = np.abs(np.diff(turning, axis=0)).mean(axis=(1, 2, 3))
    assert steps.min() > 0.01
    back = clips.render_clip(clips.MOTIONS["head_turn"], **SMALL, there_and_back=True)
    np.testing.assert_allclose(back[0], back[-1], atol=1e-5)
    with pytest.raises(UsageError, match="two frames or more"):
        clips.render_clip(clips.MOTIONS["head_turn"], seed=3, frames=1)


def test_a_share_of_the_frames_is_spoiled():
    frames = np.zeros((20, 16, 16, 3), np.float32)
    spoiled, which = clips.corrupt(frames, share=0.2, seed=1)
    changed = np.flatnonzero(np.abs(spoiled - frames).max(axis=(1, 2, 3)))
    assert tuple(changed) == which and len(which) == 4
    assert which[0] > 0 and which[-1] < 19 and np.abs(spoiled).max() <= 1
    np.testing.assert_array_equal(clips.corrupt(frames, share=0.2, seed=1)[0], spoiled)
    assert clips.corrupt(frames, share=0.0, seed=1)[1] == ()


@pytest.mark.parametrize("name", clips.BUNDLED)
def test_bundled_clips(name):
    path = zoo.bundled_video(name)
    info = video_info(path)
    assert (info.frames, info.fps) == (clips.FRAMES, clips.FPS)
    assert path.stat().st_size < 40_000
    first, last = (frame.astype(int) for _, frame in read_frames(info, [0, info.frames - 1]))
    assert first.shape == (128, 128, 3) and np.abs(first - last).max() > 40


def test_unknown_and_damaged_clips(tmp_path, monkeypatch):
    with pytest.raises(
        UsageError, match=r"unknown bundled video 'wave', known are head_turn, smile"
    ):
        zoo.bundled_video("wave")
    monkeypatch.setattr(zoo, "ASSETS", tmp_path)
    with pytest.raises(DataError, match="clips is missing"):
        zoo.bundled_video("smile")
