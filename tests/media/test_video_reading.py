"""Clips of every kind are read as they were written, in bounded memory; bad ones are one line."""

import subprocess
import weakref
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mm_jax import media
from mm_jax.errors import DataError, UsageError
from mm_jax.media.video_reading import (
    VideoInfo,
    natural_order,
    read_frames,
    sample_frames,
    video_info,
)
from mm_jax.media.video_writing import video_writer


def ffmpeg(*args, data=None):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, args)]
    subprocess.run(command, input=data, check=True)


def flat(count, height=32, width=48):
    """Frames of one grey each, growing."""
    values = np.linspace(20, 230, count).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (count, height, width, 3))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "a.mp4"
    with video_writer(path, fps=12.5) as add:
        for frame in flat(8):
            add(frame)
    return path


def frames_of(path, indices=None):
    return {index: frame for index, frame in read_frames(video_info(path), indices)}


def test_an_mp4_is_read_as_it_was_written(clip):
    info = video_info(clip)
    assert (info.frames, info.fps, info.sound) == (8, 12.5, False)
    read = frames_of(clip)
    assert list(read) == list(range(8))
    for frame, wanted in zip(read.values(), flat(8), strict=True):
        assert frame.dtype == np.uint8
        assert np.abs(frame.astype(int) - wanted).max() <= 2


def test_chosen_frames_are_those_of_the_whole(clip):
    whole, some = frames_of(clip), frames_of(clip, [0, 3, 7])
    assert list(some) == [0, 3, 7]
    for index, frame in some.items():
        np.testing.assert_array_equal(frame, whole[index])


@pytest.mark.parametrize("suffix", ["webm", "gif"])
def test_other_containers(clip, tmp_path, suffix):
    ffmpeg("-i", clip, tmp_path / f"a.{suffix}")
    info = video_info(tmp_path / f"a.{suffix}")
    assert info.frames == 8 and info.fps == pytest.approx(12.5)
    means = [frame.mean() for _, frame in read_frames(info)]
    np.testing.assert_allclose(means, flat(8)[:, 0, 0, 0], atol=4)


def test_a_phone_held_upright(clip, tmp_path):
    ffmpeg("-display_rotation", "90", "-i", clip, "-c", "copy", tmp_path / "a.mp4")
    assert {frame.shape for frame in frames_of(tmp_path / "a.mp4").values()} == {(48, 32, 3)}


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((4, 32, 32, 4), np.uint8)
    rgba[:, :16] = [255, 0, 0, 255]
    raw = ("-f", "rawvideo", "-pix_fmt", "rgba", "-s", "32x32", "-r", "10", "-i", "-")
    target = tmp_path / "a.webm"
    ffmpeg(*raw, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", target, data=rgba.tobytes())
    pictures = [Image.fromarray(np.roll(picture, i, axis=0)) for i, picture in enumerate(rgba)]
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100, disposal=2
    )
    for path, red in ((target, 4), (tmp_path / "a.gif", 8)):
        last = list(frames_of(path).values())[-1].astype(int)
        assert np.abs(last[red, 4] - [255, 0, 0]).max() < 6
        assert np.abs(last[28, 4] - 255).max() < 6


def test_a_folder_in_natural_order(tmp_path):
    for name, value in (("f10", 200), ("f2", 100), ("f1", 0)):
        media.save_png(tmp_path / f"{name}.png", np.full((4, 5, 3), value, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    assert [frame[0, 0, 0] for frame in frames_of(tmp_path).values()] == [0, 100, 200]
    media.save_png(tmp_path / "f3.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(DataError, match="frame 2 is 5x5, those before it are 5x4"):
        frames_of(tmp_path)


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_natural_order_is_that_of_numbers(numbers):
    names = sorted((f"a{n}b.png" for n in numbers), key=natural_order)
    assert names == [f"a{n}b.png" for n in sorted(numbers)]


@given(st.integers(1, 500), st.integers(1, 60), st.floats(0.1, 100))
def test_samples_are_even_and_within(frames, count, fps):
    info = VideoInfo(path=Path("a.mp4"), frames=frames, fps=25.0)
    taken = sample_frames(info, count=count)
    assert len(taken) == min(count, frames) and taken[0] == 0
    if count > 1:
        assert taken[-1] == frames - 1
    by_rate = sample_frames(info, fps=fps)
    for chosen in (taken, by_rate):
        assert sorted(set(chosen)) == list(chosen) and chosen[-1] < frames
        gaps = np.diff(chosen)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    if fps < 25:
        assert len(by_rate) == int((frames - 1) * fps / 25) + 1


def test_samples_out_of_range(clip):
    info = video_info(clip)
    for options in ({"count": 0}, {"fps": 0.0}, {"count": 2, "fps": 2.0}):
        with pytest.raises(UsageError):
            sample_frames(info, **options)


def test_bad_files_are_one_line(clip, tmp_path):
    whole = clip.read_bytes()
    for name, content in (
        ("empty.mp4", b""),
        ("text.mp4", b"text"),
        ("short.mp4", whole[: len(whole) // 2]),
    ):
        (tmp_path / name).write_bytes(content)
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.1", tmp_path / "sound.mp4")
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("empty.mp4", "the file is empty"),
        ("text.mp4", "moov atom not found"),
        ("short.mp4", "cannot read"),
        ("sound.mp4", "sound, but no images"),
        ("folder", "holds no image"),
        ("missing.mp4", "no such file"),
    ):
        with pytest.raises(DataError, match=message) as raised:
            video_info(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_a_clip_of_no_frame(clip, tmp_path):
    ffmpeg("-i", clip, "-frames:v", "0", "-f", "matroska", tmp_path / "a.webm")
    with pytest.raises(DataError, match="cannot read"):
        video_info(tmp_path / "a.webm")


def test_a_clip_that_shrinks_after_it_was_looked_at(clip, tmp_path):
    info = video_info(clip)
    longer = VideoInfo(info.path, info.frames + 3, info.fps)
    with pytest.raises(DataError, match="ends before frame 8"):
        list(read_frames(longer))


def test_ten_thousand_frames_are_never_held(tmp_path):
    def frames():
        for i in range(10_000):
            yield np.full((16, 16, 3), i % 200, np.uint8)

    path = tmp_path / "long.mp4"
    with video_writer(path, fps=60) as add:
        for frame in frames():
            add(frame)
    info = video_info(path)
    assert info.frames == 10_000
    alive: set[int] = set()
    most = 0
    for index, frame in read_frames(info):
        alive.add(index)
        weakref.finalize(frame, alive.discard, index)
        most = max(most, len(alive))
    assert index == 9999 and most <= 3
