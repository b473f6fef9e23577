"""Clips are written as streams: whole or not at all, one palette, sound kept, colours kept."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from mm_jax import media
from mm_jax.errors import DataError, UsageError
from mm_jax.media.video_reading import read_frames, video_info
from mm_jax.media.video_writing import video_writer

COLOURS = np.random.default_rng(0).integers(16, 240, (5, 3))


def coloured(height=32, width=40):
    return [np.broadcast_to(c, (height, width, 3)).astype(np.uint8) for c in COLOURS]


@pytest.mark.parametrize(("suffix", "most"), [("mp4", 3), ("gif", 2)])
def test_colours_come_back(tmp_path, suffix, most):
    path = tmp_path / f"a.{suffix}"
    with video_writer(path, fps=10) as add:
        for frame in coloured():
            add(frame)
    read = [frame.mean(axis=(0, 1)) for _, frame in read_frames(video_info(path))]
    assert np.abs(np.array(read) - COLOURS).max() <= most
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_stream_is_the_same_file_as_the_whole(tmp_path):
    frames = np.stack(coloured())
    media.save_mp4(tmp_path / "whole.mp4", frames, fps=10)
    with video_writer(tmp_path / "stream.mp4", fps=10) as add:
        for frame in frames:
            add(frame)
    assert (tmp_path / "whole.mp4").read_bytes() == (tmp_path / "stream.mp4").read_bytes()


def test_sound_is_kept_and_may_be_missing(tmp_path):
    for name in ("quiet", "loud"):
        with video_writer(tmp_path / f"{name}.mp4", fps=10) as add:
            for frame in coloured():
                add(frame)
    loud = tmp_path / "with.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", tmp_path / "loud.mp4"]
    tone = ["-f", "lavfi", "-i", "sine=duration=0.5", "-map", "0:v", "-map", "1:a", loud]
    subprocess.run([*map(str, command), *map(str, tone)], check=True)
    for source, wanted in ((loud, True), (tmp_path / "quiet.mp4", False)):
        with video_writer(tmp_path / "out.mp4", fps=10, sound=source) as add:
            for frame in coloured():
                add(frame)
        info = video_info(tmp_path / "out.mp4")
        assert info.sound is wanted and info.frames == 5


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "hold no frame"),
        ([np.zeros((8, 8, 3))], "uint8"),
        ([np.zeros((8, 8), np.uint8)], r"\[H, W, 3\]"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)], "differ in size"),
    ],
)
def test_bad_frames_leave_nothing(tmp_path, suffix, frames, message):
    with (
        pytest.raises(DataError, match=message),
        video_writer(tmp_path / f"a.{suffix}") as add,
    ):
        for frame in frames:
            add(frame)
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_caller_leaves_nothing(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), video_writer(tmp_path / "a.mp4") as add:
        add(coloured()[0])
        _ = 1 / 0
    assert (tmp_path / "a.mp4").read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 1


def test_settings_are_checked_before_a_file_is_made(tmp_path):
    for name, options in (("a.avi", {}), ("a.mp4", {"fps": 0}), ("a.mp4", {"crf": 52})):
        with pytest.raises(UsageError), video_writer(tmp_path / name, **options):
            pass
    with pytest.raises(UsageError, match=r"named \*\.gif"):
        media.save_gif(tmp_path / "a.mp4", np.zeros((1, 4, 4, 3), np.uint8))
    assert not list(tmp_path.iterdir())
